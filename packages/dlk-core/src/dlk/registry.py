"""The registry: two names, `(module_type, module_name)`, to a component's config class and class.

A name comes from a table row (a plugin's, or a project's own files, read without importing them) or
from a decorator that has run already. A component's module is imported when the component is first
asked for, so listing names costs nothing.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import importlib.util
import os
import re
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, TypeVar

from dlk.errors import DlkError, PluginError, did_you_mean
from dlk.plugin import API, Component, Hooks

__all__ = ["Entry", "PluginState", "Registry", "register"]

C = TypeVar("C", bound=type)
_GROUP = "dlk"
_UNREAD = ("failed", "incompatible")
Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Entry:
    """A table row and who brought it.

    Attributes:
        component: the row.
        origin: the distribution, or ``local`` for a project's own files.
        version: the distribution's version.
    """

    component: Component
    origin: str
    version: str = ""

    def __str__(self) -> str:
        if self.origin != "local":
            return self.origin
        from dlk._local import path_of

        return f"{path_of(self.component.config)} (local)"


@dataclass(slots=True)
class PluginState:
    """One plugin as found on this machine.

    Attributes:
        name: name of its entry point; a broken file's path for a project's own.
        distribution: the distribution that brings it; ``local`` for a project's own file.
        version: the distribution's version.
        state: ``loaded``, ``disabled``, ``failed`` or ``incompatible``.
        error: why it failed; for a loaded one, which of its names are not used, and why.
        components: its rows that are in use.
    """

    name: str
    distribution: str
    version: str
    state: str = "loaded"
    error: str = ""
    components: list[Component] = field(default_factory=list)


class Registry:
    """Names to components. `register` is the one that everybody uses."""

    def __init__(self) -> None:
        self._classes: dict[Key, type] = {}
        self._claims: dict[Key, list[Entry]] = {}
        self._rows: dict[int, Sequence[Component]] = {}
        self._sources: set[str] = set()
        self._broken: dict[str, str] = {}
        self._plugins: list[PluginState] | None = None
        self._reading = False
        self._lock = threading.RLock()

    # Registering --------------------------------------------------------------------------------

    def __call__(self, type_name: str, name: str = "") -> Callable[[C], C]:
        """Register the decorated class under the two names."""

        def decorate(target: C) -> C:
            known = self._classes.get((type_name, name))
            if known is not None and _address(known) != _address(target):
                raise PluginError(
                    f'{type_name} "{name}" is registered already by {_address(known)}; '
                    f"{_address(target)} needs another name"
                )
            self._classes[type_name, name] = target
            return target

        return decorate

    def add_local(self, sources: Iterable[str]) -> None:
        """Add the components that a project's own files define, without importing them."""
        for source in sources:
            from dlk._local import scan

            with self._lock:
                if source in self._sources:
                    continue
                self._sources.add(source)
                found = scan(source)
                self._broken |= found.broken
                for component in found.components:
                    self._claim(Entry(component, "local"))

    @property
    def sources(self) -> tuple[str, ...]:
        """The files and folders of project-local components that were added."""
        return tuple(sorted(self._sources))

    # Looking up ---------------------------------------------------------------------------------

    def get(self, type_name: str, name: str) -> type[Any]:
        """Return the class of a component; the part of the name after ``-`` only picks a config.

        Raises:
            PluginError: there is no such component, or its module cannot be imported; the message
                says why.
        """
        found = self._classes.get((type_name, name))
        if found is not None:
            return found
        primary = self.primary(type_name, name)
        plain = primary.partition("-")[0]
        entry = self._entry(type_name, primary) or self._entry(type_name, plain)
        found = self._classes.get((type_name, plain))
        if found is None and (entry is None or not entry.component.cls):
            raise PluginError(f'{type_name} "{name}" is a config only; it has no class to build')
        if found is None and entry is not None:
            self._import(entry, entry.component.cls)
            found = self._classes.get((type_name, plain))
            if found is None:
                raise PluginError(
                    f'{type_name} "{name}": {entry.component.cls} of {entry} is not registered '
                    f'under that name; expected @register("{type_name}", "{plain}") on the class'
                )
        assert found is not None
        return found

    def config(self, type_name: str, name: str) -> type[Any]:
        """Return the config class of a component.

        Raises:
            PluginError: as for `get`.
        """
        from dlk.config import _intc

        primary = self.primary(type_name, name)
        found = _intc.registered(type_name, primary)
        if found is not None:
            return found
        entry = self._entry(type_name, primary)
        if entry is None:
            raise PluginError(f'{type_name} "{name}" has no config class: expected @cregister')
        self._import(entry, entry.component.config)
        found = _intc.registered(type_name, primary)
        if found is None:
            raise PluginError(
                f'{type_name} "{name}": {entry.component.config} of {entry} is not registered '
                f'under that name; expected @cregister("{type_name}", "{primary}") on the class'
            )
        return found

    def primary(self, type_name: str, name: str) -> str:
        """Return the name under which a component is registered: an alias gives what it stands for.

        Raises:
            PluginError: there is no such name; the message lists the nearest, or what to install.
        """
        if (type_name, name) in self._classes or self._has_config(type_name, name):
            return name
        self.discover()
        claims = self._claims.get((type_name, name), [])
        if len(claims) == 1:
            return claims[0].component.name
        if claims:
            claimants = " and ".join(map(str, claims))
            way_out = "Uninstall one, or leave it out with DLK_DISABLE_PLUGINS."
            if any(claim.origin == "local" for claim in claims):
                way_out = "Rename the project's own."
            raise PluginError(
                f'{type_name} "{name}" is claimed by {claimants}; neither is used. {way_out}'
            )
        raise PluginError(self._unknown(type_name, name))

    def __contains__(self, names: Key) -> bool:
        type_name, name = names
        if names in self._classes or self._has_config(type_name, name):
            return True
        self.discover()
        return len(self._claims.get(names, ())) == 1

    def types(self) -> list[str]:
        """Return all component types, sorted."""
        return sorted({key[0] for key in self._keys()})

    def names(self, type_name: str) -> list[str]:
        """Return the names of all components of a type, sorted; aliases are left out."""
        return sorted({key[1] for key in self._keys() if key[0] == type_name and key[1]})

    def entries(self) -> list[Entry]:
        """Return all table rows that are in use, sorted by type and name."""
        self.discover()
        used = {key: claims[0] for key, claims in self._claims.items() if len(claims) == 1}
        return [used[key] for key in sorted(used) if used[key].component.name == key[1]]

    @property
    def plugins(self) -> list[PluginState]:
        """All plugins found, working or not, and a project's own files that cannot be read."""
        self.discover()
        found = list(self._plugins or [])
        for state in found:
            rows = self._rows.get(id(state), ())
            unused = [row for row in rows if len(self._claims[row.type, row.name]) > 1]
            state.components = [row for row in rows if row not in unused]
            if state.state == "loaded":
                state.error = "; ".join(self._clash(row) for row in unused)
        local = [PluginState(f, "local", "", "failed", e) for f, e in self._broken.items()]
        return found + local

    # Building -----------------------------------------------------------------------------------

    def build(self, config: Any, setup: Any = None, **more: Any) -> Any:
        """Build the component of a config object.

        The class is called with the config; `setup` and the keywords of `more` are handed on where
        its constructor names them. An error tells the config path: a `DlkError` in its message, any
        other in a note.
        """
        from dlk.config import node_of

        node = node_of(config)
        component = self.get(node.type, node.name)
        wanted = _keywords(component)
        passed = {k: v for k, v in {"setup": setup, **more}.items() if k in wanted}
        if "setup" in passed and setup is None:
            from dlk.context import Setup

            passed["setup"] = Setup.empty()
        try:
            return component(config, **passed)
        except DlkError as error:
            error.place(node.path)
            raise
        except Exception as error:
            error.add_note(f'while building {node.type} "{node.name}" of {node.path}')
            raise

    def build_child(self, config: Any, type_name: str, setup: Any = None, **more: Any) -> Any:
        """Build the one child of a type; None where there is none."""
        from dlk.config import child

        found = child(config, type_name)
        return None if found is None else self.build(found, setup, **more)

    def build_children(
        self, config: Any, type_name: str, setup: Any = None, **more: Any
    ) -> dict[str, Any]:
        """Build all children of a type, by alias or name, in the order of the config."""
        from dlk.config import children

        found = children(config, type_name)
        return {name: self.build(child, setup, **more) for name, child in found.items()}

    # Discovery ----------------------------------------------------------------------------------

    def discover(self) -> None:
        """Read the tables of all installed plugins, once. One that fails is noted and left out."""
        if self._plugins is None:
            with self._lock:
                self._discover()

    def _discover(self) -> None:
        if self._plugins is not None or self._reading:
            return  # read by another thread, or asked for by a plugin's own module
        self._reading = True
        self._plugins = [self._read(state, point) for state, point in _entry_points()]
        self._reading = False

    def _read(self, state: PluginState, point: importlib.metadata.EntryPoint) -> PluginState:
        names = os.environ.get("DLK_DISABLE_PLUGINS", "").split(",")
        if {name.strip() for name in names} & {state.name, state.distribution}:
            state.state = "disabled"
            return state
        try:
            rows = _table_of(point.load())
        except _IncompatibleError as error:
            state.state, state.error = "incompatible", str(error)
        except (Exception, SystemExit) as error:  # noqa: BLE001  # a plugin may raise anything
            state.state, state.error = "failed", f"{type(error).__name__}: {error}"
        else:
            self._rows[id(state)] = rows
            for row in rows:
                self._claim(Entry(row, state.distribution, state.version))
        return state

    def _claim(self, entry: Entry) -> None:
        component = entry.component
        for name in (component.name, *component.aliases):
            self._claims.setdefault((component.type, name), []).append(entry)

    def _entry(self, type_name: str, name: str) -> Entry | None:
        self.discover()
        claims = self._claims.get((type_name, name), ())
        return claims[0] if len(claims) == 1 else None

    def _clash(self, row: Component) -> str:
        claimants = " and ".join(map(str, self._claims[row.type, row.name]))
        return f'{row.type} "{row.name}" is claimed by {claimants}'

    def _keys(self) -> Iterator[Key]:
        for entry in self.entries():
            yield entry.component.type, entry.component.name
        yield from list(self._classes)
        intc = sys.modules.get("dlk.config._intc")
        if intc is not None:
            yield from ((type_name, name) for type_name, name, _ in intc.all_registered())

    def _has_config(self, type_name: str, name: str) -> bool:
        intc = sys.modules.get("dlk.config._intc")
        return intc is not None and intc.registered(type_name, name) is not None

    def _import(self, entry: Entry, target: str) -> None:
        """Import the module of ``module:attribute``, and see that the attribute is there.

        Raises:
            PluginError: it cannot be imported, or is not there; the message says what to do.
        """
        module_name, _, attribute = target.partition(":")
        what = f'{entry.component.type} "{entry.component.name}" of {entry}'
        try:
            module = _import_module(module_name)
        except ImportError as error:
            missing = error.name or ""
            if missing and f"{module_name}.".startswith(f"{missing}."):
                reason = f"there is no module {missing}; the table of {entry.origin} is wrong"
                raise PluginError(f"{what}: {reason}") from error
            hint, top = "", missing.partition(".")[0]
            if top and not _is_there(top):
                hint = f" It needs {top}, which is missing: {_how_to_install(top, entry.origin)}"
            raise PluginError(f"{what} cannot be imported: {error}.{hint}") from error
        except DlkError:
            raise
        except (Exception, SystemExit) as error:  # a component's module may raise anything
            reason = f"{type(error).__name__}: {error}"
            raise PluginError(f"{what} cannot be imported: {reason}") from error
        if not hasattr(module, attribute):
            reason = f"{module_name} has no {attribute}; the table of {entry.origin} is wrong"
            raise PluginError(f"{what}: {reason}")

    def _unknown(self, type_name: str, name: str) -> str:
        from dlk._known import KNOWN

        plain = name.partition("-")[0]
        provider = KNOWN.get((type_name, name)) or KNOWN.get((type_name, plain))
        if provider:
            what = f'{type_name} "{name}" is part of {provider}'
            state = next((p for p in self._plugins or [] if p.distribution == provider), None)
            if state is None:
                return f"{what}, which is not installed: pip install {provider}"
            if state.state == "loaded":
                return f"{what}, but not of its version {state.version}: pip install -U {provider}"
            return f"{what}, which is {state.state}: {state.error}".removesuffix(": ")
        types = self.types()
        if type_name not in types:
            message = f'there is no component type "{type_name}". {did_you_mean(type_name, types)}'
        elif not name:
            message = f"which {type_name}? Known: {', '.join(self.names(type_name))}."
        else:
            aliases = [n for (t, n), claims in self._claims.items() if t == type_name and claims]
            known = [*self.names(type_name), *aliases]
            message = f'there is no {type_name} "{name}". {did_you_mean(name, known)}'
        return " ".join([message, *self._unread()])

    def _unread(self) -> Iterator[str]:
        """Yield what could not be read, and so may hold a name that is looked for."""
        plugins = self._plugins or []
        failed = [f"{p.distribution} ({p.error})" for p in plugins if p.state in _UNREAD]
        if failed:
            yield f"Plugins that could not be read: {'; '.join(failed)}."
        disabled = [p.distribution for p in plugins if p.state == "disabled"]
        if disabled:
            yield f"Left out by DLK_DISABLE_PLUGINS: {', '.join(disabled)}."
        if self._broken:
            yield f"Not read, since it is no valid Python: {'; '.join(self._broken.values())}"


