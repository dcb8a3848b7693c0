"""The states of any encoder of transformers, by piece or by word.

Sources: Devlin et al. 2019, arXiv:1810.04805 (BERT, and its many kin); Peters et al. 2018,
arXiv:1802.05365, eq. 1 (the learnt sum of layers).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, Self

import torch
from torch import Tensor, nn

from dlk import hf
from dlk.errors import ConfigError, DlkError
from dlk.nlp.module.logits_gather import LogitsGather
from dlk.nn.base import Batch
from dlk.nn.layer.embedding.base import Embedding
from dlk.registry import register

if TYPE_CHECKING:
    from dlk.context import Setup
    from dlk.nlp.embedding.configs import BertLikeEmbeddingConfig


@register("embedding", "bert_like")
class BertLikeEmbedding(Embedding):
    """States of the last layer, or of several together, by piece or, with `gather_index`, by word.

    With `freeze` the encoder has no trainable parameter and stays in evaluation mode; the weights
    of a learnt sum of layers still learn. Blocks above all layers that are read are not built, but
    for one that stays frozen where the model has a norm behind its last block, which the layers
    below must not go through.
    """

    keeps_own_init = True

    def __init__(self, config: BertLikeEmbeddingConfig, setup: Setup) -> None:
        super().__init__(config)
        path, pooling = config.pretrained_model_path, config.layer_pooling
        whole = not (config.layers or config.gather_layer) and pooling == "last"
        chosen = _Chosen() if whole else _chosen(config)
        self.bert = hf.load_encoder(
            path, pretrained=setup.pretrained and config.from_pretrain, layers=chosen.top
        )
        width = hf.hidden_size(self.bert)
        if config.embedding_dim not in (0, width):
            raise ConfigError(
                f'bert_like.embedding_dim: the model in "{path}" writes '
                f"states of width {width}, got {config.embedding_dim}."
            )
        self.layers = None if pooling == "last" else chosen.joined
        self.mix = ScalarMix(len(chosen.joined)) if pooling == "mix" else None
        self.pick = LogitsGather(chosen.named) if chosen.named else None
        self.gather = config.gather
        self.dropout = nn.Dropout(config.dropout)
        self.freeze = config.freeze
        if self.freeze:
            self.bert.requires_grad_(False)
            self.bert.eval()

    def train(self, mode: bool = True) -> Self:
        """Switch to training or evaluation; a frozen encoder stays in evaluation mode."""
        super().train(mode)
        if self.freeze:
            self.bert.eval()
        return self

    def forward(self, x: Batch) -> dict[str, Tensor]:
        """Run the encoder.

        Args:
            x: holds `input_ids` (B, T) int64, `attention_mask` (B, T) bool, `type_ids` (B, T)
                int64 unless mapped to "", and, where they are mapped, `gather_index` (B, W) int64:
                positions in [0, T), or -1 for padding; and `word_index` (B, T) int64: numbers of
                words in [0, W), or -1 for none.

        Returns:
            `embedding` (B, T, D) and `embedding_mask` (B, T) bool; with `gather_index` (B, W, D)
            and (B, W). The names of `gather_layer` have the embedding's shape. States that are not
            kept are zero.
        """
        ids = self.read(x, "input_ids")
        mask = self.read(x, "attention_mask").bool()
        types = self._types(x)
        found: dict[str, Tensor] = {}
        if self.layers is None and self.pick is None:
            states = hf.encode(self.bert, ids, mask, types)  # (B, T, D)
        else:
            every = hf.encode_layers(self.bert, ids, mask, types)
            states = self._joined(every)  # (B, T, D)
            found = self.pick(every) if self.pick is not None else {}
        if self.input_map["gather_index"]:
            pieces, mask = mask, self._words(x, mask)  # (B, T), (B, W)
            states = self._by_word(x, states, pieces)  # (B, W, D)
            found = {name: self._by_word(x, layer, pieces) for name, layer in found.items()}
        kept = mask.unsqueeze(-1)
        found = {name: torch.where(kept, layer, 0.0) for name, layer in found.items()}
        states = self.dropout(torch.where(kept, states, 0.0))
        return {**self.write(embedding=states, embedding_mask=mask), **found}

    def _types(self, x: Batch) -> Tensor | None:
        name = self.input_map["type_ids"]
        if name and name not in x:
            raise DlkError(
                f'bert_like reads "{name}", which is not in the batch. For pairs of texts list it '
                'in key_type_pairs of the dataset; for single texts say "input_map": '
                '{"type_ids": ""}.'
            )
        return x[name] if name else None

    def _joined(self, every: Sequence[Tensor]) -> Tensor:
        if self.layers is None:
            return every[-1]
        chosen = [every[number] for number in self.layers]
        return mean_of(chosen) if self.mix is None else self.mix(chosen)

    def _words(self, x: Batch, mask: Tensor) -> Tensor:
        """Return which words are kept, (B, W) bool."""
        index = self.read(x, "gather_index")
        if mask.shape[1] == 0:  # empty texts, no special tokens
            return torch.zeros_like(index, dtype=torch.bool)
        if self.gather == "first":
            return (index >= 0) & mask.gather(1, index.clamp(min=0))
        counts = torch.zeros(index.shape, dtype=torch.long, device=index.device)
        word = self.read(x, "word_index")
        counts.scatter_add_(1, word.clamp(min=0), ((word >= 0) & mask).long())
        return (index >= 0) & (counts > 0)

    def _by_word(self, x: Batch, states: Tensor, mask: Tensor) -> Tensor:
        index = self.read(x, "gather_index")
        if states.shape[1] == 0:
            return states.new_zeros(*index.shape, states.shape[2])
        if self.gather == "first":
            return pick(states, index)
        word = self.read(x, "word_index")
        join = {"mean": word_mean, "max": word_max}[self.gather]
        return join(states, torch.where(mask, word, -1), index.shape[1])


class ScalarMix(nn.Module):
    """A learnt sum of layers: ``gamma * sum_k softmax(s)_k h_k`` (Peters et al. 2018, eq. 1)."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.scores = nn.Parameter(torch.zeros(count))
        self.gamma = nn.Parameter(torch.ones(()))

    def forward(self, layers: Sequence[Tensor]) -> Tensor:
        """Return one tensor of the layers' shape and dtype."""
        share = self.gamma.float() * self.scores.float().softmax(dim=0)  # (K,)
        return weighted(layers, share.unbind())


