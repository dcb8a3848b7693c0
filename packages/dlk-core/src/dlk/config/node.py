"""Frozen config objects: what components are built from.

An object is an instance of its registered config class that can no longer be changed, lists and dicts inside it
included. It remembers its names, its config path and its children.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from dlk.config._intc import IntcBase, ModuleField, fields_of
from dlk.config.keys import parse_key
from dlk.config.tree import Path, Tree
from dlk.errors import ConfigError, Problem

__all__ = ["Node", "assets", "child", "children", "freeze", "ident", "node_of", "to_dict"]


@dataclass(frozen=True, slots=True)
class Node:
    """What a config object knows about itself.

    Attributes:
        type: the component's type.
        name: its registered name, a part after ``-`` included.
        key: its key in the config.
        path: its config path.
        values: its resolved values as plain JSON, children included; file names absolute.
        children: its children's config objects by key.
    """

    type: str
    name: str
    key: str
    path: str
    values: Mapping[str, Any]
    children: Mapping[str, IntcBase]


class FrozenList(list[Any]):
    """A list that cannot be changed."""

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("configs are immutable: copy the list first")

    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse  # type: ignore[assignment]
    append = extend = insert = pop = remove = clear = sort = reverse = _refuse  # type: ignore[assignment]

    def __reduce__(self) -> tuple[type[list[Any]], tuple[list[Any]]]:
        return list, (list(self),)

    def __deepcopy__(self, memo: dict[int, Any]) -> list[Any]:
        return thaw(self)  # type: ignore[no-any-return]


class FrozenDict(dict[str, Any]):
    """A dict that cannot be changed."""

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("configs are immutable: copy the dict first")

    __setitem__ = __delitem__ = __ior__ = _refuse  # type: ignore[assignment]
    pop = popitem = update = setdefault = clear = _refuse  # type: ignore[assignment]

    def __reduce__(self) -> tuple[type[dict[str, Any]], tuple[dict[str, Any]]]:
        return dict, (dict(self),)

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Any]:
        return thaw(self)  # type: ignore[no-any-return]


def frozen(value: Any) -> Any:
    """Return the value with its lists and dicts made immutable."""
    if isinstance(value, dict):
        return FrozenDict({k: frozen(v) for k, v in value.items()})
    if isinstance(value, (list, tuple)):
        return FrozenList([frozen(v) for v in value])
    return value


def thaw(value: Any) -> Any:
    """Return a plain, changeable copy of a value of a config."""
    if isinstance(value, Mapping):
        return {k: thaw(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [thaw(v) for v in value]
    return value


class _Children(ModuleField):  # type: ignore[misc]  # intc ships no types
    """intc's view of the children, giving the frozen objects."""

    def __init__(self, child_data: dict[str, Any], made: Mapping[str, IntcBase]) -> None:
        super().__init__(child_data)
        self.__child_module__ = {key.removeprefix("@"): config for key, config in made.items()}


@functools.cache
def _frozen_class(config_class: type[IntcBase]) -> type[IntcBase]:
    def refuse(self: Any, name: str, value: Any = None) -> None:
        if "_dlk_node" in self.__dict__:
            raise TypeError(f"configs are immutable: {config_class.__name__}.{name} cannot be set")
        object.__setattr__(self, name, value)

    members = {"__setattr__": refuse, "__delattr__": refuse, "__module__": config_class.__module__, "__doc__": config_class.__doc__}
    made: type[IntcBase] = type(config_class)(config_class.__name__, (config_class,), members)
    return made


