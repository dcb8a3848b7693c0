"""Options of what is trained."""

from __future__ import annotations

from dlk.config import Base, Signature, child, cregister, one

__all__ = ["DefaultIModelConfig"]


@cregister("imodel", "default")
class DefaultIModelConfig(Base):
    """Model, loss, postprocessor, optimizer and scheduler, each by its own component."""

    children = {
        "model": one(default="basic"),
        "loss": one(),
        "postprocessor": one(default="identity"),
        "optimizer": one(default="adamw"),
        "scheduler": one(default="constant"),
    }

    def signature(self) -> Signature:
        """The postprocessor's metrics, and the loss."""
        own = child(self, "postprocessor").signature()
        return Signature(metrics=("loss", *own.metrics), columns=own.columns)
