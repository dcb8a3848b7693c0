"""Which plugins are installed, and their tables; one that fails is noted and keeps no other away.

Installed distributions are found by their metadata. A plugin's module is imported for its table,
which takes about a millisecond. Where there are many plugins, tables are remembered in the user's
cache folder until ``sys.path`` or one of its folders changes, as each installation does. What is
installed as editable, or failed, is never remembered.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import inspect
import json
import logging
import os
import re
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, field
from types import ModuleType
from typing import Any

from dlk._override import canonical
from dlk._sources import file_of
from dlk.errors import did_you_mean
from dlk.plugin import API, Component, Hooks

__all__ = ["Plugin", "PluginState", "find_plugins", "hook_names", "patience", "raised_at", "told"]

GROUP = "dlk"
MANY = 20
"""From this many plugins on, tables are remembered."""
SLOW_S = 2.0
"""Seconds after which a plugin module that is still being imported is named."""
_FORMAT = 1
_OWN_FILES = (
    __file__,
    os.path.join(os.path.dirname(__file__), "_hooks.py"),
    os.path.join(os.path.dirname(__file__), "plugin.py"),
    importlib.metadata.__file__,
)
_log = logging.getLogger("dlk")


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
        place: file (and line) of its module, or of what failed in it.
        advice: what to do about a failure.
        hooks: names of the hooks that it implements.
    """

    name: str
    distribution: str
    version: str
    state: str = "loaded"
    error: str = ""
    components: list[Component] = field(default_factory=list)
    place: str = ""
    advice: str = ""
    hooks: tuple[str, ...] = ()

    @property
    def cause(self) -> str:
        """The error, and where it arose."""
        return f"{self.error}, at {self.place}" if self.error and self.place else self.error

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}".rstrip()


