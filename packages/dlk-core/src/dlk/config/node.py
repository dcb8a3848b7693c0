"""Frozen config objects: what components are built from.

An object is an instance of its registered config class that can no longer be changed, lists and
dicts inside it included. It remembers its names, its config path and its children.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

import attrs

from dlk.config._intc import IntcBase, ModuleField, fields_of
from dlk.config.keys import parse_key
from dlk.config.tree import Path, Tree
from dlk.errors import ConfigError, Problem, redact
from dlk.io import local_path
from dlk.registry import register

__all__ = [
    "Node",
    "Unsound",
    "assets",
    "child",
    "children",
    "freeze",
    "ident",
    "node_of",
    "to_dict",
    "trail",
]


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
    children: Mapping[str, Any]


class FrozenList(list[Any]):
    """A list that cannot be changed."""

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("configs are immutable: copy the list first")

    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse
    append = extend = insert = pop = remove = clear = sort = reverse = _refuse

    def __reduce__(self) -> tuple[type[list[Any]], tuple[list[Any]]]:
        return list, (list(self),)

    def __deepcopy__(self, memo: dict[int, Any]) -> list[Any]:
        return [thaw(part) for part in self]


class FrozenDict(dict[str, Any]):
    """A dict that cannot be changed."""

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("configs are immutable: copy the dict first")

    __setitem__ = __delitem__ = __ior__ = _refuse
    pop = popitem = update = setdefault = clear = _refuse

    def __reduce__(self) -> tuple[type[dict[str, Any]], tuple[dict[str, Any]]]:
        return dict, (dict(self),)

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Any]:
        return {key: thaw(part) for key, part in self.items()}


def frozen(value: Any) -> Any:
    """Return the value with its lists and dicts made immutable."""
    if isinstance(value, (FrozenDict, FrozenList)):
        return value
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


class _Children(ModuleField):
    """intc's view of the children (`config._get_modules`), giving the frozen objects."""

    def __init__(self, made: Mapping[str, Any]) -> None:
        plain = {key.removeprefix("@"): config for key, config in made.items()}
        super().__init__({key: {} for key in plain})  # type: ignore[no-untyped-call]
        self.__child_module__ = plain


@functools.cache
def _frozen_class(config_class: Any) -> Any:
    """Return a subclass whose objects cannot be changed once they are built."""

    def refuse(self: Any, name: str, value: Any = None) -> None:
        if "_dlk_frozen" in self.__dict__:
            raise TypeError(f"configs are immutable: {config_class.__name__}.{name} cannot be set")
        object.__setattr__(self, name, value)

    def equal(self: Any, other: object) -> bool:
        return type(self) is type(other) and bool(_comparable(self) == _comparable(other))

    def reduce(self: Any) -> tuple[Any, ...]:
        node = self.__dict__.get("_dlk_node")
        if node is None:  # the object of a NestField
            return dict, (thaw(attrs.asdict(self)),)
        return _restored, (node.key, thaw(node.values), register.sources)

    members = {
        "__setattr__": refuse,
        "__delattr__": refuse,
        "__eq__": equal,
        "__hash__": None,
        "__reduce__": reduce,
        "__copy__": lambda self: self,
        "__deepcopy__": lambda self, _: self,
        "__module__": config_class.__module__,
        "__qualname__": config_class.__qualname__,
        "__doc__": config_class.__doc__,
    }
    return type(config_class)(config_class.__name__, (config_class,), members)


def _comparable(config: Any) -> Any:
    node = config.__dict__.get("_dlk_node")
    return attrs.asdict(config) if node is None else (node.key, node.values)


def _restored(key: str, values: dict[str, Any], sources: tuple[str, ...]) -> IntcBase:
    """Build a config object again, as pickle asks for; its config path starts at itself."""
    from dlk.config.reading import from_resolved

    register.add_local(sources)
    return from_resolved({key: values}, folder="")[key]


def _nested(config_class: Any, values: Mapping[str, Any]) -> Any:
    """Return the frozen object of a NestField."""
    made = _frozen_class(config_class)(**{k: frozen(v) for k, v in values.items()})
    return _sealed(made)


