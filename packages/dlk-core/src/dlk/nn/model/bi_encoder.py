"""Two inputs through one encoder, to vectors that are compared by their angle.

Source: Reimers & Gurevych 2019, "Sentence-BERT", arXiv:1908.10084, §3: shared weights, pooling.
The learnt scale and bias of the cosine: Zhai et al. 2023, "Sigmoid Loss for Language Image
Pre-Training", arXiv:2303.15343, §3.2.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from dlk.nn.base import Batch, chain
from dlk.nn.model.base import Model
from dlk.nn.module.pooling import POOLS
from dlk.registry import register

if TYPE_CHECKING:
    from dlk.context import Setup
    from dlk.nn.model.configs import BiEncoderModelConfig

SIDES = ("a", "b")


@register("model", "bi_encoder")
class BiEncoderModel(Model):
    """One embedding and one encoder for both sides; pooled, projected, of length 1.

    What the parts read as ``input_ids`` is read as ``input_ids_a`` for one side and as
    ``input_ids_b`` for the other, and so are all names.
    """

    def __init__(self, config: BiEncoderModelConfig, setup: Setup) -> None:
        super().__init__(config)
        self.names = config.part_reads()
        self.embedding = register.build_child(config, "embedding", setup)
        self.encoder = register.build_child(config, "encoder", setup)
        self.pool = POOLS[config.pool]
        self.input_size = wide = config.input_size
        narrow = config.output_size
        self.projection = nn.Linear(wide, narrow) if wide and narrow else None
        log_scale, bias = torch.tensor(math.log(config.scale)), torch.tensor(config.bias)
        if setup.pretrained:
            register.build_child(config, "initmethod", setup)(self)
        if config.learn_scale:
            self.log_scale, self.bias = nn.Parameter(log_scale), nn.Parameter(bias)
        else:
            self.register_buffer("log_scale", log_scale, persistent=False)
            self.register_buffer("bias", bias, persistent=False)

    def forward(self, x: Batch) -> dict[str, Tensor]:
        """Compare the two sides of each row.

        Args:
            x: what embedding and encoder read, each name with ``_a`` and with ``_b`` behind it.

        Returns:
            `embedding_a` and `embedding_b` (B, D), of length 1, in float32 at least, and `logits`
            (B,), their cosine times `scale` plus `bias`.
        """
        a, b = (self._vectors(x, side) for side in SIDES)  # (B, D)
        logits = (a * b).sum(-1) * self.log_scale.exp() + self.bias  # (B,)
        return self.write(embedding_a=a, embedding_b=b, logits=logits)

    def _vectors(self, x: Batch, side: str) -> Tensor:
        """Return one side's vectors (B, D), of length 1; zero for a side that keeps nothing."""
        own = {name: self.read(x, f"{name}_{side}") for name in self.names}
        found = chain((self.embedding, self.encoder), own)
        vectors = self.pool(
            self.read(found, "embedding", width=self.input_size),
            self.read(found, "embedding_mask").bool(),
        )  # (B, D)
        if self.projection is not None:
            vectors = self.projection(vectors)
        return normalize(vectors.to(torch.promote_types(vectors.dtype, torch.float)), dim=-1)