class Plugin:
    """A plugin: its state, its table, and its module, which is imported when it is needed.

    Attributes:
        state: as `dlk plugins` shows it.
        rows: its table; empty for one that is not in use.
    """

    def __init__(self, state: PluginState, point: importlib.metadata.EntryPoint) -> None:
        self.state = state
        self.point = point
        self.rows: Sequence[Component] = ()
        self.stamps: list[list[Any]] | None = None
        self.info = ""
        self._module: Any = None  # what the entry point names: a module, or any object
        self._manager: Any = None  # a pluggy.PluginManager

    @property
    def module(self) -> str:
        """Name of its module; of an address that is none, whatever stands there."""
        return self.point.value.partition(":")[0].strip()

    def read(self) -> None:
        """Import the module and take its table; a failure goes into the state."""
        state = self.state
        try:
            with contextlib.redirect_stdout(sys.stderr):  # stdout is for results, perhaps JSON
                self._load()
                self.rows = self._table()
        except KeyboardInterrupt as error:
            raise KeyboardInterrupt(
                f"while importing plugin {state.name} of {state} ({self.point.value}); "
                f"DLK_DISABLE_PLUGINS={state.distribution} leaves it out"
            ) from error
        except BaseException as error:  # noqa: BLE001  # SystemExit, a panic of an extension, …
            self._failed(error)

    def implementations(self, hook: str) -> list[Any]:
        """Return pluggy's `HookImpl`s of a hook, in the order in which they are called."""
        if hook not in self.state.hooks:
            return []
        if self._manager is None:
            self.read()  # its table was remembered
        if self._manager is None:
            return []
        found: list[Any] = getattr(self._manager.hook, hook).get_hookimpls()
        return found[::-1]

    def _load(self) -> None:
        import pluggy

        if not self.point.pattern.match(self.point.value):
            raise ValueError(
                f'its entry point is no address: expected "module", got "{self.point.value}"'
            )
        module = self.point.load()
        if isinstance(module, ModuleType):
            self.state.place = str(module.__file__ or "")
        version = getattr(module, "API", None)
        if version is None:
            raise _IncompatibleError(
                f"states no version of the plugin protocol: expected API = {API}"
            )
        if type(version) is not int or version != API:
            raise _IncompatibleError(f"speaks plugin protocol {version!r}, this dlk speaks {API}")
        manager = pluggy.PluginManager("dlk")
        manager.add_hookspecs(Hooks)
        manager.register(module)
        callers = manager.get_hookcallers(module) or []
        if not callers:
            raise TypeError("implements no hook: expected dlk_components(), marked with @hookimpl")
        for caller in callers:
            _check_hook(caller)
        self._module, self._manager = module, manager
        self.state.hooks = tuple(
            sorted(c.name for c in callers if c.has_spec() and c.name != "dlk_components")
        )

    def _table(self) -> list[Component]:
        tables = self._manager.hook.dlk_components()
        rows = [row for table in tables for row in table]
        for row in rows:
            if not isinstance(row, Component):
                given = type(row).__name__
                raise TypeError(f"dlk_components() gives dlk.plugin.Component, got {given}")
        return rows

    def _failed(self, error: BaseException) -> None:
        state = self.state
        self._manager, self.rows, state.hooks = None, (), ()
        state.place = raised_at(error) or state.place or file_of(self.module)
        if isinstance(error, _IncompatibleError):
            state.state, state.error = "incompatible", str(error)
            version = getattr(sys.modules.get(self.module), "API", None)
            newer = isinstance(version, int) and version > API
            state.advice = f"pip install -U {'dlk-core' if newer else state.distribution}"
            return
        state.state, state.error = "failed", told(error)
        state.advice = self._advice(error)

    def _advice(self, error: BaseException) -> str:
        distribution = self.state.distribution
        missing = error.name or "" if isinstance(error, ModuleNotFoundError) else ""
        if missing and f"{self.module}.".startswith(f"{missing}."):
            folder = _editable_folder(self.info)
            if folder and not os.path.isdir(folder):
                self.state.error += f"; it is an editable install of {folder}, which is gone"
                return f"install it from where it is now, or pip uninstall {distribution}"
            if folder:
                return f"pip install -e {folder}, or pip uninstall {distribution}"
            return f"pip install --force-reinstall {distribution}, or pip uninstall {distribution}"
        if missing and file_of(missing.partition(".")[0]) == "":
            return f"pip install {missing.partition('.')[0]}"
        return f"pip install -U {distribution}, or DLK_DISABLE_PLUGINS={distribution} to do without"


def _check_hook(caller: Any) -> None:  # Any: pluggy.HookCaller
    """Refuse a hook that this dlk has not, or that cannot be called one by one."""
    for implementation in caller.get_hookimpls():
        if not caller.has_spec() and not implementation.optionalhook:
            hint = did_you_mean(caller.name, hook_names())
            raise TypeError(f'implements no hook of dlk: "{caller.name}". {hint}')
        if inspect.iscoroutinefunction(implementation.function):
            raise TypeError(f'"{caller.name}" is a coroutine: write a plain function')
        if implementation.wrapper or implementation.hookwrapper:
            raise TypeError(
                f'"{caller.name}" is a wrapper: plugins are called one by one, write '
                "dlk_before_… and dlk_after_… instead"
            )


class _IncompatibleError(Exception):
    """A plugin speaks another version of the protocol."""


def hook_names() -> list[str]:
    """Return the names of all hooks."""
    return sorted(name for name in vars(Hooks) if name.startswith("dlk_"))


def find_plugins() -> list[Plugin]:
    """Return all plugins, their tables read, in the order of their names.

    Those that ``DLK_DISABLE_PLUGINS`` names are not imported.
    """
    cache = _Cache()
    plugins = cache.read()
    if plugins is None:
        plugins = list(_installed())
    disabled = {n.strip() for n in os.environ.get("DLK_DISABLE_PLUGINS", "").split(",")}
    with patience("plugin", SLOW_S) as watch:
        for plugin in plugins:
            state = plugin.state
            if disabled & {state.name, state.distribution}:
                state.state, plugin.rows, state.hooks = "disabled", (), ()
                plugin.stamps = None
            elif plugin.stamps is None:
                watch(f"{state.name} of {state} ({plugin.point.value})", state.distribution)
                plugin.read()
    cache.write(plugins)
    return plugins


