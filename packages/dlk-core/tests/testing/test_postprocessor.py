"""Postprocessors and metrics that are wrong on purpose fail the check meant for them."""

from __future__ import annotations

import re
from typing import ClassVar

import pytest
import torch

from dlk.config import Base, Signature, cregister
from dlk.postprocessor.base import Metrics, Parts, PostProcessor
from dlk.registry import register
from dlk.testing import PostProcessorConformance


class Right(PostProcessor):
    """The class with the highest score of a row's first record."""

    def decode(self, out, rows):
        scores = out["logits"].float()
        parts = Parts(rows)
        return [
            {
                "text": rows[first].get("text"),
                "label": int(scores[first].nan_to_num().argmax()),
                "score": self.score(scores[first]),
            }
            for first in parts.first
        ]

    def score(self, scores):
        best = float(scores.softmax(-1).max())
        return best if best == best else None

    def new_metrics(self):
        return Right.Counts()

    class Counts(Metrics):
        """Share of rows whose label is true."""

        def __init__(self):
            self.right = self.all = 0

        def update(self, out, rows, decoded):
            if "label_ids" not in out:
                return
            for first, each in zip(Parts(rows).first, decoded, strict=True):
                self.right += int(each["label"] == int(out["label_ids"][first]))
                self.all += 1

        def compute(self):
            return {"acc": self.right / self.all} if self.all else {}

        def state(self):
            return {"right": self.right, "all": self.all}

        def merge(self, state):
            self.right += state["right"]
            self.all += state["all"]


def checks(*faults: type) -> type:
    name = "kit_" + "_".join(fault.__name__.lower() for fault in faults)
    if ("postprocessor", name) not in register:

        @cregister("postprocessor", name)
        class _Config(Base):
            """A postprocessor for the tests of the kit."""

            def signature(self):
                return Signature(
                    reads=("logits",), targets=("label_ids",), columns=("text",), metrics=("acc",)
                )

        register("postprocessor", name)(type(name, (*faults, Right), {}))

    class Checks(PostProcessorConformance):
        component = ("postprocessor", name)

        def batch(self, count, generator):
            return {
                "logits": torch.randn(count, 3, generator=generator),
                "label_ids": torch.randint(3, (count,), generator=generator),
            }

    return Checks


class Counts:
    calls = 0

    def decode(self, out, rows):
        type(self).calls += 1
        return [{**each, "score": self.calls} for each in super().decode(out, rows)]


class ChangesTheRows:
    def decode(self, out, rows):
        rows[0]["seen"] = True
        return super().decode(out, rows)


class AnswersEachRecord:
    def decode(self, out, rows):
        return [{"label": int(scores.argmax())} for scores in out["logits"].float()]


class LooksAtNeighbours:
    def decode(self, out, rows):
        made = super().decode(out, rows)
        return [{**each, "score": len(made)} for each in made]


class AnswersNothing:
    def decode(self, out, rows):
        return super().decode(out, rows) or [{}]


class GivesTensors:
    def score(self, scores):
        return scores.max()


class GivesNoNumbers:
    def score(self, scores):
        return float(scores.max())


class ReadsMore:
    def decode(self, out, rows):
        rows[0].get("more")
        return super().decode(out, rows)


class NeedsItsText:
    def decode(self, out, rows):
        assert all("text" in row for row in rows), "this stands for any error"
        return super().decode(out, rows)


class ComputesInHalf:
    def score(self, scores):
        return super().score(scores)

    def decode(self, out, rows):
        made = super().decode(out, rows)
        return [{**each, "score": str(out["logits"].dtype)} for each in made]


class NamesOtherMetrics:
    def new_metrics(self):
        class Named(Right.Counts):
            def compute(self):
                return {f"{name}uracy": value for name, value in super().compute().items()}

        return Named()


class GivesNoFloats:
    def new_metrics(self):
        class Whole(Right.Counts):
            def compute(self):
                return {name: round(value) for name, value in super().compute().items()}

        return Whole()


class MeasuresNothing:
    def new_metrics(self):
        class Blind(Right.Counts):
            def compute(self):
                return {"acc": self.right / max(self.all, 1)}

        return Blind()


class MergesMeans:
    def new_metrics(self):
        class Means(Right.Counts):
            def merge(self, state):
                self.right, self.all = max(self.right, state["right"]), max(self.all, state["all"])

        return Means()


