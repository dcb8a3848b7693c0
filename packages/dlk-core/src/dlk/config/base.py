"""What a component's config class is made of beyond its fields: children, signature, rules."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from dlk.config._intc import MISSING, DictField, IntcBase, cregister
from dlk.config.fields import (
    AnyField,
    BoolField,
    FloatField,
    IntField,
    ListField,
    NestField,
    StrField,
)

__all__ = [
    "MISSING",
    "AnyField",
    "AssetField",
    "Base",
    "BoolField",
    "Chain",
    "Children",
    "DictField",
    "FloatField",
    "IntField",
    "ListField",
    "MapField",
    "NestField",
    "PathField",
    "Signature",
    "StrField",
    "cregister",
    "many",
    "one",
]


@dataclass(frozen=True, slots=True)
class Children:
    """How many components of a type stand below a component, and which stands there by default."""

    minimum: int
    maximum: int | None
    default: str | None = None


def one(default: str | None = None, *, optional: bool = False) -> Children:
    """Exactly one child of the type, or at most one if `optional`.

    Args:
        default: name of the component that stands there where the config names none.
        optional: there may be none.
    """
    return Children(minimum=0 if optional else 1, maximum=1, default=default)


def many(minimum: int = 0) -> Children:
    """Any number of children of the type, at least `minimum`."""
    return Children(minimum=minimum, maximum=None)


@dataclass(frozen=True, slots=True)
class Signature:
    """What a component reads and writes, as its fields say.

    Attributes:
        reads: batch names (for a subprocessor: columns) that must be there.
        writes: batch names (for a subprocessor: columns) it adds.
        passing: columns among `writes` that a subprocessor makes for the steps after it, where one
            reads them; they are stored only where the processor's `keep` names them.
        targets: batch names read only where the truth is known: training and evaluation. For a
            subprocessor, columns of the truth: those that it reads beside `reads` in the stage
            train, and is not given in the stages predict and online.
        metrics: names a callback may monitor, without the stage's prefix.
        meta: files of the meta folder that it reads or writes.
        columns: raw columns of the processed data that a postprocessor needs.
        makes: files among `meta` that a subprocessor puts there; it needs the others. None: not
            said, so any of them may be its own.
        numbers: for a file it makes, the numbers that a config may ask for, as `size`.
        supervised: names among `writes` that are there only where all `targets` are.
        searched: options of a postprocessor whose values validation is to find.
        takes: last sizes of what it reads, by batch name: a number, or the file of the meta folder
            whose entries it counts.
        gives: last sizes of what it writes, where the fields tell them.
        ids: for columns or batch names of ids, the number below which these lie, or the file of the
            meta folder that they are ids of. For a name that a collate makes of a column: that
            column.
        scores: for an output that scores classes, the batch name of the true ones' ids.
        alike: for an output, the batch name of what must have its shape.
    """

    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    passing: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    meta: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    makes: tuple[str, ...] | None = None
    numbers: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    supervised: tuple[str, ...] = ()
    searched: tuple[str, ...] = ()
    takes: Mapping[str, int | str] = field(default_factory=dict, hash=False)
    gives: Mapping[str, int] = field(default_factory=dict, hash=False)
    ids: Mapping[str, int | str] = field(default_factory=dict, hash=False)
    scores: Mapping[str, str] = field(default_factory=dict, hash=False)
    alike: Mapping[str, str] = field(default_factory=dict, hash=False)

    @classmethod
    def chain(cls, parts: Iterable[Signature]) -> Signature:
        """Return what parts that run one after the other read from outside, and all they write."""
        reads: dict[str, None] = {}
        writes: dict[str, None] = {}
        targets: dict[str, None] = {}
        supervised: dict[str, None] = {}
        gives: dict[str, int] = {}
        for part in parts:
            reads.update(dict.fromkeys(name for name in part.reads if name not in writes))
            targets.update(dict.fromkeys(name for name in part.targets if name not in writes))
            writes.update(dict.fromkeys(part.writes))
            supervised.update(dict.fromkeys(part.supervised))
            gives = {n: size for n, size in gives.items() if n not in part.writes} | {**part.gives}
        return cls(
            reads=tuple(reads),
            writes=tuple(writes),
            targets=tuple(targets),
            supervised=tuple(supervised),
            gives=gives,
        )


@dataclass(frozen=True, slots=True)
class Chain:
    """Parts of a component that run one after the other on named tensors.

    Attributes:
        parts: their config objects, in the order in which they run.
        side: ending of the names that the parts are given without it; empty: names as they are.
        inner: what the component itself reads of what its parts wrote, and its last size where the
            fields tell it.
        private: what the parts write is seen by the component alone.
    """

    parts: tuple[Any, ...]
    side: str = ""
    inner: Mapping[str, int | None] = field(default_factory=dict, hash=False)
    private: bool = False


class Base(IntcBase):
    """Base of config classes: fields as class attributes, children by type, signature, rules.

    A class registered by ``cregister`` without this base works too; any child may then stand below
    it.
    """

    children: ClassVar[Mapping[str, Children]] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        """Let fields carry annotations (``pool: str | None = StrField(…)``); attrs refuses them."""
        super().__init_subclass__(**options)
        annotations = inspect.get_annotations(cls)
        for name in [n for n in annotations if hasattr(cls.__dict__.get(n), "_default")]:
            del cls.__annotations__[name]

    def signature(self) -> Signature:
        """Return what the component reads and writes; by default what its maps name."""
        reads = getattr(self, "input_map", {}) or {}
        writes = getattr(self, "output_map", {}) or {}
        return Signature(
            reads=tuple(name for name in reads.values() if name),
            writes=tuple(name for name in writes.values() if name),
        )

    def surveyed(self) -> Signature:
        """Return the signature with what the files that the config names tell of it.

        Only `dlk check` asks for it; by default it is the signature.
        """
        return self.signature()

    def chains(self) -> tuple[Chain, ...]:
        """Return the parts that run on the batch, in order; none by default.

        A container says so, and `dlk check` can tell which of its parts lacks a name.
        """
        return ()

    def rules(self) -> Iterable[tuple[str | tuple[str, ...], str]]:
        """Yield (field, message) for fields that do not fit together; none by default.

        A place below a field, or in a child, is a tuple of keys.
        """
        return ()


def MapField(value: dict[str, str], help: str) -> dict[str, str]:
    """Return a field that renames.

    Its keys are the component's own names, and closed; the values are the names in the batch. A map
    in a config is laid over the default.
    """
    made: Any = DictField(dict(value), help=help)
    made.metadata["type_name"] = "MapField"
    made.metadata["position"] = _caller()
    result: dict[str, str] = made
    return result


def AssetField(
    value: str | None,
    help: str,
    *,
    include: tuple[str, ...] = ("*",),
    bundle: bool = True,
    hub: bool = False,
    additions: list[Any] | None = None,
) -> str:
    """Return a field that names a file or folder, relative to its config's file.

    Once the config is read, the path is absolute.

    Args:
        value: the default; ``MISSING`` for a required field.
        help: what it is for.
        include: of a folder, the files that a bundle needs (globs).
        bundle: whether a bundle needs the file at all.
        hub: a value that is no existing path may be a name on a model hub, and is left as it is.
        additions: values that are no path, such as None.
    """
    made: Any = StrField(value, help=help, additions=additions)
    made.metadata["asset"] = {"include": tuple(include), "bundle": bundle, "hub": hub}
    made.metadata["position"] = _caller()
    result: str = made
    return result


def PathField(value: str, help: str, *, additions: list[Any] | None = None) -> str:
    """Return a field that names a folder, relative to its config's file; no part of a bundle."""
    made: Any = StrField(value, help=help, additions=additions)
    made.metadata["asset"] = {"include": (), "bundle": False, "hub": False}
    made.metadata["position"] = _caller()
    result: str = made
    return result


def _caller() -> dict[str, Any]:
    frame = sys._getframe(2)
    return {"file_path": frame.f_code.co_filename, "line_no": frame.f_lineno}
