"""Which metrics a run computes: what callbacks watch and what a run is compared by.

`dlk check` asks before any data is there; `Train` asks again, once it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dlk.errors import did_you_mean, nearest

__all__ = ["EPOCH_LOSS", "missing_metric", "monitored", "reported"]

EPOCH_LOSS = "train_loss_epoch"
"""The mean training loss of an epoch: what can be watched where nothing is validated."""


def monitored(metrics: Iterable[str], *, validates: bool) -> set[str]:
    """Return the names that a callback may watch.

    Args:
        metrics: what evaluation measures, without prefix.
        validates: whether validation data is evaluated while training.
    """
    return {EPOCH_LOSS, *(f"val_{name}" for name in metrics if validates)}


def reported(metrics: Iterable[str], splits: Iterable[str]) -> list[str]:
    """Return the names of the final metrics of a run that evaluates these splits."""
    names = list(metrics)
    prefixes = [prefix for prefix, split in (("val", "valid"), ("test", "test")) if split in splits]
    return [f"{prefix}_{name}" for prefix in prefixes for name in names]


def missing_metric(
    name: str, known: Iterable[str], *, validates: bool = True
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the message and the nearest names where nothing computes a metric."""
    names = list(known)
    if name not in names:
        is_skipped = name.startswith("val_") and not validates
        why = "nothing is validated here, so " if is_skipped else ""
        hint = did_you_mean(name, names)
        yield f'{why}nothing computes "{name}". {hint}'.rstrip(), tuple(nearest(name, names))