def _installed() -> Iterator[Plugin]:
    """Yield the plugins that distributions declare.

    Of a distribution that lies in two places, the first on the path counts, as for imports.
    A distribution whose metadata cannot be read is passed over: it may be anything on the machine.
    """
    found: dict[str, list[Plugin]] = {}
    for distribution in importlib.metadata.distributions():
        try:
            text = distribution.read_text("entry_points.txt")
            if not text or f"[{GROUP}]" not in text.replace(" ", ""):
                continue
            points = distribution.entry_points.select(group=GROUP)
            name, version = _name_and_version(distribution)
        except Exception:  # noqa: BLE001, S112  # damaged metadata raises many kinds
            continue
        plugins = [Plugin(PluginState(p.name, name, version), p) for p in points]
        for plugin in plugins:
            plugin.info = str(getattr(distribution, "_path", ""))
        if plugins:
            found.setdefault(canonical(name), plugins)
    everything = [plugin for plugins in found.values() for plugin in plugins]
    yield from sorted(everything, key=lambda each: (each.state.name, each.state.distribution))


def _name_and_version(distribution: importlib.metadata.Distribution) -> tuple[str, str]:
    """Return two headers of the metadata; parsing them all takes three times as long."""
    text = (distribution.read_text("METADATA") or "").partition("\n\n")[0]
    found = dict(re.findall(r"^(Name|Version):[ \t]*(.*\S)", text, re.MULTILINE))
    if len(found) == 2:
        return found["Name"], found["Version"]
    return str(distribution.name or ""), str(distribution.version or "")


# What is slow ---------------------------------------------------------------------------------


class _Watch:
    """Names what is being imported when it takes long, from a thread of its own."""

    def __init__(self, what: str, after_s: float) -> None:
        self._what, self._after_s = what, after_s
        self._current: tuple[str, str, float] | None = None
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dlk-patience", daemon=True)

    def __call__(self, name: str, distribution: str) -> None:
        self._current = (name, distribution, time.monotonic())

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._done.set()

    def _run(self) -> None:
        told = ""
        while not self._done.wait(self._after_s / 4):
            current = self._current
            if current is None or current[0] == told:
                continue
            name, distribution, since = current
            if time.monotonic() - since >= self._after_s:
                told = name
                _log.warning(
                    "still importing %s %s; Ctrl-C stops, DLK_DISABLE_PLUGINS=%s leaves it out",
                    self._what,
                    name,
                    distribution,
                )


@contextlib.contextmanager
def patience(what: str, after_s: float) -> Iterator[_Watch]:
    """Name on the log what takes longer than that; call what comes back with each thing begun."""
    watch = _Watch(what, after_s)
    watch.start()
    try:
        yield watch
    finally:
        watch.stop()


# Remembered tables ------------------------------------------------------------------------------


class _Cache:
    """Tables in a file of the user's cache folder, of use while ``sys.path`` is as it was.

    Installing and removing distributions changes the folders of ``sys.path``; of each plugin its
    module's file and its metadata are looked at, too. A file that cannot be read or written is no
    error: the tables are read from the plugins. ``DLK_PLUGIN_CACHE=off`` does without.
    """

    def __init__(self) -> None:
        self._is_on = os.environ.get("DLK_PLUGIN_CACHE", "") != "off"
        self._known = ""
        home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
        who = hashlib.sha256(f"{sys.prefix} {sys.version}".encode()).hexdigest()[:12]
        self.file = os.path.join(home, "dlk", f"plugins-{who}.json")
        self._path = [[entry, *_stamp(entry)] for entry in map(os.path.abspath, sys.path)]

    def read(self) -> list[Plugin] | None:
        """Return the plugins, those with a table remembered as read; None where of no use."""
        if not self._is_on:
            return None
        try:
            with open(self.file, encoding="utf-8") as handle:
                self._known = handle.read()
            kept = json.loads(self._known)
            if kept["format"] != [_FORMAT, API] or kept["path"] != self._path:
                return None
            return [_restored(each) for each in kept["plugins"]]
        except (OSError, ValueError, KeyError, TypeError, IndexError):
            return None

    def write(self, plugins: Sequence[Plugin]) -> None:
        """Remember the tables, where there are many."""
        if not self._is_on or len(plugins) < MANY:
            return
        kept = {
            "format": [_FORMAT, API],
            "path": self._path,
            "plugins": [_kept(plugin) for plugin in plugins],
        }
        text = json.dumps(kept, ensure_ascii=False)
        if text == self._known:
            return
        with contextlib.suppress(OSError):
            os.makedirs(os.path.dirname(self.file), exist_ok=True)
            number, aside = tempfile.mkstemp(dir=os.path.dirname(self.file))
            with os.fdopen(number, "w", encoding="utf-8") as handle:
                handle.write(text)
            os.replace(aside, self.file)


