"""A mistake that is found by following an experiment, and its place in the text."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dlk.config import Signature, node_of
from dlk.config._intc import fields_of
from dlk.config.base import Base
from dlk.config.reading import Point
from dlk.config.tree import Path
from dlk.errors import Problem, did_you_mean, nearest

__all__ = [
    "Finding",
    "Places",
    "known_signature",
    "listed",
    "parts_of",
    "surveyed",
    "title",
    "unknown",
]


@dataclass(frozen=True, slots=True)
class Finding:
    """A mistake, by the component that names what is wrong.

    Attributes:
        config: the component's config object.
        message: what it names, and what there is.
        code: what kind of mistake it is.
        value: what it names: a text or a number.
        fields: fields of the component that may name it, those to look at first.
        suggestions: what could stand there instead, nearest first.
    """

    config: Any
    message: str
    code: str
    value: str | int | None = None
    fields: tuple[str, ...] = ()
    suggestions: tuple[str, ...] = ()


def unknown(
    config: Any, message: str, code: str, *, name: str, known: Sequence[str], fields: Sequence[str]
) -> Finding:
    """Return the finding of a name that is not there; the message ends with those that are."""
    hint = did_you_mean(name, known)
    text = f"{message} {hint}".rstrip()
    return Finding(config, text, code, name, tuple(fields), tuple(nearest(name, known)))


def known_signature(config: Any) -> Signature | None:
    """Return what a component says that it reads and writes; None where it does not say it.

    So it is for a class without `signature`, for one of `Base` that has neither maps nor a
    signature of its own, and for one whose signature fails.
    """
    tell = getattr(config, "signature", None)
    if tell is None:
        return None
    own = getattr(type(config), "signature", None)
    if own is Base.signature and not (
        hasattr(config, "input_map") or hasattr(config, "output_map")
    ):
        return None
    try:
        made = tell()
    except Exception:  # noqa: BLE001  # a component of somebody else's may raise anything
        return None
    return made if isinstance(made, Signature) else None


def surveyed(config: Any, signature: Signature) -> Signature:
    """Return what a component says once it has looked into the files that it names."""
    tell = getattr(config, "surveyed", None)
    if tell is None:
        return signature
    try:
        made = tell()
    except Exception:  # noqa: BLE001  # as above
        return signature
    return made if isinstance(made, Signature) else signature


def parts_of(config: Any) -> Iterator[Any]:
    """Yield a config object and all below it, parents first."""
    yield config
    for below in node_of(config).children.values():
        yield from parts_of(below)


def title(config: Any) -> str:
    """Return how a message calls a component: its name, or its type where that has none."""
    node = node_of(config)
    return node.name or node.type


def listed(names: Sequence[str]) -> str:
    """Return names for a message, at most twenty."""
    shown = ", ".join(names[:20])
    return f"{shown}, … ({len(names)} in all)" if len(names) > 20 else shown or "nothing"


class Places:
    """The components of a resolved config, and where in its text each stands."""

    def __init__(self, point: Point) -> None:
        self._point = point  # keeps the objects alive, by whose identity they are found
        self._paths: dict[int, Path] = {}
        for key, config in point.configs.items():
            self._add(config, (key,))

    def _add(self, config: Any, path: Path) -> None:
        self._paths[id(config)] = path
        for key, below in node_of(config).children.items():
            self._add(below, (*path, key))

    def __contains__(self, config: object) -> bool:
        return id(config) in self._paths

    def folder(self, config: Any, field_name: str) -> str:
        """Return the folder that a relative file name in a field starts from."""
        origin = self._point.tree.origin((*self._paths[id(config)], field_name))
        return origin.folder if origin is not None else os.getcwd()

    def written(self, config: Any, field_name: str) -> str:
        """Return a text as the config has it: a file name that is not absolute yet."""
        return str(self._point.tree.values((*self._paths[id(config)], field_name)))

    def problem(self, finding: Finding) -> Problem:
        """Return the problem at the field that names what is wrong."""
        path = self._paths[id(finding.config)]
        inner, is_key = self._inner(path, finding)
        tree = self._point.tree
        problem = tree.problem((*path, *inner), finding.message, key=is_key)
        return replace(
            problem,
            code=finding.code,
            suggestions=finding.suggestions,
            help=_help(finding.config, inner),
        )

    def _inner(self, path: Path, finding: Finding) -> tuple[Path, bool]:
        values: Mapping[str, Any] = self._point.tree.values(path)
        names = [name for name in values if not name.startswith(("@", "_"))]
        first = [name for name in finding.fields if name in names]
        for name in [*first, *(name for name in names if name not in first)]:
            if finding.value is None:
                break
            found = _found(values[name], finding.value)
            if found is not None:
                return (name, *found[0]), found[1]
        return (first[0],) if first else (), False


def _found(value: Any, wanted: str | int) -> tuple[Path, bool] | None:
    """Return the path below a value where something stands, and whether it is a key there."""
    if type(value) is type(wanted) and value == wanted:
        return (), False
    if isinstance(value, Mapping):
        for key, part in value.items():
            if key == wanted:
                return (key,), True
            found = _found(part, wanted)
            if found is not None:
                return (key, *found[0]), found[1]
    elif isinstance(value, list):
        for number, part in enumerate(value):
            found = _found(part, wanted)
            if found is not None:
                return (number, *found[0]), found[1]
    return None


def _help(config: Any, inner: Path) -> str:
    field = fields_of(type(config)).get(str(inner[0])) if inner else None
    return str(field.get("description") or "") if field else ""