def freeze(tree: Tree, path: Path) -> IntcBase:
    """Build the frozen config object of the component at `path` of a resolved and checked tree.

    Raises:
        ConfigError: a rule of a config class, or a converter of a field, refuses the values.
    """
    from dlk.registry import register

    values: Any = tree.root
    for part in path:
        values = values[part]
    key = str(path[-1])
    parsed = parse_key(key)
    name = str(values.get("_name") or "")
    config_class = register.config(parsed.type, name)
    fields = fields_of(config_class)
    plain: dict[str, Any] = {}
    for field_name, field in fields.items():
        value = values[field_name]
        if "asset" in field and isinstance(value, str) and value:
            value = _absolute(tree, (*path, field_name), value, hub=bool(field["asset"]["hub"]))
        plain[field_name] = value
    made = {k: freeze(tree, (*path, k)) for k in values if k.startswith("@")}
    try:
        instance = _frozen_class(config_class)(**{k: frozen(v) for k, v in plain.items()})
    except Exception as error:  # a field's own validator may raise anything
        raise ConfigError([tree.problem(path, str(error))]) from error
    everything: dict[str, Any] = {"_name": name, **plain} if name else dict(plain)
    everything |= {k: node_of(config).values for k, config in made.items()}
    for field_name in fields:
        object.__setattr__(instance, field_name, frozen(getattr(instance, field_name)))
    object.__setattr__(instance, "submodule", _Children({k.removeprefix("@"): everything[k] for k in made}, made))
    node = Node(parsed.type, name, key, tree.name(path), FrozenDict(frozen(everything)), made)
    instance.__dict__["_dlk_node"] = node
    problems = [
        tree.problem((*path, field_name) if field_name else path, message)
        for field_name, message in getattr(instance, "rules", tuple)()
    ]
    if problems:
        raise ConfigError(problems)
    return instance


def _absolute(tree: Tree, path: Path, value: str, *, hub: bool) -> str:
    if "://" in value or os.path.isabs(value):
        return value
    origin = tree.origin(path)
    full = os.path.normpath(os.path.join(origin.folder if origin else os.getcwd(), os.path.expanduser(value)))
    if hub and not os.path.exists(full) and not value.startswith((".", "~")):
        return value
    return full


def node_of(config: IntcBase) -> Node:
    """Return what a config object knows about itself.

    Raises:
        TypeError: the object was not made by dlk: use `dlk.config.make`.
    """
    node = getattr(config, "_dlk_node", None)
    if not isinstance(node, Node):
        raise TypeError(
            f"expected a config object made by dlk.config.make or read from a file, got {type(config).__name__}"
        )
    return node


def ident(config: IntcBase) -> tuple[str, str]:
    """Return type and name of the component that a config object is for."""
    node = node_of(config)
    return node.type, node.name


def children(config: IntcBase, type_name: str) -> dict[str, Any]:
    """Return the children of one type in order, by alias, or by name where there is no alias."""
    found: dict[str, Any] = {}
    for key, config_object in node_of(config).children.items():
        parsed = parse_key(key)
        if parsed.type == type_name:
            label = parsed.alias or parsed.name
            if label in found:
                raise ConfigError([Problem(node_of(config).path, f'two {type_name} are called "{label}"')])
            found[label] = config_object
    return found


def child(config: IntcBase, type_name: str) -> Any:
    """Return the config object of the one child of a type, None where there is none."""
    found = list(children(config, type_name).values())
    if len(found) > 1:
        raise ConfigError([Problem(node_of(config).path, f"expected one {type_name}, got {len(found)}")])
    return found[0] if found else None


def to_dict(config: IntcBase) -> dict[str, Any]:
    """Return the resolved values of a config object as plain JSON: ``{"@type@name": {…}}``."""
    node = node_of(config)
    result: dict[str, Any] = {node.key: thaw(node.values)}
    return result


def assets(config: IntcBase) -> list[tuple[IntcBase, str, Mapping[str, Any]]]:
    """Return config object, field name and asset description of every file that a config and its children name."""
    node = node_of(config)
    found = [
        (config, name, field["asset"])
        for name, field in fields_of(type(config)).items()
        if "asset" in field and getattr(config, name)
    ]
    for config_object in node.children.values():
        found += assets(config_object)
    return found
