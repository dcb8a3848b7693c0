"""InfoNCE: tell the right partner of a vector from all others of the batch.

Source: van den Oord et al. 2018, "Representation Learning with Contrastive Predictive Coding",
arXiv:1807.03748, eq. 4, with cosine over a temperature as the score (Chen et al. 2020, "SimCLR",
arXiv:2002.05709, eq. 1) and the batch's other rows as negatives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from dlk.errors import DlkError, did_you_mean
from dlk.nn.loss import _classes
from dlk.nn.loss.base import Loss, LossOut
from dlk.registry import register

if TYPE_CHECKING:
    from dlk.context import Context
    from dlk.nn.base import Batch
    from dlk.nn.loss.configs import InfoNCELossConfig


@register("loss", "info_nce")
class InfoNCELoss(Loss):
    """Mean over the matching rows of ``-log`` of the partner's share among the batch's vectors b.

    Rows are pairs (a, b). A row whose pair does not match is nobody's partner: its b is one more
    wrong answer for the a's of the others (a hard one, where it was chosen so), and its a asks
    nothing. With `symmetric` the mean of both directions, b asking for its a as well.

    Where ids of the texts are given, an answer that is as right as the partner is left out of the
    wrong ones: another row's b that is the same text as the partner, or the b of another matching
    row with the same a.
    """

    def __init__(self, config: InfoNCELossConfig) -> None:
        super().__init__(config)
        self.names: dict[str, str] = dict(config.input_map)
        self.temperature = config.temperature
        self.symmetric = config.symmetric
        self.normalize = config.normalize

    def compute(self, out: Batch, ctx: Context) -> LossOut:
        """Compare the rows with each other; see `Loss.compute`. The weight counts matching rows."""
        a, b = self._read(out, "a"), self._read(out, "b")
        given = {
            key: self._read(out, key).reshape(-1)
            for key in ("match", "id_a", "id_b")
            if self.names[key]
        }
        loss: Tensor = self(a, b, **given)
        match = given.get("match")
        weight = float(len(a)) if match is None else (match > 0.5).sum()
        return LossOut(loss * self.factor(ctx), {self.log_name: loss.detach()}, weight)

    def forward(
        self,
        a: Tensor,
        b: Tensor,
        *,
        match: Tensor | None = None,
        id_a: Tensor | None = None,
        id_b: Tensor | None = None,
    ) -> Tensor:
        """Return the mean over the matching rows, () in nats; 0 where none matches.

        Computed in float32 at least, also under autocast.

        Args:
            a: (B, D) float.
            b: (B, D) float.
            match: (B,) 1 where the row's two belong together, else 0; None: all do.
            id_a: (B,) equal where the a's of two rows are the same; None: all differ.
            id_b: (B,) the same of the b's.

        Raises:
            ValueError: the shapes disagree.
        """
        if a.ndim != 2 or a.shape != b.shape:
            raise ValueError(
                f"info_nce needs a and b (B, D), got {tuple(a.shape)} and {tuple(b.shape)}"
            )
        for name, column in (("match", match), ("id_a", id_a), ("id_b", id_b)):
            if column is not None and column.shape != a.shape[:1]:
                raise ValueError(
                    f"info_nce needs {name} ({len(a)},), a number for each row, "
                    f"got {tuple(column.shape)}"
                )
        rows = len(a)
        matching = a.new_ones(rows, dtype=torch.bool) if match is None else match > 0.5  # (B,)
        as_right = self._as_right(matching, id_a, id_b)  # (B, B)
        with torch.autocast(a.device.type, enabled=False):
            precise = torch.promote_types(a.dtype, torch.float)
            a, b = a.to(precise), b.to(precise)
            if self.normalize:
                a, b = normalize(a, dim=-1), normalize(b, dim=-1)
            scores = a @ b.T / self.temperature  # (B, B), a down, b across
            loss = _asked(scores, matching, as_right)
            if self.symmetric:
                loss = (loss + _asked(scores.T, matching, as_right.T)) / 2
        return loss

    def _as_right(self, matching: Tensor, id_a: Tensor | None, id_b: Tensor | None) -> Tensor:
        """Return (B, B) bool: where a row's b would answer another row's a as well as its own."""
        rows = len(matching)
        same_a = _same(id_a, matching)
        same_b = _same(id_b, matching)
        # The pair (a of i, b of j) is right where some matching row has this a and this b.
        known = matching.float()
        right = (same_a.float() * known) @ same_b.float() > 0
        itself = torch.eye(rows, dtype=torch.bool, device=matching.device)
        return right & ~itself

    def _read(self, out: Batch, key: str) -> Tensor:
        name = self.names[key]
        if name not in out:
            raise DlkError(
                f'info_nce reads "{name}" as {key} (input_map), but there is no such name. '
                f"{did_you_mean(name, out)}".rstrip()
            )
        return out[name]


def _same(ids: Tensor | None, like: Tensor) -> Tensor:
    """Return (B, B) bool, true where two rows have one id; without ids, rows differ."""
    if ids is None:
        return torch.eye(len(like), dtype=torch.bool, device=like.device)
    return ids.unsqueeze(1) == ids


def _asked(scores: Tensor, matching: Tensor, as_right: Tensor) -> Tensor:
    """Return the mean cross entropy of the matching rows, whose right column is their own."""
    scores = scores.masked_fill(as_right, -torch.inf)
    own = torch.arange(len(scores), device=scores.device)
    each = cross_entropy(scores, own, reduction="none")  # (B,)
    return _classes.mean(each.where(matching, 0.0).sum(), matching.sum())
