"""Classes of texts: labels with probabilities, accuracy and F1."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import torch

from dlk.errors import DataError, DlkError, did_you_mean
from dlk.metrics import ClassCounts, LabelSetCounts, ThresholdSearch
from dlk.metrics.classification import NO_ANSWER
from dlk.nlp.postprocessor._text import TextPostProcessor
from dlk.nlp.postprocessor._thresholds import found_threshold
from dlk.postprocessor._form import PROBABILITY, form_of, label_form
from dlk.postprocessor.base import Metrics, Outputs, Parts, Prediction, Row, pick
from dlk.registry import register

if TYPE_CHECKING:
    from torch import Tensor

    from dlk.context import Setup
    from dlk.nlp.postprocessor.configs import TxtClsConfig

NO_TRUTH = -100
DEFAULT_THRESHOLD = 0.5
Counts = TypeVar("Counts", bound=ClassCounts | LabelSetCounts)
BINS = 10_000  # of one label's probability


@register("postprocessor", "txt_cls")
class TxtCls(TextPostProcessor):
    """One prediction per row, after its copied columns:

    - one label: ``{"label": "x", "score": 0.9, "predicts": [{"label": "x", "score": 0.9}, …]}``,
      `predicts` being the `top_k` labels, the most probable first. With a `threshold` for the
      `positive_label`, that one is given from there on, else the most probable of the others;
    - `multi_label`: ``{"labels": ["x", "y"], "predicts": […]}``, `labels` being those with a
      probability of at least their threshold, the most probable first.

    Probabilities are the softmax (`multi_label`: the sigmoid) in float32; of equal ones the lower
    id comes first. A row in several parts (windows of a long text) has the mean of its parts'
    probabilities. Where a probability is not a number (a NaN logit), label, score and labels are
    null and `predicts` is empty; the metrics count such a row as a miss.
    """

    def __init__(self, config: TxtClsConfig, setup: Setup) -> None:
        super().__init__(config, setup)
        self.words: tuple[str, ...] = tuple(setup.meta.vocabulary(config.label_vocab).words)
        self.vocabulary_name = config.label_vocab
        self.logits_name = config.input_map["logits"]
        self.target_name = config.input_map["label_ids"]
        self.top_k = min(config.top_k or len(self.words), len(self.words))
        self.multi_label = config.multi_label
        self.positive_label = config.positive_label
        if self.positive_label:
            self._known("positive_label", self.positive_label)
        given = config.threshold
        self.how = given if isinstance(given, str) else ""
        self.searched = ("threshold",) if self.how else ()
        self.thresholds = self._thresholds(None if self.searched else given)  # (C,) float32
        self.decides = bool(self.positive_label) and given is not None and not self.searched

    def found(self, metrics: Metrics) -> dict[str, Any]:  # Any: as the base class
        assert isinstance(metrics, _ClassMetrics)
        return {name: found_threshold(metrics.search, self.how) for name in self.searched}

    def decode(self, out: Outputs, rows: Sequence[Row]) -> list[Prediction]:
        return self._decoded(out, rows, self.top_k)

    def measured(self, out: Outputs, rows: Sequence[Row]) -> list[Prediction]:
        return self._decoded(out, rows, 1)  # metrics read no list, which may be of all labels

    def _decoded(self, out: Outputs, rows: Sequence[Row], top_k: int) -> list[Prediction]:
        parts = Parts(rows)
        probabilities = parts.mean(self._probabilities(pick(out, self.logits_name, rows)))
        scores, ids = _best(probabilities, max(2, top_k))
        known = torch.isfinite(probabilities).all(-1).tolist()
        tops = zip(ids[:, :top_k].tolist(), scores[:, :top_k].tolist(), strict=True)
        own: list[Prediction] = []
        if self.multi_label:
            given = self._given(probabilities)
            for answered, row, (top, top_scores) in zip(known, given, tops, strict=True):
                predicts = self._listed(top, top_scores)
                own.append(
                    {"labels": [self.words[label] for label in row], "predicts": predicts}
                    if answered
                    else {"labels": None, "predicts": []}
                )
        else:
            chosen = self._chosen(probabilities, ids)
            best = probabilities.gather(1, chosen[:, None])[:, 0].tolist()
            labels = zip(chosen.tolist(), best, strict=True)
            for answered, label, (top, top_scores) in zip(known, labels, tops, strict=True):
                predicts = self._listed(top, top_scores)
                own.append(
                    {"label": self.words[label[0]], "score": label[1], "predicts": predicts}
                    if answered
                    else {"label": None, "score": None, "predicts": []}
                )
        return self.frame(own, parts, out, rows)

    def prediction_schema(self) -> dict[str, Any]:  # Any: JSON
        label = {"$ref": "#/$defs/label"}
        listed = {
            "type": "array",
            "items": form_of({"label": label, "score": PROBABILITY}),
            "maxItems": self.top_k,
        }
        answered: dict[str, Any] = {"predicts": {"minItems": self.top_k}}
        lost: dict[str, Any] = {"predicts": {"maxItems": 0}}
        if self.multi_label:
            own = {
                "labels": {"type": ["array", "null"], "items": label, "uniqueItems": True},
                "predicts": listed,
            }
            answered["labels"], lost["labels"] = {"type": "array"}, {"type": "null"}
        else:
            own = {
                "label": {"anyOf": [label, {"type": "null"}]},
                "score": {**PROBABILITY, "type": ["number", "null"]},
                "predicts": listed,
            }
            answered |= {"label": {"type": "string"}, "score": {"type": "number"}}
            lost |= {"label": {"type": "null"}, "score": {"type": "null"}}
        return self.framed_form(
            own,
            definitions={"label": label_form(self.words, f"meta/{self.vocabulary_name}")},
            oneOf=[{"properties": answered}, {"properties": lost}],
        )

    def new_metrics(self) -> Metrics:
        size = len(self.words)
        described = (self.words, self.target_name, self.positive_label, self._of_rows)
        if self.multi_label:
            return LabelSetMetrics(LabelSetCounts(size), ThresholdSearch(size), *described)
        return LabelMetrics(ClassCounts(size), ThresholdSearch(1, bins=BINS), *described)

    def _of_rows(self, out: Outputs, rows: Sequence[Row]) -> Tensor:
        """Return each row's probabilities (R, C) float32, what `decode` decides by."""
        return Parts(rows).mean(self._probabilities(pick(out, self.logits_name, rows)))

    def _probabilities(self, logits: Tensor) -> Tensor:
        if logits.ndim != 2 or logits.shape[1] != len(self.words):
            raise DlkError(
                f'txt_cls needs logits (B, {len(self.words)}), as "{self.vocabulary_name}" has '
                f"{len(self.words)} labels, got {tuple(logits.shape)}: "
                "set the decoder's output_size to the vocabulary's size"
            )
        logits = logits.float()
        return logits.sigmoid() if self.multi_label else logits.softmax(-1)

    def _thresholds(self, given: float | Mapping[str, float] | Sequence[float] | None) -> Tensor:
        if isinstance(given, (int, float)):
            return torch.full((len(self.words),), float(given))
        made = torch.full((len(self.words),), DEFAULT_THRESHOLD)
        if given is None:
            return made
        if not isinstance(given, Mapping):
            if len(given) != len(self.words):
                raise DlkError(
                    f"txt_cls: threshold lists {len(given)} numbers, but "
                    f'"{self.vocabulary_name}" has {len(self.words)} labels: one for each'
                )
            return torch.tensor(given, dtype=torch.float)
        for label, number in given.items():
            self._known("threshold", label)
            made[self.words.index(label)] = number
        return made

    def _known(self, field: str, label: str) -> None:
        if label not in self.words:
            hint = did_you_mean(label, self.words)
            raise DlkError(
                f'txt_cls: {field} names the label "{label}", which '
                f'"{self.vocabulary_name}" does not hold. {hint}'.rstrip()
            )

    def _chosen(self, probabilities: Tensor, ids: Tensor) -> Tensor:
        """Return each row's one label (R,), of probabilities (R, C) and the best two ids."""
        if not self.decides or len(self.words) == 1:
            return ids[:, 0]
        positive = self.words.index(self.positive_label)
        other = torch.where(ids[:, 0] == positive, ids[:, 1], ids[:, 0])
        return other.where(probabilities[:, positive] < self.thresholds[positive], positive)

    def _given(self, probabilities: Tensor) -> list[list[int]]:
        """Return each row's labels, of probabilities (R, C), the most probable first."""
        row, label = np.nonzero((probabilities >= self.thresholds).numpy())
        order = np.lexsort((label, -probabilities.numpy()[row, label], row))
        given: list[list[int]] = [[] for _ in range(len(probabilities))]
        for number, each in zip(row[order].tolist(), label[order].tolist(), strict=True):
            given[number].append(each)
        return given

    def _listed(self, ids: Sequence[int], scores: Sequence[float]) -> list[dict[str, object]]:
        return [
            {"label": self.words[label], "score": score}
            for label, score in zip(ids, scores, strict=True)
        ]


