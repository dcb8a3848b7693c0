"""Names and sizes of a batch through the parts of a model, its losses and its postprocessor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from dlk.config import Chain, Signature, children
from dlk.flow.finding import Finding, known_signature, parts_of, surveyed, title, unknown
from dlk.flow.sizes import Size, Sizes

__all__ = ["BATCH", "Names", "Tensor", "follow_loss", "follow_model", "follow_postprocessor"]

BATCH = "the batch"
"""Who made a tensor that no part of the model did."""
_PARTS = ("embedding", "encoder", "decoder", "model", "module")
_READS = ("input_map", "pred_truth_pair", "loss", "outputs")
_WIDTHS = ("input_size", "weight", "pos_weight", "label_vocab", "relation_label_vocab")
_COUNTS = ("vocab_size", "key_multi_hot")


@dataclass(frozen=True, slots=True)
class Tensor:
    """What is known of a named tensor.

    Attributes:
        source: who made it, for messages.
        width: its last size.
        ids: where it holds ids: how many there are.
    """

    source: str
    width: Size | None = None
    ids: Size | None = None


@dataclass(frozen=True, slots=True)
class Names:
    """The names of a batch at one place of the network.

    Attributes:
        tensors: what is there.
        is_open: a part before does not say what it writes, so there may be anything.
        lacking: what a part would have written if its targets were there, with the part and these.
    """

    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    is_open: bool = False
    lacking: Mapping[str, str] = field(default_factory=dict)

    def __contains__(self, name: object) -> bool:
        return self.is_open or name in self.tensors

    def width(self, name: str) -> Size | None:
        """Return the last size of a tensor, None where it is not known."""
        return self.tensors[name].width if name in self.tensors else None

    def is_of_batch(self, name: str) -> bool:
        """Return whether a tensor comes from the batch, and not from a part of the model."""
        return name in self.tensors and self.tensors[name].source == BATCH

    def ids(self, name: str) -> Size | None:
        """Return how many ids a tensor may hold, None where it is not known."""
        return self.tensors[name].ids if name in self.tensors else None

    def with_(self, tensors: Mapping[str, Tensor]) -> Names:
        """Return the names with others on top."""
        return replace(self, tensors={**self.tensors, **tensors})


def follow_model(config: Any, batch: Names, sizes: Sizes) -> tuple[Names, list[Finding]]:
    """Follow a batch through a model; return what is there behind it."""
    walk = _Walk(sizes)
    behind = walk.through(config, batch)
    return behind, walk.found


class _Walk:
    def __init__(self, sizes: Sizes) -> None:
        self.sizes = sizes
        self.found: list[Finding] = []

    def through(self, config: Any, names: Names) -> Names:
        """Return the names behind a part; what it lacks is added to `found`."""
        signature = known_signature(config)
        chains: tuple[Chain, ...] = getattr(config, "chains", tuple)()
        if signature is None and not chains:
            return replace(names, is_open=True)
        if not chains:
            assert signature is not None
            if _has_open_part(config):
                return replace(names, is_open=True)
            self._reads(config, signature, names)
            return self._written(config, signature, names)
        for chain in chains:
            inner = self._side(names, chain.side) if chain.side else names
            for part in chain.parts:
                inner = self.through(part, inner)
            self._inner_reads(config, chain, inner)
            if not chain.private:
                names = inner
        if signature is None:
            return replace(names, is_open=True)
        if all(chain.private for chain in chains):
            return self._written(config, signature, names)
        return names

    @staticmethod
    def _side(names: Names, side: str) -> Names:
        """Return the names of one side, as its parts see them."""
        own = {n.removesuffix(side): t for n, t in names.tensors.items() if n.endswith(side)}
        return Names(own, is_open=names.is_open)

    def _reads(self, config: Any, signature: Signature, names: Names) -> None:
        for name in signature.reads:
            if name not in names:
                message = f'{title(config)} reads "{name}", which is not there.'
                self.found.append(_unread(config, message, name, names))
        for name, value in signature.takes.items():
            self._same_width(config, name, self.sizes.of(value), names, value)
        for name, value in signature.ids.items():
            there, room = names.ids(name), self.sizes.of(value)
            if name in signature.reads and self.sizes.is_less(room, there):
                message = (
                    f"{title(config)} has room for {_count(room, 'ids')}, "
                    f'and "{name}" holds {_count(there, "ids")}.'
                )
                self.found.append(Finding(config, message, "sizes-disagree", value, _COUNTS))

    def _same_width(
        self, config: Any, name: str, wanted: Size | None, names: Names, value: int | str
    ) -> None:
        given = names.width(name)
        if self.sizes.differ(wanted, given):
            message = (
                f'{title(config)} takes "{name}" of width {wanted}, '
                f"and {names.tensors[name].source} gives it {given}."
            )
            self.found.append(
                Finding(config, message, "sizes-disagree", value, _WIDTHS, _number(given))
            )

    def _inner_reads(self, config: Any, chain: Chain, inner: Names) -> None:
        for name, width in chain.inner.items():
            if name not in inner:
                message = f'{title(config)} reads "{name}", which none of its parts writes.'
                self.found.append(_unread(config, message, name, inner))
            elif width is not None:
                self._same_width(config, name, self.sizes.of(width), inner, width)

    def _written(self, config: Any, signature: Signature, names: Names) -> Names:
        told = surveyed(config, signature)
        for name, width in signature.gives.items():
            true = told.gives.get(name)
            one, other = self.sizes.of(width), self.sizes.of(true)
            if self.sizes.differ(one, other):
                message = f'{title(config)} says that "{name}" is {one} wide, and it is {other}.'
                fields = ("embedding_dim", "output_size")
                self.found.append(
                    Finding(config, message, "sizes-disagree", width, fields, _number(other))
                )
                break
        for name, count in told.ids.items():
            there = names.ids(name)
            if name not in signature.ids and self.sizes.is_less(self.sizes.of(count), there):
                message = (
                    f'{title(config)} has room for {count} ids, and "{name}" holds '
                    f"{_count(there, 'ids')}: a model and a tokenizer that belong together agree."
                )
                self.found.append(
                    Finding(config, message, "sizes-disagree", None, ("pretrained_model_path",))
                )
        absent = [name for name in signature.targets if name not in names]
        left_out = signature.supervised if absent else ()
        made = {
            name: Tensor(title(config), self.sizes.of(told.gives.get(name)))
            for name in signature.writes
            if name and name not in left_out
        }
        reason = f'{title(config)} writes it only where "{absent[0]}" is' if absent else ""
        lacking = {**names.lacking, **dict.fromkeys((n for n in left_out if n), reason)}
        return replace(names.with_(made), lacking=lacking)


def _number(size: Size | None) -> tuple[str, ...]:
    return (str(size.number),) if size is not None and size.number else ()


def _count(size: Size | None, what: str) -> str:
    if size is None:
        return f"some {what}"
    return f"the {what} of {size.entry}" if size.entry and not size.number else f"{size} {what}"


def _has_open_part(config: Any) -> bool:
    """Return whether a part below, one that a network is made of, does not say what it writes."""
    return any(
        known_signature(part) is None and not getattr(part, "chains", tuple)()
        for part in parts_of(config)
        if part is not config and _is_part(part)
    )


def _is_part(config: Any) -> bool:
    from dlk.config import node_of

    return node_of(config).type in _PARTS


def _unread(config: Any, message: str, name: str, names: Names) -> Finding:
    reason = names.lacking.get(name)
    if reason:
        message = f"{message} {reason}."
        return Finding(config, message, "unknown-name", name, _READS)
    return unknown(
        config, message, "unknown-name", name=name, known=list(names.tensors), fields=_READS
    )


def follow_loss(config: Any, out: Names, sizes: Sizes) -> Iterator[Finding]:
    """Yield what a loss, or one of several, lacks of the batch and the model's outputs."""
    below = children(config, "loss")
    for part in below.values():
        yield from follow_loss(part, out, sizes)
    signature = known_signature(config)
    if below or signature is None:
        return
    yield from _reads_of_loss(config, signature, out)
    for name, value in signature.takes.items():
        wanted, given = sizes.of(value), out.width(name)
        if sizes.differ(wanted, given):
            message = f'{title(config)} weighs {wanted} classes, and "{name}" scores {given}.'
            yield Finding(config, message, "sizes-disagree", None, _WIDTHS[1:3])
    yield from scored(config, signature, out, sizes)


