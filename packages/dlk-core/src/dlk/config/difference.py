"""What differs between two resolved configs, by config path."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dlk.config.keys import is_module, join, parse_key

__all__ = ["Difference", "differences"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference between two configs, the first called `before`, the second `after`.

    Attributes:
        kind: ``changed`` (a value), ``added``, ``removed``, ``replaced`` (another component stands
            there), ``renamed`` (the same component under another label), ``reordered`` (components
            of one type stand in another order).
        path: config path, as ``--set`` writes it.
        before: value in the first config; None where it has none. Of a component its values, of
            ``renamed`` and ``reordered`` the labels.
        after: value in the second config.
    """

    kind: str
    path: str
    before: Any = None
    after: Any = None


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Difference]:
    """Return the differences between two resolved configs, in the order of the first one."""
    roots = {parse_key(key).type for key in (*before, *after)}
    if len(roots) == len(before) == len(after) == 1:
        (old,), (new,) = before, after
        if _name(before[old], old) == _name(after[new], new):
            label = list(_renamed("", old, new))
            return [*label, *_inside("", before[old], after[new])]
    return list(_inside("", before, after))


def _inside(path: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Difference]:
    """Yield the differences between the values and children of two components of one name."""
    pairs = _pairs(before, after)
    for key in [*before, *(key for key in after if key not in before)]:
        if is_module(key):
            continue
        if key == "_name":
            continue
        where = join(path, key)
        if key not in after:
            yield Difference("removed", where, before[key])
        elif key not in before:
            yield Difference("added", where, after=after[key])
        else:
            yield from _value(where, before[key], after[key])
    for old, new in pairs:
        if new is None:
            yield Difference("removed", join(path, str(old), before), before[str(old)])
        elif old is None:
            yield Difference("added", join(path, new, after), after=after[new])
        else:
            where = join(path, old, before)
            if _name(before[old], old) != _name(after[new], new):
                yield Difference("replaced", where, before[old], after[new])
            else:
                yield from _renamed(where, old, new)
                yield from _inside(where, before[old], after[new])
    yield from _reordered(path, [(old, new) for old, new in pairs if old and new], after)


def _value(path: str, before: Any, after: Any) -> Iterator[Difference]:
    if isinstance(before, Mapping) and isinstance(after, Mapping) and (before or after):
        yield from _inside(path, before, after)
    elif not _same(before, after):
        yield Difference("changed", path, before, after)


def _same(before: Any, after: Any) -> bool:
    """Return whether two values are equal; 1, 1.0 and true are three values."""
    if isinstance(before, list) and isinstance(after, list):
        return len(before) == len(after) and all(map(_same, before, after))
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        return list(before) == list(after) and all(_same(before[k], after[k]) for k in before)
    return type(before) is type(after) and bool(before == after)


def _pairs(
    before: Mapping[str, Any], after: Mapping[str, Any]
) -> list[tuple[str | None, str | None]]:
    """Pair the components of two configs: by key, by alias, by name, then by type alone."""
    old = [key for key in before if is_module(key)]
    new = [key for key in after if is_module(key)]
    partner = {key: key for key in old if key in after}
    for identity in (_by_alias, _by_name, _by_type):
        left = [key for key in old if key not in partner]
        right = [key for key in new if key not in partner.values()]
        ours = [identity(before[key], key) for key in left]
        theirs = [identity(after[key], key) for key in right]
        for key, own in zip(left, ours, strict=True):
            if own and ours.count(own) == theirs.count(own) == 1:
                partner[key] = right[theirs.index(own)]
    pairs: list[tuple[str | None, str | None]] = [(key, partner.get(key)) for key in old]
    return [*pairs, *((None, key) for key in new if key not in partner.values())]


def _by_alias(_: Any, key: str) -> tuple[str, ...]:
    parsed = parse_key(key)
    return (parsed.type, parsed.alias) if parsed.alias else ()


def _by_name(values: Any, key: str) -> tuple[str, ...]:
    return _name(values, key)


def _by_type(_: Any, key: str) -> tuple[str, ...]:
    return (parse_key(key).type,)


def _name(values: Any, key: str) -> tuple[str, str]:
    """Return type and registered name of a component."""
    parsed = parse_key(key)
    named = values.get("_name") if isinstance(values, Mapping) else None
    return parsed.type, str(named or parsed.name)


def _label(key: str) -> str:
    parsed = parse_key(key)
    return parsed.name + (f"#{parsed.alias}" if parsed.alias else "")


def _renamed(path: str, old: str, new: str) -> Iterator[Difference]:
    if _label(old) != _label(new):
        where = path or parse_key(old).type
        yield Difference("renamed", where, _label(old), _label(new))


def _reordered(
    path: str, pairs: Sequence[tuple[str, str]], after: Mapping[str, Any]
) -> Iterator[Difference]:
    """Yield the types whose components stand in another order: they run in this order."""
    order = list(after)
    for type_name in dict.fromkeys(parse_key(old).type for old, _ in pairs):
        own = [new for old, new in pairs if parse_key(old).type == type_name]
        moved = sorted(own, key=order.index)
        if own != moved:
            where = join(path, f"@{type_name}")
            before = [_label(old) for old, _ in pairs if parse_key(old).type == type_name]
            yield Difference("reordered", where, before, [_label(new) for new in moved])