class _IncompatibleError(Exception):
    """A plugin speaks another version of the protocol."""


def _entry_points() -> list[tuple[PluginState, importlib.metadata.EntryPoint]]:
    """Return the entry points of the group, sorted by name.

    Of a distribution that lies in two places, the first on the path counts, as for imports.
    A distribution whose metadata cannot be read is passed over: it may be anything on the machine.
    """
    found: dict[str, list[tuple[PluginState, importlib.metadata.EntryPoint]]] = {}
    for distribution in importlib.metadata.distributions():
        try:
            points = distribution.entry_points.select(group=_GROUP)
            if not points:
                continue
            name, version = str(distribution.name or ""), str(distribution.version or "")
        except Exception:  # noqa: BLE001, S112  # damaged metadata raises many kinds
            continue
        states = [(PluginState(point.name, name, version), point) for point in points]
        found.setdefault(re.sub(r"[-_.]+", "-", name).lower(), states)
    everything = [pair for states in found.values() for pair in states]
    return sorted(everything, key=lambda pair: (pair[0].name, pair[0].distribution))


def _table_of(module: Any) -> list[Component]:
    import pluggy

    version = getattr(module, "API", None)
    if version is None:
        raise _IncompatibleError(f"states no version of the plugin protocol: expected API = {API}")
    if version != API:
        raise _IncompatibleError(f"speaks plugin protocol {version!r}, this dlk speaks {API}")
    manager = pluggy.PluginManager("dlk")
    manager.add_hookspecs(Hooks)
    manager.register(module)
    if not any(caller.has_spec() for caller in manager.get_hookcallers(module) or ()):
        raise TypeError("implements no hook: expected dlk_components(), marked with @hookimpl")
    rows = [row for table in manager.hook.dlk_components() for row in table]
    for row in rows:
        if not isinstance(row, Component):
            given = type(row).__name__
            raise TypeError(f"dlk_components() gives dlk.plugin.Component, got {given}")
    return rows