def _sealed(made: Any, unsound: Collection[str] = ()) -> Any:
    """Make what an object holds immutable, then the object itself."""
    for name in fields_of(type(made)):
        if name in unsound:
            continue
        value = getattr(made, name)
        if attrs.has(type(value)):
            inner = {n: getattr(value, n) for n in fields_of(type(value))}
            value = _nested(type(value), inner)
        object.__setattr__(made, name, frozen(value))
    made.__dict__["_dlk_frozen"] = True
    return made


@dataclass(slots=True)
class Unsound:
    """What of a tree has mistakes already, so that no rule is asked about it.

    Attributes:
        fields: names of fields by the path of their component.
        shape: paths of components whose children are not as they should be.
    """

    fields: dict[Path, set[str]] = field(default_factory=dict)
    shape: set[Path] = field(default_factory=set)


class _UnsoundError(Exception):
    """A rule asks for what has a mistake already."""


class _UnsoundChildren(Mapping[str, Any]):
    """Stands for the children of a component where some are missing or may not stand."""

    def __getitem__(self, _: str) -> NoReturn:
        raise _UnsoundError

    def __iter__(self) -> NoReturn:
        raise _UnsoundError

    def __len__(self) -> NoReturn:
        raise _UnsoundError


def freeze(tree: Tree, path: Path, problems: list[Problem], unsound: Unsound | None = None) -> Any:
    """Build the frozen config object of the component at `path` of a resolved and checked tree.

    Args:
        tree: the resolved tree.
        path: of the component.
        problems: gets what the rules of config classes and the validators of fields refuse.
        unsound: where mistakes are known already. An object with mistakes serves for the rules
            that can do without what is wrong, and for nothing else.
    """
    unsound = unsound or Unsound()
    values = tree.values(path)
    key = str(path[-1])
    parsed = parse_key(key)
    name = str(values.get("_name") or "")
    config_class: Any = register.config(parsed.type, name)
    wrong = unsound.fields.get(path, set())
    plain: dict[str, Any] = {}
    for field_name, about in fields_of(config_class).items():
        value = values[field_name]
        if "asset" in about and field_name not in wrong and isinstance(value, str) and value:
            value = _absolute(tree, (*path, field_name), value, hub=bool(about["asset"]["hub"]))
            if redact(value) != value:
                problems.append(
                    tree.problem((*path, field_name), URL_WITH_LOGIN, code="not-allowed")
                )
        plain[field_name] = value
    made = {k: freeze(tree, (*path, k), problems, unsound) for k in values if k.startswith("@")}
    sound = {k: frozen(v) for k, v in plain.items() if k not in wrong}
    instance: Any = None
    if not wrong:
        try:
            instance = _frozen_class(config_class)(**sound)
        except Exception as error:  # noqa: BLE001  # a field's own validator may raise anything
            refused = _refused(tree, path, config_class, plain)
            wrong = set(refused) or set(plain)
            message = tree.problem(path, str(error), code="not-allowed")
            problems += refused.values() or [message]
    if instance is None:
        instance = _partial(config_class, {k: v for k, v in sound.items() if k not in wrong})
    everything: dict[str, Any] = {"_name": name, **plain} if name else dict(plain)
    everything |= {k: node_of(config).values for k, config in made.items()}
    below: Mapping[str, Any] = _UnsoundChildren() if path in unsound.shape else made
    instance.submodule = _Children(made)
    node = Node(parsed.type, name, key, tree.name(path), frozen(everything), below)
    instance.__dict__["_dlk_node"] = node
    _sealed(instance, wrong)
    problems += _broken_rules(tree, path, instance)
    return instance


def _partial(config_class: Any, values: Mapping[str, Any]) -> Any:
    """Return an object of a config class with some fields only; a look at another raises."""
    made = object.__new__(_partial_class(config_class))
    for attribute in attrs.fields(config_class):
        if attribute.name in values:
            value = values[attribute.name]
            if attribute.converter is not None:
                value = attribute.converter(value)
            object.__setattr__(made, attribute.name, value)
    return made


