"""The graph of a bundle's model: which names go in and come out, and which of their sizes change.

Neither is declared anywhere for a model as a whole, so both are seen: the model runs on batches of
the bundle's own rows, of several sizes and lengths.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dlk.errors import DlkError
from dlk.inference import Columns, Engine, add_prediction, infer
from dlk.nn.base import Batch, merge

__all__ = ["ExportError", "Graph", "Seen", "batches_of", "edges_of", "look"]

STRETCHES = (1, 2, 4)
SIZES = (1, 3, 8)


class ExportError(DlkError):
    """A model that cannot be exported, or does not compute the same once it is."""


class Graph(nn.Module):
    """A model between named tensors in their order and the outputs asked for.

    Args:
        model: in evaluation mode.
        inputs: names of the batch, in the order of `forward`'s arguments.
        outputs: names of what it writes, in the order of `forward`'s results.
        predicts: whether the model's `predict` runs after its `forward`.
    """

    def __init__(
        self, model: nn.Module, inputs: Sequence[str], outputs: Sequence[str], *, predicts: bool
    ) -> None:
        super().__init__()
        self.model = model
        self.inputs, self.outputs, self.predicts = tuple(inputs), tuple(outputs), predicts

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs, each as the model writes it."""
        batch = dict(zip(self.inputs, tensors, strict=True))
        if self.predicts:
            out = infer(self.model, batch)
        else:
            out = merge(batch, self.model(batch), writer=self.model)
        return tuple(out[name] for name in self.outputs)


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of a model.

    Attributes:
        inputs: names of the batch that it reads, in `forward` or `predict`.
        to_emit: names of the batch that `forward` alone reads.
        outputs: names that the postprocessor reads and the model writes.
        emitted: of these, what `forward` writes, and what `predict` read of it besides.
        passed: names that the postprocessor reads as they stand in the batch.
        decoded: outputs that only `predict` writes.
        axes: by name, the name of each size that changes, "" for those that do not.
        dtypes: by name.
    """

    inputs: tuple[str, ...]
    to_emit: tuple[str, ...]
    outputs: tuple[str, ...]
    emitted: tuple[str, ...]
    passed: tuple[str, ...]
    decoded: tuple[str, ...]
    axes: Mapping[str, tuple[str, ...]]
    dtypes: Mapping[str, torch.dtype]


class _Watched(Mapping[str, Tensor]):
    """A batch that remembers which of its names were read."""

    def __init__(self, batch: Mapping[str, Tensor]) -> None:
        self.batch, self.read = batch, dict[str, None]()

    def __getitem__(self, name: str) -> Tensor:
        self.read[name] = None
        return self.batch[name]

    def __contains__(self, name: object) -> bool:
        return name in self.batch

    def __iter__(self) -> Iterator[str]:
        return iter(self.batch)

    def __len__(self) -> int:
        return len(self.batch)


def batches_of(engine: Engine, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Tensor]]:
    """Return batches of 1, 3 and 8 records, each at several lengths, made of a bundle's rows.

    Raises:
        ExportError: the rows give no records.
    """
    found: list[dict[str, Tensor]] = []
    for times in STRETCHES:
        columns: dict[str, list[Any]] = {
            name: [_stretched(row.get(name), times) for row in rows] for name in rows[0]
        }
        records = engine.prepare(columns).records
        if not records.get("_row"):
            continue
        order = sorted(range(len(records["_row"])), key=engine.lengths_of(records).__getitem__)
        for size in SIZES:
            # the shortest of each length alone; as many as there are, then again from the first
            picked = [order[number % len(order)] for number in range(size)]
            taken: Columns = {
                name: [values[at] for at in picked] for name, values in records.items()
            }
            found.append(engine.datamodule.batch(taken))
    if not found:
        raise ExportError("none of the bundle's golden rows can be processed: there is no example")
    return found


def edges_of(engine: Engine, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Tensor]]:
    """Return batches at the edge of what there is: of one word, of no text, of very long ones.

    Those that cannot be made, or that the model itself cannot take, are left out.
    """
    found: list[dict[str, Tensor]] = []
    for times, size in ((-1, 1), (0, 1), (0, 3), (16, 1)):
        columns: dict[str, list[Any]] = {
            name: [_stretched(row.get(name), times) for row in rows[:size]] for name in rows[0]
        }
        try:
            records = engine.prepare(columns).records
            if not records.get("_row"):
                continue
            batch = engine.datamodule.batch(records)
            with torch.no_grad():
                infer(engine.model, batch)
        except Exception:  # noqa: BLE001, S112 - odd texts may raise anything; none is promised
            continue
        found.append(batch)
    return found


def look(engine: Engine, batches: Sequence[Mapping[str, Tensor]]) -> Seen:
    """Run the model on batches and say what it reads and writes.

    Raises:
        ExportError: it writes nothing that the postprocessor reads.
    """
    reads: dict[str, None] = {}
    shapes: dict[str, list[tuple[int, ...]]] = {}
    dtypes: dict[str, torch.dtype] = {}
    wanted = tuple(engine.signature.reads)
    inputs: dict[str, None] = {}
    to_emit: dict[str, None] = {}
    written: dict[str, None] = {}
    decoded: dict[str, None] = {}
    for batch in batches:
        watched = _Watched(batch)
        with torch.no_grad():
            new = engine.model(watched)
            to_emit.update(watched.read)
            inputs.update(watched.read)
            forwarded = _Watched(merge(batch, new, writer=engine.model))
            out: Batch = add_prediction(engine.model, forwarded)
        inputs.update((name, None) for name in forwarded.read if name not in new)
        reads.update((name, None) for name in forwarded.read if name in new)
        written.update((name, None) for name in wanted if name in new)
        decoded.update((name, None) for name in wanted if name not in new and name not in batch)
        names = dict.fromkeys((*inputs, *(name for name in wanted if name in out), *reads))
        for name in names:
            shapes.setdefault(name, []).append(tuple(out[name].shape))
            dtypes[name] = out[name].dtype
    passed = tuple(name for name in wanted if name not in written and name not in decoded)
    inputs.pop("_index", None)
    if not written and not decoded:
        raise ExportError(
            f"the postprocessor reads {', '.join(wanted) or 'nothing'}, and the model writes none "
            "of it: there is nothing to export"
        )
    return Seen(
        inputs=tuple(inputs),
        to_emit=tuple(name for name in to_emit if name in inputs),
        outputs=(*written, *decoded),
        emitted=tuple(dict.fromkeys((*written, *reads))),
        passed=passed,
        decoded=tuple(decoded),
        axes=_axes(shapes),
        dtypes=dtypes,
    )


def _axes(shapes: Mapping[str, Sequence[tuple[int, ...]]]) -> dict[str, tuple[str, ...]]:
    """Return the names of sizes that change; those that change together have one name.

    The first size that changes is "batch", the next "length", then "length_2" and so on.
    """
    names: dict[tuple[int, ...], str] = {}
    axes: dict[str, tuple[str, ...]] = {}
    for name, seen in shapes.items():
        if len({len(shape) for shape in seen}) > 1:
            raise ExportError(f'"{name}" has not the same number of sizes in every batch')
        own = []
        for sizes in zip(*seen, strict=True):
            if len(set(sizes)) == 1:
                own.append("")
                continue
            if sizes not in names:
                number = len(names)
                names[sizes] = ("batch", "length")[number] if number < 2 else f"length_{number}"
            own.append(names[sizes])
        axes[name] = tuple(own)
    return axes


def _stretched(value: Any, times: int) -> Any:
    """Return a text, or a list of words, said several times over; -1: the first word alone."""
    if isinstance(value, str):
        return " ".join(value.split()[:1] if times < 0 else [value] * times)
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return value[:1] if times < 0 else value * times
    return value
