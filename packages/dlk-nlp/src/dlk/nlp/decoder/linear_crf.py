"""Tags of a row by linear scores and a CRF."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from dlk.errors import ConfigError
from dlk.nlp.module.crf import CRF, IGNORED, Reduction
from dlk.nlp.tags import Transitions, transitions
from dlk.nn.base import Batch
from dlk.nn.layer.decoder.base import Decoder
from dlk.registry import register

if TYPE_CHECKING:
    from dlk.context import Setup
    from dlk.nlp.decoder.configs import LinearCrfDecoderConfig


@register("decoder", "linear_crf")
class LinearCrfDecoder(Decoder):
    """Drop, project, and let a CRF say how tags follow each other.

    The kept positions of a row are its chain, wherever they stand. The CRF's weights are those with
    `crf.` in their names, for a learning rate of their own. Their start values (uniform in ±0.1)
    are left alone by init methods.
    """

    def __init__(self, config: LinearCrfDecoderConfig, setup: Setup) -> None:
        super().__init__(config)
        self.reduction = cast(Reduction, config.reduction)
        self.dropout = nn.Dropout(config.dropout)
        self.linear = nn.Linear(config.input_size, config.output_size)
        self.crf = CRF(config.output_size, constraints=_constraints(config, setup))

    def forward(self, x: Batch) -> dict[str, Tensor]:
        """Score, and measure the truth where there is one.

        Args:
            x: holds `embedding` (B, T, input_size) float, `embedding_mask` (B, T), and may hold
                `label_ids` (B, T) int64, -100 where a position is to be left out of its chain.

        Returns:
            `logits` (B, T, K); with `label_ids` also `loss`, the negative log-likelihood in nats,
            float32: (B,) if `reduction` is none, else (); and `loss_weight` (B,) float32, for how
            many items of a mean each row stands: 1, or its scored positions for token_mean.
        """
        vectors = self.read(x, "embedding", width=self.linear.in_features)
        mask = self.read(x, "embedding_mask").bool()
        logits = self.linear(self.dropout(vectors))  # (B, T, K)
        label_ids = self.optional(x, "label_ids")
        if label_ids is None:
            return self.write(logits=logits)
        loss = self.crf(logits, label_ids, mask, reduction=self.reduction)
        weight = torch.ones(len(label_ids), device=label_ids.device)
        if self.reduction == "token_mean":
            weight = ((label_ids != IGNORED) & mask).sum(1).float()
        return self.write(logits=logits, loss=loss, loss_weight=weight)

    @torch.no_grad()
    def predict(self, x: Batch) -> dict[str, Tensor]:
        """Find each row's best path.

        Args:
            x: holds what `forward` read and wrote.

        Returns:
            `predict_seq_label` (B, T) int64, -1 where not kept; `predict_seq_marginal` (B, T),
            p(tag) along that path, and `predict_seq_conditional` (B, T), p(tag | tag before), 0
            where not kept: the probability of a stretch i..j of the path is
            ``marginal[i] * conditional[i + 1 : j + 1].prod()``.
        """
        logits = x[self.output_map["logits"]]
        mask = self.read(x, "embedding_mask").bool()
        tags = self.crf.viterbi(logits, mask).tags
        names = ("predict_seq_marginal", "predict_seq_conditional")
        if not any(self.output_map[name] for name in names):
            return self.write(predict_seq_label=tags)
        found = self.crf.path_probabilities(logits, tags, mask)
        return self.write(
            predict_seq_label=tags,
            predict_seq_marginal=found.marginal,
            predict_seq_conditional=found.conditional,
        )


def _constraints(config: LinearCrfDecoderConfig, setup: Setup) -> Transitions | None:
    """Return what the scheme allows, or None where none is named."""
    if config.scheme is None:
        return None
    name = config.label_vocab or ""
    vocabulary = setup.meta.vocabulary(name)
    if len(vocabulary) != config.output_size:
        raise ConfigError(
            f"linear_crf.output_size: {config.output_size} scores for the {len(vocabulary)} tags "
            f'of {name}; write "@lambda @_G.meta.{name.removesuffix(".json")}.size"'
        )
    # Padding and unknown words are no tags, unless they are: "O" often is the unknown word.
    never = [word for word in (vocabulary.pad, vocabulary.unk) if word and not _is_tag(word)]
    try:
        return transitions(vocabulary.words, config.scheme, never=never)
    except ValueError as error:
        raise ConfigError(f"linear_crf.label_vocab: {name}: {error}") from error


def _is_tag(word: str) -> bool:
    return word == "O" or word[1:2] == "-"