class SharesItsMetrics:
    kept = Right.Counts()

    def new_metrics(self):
        return self.kept


class SearchesForEver:
    searched = ("threshold",)


TEXT_OR_NONE = {"type": ["string", "null"]}
FORM = {
    "type": "object",
    "properties": {
        "text": TEXT_OR_NONE,
        "label": {"enum": [0, 1, 2]},
        "score": {"type": ["number", "null"]},
    },
    "required": ["text", "label", "score"],
}


class Declares:
    form: ClassVar = FORM

    def prediction_schema(self):
        return self.form


class DeclaresNumbersOnly(Declares):
    form: ClassVar = {**FORM, "properties": {**FORM["properties"], "score": {"type": "number"}}}


class DeclaresTextsOnly(Declares):
    form: ClassVar = {**FORM, "properties": {**FORM["properties"], "text": {"type": "string"}}}


class DeclaresAnything(Declares):
    form: ClassVar = {}


class DeclaresNoSchema(Declares):
    form: ClassVar = {"type": "thing"}


class DeclaresClasses(Declares):
    form: ClassVar = {"type": object}


FAULTS = [
    (DeclaresNumbersOnly, "predictions_meet_the_schema_that_is_declared", "at $.score: None is"),
    (DeclaresTextsOnly, "predictions_meet_the_schema_that_is_declared", "at $.text: None is"),
    (DeclaresAnything, "predictions_meet_the_schema_that_is_declared", "lets a text pass"),
    (DeclaresNoSchema, "predictions_meet_the_schema_that_is_declared", "is no JSON Schema, at"),
    (DeclaresClasses, "predictions_meet_the_schema_that_is_declared", "results are plain JSON"),
    (Counts, "decode_is_pure", "keep no state in it"),
    (ChangesTheRows, "decode_is_pure", "copy before writing"),
    (
        AnswersEachRecord,
        "one_result_per_row_in_order_whatever_its_neighbours",
        "give one for each distinct `_row`",
    ),
    (
        LooksAtNeighbours,
        "one_result_per_row_in_order_whatever_its_neighbours",
        "a row alone and among others differ",
    ),
    (AnswersNothing, "no_records_give_no_results", "give an empty list"),
    (GivesTensors, "results_are_plain_json", "is a Tensor: results are plain JSON"),
    (
        GivesNoNumbers,
        "outputs_that_are_not_numbers_still_give_plain_json",
        "is no number of JSON: give None",
    ),
    (ReadsMore, "decode_reads_what_the_signature_declares", "signature().columns says ['text']"),
    (ComputesInHalf, "half_precision_is_decoded_in_float32", "lift them to float32 first"),
    (NeedsItsText, "rows_without_their_columns_are_decoded", "this stands for any error"),
    (NamesOtherMetrics, "metrics_are_named_as_declared", "signature().metrics says ['acc']"),
    (GivesNoFloats, "metrics_are_named_as_declared", "scores are floats"),
    (MeasuresNothing, "without_a_truth_nothing_is_measured", "compute() must give {}"),
    (MergesMeans, "metrics_split_and_merged_are_one_pass", "merged parts and one pass differ"),
    (SharesItsMetrics, "new_metrics_share_nothing", "gives metrics that have counted already"),
    (
        SearchesForEver,
        "what_is_searched_for_is_found",
        "signature() says that [] are searched, the component ['threshold']",
    ),
]


def failures(conformance: type) -> dict[str, str]:
    """Return the messages of the checks that fail."""
    found = {}
    for name in dir(conformance):
        if name.startswith("test_"):
            kit = conformance()
            kit.setup_method()
            try:
                getattr(kit, name)()
            except Exception as error:  # noqa: BLE001  # pytest counts any as a failure
                found[name.removeprefix("test_")] = str(error)
            finally:
                kit.teardown_method()
    return found


def test_a_right_postprocessor_passes_every_check():
    assert failures(checks()) == {}
    assert failures(checks(Declares)) == {}


@pytest.mark.parametrize(("fault", "check", "message"), FAULTS)
def test_a_faulty_postprocessor_is_found_by_its_check(fault, check, message):
    found = failures(checks(fault))
    assert re.search(re.escape(message), found[check])
    if "any error" not in message:
        assert f'postprocessor "kit_{fault.__name__.lower()}"' in found[check]