def mean_of(layers: Sequence[Tensor]) -> Tensor:
    """Return the mean of tensors of one shape."""
    return weighted(layers, [1 / len(layers)] * len(layers))


def weighted(layers: Sequence[Tensor], weights: Iterable[Tensor | float]) -> Tensor:
    """Return the weighted sum, added up in float32 at least, in the layers' dtype."""
    total = torch.zeros((), device=layers[0].device)
    for layer, weight in zip(layers, weights, strict=True):
        total = total + layer.to(torch.promote_types(layer.dtype, torch.float32)) * weight
    return total.to(layers[0].dtype)


def pick(states: Tensor, index: Tensor) -> Tensor:
    """Pick states (B, T, D) at positions `index` (B, W) in [0, T), negative for padding."""
    place = index.clamp(min=0)
    return states.gather(1, place.unsqueeze(-1).expand(-1, -1, states.shape[-1]))  # (B, W, D)


def word_mean(states: Tensor, word: Tensor, count: int) -> Tensor:
    """Return the mean of each word's pieces; zero for a word without any.

    Args:
        states: (B, T, D) float.
        word: (B, T) int64: number of each piece's word in [0, count), negative for none.
        count: words W.

    Returns:
        (B, W, D), added up in float32 at least.
    """
    exact = states.to(torch.promote_types(states.dtype, torch.float32))
    valid, place = word >= 0, word.clamp(min=0)
    pieces = states.new_zeros(len(states), count, dtype=exact.dtype)
    pieces = pieces.scatter_add(1, place, valid.to(exact.dtype))  # (B, W)
    total = exact.new_zeros(len(states), count, states.shape[-1])
    given = torch.where(valid.unsqueeze(-1), exact, 0.0)
    total = total.scatter_add(1, place.unsqueeze(-1).expand_as(states), given)  # (B, W, D)
    return (total / pieces.clamp(min=1).unsqueeze(-1)).to(states.dtype)


def word_max(states: Tensor, word: Tensor, count: int) -> Tensor:
    """Return the entry-wise maximum of each word's pieces; arguments as in `word_mean`.

    A word without any piece has the dtype's lowest number.
    """
    lowest = torch.finfo(states.dtype).min
    place = word.clamp(min=0).unsqueeze(-1).expand_as(states)
    given = torch.where((word >= 0).unsqueeze(-1), states, lowest)
    start = states.new_full((len(states), count, states.shape[-1]), lowest)
    return start.scatter_reduce(1, place, given, reduce="amax")


class _Chosen(NamedTuple):
    """Layers by their numbers from the front: joined, named, and the highest to be built.

    `top` is None where the model is built whole.
    """

    joined: Sequence[int] = ()
    named: Mapping[str, int] = MappingProxyType({})
    top: int | None = None


def _chosen(config: BertLikeEmbeddingConfig) -> _Chosen:
    """Return the layers that a config reads.

    Raises:
        ConfigError: the model has no such layer, or no block is read at all.
    """
    count = hf.num_layers(config.pretrained_model_path)
    joined = [_numbered("layers", number, count) for number in config.layers or range(count + 1)]
    named = {
        name: _numbered("gather_layer", number, count)
        for name, number in config.gather_layer.items()
    }
    if config.layer_pooling == "last":
        return _Chosen(joined, named)
    top = max(*joined, 0, *named.values())
    if top == 0:
        raise ConfigError(
            "bert_like.layers: 0 is the embeddings alone, and no block would be read: "
            f"name a layer from 1 to {count} as well, or use another embedding."
        )
    return _Chosen(joined, named, top if top < count else None)


def _numbered(field: str, number: int, count: int) -> int:
    """Return the number of a layer counted from the front.

    Raises:
        ConfigError: the model has no such layer.
    """
    if not -count - 1 <= number <= count:
        raise ConfigError(
            f"bert_like.{field}: the model has the layers 0 (embeddings) to {count}, got {number}."
        )
    return number if number >= 0 else count + 1 + number
