"""Keys and paths of configs: ``@type@name#alias``, and dotted paths: ``imodel.optimizer.lr``."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from dlk.errors import ConfigError

__all__ = ["ModuleKey", "is_module", "join", "locate", "match_key", "parse_key", "split_path"]

_KEY = re.compile(
    r"@(?P<type>[A-Za-z_][A-Za-z0-9_]*)"
    r"(?:@(?P<name>[A-Za-z_][A-Za-z0-9_]*(?:-[A-Za-z0-9_]+)?))?"
    r"(?:\#(?P<alias>[A-Za-z0-9_]+))?"
)
_INDEX = re.compile(r"-?[0-9]+")


class ModuleKey(NamedTuple):
    """The parts of a component's key in a config."""

    type: str
    name: str = ""
    alias: str = ""

    def __str__(self) -> str:
        name = f"@{self.name}" if self.name else ""
        alias = f"#{self.alias}" if self.alias else ""
        return f"@{self.type}{name}{alias}"


@functools.lru_cache(maxsize=4096)
def parse_key(key: str) -> ModuleKey:
    """Split ``@type@name#alias``; a ConfigError says what such a key looks like."""
    match = _KEY.fullmatch(key)
    if not match:
        raise ConfigError(
            f'"{key}" is no component key: expected "@type@name" or "@type@name#alias"',
            code="component-key",
        )
    return ModuleKey(match["type"], match["name"] or "", match["alias"] or "")


def is_module(key: object) -> bool:
    """Return whether a key of a config is a component's, ``@type@name#alias``."""
    return isinstance(key, str) and _KEY.fullmatch(key) is not None


def join(path: str, key: str, siblings: Iterable[str] = ()) -> str:
    """Return the config path of `key` below `path`.

    A component is named by its type, with a ``#alias`` or ``@name`` where a sibling has its type.
    """
    part = key
    if is_module(key):
        own = parse_key(key)
        alike = (k for k in siblings if k != key and is_module(k) and parse_key(k).type == own.type)
        part = own.type
        if any(alike):
            part += f"#{own.alias}" if own.alias else f"@{own.name}"
    return f"{path}.{part}" if path else part


def split_path(path: str) -> list[str]:
    """Split a dotted path into its parts."""
    parts = [part.strip() for part in path.split(".")]
    if not all(parts):
        raise ConfigError(
            f'"{path}" is no config path: expected names joined by dots: imodel.optimizer.lr',
            code="unknown-path",
        )
    return parts


def locate(tree: Any, path: str) -> tuple[tuple[str | int, ...], list[str]]:
    """Follow a path through a config tree as far as it goes.

    A part matches a key exactly, or a component by type (``optimizer`` or ``@optimizer``), type and
    name (``@optimizer@adamw``), name (``@@adamw`` or ``@adamw``), alias (``#a`` or ``a``), type and
    alias (``subprocessor#a``); a list by index.

    Returns:
        The keys and indices found, and the parts left over (none where the whole path exists).

    Raises:
        ConfigError: a part fits several components, or is no index into its list.
    """
    found: list[str | int] = []
    parts = split_path(path)
    here = tree
    for number, part in enumerate(parts):
        key: str | int | None = None
        if isinstance(here, list):
            if not _INDEX.fullmatch(part) or not -len(here) <= int(part) < len(here):
                raise ConfigError(
                    f'"{part}" is no index into a list of {len(here)} items', code="unknown-path"
                )
            key = int(part) % len(here)
        elif isinstance(here, Mapping):
            key = match_key(here, part)
        if key is None:
            return tuple(found), parts[number:]
        found.append(key)
        here = here[key]
    return tuple(found), []


def match_key(tree: Mapping[str, Any], part: str) -> str | None:
    """Return the key of `tree` that a part of a path means, None where there is none.

    Raises:
        ConfigError: it fits several components.
    """
    for exact in (part, f"@{part}"):
        if exact in tree:
            return exact
    matches = [key for key in tree if is_module(key) and _fits(parse_key(key), part)]
    if len(matches) > 1:
        raise ConfigError(
            f'"{part}" fits {len(matches)} components: {", ".join(sorted(matches))}. '
            "Name one by its alias (type#alias) or name (@type@name).",
            code="ambiguous-path",
            suggestions=sorted(matches),
        )
    return matches[0] if matches else None


def _fits(key: ModuleKey, part: str) -> bool:
    body, _, alias = part.partition("#")
    if alias and alias != key.alias:
        return False
    if not body:
        return bool(alias)
    first, at, second = body.removeprefix("@").partition("@")
    if at:  # type@name, or @@name
        return first in ("", key.type) and second == key.name
    by_name = body.startswith("@") and first == key.name
    return first == key.type or by_name or (first == key.alias and not alias)