def _kept(plugin: Plugin) -> dict[str, Any]:
    state = plugin.state
    kept: dict[str, Any] = {
        "point": [plugin.point.name, plugin.point.value, plugin.point.group],
        "distribution": [state.distribution, state.version, plugin.info],
    }
    stamps = plugin.stamps
    if (
        stamps is None
        and state.state == "loaded"
        and plugin.info
        and not _editable_folder(plugin.info)
    ):
        files = [os.path.join(plugin.info, "entry_points.txt"), state.place]
        stamps = [[file, *_stamp(file)] for file in files if file]
    if stamps and len(stamps) == 2:
        table = [list(astuple(row)) for row in plugin.rows]
        kept |= {"stamps": stamps, "rows": table, "hooks": list(state.hooks)}
    return kept


def _restored(kept: dict[str, Any]) -> Plugin:
    point = importlib.metadata.EntryPoint(*kept["point"])
    distribution, version, info = kept["distribution"]
    plugin = Plugin(PluginState(point.name, distribution, version), point)
    plugin.info = info
    stamps = kept.get("stamps")
    if stamps and all(each == [each[0], *_stamp(each[0])] for each in stamps):
        plugin.stamps = stamps
        plugin.rows = [_component(*row) for row in kept["rows"]]
        plugin.state.hooks, plugin.state.place = tuple(kept["hooks"]), stamps[1][0]
    return plugin


def _component(
    type: str,
    name: str,
    config: str,
    cls: str,
    help: str,
    aliases: Iterable[str],
    needs: Iterable[str],
) -> Component:
    return Component(type, name, config, cls, help, tuple(aliases), tuple(needs))


def _stamp(path: str) -> list[int]:
    """Return what changes as a file, or the entries of a folder, change; zeros without one."""
    try:
        found = os.stat(path)
    except OSError:
        return [0, 0]
    return [found.st_mtime_ns, found.st_size]


# Telling ----------------------------------------------------------------------------------------


def told(error: BaseException) -> str:
    """Return kind and message of any error, even of one that cannot be shown."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001  # an exception class of a plugin
        text = "(its message cannot be shown)"
    return f"{type(error).__name__}: {text}"


def raised_at(error: BaseException) -> str:
    """Return file and line where it was raised, as far as that is the plugin's own code."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno or 1}"
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<")  # importlib, methods of dataclasses
        and frame.filename not in _OWN_FILES
        and f"{os.sep}importlib{os.sep}" not in frame.filename
        and f"{os.sep}pluggy{os.sep}" not in frame.filename
    ]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""


def _editable_folder(info: str) -> str:
    """Return the folder of an editable install, by its metadata; "" for any other install."""
    try:
        with open(os.path.join(info, "direct_url.json"), encoding="utf-8") as handle:
            about = json.load(handle)
        if not about["dir_info"]["editable"]:
            return ""
        from urllib.parse import unquote, urlsplit

        return unquote(urlsplit(about["url"]).path)
    except (OSError, ValueError, KeyError, TypeError):
        return ""