def _import_module(name: str) -> ModuleType:
    from dlk._local import PREFIX, import_local

    return import_local(name) if name.startswith(PREFIX) else importlib.import_module(name)


def _is_there(module: str) -> bool:
    """Return whether a top-level module can be imported: what is missing is then inside of it."""
    try:
        return module in sys.modules or importlib.util.find_spec(module) is not None
    except ValueError:
        return True  # a module without a spec, such as __main__


def _how_to_install(module: str, distribution: str) -> str:
    """Return the command that brings a module: the distribution's extra for it, if it has one."""
    try:
        requirements = importlib.metadata.requires(distribution) or []
    except importlib.metadata.PackageNotFoundError:
        requirements = []
    for requirement in requirements:
        name = re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
        extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)['\"]", requirement)
        if extra and name.replace("-", "_").lower() == module.lower():
            return f'pip install "{distribution}[{extra[1]}]"'
    return f"pip install {module}"


def _address(target: type) -> str:
    return f"{target.__module__}:{target.__qualname__}"


def _keywords(component: Any) -> frozenset[str]:
    """Return the names of a constructor's arguments."""
    return _cached_keywords(component)


@functools.cache
def _cached_keywords(component: Any) -> frozenset[str]:
    import inspect

    parameters = inspect.signature(component).parameters.values()
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return frozenset(p.name for p in parameters if p.kind in named)


def _refuse_shadow() -> None:
    """Refuse a ``dlk/__init__.py``: it hides all of dlk that lies in other folders."""
    file = getattr(sys.modules["dlk"], "__file__", None)
    if file is not None:
        raise PluginError(
            f"{file} makes dlk one plain package and hides parts of it; it belongs to an old dlk "
            "(0.1.x). Remove that, then install again what shares its folder: "
            "pip uninstall dlk && pip install --force-reinstall --no-deps dlk-core dlk-nlp"
        )


_refuse_shadow()
register = Registry()
"""The registry of this process: ``@register("embedding", "static")``, ``register.get(…)``."""
