"""A number per text, and how far and how well ordered the numbers are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dlk.errors import DlkError
from dlk.metrics import RankCorrelation, RegressionMoments
from dlk.nlp.postprocessor._text import TextPostProcessor
from dlk.nlp.postprocessor.configs import REGRESSION_METRICS
from dlk.postprocessor.base import Metrics, Outputs, Parts, Prediction, Row, pick
from dlk.registry import register

if TYPE_CHECKING:
    from dlk.context import Setup
    from dlk.nlp.postprocessor.configs import TxtRegConfig


@register("postprocessor", "txt_reg")
class TxtReg(TextPostProcessor):
    """One prediction per row, after its copied columns: ``{"value": 3.2}``.

    The value is what the model gave, in float32; the metrics compare this same value with the
    truth. A row in several parts (windows of a long text) has the mean of its
    parts' values. A value that is not a finite number is null, and then the metrics are NaN.
    """

    def __init__(self, config: TxtRegConfig, setup: Setup) -> None:
        super().__init__(config, setup)
        self.logits_name = config.input_map["logits"]
        self.target_name = config.input_map["value"]
        self.rank_cap = config.rank_cap

    def decode(self, out: Outputs, rows: Sequence[Row]) -> list[Prediction]:
        parts = Parts(rows)
        logits = pick(out, self.logits_name, rows)
        if logits.ndim not in (1, 2) or logits.shape[1:] not in ((), (1,)):
            raise DlkError(
                f"txt_reg needs logits (B,) or (B, 1), got {tuple(logits.shape)}: "
                "use the decoder regression, or set output_size to 1"
            )
        values = parts.mean(logits.float().reshape(-1))  # (R,)
        own: list[Prediction] = [
            {"value": value if math.isfinite(value) else None} for value in values.tolist()
        ]
        return self.frame(own, parts, out, rows)

    def prediction_schema(self) -> dict[str, Any]:  # Any: JSON
        return self.framed_form({"value": {"type": ["number", "null"]}})

    def new_metrics(self) -> Metrics:
        return RegressionMetrics(self.target_name, self.rank_cap)


class RegressionMetrics(Metrics):
    """Errors and correlations of what was decoded; a target of NaN says the truth is unknown."""

    def __init__(self, target_name: str, rank_cap: int) -> None:
        self.target_name = target_name
        self.moments = RegressionMoments()
        self.ranks = RankCorrelation(rank_cap)

    def update(self, out: Outputs, rows: Sequence[Row], decoded: Sequence[Prediction]) -> None:
        if self.target_name not in out:
            return
        parts = Parts(rows)
        target = parts.first_of(pick(out, self.target_name, rows)).double().reshape(-1).numpy()
        if len(target) != len(decoded):
            raise DlkError(
                f'"{self.target_name}" must hold one value per row for {len(decoded)} rows, '
                f"got {len(target)}"
            )
        prediction = np.array([p["value"] for p in decoded], dtype=np.float64)  # None: NaN
        keys = np.array([rows[position]["_row"] for position in parts.first], dtype=np.uint64)
        known = np.isfinite(target)
        self.moments.update(prediction[known], target[known])
        self.ranks.update(prediction[known], target[known], keys[known])

    def compute(self) -> dict[str, float]:
        scores = self.moments.compute() | self.ranks.compute()
        return {name: scores[name] for name in REGRESSION_METRICS if name in scores}

    def state(self) -> dict[str, Any]:  # Any: plain numbers and lists of them
        return {"moments": self.moments.state(), "ranks": self.ranks.state()}

    def merge(self, state: Mapping[str, Any]) -> None:  # Any: as `state`
        self.moments.merge(state["moments"])
        self.ranks.merge(state["ranks"])