@functools.cache
def _partial_class(config_class: Any) -> Any:
    base = _frozen_class(config_class)

    def missing(_: Any, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        raise _UnsoundError

    return type(base)(config_class.__name__, (base,), {"__getattr__": missing})


def _broken_rules(tree: Tree, path: Path, instance: Any) -> Iterator[Problem]:
    """Yield what the rules between fields refuse, up to the first that asks for what is wrong."""
    rules = getattr(type(instance), "rules", None)
    if rules is None:
        return
    try:
        for field_name, message in rules(instance):
            inner = tuple(field_name.split(".")) if isinstance(field_name, str) else field_name
            where = (*path, *(part for part in inner if part))
            note = fields_of(type(instance)).get(inner[0], {}).get("description") or ""
            yield tree.problem(where, message, code="rule", help=str(note))
    except _UnsoundError:
        return
    except ConfigError as error:  # a rule asked for the one child of a name, and there are two
        yield from (tree.problem(path, p.message, code="rule") for p in error.problems)


def _refused(
    tree: Tree, path: Path, config_class: type[Any], values: Mapping[str, Any]
) -> dict[str, Problem]:
    """Return a problem by name for each field whose converter refuses its value."""
    found = {}
    for attribute in attrs.fields(config_class):
        if attribute.name not in values or attribute.converter is None:
            continue
        try:
            attribute.converter(values[attribute.name])
        except Exception:  # noqa: BLE001  # as above
            value, note = values[attribute.name], attribute.metadata.get("description") or "no help"
            message = f"{value!r} is not allowed ({note})"
            found[attribute.name] = tree.problem(
                (*path, attribute.name), message, code="not-allowed", help=str(note)
            )
    return found


URL_WITH_LOGIN = (
    "a URL with a user, password or query: configs are kept beside runs and in bundles. Leave it "
    "out, and give it by fsspec's settings, such as FSSPEC_FTP_USERNAME and FSSPEC_FTP_PASSWORD"
)


def _absolute(tree: Tree, path: Path, value: str, *, hub: bool) -> str:
    value = local_path(value)
    if "://" in value or os.path.isabs(value):
        return value
    origin = tree.origin(path)
    folder = origin.folder if origin else os.getcwd()
    if "://" in folder:
        return f"{folder}/{value}"
    full = os.path.normpath(os.path.join(folder, os.path.expanduser(value)))
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
        given = type(config).__name__
        raise TypeError(f"expected a config object made by dlk.config.make or load, got {given}")
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
                message = f'two {type_name} are called "{label}"; give them an #alias each'
                raise ConfigError([Problem(node_of(config).path, message, code="repeated-key")])
            found[label] = config_object
    return found


def child(config: IntcBase, type_name: str) -> Any:
    """Return the config object of the one child of a type, None where there is none."""
    found = list(children(config, type_name).values())
    if len(found) > 1:
        message = f"expected one {type_name}, got {len(found)}"
        raise ConfigError([Problem(node_of(config).path, message, code="too-many-children")])
    return found[0] if found else None


def to_dict(config: IntcBase) -> dict[str, Any]:
    """Return the resolved values of a config object as plain JSON: ``{"@type@name": {…}}``."""
    node = node_of(config)
    result: dict[str, Any] = {node.key: thaw(node.values)}
    return result


def trail(root: IntcBase, part: IntcBase) -> tuple[str, ...]:
    """Return the keys that lead to a part of a config object, its own key first.

    Raises:
        ValueError: the part, this very object, is not below `root`.
    """
    if part is root:
        return (node_of(root).key,)
    for below in node_of(root).children.values():
        try:
            return (node_of(root).key, *trail(below, part))
        except ValueError:
            continue
    raise ValueError(f"{node_of(part).path} is no part of {node_of(root).path}")


def assets(config: IntcBase) -> list[tuple[IntcBase, str, Mapping[str, Any]]]:
    """Return config object, field name and description of every file that a config names."""
    node = node_of(config)
    found = [
        (config, name, about["asset"])
        for name, about in fields_of(type(config)).items()
        if "asset" in about and getattr(config, name)
    ]
    for config_object in node.children.values():
        found += assets(config_object)
    return found
