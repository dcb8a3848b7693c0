"""Options of what is trained."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dlk.config import Base, Signature, child, children, cregister, one

__all__ = ["DefaultIModelConfig"]


@cregister("imodel", "default")
class DefaultIModelConfig(Base):
    """Model, loss, postprocessor, optimizer and scheduler, each by its own component."""

    children = {  # a class attribute of a config is its declaration
        "model": one(default="basic"),
        "loss": one(),
        "postprocessor": one(default="identity"),
        "optimizer": one(default="adamw"),
        "scheduler": one(default="constant"),
    }

    def signature(self) -> Signature:
        """What evaluation measures: the loss and its terms, and the postprocessor's metrics."""
        own = child(self, "postprocessor").signature()
        terms = _terms(child(self, "loss"))
        metrics = dict.fromkeys(("loss", *terms, *own.metrics))
        return Signature(metrics=tuple(metrics), columns=own.columns)


def _terms(loss: Any) -> Iterator[str]:
    """Yield the names under which a loss and its parts are logged."""
    names = getattr(loss, "log_map", {})
    if "loss" in names:
        yield names["loss"]
    for alias, part in children(loss, "loss").items():
        yield from (f"{alias}/{name}" for name in _terms(part))
