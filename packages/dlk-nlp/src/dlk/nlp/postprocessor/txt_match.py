"""Whether two texts belong together: a score, a label by a threshold, and how good both are."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dlk.errors import DlkError
from dlk.metrics import ThresholdSearch
from dlk.nlp.postprocessor._text import TextPostProcessor
from dlk.nlp.postprocessor._thresholds import found_threshold
from dlk.postprocessor._form import PROBABILITY
from dlk.postprocessor.base import Metrics, Outputs, Parts, Prediction, Row, pick
from dlk.registry import register

if TYPE_CHECKING:
    from torch import Tensor

    from dlk.context import Setup
    from dlk.nlp.postprocessor.configs import TxtMatchConfig

BINS = 10_000
LARGEST = 1.01
"""Of a score, with room for a cosine's rounding in half precision (2^-8)."""


@register("postprocessor", "txt_match")
class TxtMatch(TextPostProcessor):
    """One prediction per row, after its copied columns: ``{"label": "match", "score": 0.93}``.

    The score is the logit's sigmoid, or with ``link`` identity the logit itself (a cosine); from
    `threshold` on the label is the second of `labels`. A row in several parts (windows of a long
    text) has the mean of its parts' scores. A score that is not a number is null, and so is the
    label; the metrics count such a row as a miss.
    """

    def __init__(self, config: TxtMatchConfig, setup: Setup) -> None:
        super().__init__(config, setup)
        self.logits_name = config.input_map["logits"]
        self.target_name = config.input_map["match"]
        self.is_sigmoid = config.link == "sigmoid"
        # Compared in float32, as the metrics count.
        self.searched = ("threshold",) if config.threshold == "search" else ()
        self.threshold = float(np.float32(0.5 if self.searched else config.threshold))
        self.other, self.matching = config.labels

    def found(self, metrics: Metrics) -> dict[str, Any]:  # Any: as the base class
        assert isinstance(metrics, MatchMetrics)
        return {name: found_threshold(metrics.search, "search") for name in self.searched}

    def decode(self, out: Outputs, rows: Sequence[Row]) -> list[Prediction]:
        own: list[Prediction] = [
            {"label": self.matching if score >= self.threshold else self.other, "score": score}
            if math.isfinite(score)
            else {"label": None, "score": None}
            for score in self._scores(out, rows).tolist()
        ]
        return self.frame(own, Parts(rows), out, rows)

    def prediction_schema(self) -> dict[str, Any]:  # Any: JSON
        score = {"type": ["number", "null"]}
        if self.is_sigmoid:
            score = {**PROBABILITY, **score}
        return self.framed_form(
            {"label": {"enum": [self.other, self.matching, None]}, "score": score},
            oneOf=[
                _pair({"const": self.other}, type="number", exclusiveMaximum=self.threshold),
                _pair({"const": self.matching}, type="number", minimum=self.threshold),
                _pair({"const": None}, type="null"),
            ],
        )

    def new_metrics(self) -> Metrics:
        low = 0.0 if self.is_sigmoid else -1.0
        search = ThresholdSearch(1, bins=BINS, low=low)
        return MatchMetrics(self.matching, self.target_name, search, self._scores)

    def _scores(self, out: Outputs, rows: Sequence[Row]) -> Tensor:
        """Return each row's score (R,) float32."""
        logits = pick(out, self.logits_name, rows)
        if logits.shape[1:] not in ((), (1,)):
            raise DlkError(
                f"txt_match needs logits (B,) or (B, 1), got {tuple(logits.shape)}: "
                "set the decoder's output_size to 1, or use txt_cls"
            )
        scores = logits.float().reshape(-1)
        return Parts(rows).mean(scores.sigmoid() if self.is_sigmoid else scores)


def _pair(label: dict[str, Any], **score: object) -> dict[str, Any]:  # Any: JSON
    return {"properties": {"label": label, "score": score}}


class MatchMetrics(Metrics):
    """Of what was decoded: accuracy, and precision, recall and F1 of the matching rows.

    Beside them stand the threshold that would have been best on this data with its F1
    (`ThresholdSearch`, steps of one ten-thousandth of the range), and how well the scores order the
    rows whatever the threshold. A truth of NaN or below 0 is unknown. Scores beyond -1..1, of which
    thresholds and order would be wrong, are refused.
    """

    def __init__(
        self,
        matching: str,
        target_name: str,
        search: ThresholdSearch,
        scores: Callable[[Outputs, Sequence[Row]], Tensor],
    ) -> None:
        self.matching = matching
        self.target_name = target_name
        self.search = search
        self.scores = scores
        self.counts = dict.fromkeys(("rows", "right", "hits", "given", "true"), 0)

    def update(self, out: Outputs, rows: Sequence[Row], decoded: Sequence[Prediction]) -> None:
        if self.target_name not in out:
            return
        target = Parts(rows).first_of(pick(out, self.target_name, rows)).float().reshape(-1).numpy()
        if len(target) != len(decoded):
            raise DlkError(
                f'"{self.target_name}" must hold one number per row for {len(decoded)} rows, '
                f"got {len(target)}"
            )
        known = target >= 0  # false for NaN too
        truth = target[known] >= 0.5
        labels = [p["label"] for p, kept in zip(decoded, known, strict=True) if kept]
        given = np.array([label == self.matching for label in labels], dtype=np.bool_)
        answered = np.array([label is not None for label in labels], dtype=np.bool_)
        for name, found in (
            ("rows", np.ones_like(truth)),
            ("right", (given == truth) & answered),
            ("hits", given & truth),
            ("given", given),
            ("true", truth),
        ):
            self.counts[name] += int(found.sum())
        scores = self.scores(out, rows).numpy()[known]
        beyond = scores[np.isfinite(scores) & (np.abs(scores) > LARGEST)]
        if beyond.size:
            raise DlkError(
                f'txt_match: the link "identity" is for cosines, in -1..1, got {beyond[0]:g}: '
                'set link to "sigmoid", or in bi_encoder scale to 1, bias to 0 and learn_scale to '
                "false"
            )
        self.search.update(scores[:, None], truth[:, None])

    def compute(self) -> dict[str, float]:
        c = self.counts
        if not c["rows"]:
            return {}
        best = self.search.micro()
        both = c["given"] + c["true"]
        return {
            "acc": c["right"] / c["rows"],
            "precision": c["hits"] / c["given"] if c["given"] else 0.0,
            "recall": c["hits"] / c["true"] if c["true"] else 0.0,
            "f1": 2 * c["hits"] / both if both else 0.0,
            "threshold_best": best.threshold,
            "f1_best": best.score,
            **self.search.areas(),
        }

    def state(self) -> dict[str, Any]:  # Any: plain numbers and lists of them
        return {"counts": dict(self.counts), "search": self.search.state()}

    def merge(self, state: Mapping[str, Any]) -> None:  # Any: as `state`
        for name, count in state["counts"].items():
            self.counts[name] += count
        self.search.merge(state["search"])
