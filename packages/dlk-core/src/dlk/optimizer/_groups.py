"""Groups of parameters: which goes where, by patterns on names. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from dlk.errors import did_you_mean

Check = Callable[[str, object], Iterator[str]]


def mistakes(groups: Mapping[str, Any], *, rest: str, check: Check) -> Iterator[str]:
    """Yield what is wrong with `optimizer_special_groups`, without knowing the model.

    Args:
        groups: the field as given.
        rest: name of the group of all other parameters.
        check: yields what is wrong with one setting, by its name and value.
    """
    if not groups:
        return
    order = groups.get("order")
    names = [name for name in groups if name != "order"]
    if not isinstance(order, list) or not all(isinstance(name, str) for name in order):
        yield f'expected "order": a list of group names, got {order!r}.'
        return
    for name in order:
        if name not in names:
            yield f'order names "{name}", which is no group. {did_you_mean(name, names)}'
    for name in names:
        if order.count(name) != 1:
            yield f'order must name the group "{name}" once, it does {order.count(name)} times.'
        if name == rest:
            yield f'"{name}" is the group of all other parameters (field name): take another name.'
        yield from _group_mistakes(name, groups[name], check)


def _group_mistakes(name: str, group: Any, check: Check) -> Iterator[str]:
    if not isinstance(group, Mapping) or set(group) != {"config", "pattern"}:
        yield f'group "{name}": expected {{config: {{…}}, pattern: […]}}, got {group!r}.'
        return
    if not isinstance(group["config"], Mapping):
        yield f'group "{name}": expected config to be an object, got {group["config"]!r}.'
    else:
        for setting, value in group["config"].items():
            for message in check(setting, value):
                yield f'group "{name}", {setting}: {message}'
    if not as_patterns(group["pattern"]):
        yield f'group "{name}": expected a regular expression or a list of them as pattern.'
    for pattern in as_patterns(group["pattern"]):
        try:
            re.compile(pattern)
        except re.error as error:
            yield f'group "{name}": "{pattern}" is no regular expression: {error}.'


def as_patterns(pattern: object) -> list[str]:
    """Return the patterns of a group: one text or a list of texts; none where it is neither."""
    if isinstance(pattern, str):
        return [pattern]
    if isinstance(pattern, Sequence) and all(isinstance(p, str) for p in pattern):
        return list(pattern)
    return []
