"""Options of the data modules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from dlk.config import Base, BoolField, IntField, Signature, child, cregister, node_of, one
from dlk.errors import did_you_mean

__all__ = ["DefaultDataModuleConfig"]


@cregister("datamodule", "default")
class DefaultDataModuleConfig(Base):
    """Batches: shuffled and grouped by length for training, otherwise in row order or by length."""

    train_batch_size = IntField(32, minimum=1, help="records in a training batch")
    predict_batch_size = IntField(
        32, minimum=1, help="records in a batch of validation, test and prediction"
    )
    num_workers = IntField(
        0,
        minimum=-1,
        help="processes that make batches; 0: the training process itself; -1: one per core",
    )
    shuffle = BoolField(True, help="whether training records come in a new order each epoch")
    window = IntField(
        20,
        minimum=0,
        help="batches sorted by length together, so that little is padded; 0: plain shuffle",
    )
    max_tokens = IntField(
        0,
        minimum=0,
        help="tokens of a training batch, at most, in place of train_batch_size: records times the "
        "tokens of the longest, so there are more short ones in a batch; a record of more tokens "
        "is alone. Tokens are items of the columns in gen_mask. 0: a fixed number of records",
    )
    predict_window = IntField(
        0,
        minimum=0,
        help="batches of validation, test and prediction sorted by length together, so that little "
        "is padded; 0: all in row order",
    )
    drop_last = BoolField(False, help="whether an incomplete last training batch is left out")
    pin_memory = BoolField(
        None,
        additions=[None],
        help="whether batches lie in page-locked memory; null: where there is a GPU",
    )

    children = {"dataset": one(default="default"), "data_collate": one(default="default")}

    def signature(self) -> Signature:
        """Reads the dataset's columns; writes them, the masks and `_index`."""
        rows = child(self, "dataset").signature()
        joined = child(self, "data_collate").signature()
        return Signature(
            reads=rows.reads,
            writes=tuple(dict.fromkeys((*rows.writes, *joined.writes))),
            gives=joined.gives,
            ids=joined.ids,
        )

    def rules(self) -> Iterable[tuple[str | tuple[str, ...], str]]:
        """Yield columns that the collate names and the dataset does not have."""
        collate = child(self, "data_collate")
        columns = child(self, "dataset").signature().writes
        for name in collate.signature().reads:
            if name not in columns:
                hint = did_you_mean(name, columns)
                message = f'data_collate names "{name}", which the dataset does not have. {hint}'
                yield _place(collate, name), message
        for mask in collate.signature().writes:
            if mask in columns:
                message = f'data_collate makes the mask "{mask}", which is a column of the dataset'
                yield _place(collate, mask), message
        if self.max_tokens and self.shuffle and not self.window:
            yield (
                "max_tokens",
                "a budget of tokens needs records of like length in a batch: "
                "set window to 1 or more (20 is the default), or shuffle to false",
            )


def _place(config: Any, name: str) -> tuple[str, ...]:
    """Return the keys that lead to a name in a field of a child."""
    node = node_of(config)
    for key, value in node.values.items():
        if isinstance(value, Mapping) and (name in value or name in value.values()):
            return (node.key, key, name)
        if isinstance(value, list) and name in value:
            return (node.key, key)
    return (node.key,)
