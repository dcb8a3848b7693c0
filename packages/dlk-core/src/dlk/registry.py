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
import re
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeVar

from dlk._discovery import Plugin, PluginState, find_plugins, patience, raised_at, told
from dlk._known import KNOWN, shadow
from dlk._override import canonical, overrides
from dlk._sources import place_of
from dlk.errors import DlkError, PluginError, did_you_mean
from dlk.plugin import Component

__all__ = ["Entry", "PluginState", "Registry", "register"]

C = TypeVar("C", bound=type)
_UNREAD = ("failed", "incompatible")
SLOW_S = 10.0
"""Seconds after which a component's module that is still being imported is named."""
Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Entry:
    """A table row and who brought it.

    Attributes:
        component: the row.
        origin: the distribution, or ``local`` for a project's own files.
        version: the distribution's version.
        table: file of the plugin's module, which gives the table; empty for a project's own.
    """

    component: Component
    origin: str
    version: str = ""
    table: str = ""

    def __str__(self) -> str:
        if self.origin != "local":
            return f"{self.origin} {self.version}".rstrip()
        from dlk._local import path_of

        return f"{path_of(self.component.config)} (local)"


class Registry:
    """Names to components. `register` is the one that everybody uses."""

    def __init__(self) -> None:
        self._classes: dict[Key, type] = {}
        self._claims: dict[Key, list[Entry]] = {}
        self._rivals: dict[Key, list[type]] = {}
        self._sources: set[str] = set()
        self._broken: dict[str, str] = {}
        self._plugins: list[Plugin] | None = None
        self._hooks: dict[str, list[tuple[PluginState, Any]]] = {}
        self._reading = False
        self._lock = threading.RLock()

    # Registering --------------------------------------------------------------------------------

    def __call__(self, type_name: str, name: str = "") -> Callable[[C], C]:
        """Register the decorated class under the two names."""

        def decorate(target: C) -> C:
            if (type_name, name) in overrides():
                self._rivals.setdefault((type_name, name), []).append(target)
                return target  # `get` takes the one that was chosen
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
            imported = self._import(entry, entry.component.cls)
            found = self._classes.get((type_name, plain))
            if any(imported is rival for rival in self._rivals.get((type_name, plain), ())):
                found = imported
            if found is None:
                raise PluginError(
                    f'{type_name} "{name}": {entry.component.cls} of {entry} is not registered '
                    f'under that name; expected @register("{type_name}", "{plain}") on the class'
                    f"{_in_file(entry.component.cls)}"
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
        imported = self._import(entry, entry.component.config)
        _intc.choose(type_name, primary, imported)
        found = _intc.registered(type_name, primary)
        if found is None:
            raise PluginError(
                f'{type_name} "{name}": {entry.component.config} of {entry} is not registered '
                f'under that name; expected @cregister("{type_name}", "{primary}") on the class'
                f"{_in_file(entry.component.config)}"
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
        chosen = self._chosen((type_name, name))
        if chosen is not None:
            return chosen.component.name
        refused = self.refusal(type_name, name)
        if refused:
            raise PluginError(refused)
        raise PluginError(self._unknown(type_name, name))

    def __contains__(self, names: Key) -> bool:
        type_name, name = names
        if names in self._classes or self._has_config(type_name, name):
            return True
        self.discover()
        return self._chosen(names) is not None

    def claims(self, type_name: str, name: str) -> list[Entry]:
        """Return all table rows that claim a name, as a name of their own or as an alias."""
        self.discover()
        return list(self._claims.get((type_name, name), ()))

    def chosen(self, type_name: str, name: str) -> Entry | None:
        """Return the row that supplies a name; None where none does, or several claim it."""
        self.discover()
        return self._chosen((type_name, name))

    def refusal(self, type_name: str, name: str) -> str:
        """Return why a name that is claimed is not used, and what to do; "" for any other."""
        claims = self._claims.get((type_name, name), [])
        claimants = " and ".join(map(str, claims))
        wanted = overrides().get((type_name, name))
        if wanted is not None and self._chosen((type_name, name)) is None:
            return (
                f'{type_name} "{name}": DLK_OVERRIDE gives it to {wanted}, which '
                f"{self._why_not(wanted)}; it is claimed by {claimants or 'nobody'}"
            )
        if len(claims) < 2 or wanted is not None:
            return ""
        origins = {claim.origin for claim in claims}
        way_out = "Uninstall one, or leave it out with DLK_DISABLE_PLUGINS."
        if "local" in origins:
            way_out = "Rename the project's own."
        if len(origins) > 1:
            first = "local" if "local" in origins else canonical(claims[0].origin)
            way_out += f' Or choose one: DLK_OVERRIDE="{type_name}.{name}={first}".'
        return f'{type_name} "{name}" is claimed by {claimants}; neither is used. {way_out}'

    def types(self) -> list[str]:
        """Return all component types, sorted."""
        return sorted({key[0] for key in (*self._keys(), *self._claims)})

    def names(self, type_name: str) -> list[str]:
        """Return the names of all components of a type, sorted; aliases are left out."""
        return sorted({key[1] for key in self._keys() if key[0] == type_name and key[1]})

    def entries(self) -> list[Entry]:
        """Return all table rows that are in use, sorted by type and name."""
        self.discover()
        used = {key: self._chosen(key) for key in self._claims}
        rows = [(key, used[key]) for key in sorted(used)]
        return [row for key, row in rows if row is not None and row.component.name == key[1]]

    @property
    def plugins(self) -> list[PluginState]:
        """All plugins found, working or not, and a project's own files that cannot be read."""
        self.discover()
        for plugin in self._plugins or []:
            state, mine = plugin.state, (plugin.state.distribution, plugin.state.version)
            used = {row.name: self._chosen((row.type, row.name)) for row in plugin.rows}
            state.components = [
                row for row in plugin.rows if (e := used[row.name]) and e.component is row
            ]
            if state.state == "loaded":
                told = (self._contest(row, mine) for row in plugin.rows)
                state.error = "; ".join(filter(None, told))
        local = [
            PluginState(f, "local", "", "failed", e, place=f, advice="mend the file")
            for f, e in self._broken.items()
        ]
        return [plugin.state for plugin in self._plugins or []] + local

    def implementations(self, hook: str) -> list[tuple[PluginState, Any]]:
        """Return the plugins that implement a hook, in the order in which they are called.

        Returns:
            State and pluggy's `HookImpl` of each. A plugin whose module fails now is left out; its
            state says why.
        """
        self.discover()
        if hook not in self._hooks:  # asked for by each request of a server
            with self._lock:
                found = [
                    (plugin.state, made)
                    for plugin in self._plugins or []
                    for made in plugin.implementations(hook)
                ]
            self._hooks[hook] = sorted(found, key=lambda pair: pair[1].trylast - pair[1].tryfirst)
        return self._hooks[hook]

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
        try:
            overrides()  # what cannot be read is told before anything is
            plugins = find_plugins()
        finally:
            self._reading = False
        for plugin in plugins:
            state = plugin.state
            for row in plugin.rows:
                self._claim(Entry(row, state.distribution, state.version, state.place))
        self._plugins = plugins

    def _claim(self, entry: Entry) -> None:
        component = entry.component
        for name in (component.name, *component.aliases):
            self._claims.setdefault((component.type, name), []).append(entry)

    def _chosen(self, key: Key) -> Entry | None:
        claims = self._claims.get(key, ())
        wanted = overrides().get(key)
        if wanted is not None:
            claims = [claim for claim in claims if canonical(claim.origin) == wanted]
        return claims[0] if len(claims) == 1 else None

    def _entry(self, type_name: str, name: str) -> Entry | None:
        self.discover()
        return self._chosen((type_name, name))

    def _contest(self, row: Component, mine: tuple[str, str]) -> str:
        """Return what is to be said of a row's name that others claim, too."""
        key = (row.type, row.name)
        claims = self._claims[key]
        if len(claims) < 2:
            return ""
        chosen = self._chosen(key)
        if chosen is None:
            return f'{row.type} "{row.name}" is claimed by {" and ".join(map(str, claims))}'
        if (chosen.origin, chosen.version) != mine:
            return f'{row.type} "{row.name}" is that of {chosen}, by DLK_OVERRIDE'
        others = " and ".join(str(claim) for claim in claims if claim is not chosen)
        return f'{row.type} "{row.name}" is used instead of that of {others}, by DLK_OVERRIDE'

    def _why_not(self, distribution: str) -> str:
        """Return why a distribution supplies none of a name, after "which"."""
        states = [plugin.state for plugin in self._plugins or []]
        state = next((s for s in states if canonical(s.distribution) == distribution), None)
        if state is None:
            return "is not installed" if distribution != "local" else "has no such name"
        if state.state != "loaded":
            return f"is {state.state}: {state.cause}".removesuffix(": ")
        return f"has no such name in its version {state.version}"

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

    def _import(self, entry: Entry, target: str) -> Any:
        """Import the module of ``module:attribute``, and return the attribute.

        Raises:
            PluginError: it cannot be imported, or is not there; the message says what to do.
        """
        module_name, _, attribute = target.partition(":")
        what = f'{entry.component.type} "{entry.component.name}" of {entry}'
        wrong = f"the table of {entry.origin} is wrong"
        wrong += f" ({entry.table}): pip install -U {entry.origin}" if entry.table else ""
        try:
            module = _import_module(module_name, entry)
        except ImportError as error:
            missing = error.name or ""
            if missing and f"{module_name}.".startswith(f"{missing}."):
                raise PluginError(f"{what}: there is no module {missing}; {wrong}") from error
            hint, top = "", missing.partition(".")[0]
            if top and not _is_there(top):
                hint = f" It needs {top}, which is missing: {_how_to_install(top, entry.origin)}"
            raise PluginError(f"{what} cannot be imported: {error}{_at(error)}.{hint}") from error
        except DlkError:
            raise
        except KeyboardInterrupt as error:
            raise KeyboardInterrupt(f"while importing {what} ({module_name})") from error
        except BaseException as error:  # a component's module may raise anything
            raise PluginError(f"{what} cannot be imported: {told(error)}{_at(error)}") from error
        if not hasattr(module, attribute):
            raise PluginError(f"{what}: {module_name} has no {attribute}; {wrong}")
        return getattr(module, attribute)

    def _unknown(self, type_name: str, name: str) -> str:
        plain = name.partition("-")[0]
        provider = KNOWN.get((type_name, name)) or KNOWN.get((type_name, plain))
        if provider:
            what = f'{type_name} "{name}" is part of {provider}'
            states = [plugin.state for plugin in self._plugins or []]
            state = next((s for s in states if s.distribution == provider), None)
            if state is None:
                return f"{what}, which is not installed: pip install {provider}"
            if state.state == "loaded":
                return f"{what}, but not of its version {state.version}: pip install -U {provider}"
            told = f"{what}, which is {state.state}: {state.cause}".removesuffix(": ")
            return f"{told}. {state.advice}".removesuffix(". ")
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
        states = [plugin.state for plugin in self._plugins or []]
        failed = [f"{state} ({state.cause})" for state in states if state.state in _UNREAD]
        if failed:
            yield f"Plugins that could not be read: {'; '.join(failed)}; see dlk plugins."
        disabled = [state.distribution for state in states if state.state == "disabled"]
        if disabled:
            yield f"Left out by DLK_DISABLE_PLUGINS: {', '.join(disabled)}."
        if self._broken:
            yield f"Not read, since it is no valid Python: {'; '.join(self._broken.values())}"


def _import_module(name: str, entry: Entry) -> ModuleType:
    from dlk._local import PREFIX, import_local

    if name in sys.modules:
        return sys.modules[name]
    with patience("the component", SLOW_S) as watch:
        row = entry.component
        watch(f'{row.type} "{row.name}" of {entry} ({name})', entry.origin)
        return import_local(name) if name.startswith(PREFIX) else importlib.import_module(name)


def _in_file(address: str) -> str:
    """Return where the class of an address stands, for the end of a message."""
    place = place_of(address)
    return f" ({place})" if place.file else ""


def _at(error: BaseException) -> str:
    place = raised_at(error)
    return f" ({place})" if place else ""


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
    if shadow():
        raise PluginError(shadow())


_refuse_shadow()
register = Registry()
"""The registry of this process: ``@register("embedding", "static")``, ``register.get(…)``."""