def _best(probabilities: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the `count` largest probabilities of (R, C) and their ids, of equal ones the lower.

    Where there are so many, all of them.
    """
    size = probabilities.shape[1]
    if 2 * count > size:
        scores, ids = torch.sort(probabilities, dim=-1, descending=True, stable=True)
        return scores[:, :count], ids[:, :count]
    # the bits of numbers that are not negative rise with them; ids below them make keys unique
    bits = probabilities.contiguous().view(torch.int32).to(torch.int64)
    keys = bits * size + torch.arange(size - 1, -1, -1)
    ids = size - 1 - keys.topk(count).values % size
    return probabilities.gather(1, ids), ids


class _ClassMetrics(Metrics, Generic[Counts]):
    """Scores of what was decoded, so that what is measured is what a user gets."""

    def __init__(
        self,
        counts: Counts,
        search: ThresholdSearch,
        words: Sequence[str],
        target_name: str,
        positive_label: str,
        probabilities: Callable[[Outputs, Sequence[Row]], Tensor],
    ) -> None:
        self.counts = counts
        self.search = search
        self.words = tuple(words)
        self.ids = {word: number for number, word in enumerate(self.words)}
        self.target_name = target_name
        self.positive_label = positive_label
        self.probabilities = probabilities

    def compute(self) -> dict[str, float]:
        scores = self.counts.compute()
        if not scores or not self.positive_label:
            return scores
        place, each = self.ids[self.positive_label], self.counts.per_class()
        return scores | {
            "precision": float(each.precision[place]),
            "recall": float(each.recall[place]),
            "f1": float(each.f1[place]),
        }

    def state(self) -> dict[str, Any]:  # Any: plain numbers and lists of them
        return {"counts": self.counts.state(), "search": self.search.state()}

    def merge(self, state: Mapping[str, Any]) -> None:  # Any: as `state`
        self.counts.merge(state["counts"])
        self.search.merge(state["search"])

    def table(self) -> list[dict[str, object]]:
        """One row per label: precision, recall, f1 in 0..1, and how often it is true."""
        scores = self.counts.per_class()
        return [
            {
                "label": word,
                "precision": float(scores.precision[number]),
                "recall": float(scores.recall[number]),
                "f1": float(scores.f1[number]),
                "support": int(scores.support[number]),
            }
            for number, word in enumerate(self.words)
        ]


class LabelMetrics(_ClassMetrics[ClassCounts]):
    """One true label per row, as ids (B,) or (B, 1); -100 says that the truth is unknown.

    Of a `positive_label`, the threshold stands beside them that would have been best on this data.
    """

    def update(self, out: Outputs, rows: Sequence[Row], decoded: Sequence[Prediction]) -> None:
        if self.target_name not in out:
            return
        target = Parts(rows).first_of(pick(out, self.target_name, rows)).reshape(-1).numpy()
        predicted = np.array(
            [NO_ANSWER if p["label"] is None else self.ids[str(p["label"])] for p in decoded],
            dtype=np.int64,
        )
        if target.shape != predicted.shape:
            raise DlkError(
                f'"{self.target_name}" must hold one label id per row for {len(decoded)} rows, '
                f"got {target.size}; rows with several labels need multi_label"
            )
        known = target != NO_TRUTH
        if known.any() and not 0 <= target[known].min() <= target[known].max() < len(self.words):
            raise DataError(
                f'"{self.target_name}" holds ids {target[known].min()}..{target[known].max()}, '
                f"but there are {len(self.words)} labels (or {NO_TRUTH} where none is known)"
            )
        self.counts.update(predicted[known], target[known])
        if self.positive_label:
            place = self.ids[self.positive_label]
            scores = self.probabilities(out, rows).numpy()[known]  # all of them: NaN is no answer
            scores = np.where(np.isfinite(scores).all(axis=1), scores[:, place], np.nan)
            self.search.update(scores[:, None], (target[known] == place)[:, None])

    def compute(self) -> dict[str, float]:
        scores = super().compute()
        if not scores or not self.positive_label:
            return scores
        best = self.search.micro()
        return scores | {"threshold_best": best.threshold, "f1_best": best.score}

    def confusion(self) -> list[list[int]] | None:
        """Counts, truth down, prediction across, last column: no answer; None for > 1000 labels."""
        table = self.counts.confusion()
        return None if table is None else table.tolist()


class LabelSetMetrics(_ClassMetrics[LabelSetCounts]):
    """Any number of true labels per row, as 0/1 (B, C); a negative entry or NaN: truth unknown.

    Beside the scores of what was given stand the thresholds that would have been best on this data
    (`ThresholdSearch`), each label's own in the table. Chosen on validation data and written into
    the config they serve other data; on the data they were chosen on they flatter.
    """

    def update(self, out: Outputs, rows: Sequence[Row], decoded: Sequence[Prediction]) -> None:
        if self.target_name not in out:
            return
        target = Parts(rows).first_of(pick(out, self.target_name, rows)).float().numpy()
        size = (len(decoded), len(self.words))
        if target.shape != size:
            raise DlkError(
                f'multi_label needs "{self.target_name}" as 0/1 of shape {size} (rows, labels), '
                f"got {target.shape}"
            )
        predicted = np.zeros(size, dtype=np.bool_)
        answered = np.ones(len(decoded), dtype=np.bool_)
        for number, prediction in enumerate(decoded):
            labels = prediction["labels"]
            if isinstance(labels, list):
                predicted[number, [self.ids[label] for label in labels]] = True
            else:
                answered[number] = False
        known = (target >= 0).all(axis=1)  # false for NaN too
        truth = target[known] >= 0.5
        self.counts.update(predicted[known], truth, answered[known])
        self.search.update(self.probabilities(out, rows).numpy()[known], truth)

    def compute(self) -> dict[str, float]:
        scores = super().compute()
        if not scores:
            return {}
        micro, macro = self.search.micro(), self.search.macro()
        each = [b.score for b, n in zip(self.search.each(), self.search.support, strict=True) if n]
        return scores | {
            "threshold_best": micro.threshold,
            "f1_micro_best": micro.score,
            "threshold_best_macro": macro.threshold,
            "f1_macro_best": macro.score,
            "f1_macro_best_each": sum(each) / len(each) if each else 0.0,
        }

    def table(self) -> list[dict[str, object]]:
        """As for one label, with the label's best threshold and the F1 it gives."""
        return [
            {**line, "threshold_best": best.threshold, "f1_best": best.score}
            for line, best in zip(super().table(), self.search.each(), strict=True)
        ]
