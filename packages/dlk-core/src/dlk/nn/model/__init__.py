"""Models: what ties embedding, encoder and decoder together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlk._lazy import lazy

if TYPE_CHECKING:
    from dlk.nn.model.base import Model
    from dlk.nn.model.basic import BasicModel
    from dlk.nn.model.bi_encoder import BiEncoderModel

__all__ = ["BasicModel", "BiEncoderModel", "Model"]

__getattr__ = lazy(
    __name__,
    {
        "dlk.nn.model.base": ("Model",),
        "dlk.nn.model.basic": ("BasicModel",),
        "dlk.nn.model.bi_encoder": ("BiEncoderModel",),
    },
)
