"""Options of the processors."""

from __future__ import annotations

from collections.abc import Iterable

from dlk.config import (
    Base,
    BoolField,
    IntField,
    ListField,
    PathField,
    Signature,
    StrField,
    children,
    cregister,
    many,
)

__all__ = ["DefaultProcessorConfig"]


@cregister("processor", "default")
class DefaultProcessorConfig(Base):
    """Runs subprocessors in order over the splits and stores what they write."""

    feed_order = ListField(
        [],
        help="the steps in order, by alias or else name; []: as they are written",
    )
    processed_data_dir = PathField(
        "data/processed_data", help="folder of the processed splits and the meta folder"
    )
    keep = ListField(
        [],
        help="columns to store that steps otherwise make for one another alone, or not at all, "
        "such as offsets",
    )
    bad_rows = StrField(
        "stop",
        options=["stop", "reject"],
        help="what a bad row does: end the run, or go into rejects.jsonl",
    )
    chunk_size = IntField(4096, minimum=1, help="rows that are processed and written at once")
    seed = IntField(0, minimum=0, help="seed of steps that draw random numbers")
    num_workers = IntField(
        None,
        minimum=0,
        additions=[None],
        help="processes that run the steps; 0: this one alone; null: this one, joined by others "
        "where much is left to do and cores are idle. What is written is the same for any number",
    )
    shard_rows = IntField(
        1 << 20, minimum=1, help="records after which a split goes on in another file"
    )
    cache = BoolField(
        True, help="keep what steps make where that cost more than reading it again does"
    )
    cache_dir = PathField(
        "", help="folder where that is kept; empty: .dlk-cache beside processed_data_dir"
    )
    cache_mb = IntField(
        4096, minimum=1, help="megabytes to keep; what was not used for longest goes first"
    )

    children = {"subprocessor": many()}

    def order(self) -> tuple[str, ...]:
        """Return the steps' names in the order in which they run."""
        return tuple(self.feed_order) or tuple(children(self, "subprocessor"))

    def signature(self) -> Signature:
        """Reads what its steps need from outside; writes what they all write.

        Its targets are what they need beside that where the truth is known.
        """
        steps = children(self, "subprocessor")
        reads: dict[str, None] = {}
        targets: dict[str, None] = {}
        writes: dict[str, None] = {}
        meta: dict[str, None] = {}
        for name in self.order():
            signature = steps[name].signature()
            reads.update(
                dict.fromkeys(column for column in signature.reads if column not in writes)
            )
            targets.update(
                dict.fromkeys(column for column in signature.targets if column not in writes)
            )
            writes.update(dict.fromkeys(signature.writes))
            meta.update(dict.fromkeys(signature.meta))
        return Signature(
            reads=tuple(reads),
            writes=tuple(writes),
            targets=tuple(column for column in targets if column not in reads),
            meta=tuple(meta),
        )

    def rules(self) -> Iterable[tuple[str, str]]:
        """Yield what does not fit between `feed_order` and the subprocessors."""
        from dlk.errors import did_you_mean

        steps = children(self, "subprocessor")
        for name in self.feed_order:
            if name not in steps:
                yield (
                    "feed_order",
                    f'there is no step "{name}". {did_you_mean(str(name), steps)}'.rstrip(),
                )
        if self.feed_order:
            twice = {name for name in self.feed_order if list(self.feed_order).count(name) > 1}
            if twice:
                yield "feed_order", f"names {', '.join(sorted(twice))} twice"
            missing = [name for name in steps if name not in self.feed_order]
            if missing:
                yield (
                    "feed_order",
                    f"leaves out {', '.join(missing)}: name it, or take the subprocessor away",
                )
