"""Keys and paths of configs: ``@type@name#alias``, and dotted paths such as ``imodel.optimizer.lr``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from dlk.errors import ConfigError, Problem, did_you_mean

__all__ = ["ModuleKey", "join", "locate", "parse_key", "split_path"]

_KEY = re.compile(
    r"@(?P<type>[A-Za-z_][A-Za-z0-9_]*)(?:@(?P<name>[A-Za-z_][A-Za-z0-9_]*(?:-[A-Za-z0-9_]+)?))?(?:\#(?P<alias>[A-Za-z0-9_]+))?"
)


class ModuleKey(NamedTuple):
    """The parts of a component's key in a config."""

    type: str
    name: str = ""
    alias: str = ""

    def __str__(self) -> str:
        name = f"@{self.name}" if self.name else ""
        alias = f"#{self.alias}" if self.alias else ""
        return f"@{self.type}{name}{alias}"


def parse_key(key: str) -> ModuleKey:
    """Split ``@type@name#alias``; a ConfigError says what such a key looks like."""
    match = _KEY.fullmatch(key)
    if not match:
        raise ConfigError(f'"{key}" is no component key: expected "@type@name" or "@type@name#alias"')
    return ModuleKey(match["type"], match["name"] or "", match["alias"] or "")


def join(path: str, key: str, siblings: Iterable[str] = ()) -> str:
    """Return the config path of `key` below `path`: the type, with a ``#alias`` or name where two are alike."""
    if not key.startswith("@"):
        return f"{path}.{key}" if path else key
    own = parse_key(key)
    part = own.type
    alike = [parse_key(k) for k in siblings if k.startswith("@") and k != key]
    if any(other.type == own.type for other in alike):
        part = f"{own.type}#{own.alias}" if own.alias else f"{own.type}@{own.name}"
    return f"{path}.{part}" if path else part


def split_path(path: str) -> list[str]:
    """Split a dotted path into its parts."""
    parts = [part.strip() for part in path.split(".")]
    if not all(parts):
        raise ConfigError(f'"{path}" is no config path: expected names joined by dots, such as imodel.optimizer.lr')
    return parts


def locate(tree: Any, path: str) -> tuple[tuple[str | int, ...], list[str]]:
    """Follow a path through a config tree as far as it goes.

    A part matches a key exactly, or a component by type (``optimizer`` or ``@optimizer``), type and name
    (``@optimizer@adamw``), name (``@@adamw``), alias (``#a``) or type and alias (``subprocessor#a``); a list by index.

    Returns:
        The keys and indices found, and the parts left over (none where the whole path exists).

    Raises:
        ConfigError: a part fits several components, or nothing below the root fits and no key of that name may be made.
    """
    found: list[str | int] = []
    parts = split_path(path)
    here = tree
    for number, part in enumerate(parts):
        if isinstance(here, list):
            if not re.fullmatch(r"-?[0-9]+", part) or not -len(here) <= int(part) < len(here):
                raise ConfigError(f'{path}: "{part}" is no index into a list of {len(here)} items')
            found.append(int(part) % len(here))
            here = here[found[-1]]
            continue
        if not isinstance(here, Mapping):
            return tuple(found), parts[number:]
        key = match_key(here, part, path)
        if key is None:
            return tuple(found), parts[number:]
        found.append(key)
        here = here[key]
    return tuple(found), []


def match_key(tree: Mapping[str, Any], part: str, path: str) -> str | None:
    """Return the key of `tree` that `part` means, None where there is none."""
    if part in tree:
        return part
    matches = [key for key in tree if isinstance(key, str) and key.startswith("@") and _fits(parse_key(key), part)]
    if len(matches) > 1:
        raise ConfigError(
            f'{path}: "{part}" fits {len(matches)} components: {", ".join(sorted(matches))}. '
            "Name one by its alias (type#alias) or name (@type@name)."
        )
    return matches[0] if matches else None


def _fits(key: ModuleKey, part: str) -> bool:
    body, _, alias = part.partition("#")
    if alias and alias != key.alias:
        return False
    if not body:
        return bool(alias)
    pieces = body.removeprefix("@").split("@") if not body.startswith("@@") else ["", body[2:]]
    if body == key.alias and not alias:
        return True
    wanted_type = pieces[0]
    wanted_name = pieces[1] if len(pieces) > 1 else ""
    return (not wanted_type or wanted_type == key.type) and (not wanted_name or wanted_name == key.name)


def no_such(path: str, part: str, known: Iterable[str]) -> Problem:
    """Return the problem of a path that leads nowhere."""
    return Problem(path, f'there is no "{part}" here. {did_you_mean(part, known)}')
