"""What every network part stands on: named tensors in, named tensors out.

A module reads a read-only mapping of named tensors and returns only what it writes. Whoever calls
it merges the result (`merge`), so that a module can neither change what it was given nor hide what
it added. `input_map` and `output_map` of its config rename the names at its edge.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Literal

from torch import Tensor, nn

from dlk.errors import DlkError, did_you_mean

if TYPE_CHECKING:
    from dlk.config import Base

Batch = Mapping[str, Tensor]
"""Named tensors of one batch, read-only.

Masks are bool, true where kept; `_index` (B,) int64 is the record's number.
"""


class Module(nn.Module):
    """Base of embeddings, encoders, decoders and models.

    A subclass writes `forward`, which always runs and must run without any target, and `predict`
    only where prediction needs more than `forward` gave (a best path, generated text).
    """

    keeps_own_init: bool = False
    """True: init methods leave this module and all below it alone (its weights are pretrained)."""

    def __init__(self, config: Base | None = None) -> None:
        super().__init__()
        self.input_map: dict[str, str] = dict(getattr(config, "input_map", None) or {})
        self.output_map: dict[str, str] = dict(getattr(config, "output_map", None) or {})

    @property
    def writes(self) -> frozenset[str]:
        """The names that `output_map` declares: only these may replace a name already there."""
        return frozenset(name for name in self.output_map.values() if name)

    def read(self, x: Batch, name: str, *, width: int | None = None) -> Tensor:
        """Return the tensor that the module calls `name`, whatever the batch calls it.

        Args:
            x: the batch.
            name: the module's own name for it.
            width: what its last size must be; None: any.

        Raises:
            DlkError: the batch has no such name (the message lists those it has), or it is of
                another width.
        """
        actual = self.input_map.get(name, name)
        if actual not in x:
            raise DlkError(
                f'{type(self).__name__} reads "{actual}"{_as_mapped(name, actual)}, '
                f"which is not in the batch. {did_you_mean(actual, x)}"
            )
        tensor = x[actual]
        if width is not None and tensor.shape[-1:] != (width,):
            raise DlkError(
                f'{type(self).__name__} is made for "{actual}" of width {width} (its input_size), '
                f"and is given {tuple(tensor.shape)}"
            )
        return tensor

    def optional(self, x: Batch, name: str) -> Tensor | None:
        """Return the tensor called `name`, or None where the map gives "" or the batch has none."""
        actual = self.input_map.get(name, name)
        return x[actual] if actual and actual in x else None

    def write(self, **tensors: Tensor) -> dict[str, Tensor]:
        """Rename results through `output_map`; a result mapped to "" is left out."""
        renamed = {self.output_map.get(name, name): tensor for name, tensor in tensors.items()}
        renamed.pop("", None)
        return renamed

    def forward(self, x: Batch) -> dict[str, Tensor]:  # for subclasses
        """Return only what this module writes. Runs in every stage, with targets or without."""
        raise TypeError(f"{type(self).__name__} must define forward(self, x)")

    def predict(self, x: Batch) -> dict[str, Tensor]:  # for subclasses
        """Return what only prediction needs (default: nothing); `x` holds what `forward` wrote."""
        return {}


def merge(x: Batch, new: Mapping[str, Tensor], *, writer: nn.Module) -> Batch:
    """Return a read-only view of `x` with `new` on top.

    Args:
        x: what there was; not changed and not copied.
        new: what `writer` returned.
        writer: the module that wrote it; a name in its `writes` may replace one of `x`.

    Raises:
        DlkError: `new` replaces a name of `x` that the writer does not declare in its `output_map`.
    """
    there = [name for name in new if name in x]
    clash = sorted(set(there) - getattr(writer, "writes", frozenset())) if there else []
    if clash:
        raise DlkError(
            f"{type(writer).__name__} writes {', '.join(clash)}, which the batch already holds. "
            "Name it in the component's output_map to replace it, or give it another name there."
        )
    if isinstance(x, _Merged):
        return _Merged(x.base, {**x.written, **new}) if new else x
    return _Merged(x, dict(new))


def chain(
    modules: Iterable[Module], x: Batch, call: Literal["forward", "predict"] = "forward"
) -> dict[str, Tensor]:
    """Run modules in order, each on the batch and all that was written before it.

    Args:
        modules: parts in the order they run.
        x: the batch; with `call="predict"`, the batch merged with what `forward` wrote.
        call: which of the two steps to run.

    Returns:
        All that was written, later writers on top.
    """
    written: dict[str, Tensor] = {}
    for module in modules:
        new = module(x) if call == "forward" else module.predict(x)
        x = merge(x, new, writer=module)
        written.update(new)
    return written


class _Merged(Mapping[str, Tensor]):
    """Two layers of names; a look-up goes to the lower one only if the upper has no such name."""

    __slots__ = ("base", "written")

    def __init__(self, base: Batch, written: dict[str, Tensor]) -> None:
        self.base = base
        self.written = written

    def __getitem__(self, name: str) -> Tensor:
        return self.written[name] if name in self.written else self.base[name]

    def __contains__(self, name: object) -> bool:
        return name in self.written or name in self.base

    def __iter__(self) -> Iterator[str]:
        yield from self.written
        yield from (name for name in self.base if name not in self.written)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name}={tuple(tensor.shape)}" for name, tensor in self.items())
        return f"Batch({shapes})"


def _as_mapped(name: str, actual: str) -> str:
    return "" if name == actual else f" (its input_map names {name} so)"