def _reads_of_loss(config: Any, signature: Signature, out: Names) -> Iterator[Finding]:
    given = [name for name in signature.reads if out.is_of_batch(name)]
    told = [name for name in signature.targets if name in out.tensors and not out.is_of_batch(name)]
    if given and told and not out.is_open:
        message = (
            f'{title(config)} takes "{given[0]}" of the batch for what the model says, and '
            f'"{told[0]}" of the model for the truth: turn them round.'
        )
        yield Finding(config, message, "unknown-name", given[0], _READS, (told[0],))
        return
    for name in signature.reads:
        if name not in out:
            message = f'{title(config)} reads "{name}", which the model does not write.'
            yield _unread(config, message, name, out)
    for name in signature.targets:
        if name not in out:
            message = f'{title(config)} compares with "{name}", which is not in the batch.'
            yield _unread(config, message, name, out)


def scored(config: Any, signature: Signature, out: Names, sizes: Sizes) -> Iterator[Finding]:
    """Yield outputs that score fewer classes than their targets tell apart."""
    for name, truth in signature.scores.items():
        given, ids = out.width(name), out.ids(truth)
        if sizes.is_less(given, ids):
            yield _misfit(config, name, out, f'"{truth}" tells {_count(ids, "classes")} apart', ids)
    for name, truth in signature.alike.items():
        given, width, ids = out.width(name), out.width(truth), out.ids(truth)
        if sizes.differ(given, width):
            shown = f'"{truth}" has {_count(width, "classes")}'
            yield _misfit(config, name, out, shown, width)
        elif width is None and ids is not None and given is not None and given != Size(1):
            message = f'"{truth}" holds ids: the collate\'s key_multi_hot makes rows of 0 and 1'
            yield _misfit(config, name, out, message, None)


