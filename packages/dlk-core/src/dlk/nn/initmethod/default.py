"""Start values by the kind of layer.

Sources: Glorot & Bengio 2010, "Understanding the difficulty of training deep feedforward neural
networks", eq. 16 (Xavier); Ma & Hovy 2016, arXiv:1603.01354, §3.1 (embeddings: variance 1 / D); He
et al. 2015, "Delving Deep into Rectifiers", eq. 10 (Kaiming); Saxe et al. 2014, arXiv:1312.6120
(orthogonal recurrence).
"""

from __future__ import annotations

from torch import Tensor, nn

from dlk.nn.initmethod.base import InitMethod
from dlk.registry import register


@register("initmethod", "default")
class DefaultInit(InitMethod):
    """Xavier for linear layers, Kaiming for convolutions, orthogonal recurrence.

    The vectors of an embedding have a length of about 1, whatever the number of rows.
    """

    def linear(self, weight: Tensor) -> None:
        nn.init.xavier_uniform_(weight)

    def embedding(self, weight: Tensor) -> None:
        nn.init.normal_(weight, std=weight.shape[1] ** -0.5)

    def convolution(self, weight: Tensor) -> None:
        nn.init.kaiming_normal_(weight, nonlinearity="relu")

    def recurrent(self, weight: Tensor) -> None:
        nn.init.orthogonal_(weight)