def _misfit(config: Any, name: str, out: Names, reason: str, size: Size | None) -> Finding:
    shown = _count(out.width(name), "classes")
    message = f'"{name}" scores {shown} ({out.tensors[name].source}), and {reason}.'
    return Finding(config, message, "sizes-disagree", name, _READS, _number(size))


def follow_postprocessor(
    config: Any, out: Names, sizes: Sizes, *, has_truth: bool = True
) -> Iterator[Finding]:
    """Yield what a postprocessor lacks of the batch and the model's outputs."""
    signature = known_signature(config)
    if signature is None:
        return
    for name in signature.reads:
        if name not in out:
            message = f'{title(config)} reads "{name}", which the model does not write.'
            yield _unread(config, message, name, out)
    for name in signature.targets:
        if name not in out and has_truth:
            message = f'{title(config)} measures by "{name}", which is not in the batch.'
            yield unknown(
                config,
                message,
                "unknown-name",
                name=name,
                known=list(out.tensors),
                fields=("input_map",),
            )
    for name, value in signature.takes.items():
        wanted, given = sizes.of(value), out.width(name)
        if sizes.differ(wanted, given):
            message = (
                f'{title(config)} reads "{name}" of width {wanted} '
                f"({value}), and {out.tensors[name].source} gives it {given}."
                if isinstance(value, str)
                else f'{title(config)} reads "{name}" of width {wanted}, and '
                f"{out.tensors[name].source} gives it {given}."
            )
            yield Finding(config, message, "sizes-disagree", value, _WIDTHS, _number(given))
