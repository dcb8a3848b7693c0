"""Steps and collates that are wrong on purpose fail the check that is meant for them."""

from __future__ import annotations

import re
from typing import ClassVar

import numpy as np
import pytest
import torch

from dlk.config import MapField, Signature, cregister
from dlk.data.data_collate.configs import DefaultDataCollateConfig
from dlk.data.data_collate.default import DefaultDataCollate
from dlk.data.subprocessor.base import Subprocessor
from dlk.data.subprocessor.configs import SubprocessorConfig
from dlk.registry import register
from dlk.testing import DataCollateConformance, SubprocessorConformance


class Right(Subprocessor):
    """Lengths of texts; with a truth, whether it is that of the text."""

    def transform(self, columns, ctx):
        made = {"size": [], "odd": []}
        for position, text in enumerate(columns["sentence"]):
            if text is None:
                ctx.bad_row(position, "sentence", text, "is no text")
            made["size"].append(len(text or ""))
            made["odd"].append(len(text or "") % 2)
            ctx.count("long", len(text or "") > 4)
        if not ctx.wants("odd"):
            del made["odd"]
        if "label" in columns:
            made["right"] = [
                int(label == size)
                for label, size in zip(columns["label"], made["size"], strict=True)
            ]
        return made


def step(*faults: type) -> type:
    name = "kit_" + "_".join(fault.__name__.lower() for fault in faults) or "kit_right"
    if ("subprocessor", name) not in register:

        @cregister("subprocessor", name)
        class _Config(SubprocessorConfig):
            """A step for the tests of the kit."""

            input_map = MapField({"sentence": "sentence"}, help="the text that is measured")

            def signature(self):
                return Signature(
                    reads=("sentence",),
                    writes=("size", "odd", "right"),
                    targets=("label",),
                    passing=("odd",),
                    supervised=("right",),
                )

        register("subprocessor", name)(type(name, (*faults, Right), {}))

    class Checks(SubprocessorConformance):
        component = ("subprocessor", name)
        columns: ClassVar = {"sentence": ["a", "", "some words"], "label": [1, 3, 10]}
        bad: ClassVar = {"sentence": [None], "label": [0]}
        unread: ClassVar = (*SubprocessorConformance.unread, "input_map", "output_map")

    return Checks


def failures(conformance: type, folder) -> dict[str, str]:
    """Return the messages of the checks that fail, each run in a folder of its own."""
    found = {}
    for number, name in enumerate(each for each in dir(conformance) if each.startswith("test_")):
        kit = conformance()
        kit.folder = folder / str(number)
        kit.folder.mkdir()
        kit.config = kit.values(kit.folder)
        arguments = getattr(conformance, name).__code__.co_varnames[1:2]
        try:
            given = [kit.build()] if {"step"} & set(arguments) else []
            for made in given:
                kit.teach(made)
            getattr(kit, name)(*given)
        except AssertionError as error:
            found[name.removeprefix("test_")] = str(error)
    return found


class WritesMore:
    def transform(self, columns, ctx):
        return {**super().transform(columns, ctx), "more": list(columns["sentence"])}


class MakesMoreRows:
    def transform(self, columns, ctx):
        made = super().transform(columns, ctx)
        return {**made, "size": [*made["size"], 0]}


class MakesWhatNobodyReads:
    def transform(self, columns, ctx):
        return {
            **super().transform(columns, ctx),
            "odd": [n % 2 for n in map(len, map(str, columns["sentence"]))],
        }


class ChangesTheColumns:
    def transform(self, columns, ctx):
        made = super().transform(columns, ctx)
        columns["sentence"].reverse()
        return made


class LooksAtNeighbours:
    def transform(self, columns, ctx):
        made = super().transform(columns, ctx)
        return {**made, "size": [size + len(made["size"]) for size in made["size"]]}


class LooksAtTheRowBefore:
    def transform(self, columns, ctx):
        made = super().transform(columns, ctx)
        return {
            **made,
            "size": [n + made["size"][k - 1] * (k > 0) for k, n in enumerate(made["size"])],
        }


class ReadsTheTruth:
    def transform(self, columns, ctx):
        made = super().transform(columns, ctx)
        return {**made, "size": [n + ("label" in columns) for n in made["size"]]}


class NeedsNoTruth:
    def transform(self, columns, ctx):
        made = super().transform(columns, ctx)
        return {**made, "right": [0] * len(made["size"])}


class MakesMoreOfTheTruth:
    def transform(self, columns, ctx):
        made = super().transform(columns, ctx)
        return made if "right" in made else {"size": made["size"]}


class CountsChunks:
    def transform(self, columns, ctx):
        made = super().transform(columns, ctx)
        ctx.count("chunks", 1)
        return made


class KeepsSomething:
    calls = 0

    def transform(self, columns, ctx):
        made = super().transform(columns, ctx)
        type(self).calls += 1
        return {**made, "size": [self.calls for _ in made["size"]]}


class InventsARow:
    def transform(self, columns, ctx):
        made = super().transform(columns, ctx)
        return made if made["size"] else {name: [0] for name in made}


class LetsBadRowsPass:
    def transform(self, columns, ctx):
        return super().transform(
            {**columns, "sentence": [t or "" for t in columns["sentence"]]}, ctx
        )


class NamesAnotherColumn:
    def transform(self, columns, ctx):
        made = super().transform(columns, ctx)
        for error in ctx.bad.values():
            error.column = "elsewhere"
        return made


class RefusesGoodRows:
    def transform(self, columns, ctx):
        for position, text in enumerate(columns["sentence"]):
            if text == "":
                ctx.bad_row(position, "sentence", text, "is empty")
        return super().transform(columns, ctx)


STEP_FAULTS = [
    (WritesMore, "reads_and_writes_what_its_signature_says", "its signature() says"),
    (MakesMoreRows, "reads_and_writes_what_its_signature_says", "give one value for each row"),
    (
        MakesWhatNobodyReads,
        "what_it_makes_for_other_steps_it_makes_where_it_is_wanted",
        "makes ['odd'] though nobody reads them: ask ctx.wants",
    ),
    (ChangesTheColumns, "changes_nothing_it_is_given", "make new lists"),
    (LooksAtNeighbours, "a_row_does_not_depend_on_its_neighbours", "nothing but itself"),
    (LooksAtTheRowBefore, "rows_in_another_order_give_the_same", "keep no state from one row"),
    (
        ReadsTheTruth,
        "without_the_truth_it_makes_the_same_but_what_is_made_of_it",
        '"size" is another than in training',
    ),
    (
        NeedsNoTruth,
        "without_the_truth_it_makes_the_same_but_what_is_made_of_it",
        "makes nothing of its targets ['label']: take them out",
    ),
    (
        MakesMoreOfTheTruth,
        "without_the_truth_it_makes_the_same_but_what_is_made_of_it",
        "makes ['odd', 'right'] of its targets, its signature() says ['right']: name them in",
    ),
    (CountsChunks, "what_it_counts_does_not_depend_on_neighbours", "call ctx.count for each row"),
    (KeepsSomething, "many_threads_get_what_one_gets", "keep no state in transform"),
    (InventsARow, "no_rows_give_no_records", "give empty columns"),
    (
        LetsBadRowsPass,
        "bad_rows_are_reported_by_their_input_row",
        "it reports []: call ctx.bad_row",
    ),
    (NamesAnotherColumn, "bad_rows_are_reported_by_their_input_row", 'the column "elsewhere"'),
    (RefusesGoodRows, "changes_nothing_it_is_given", "refuses good rows of `columns`"),
]


def test_a_right_step_passes_every_check(tmp_path):
    assert failures(step(), tmp_path) == {}


@pytest.mark.parametrize(("fault", "check", "message"), STEP_FAULTS)
def test_a_faulty_step_is_found_by_its_check(fault, check, message, tmp_path):
    found = failures(step(fault), tmp_path)
    assert message in found[check]
    assert f'subprocessor "kit_{fault.__name__.lower()}"' in found[check]


# Collates ---------------------------------------------------------------------------------------


def collate(*faults: type) -> type:
    name = "kit_" + "_".join(fault.__name__.lower() for fault in faults)
    if ("data_collate", name) not in register:
        shown = type("Shown", (DefaultDataCollateConfig,), {"__doc__": "A collate of a test."})
        cregister("data_collate", name)(shown)
        register("data_collate", name)(type(name, (*faults, DefaultDataCollate), {}))

    class Checks(DataCollateConformance):
        component = ("data_collate", name)
        config: ClassVar = {"key_padding_pairs": {"ids": 0}, "gen_mask": {"ids": "mask"}}
        columns: ClassVar = {"ids": [[1, 2], [], [3, 4, 5]], "label": [0, 1, 1]}

    return Checks


class Shuffles:
    def __call__(self, items):
        return {name: tensor.flip(0) for name, tensor in super().__call__(items).items()}


class NumbersInHalf:
    def __call__(self, items):
        made = super().__call__(items)
        return {**made, "_index": made["_index"].to(torch.int32)}


class GivesArrays:
    def __call__(self, items):
        made = super().__call__(items)
        return {**made, "label": np.asarray(made["label"])}


class LosesAColumn:
    def __call__(self, items):
        made = super().__call__(items)
        return {name: tensor for name, tensor in made.items() if name != "label"}


class Transposes:
    def __call__(self, items):
        made = super().__call__(items)
        return {**made, "ids": made["ids"].T}


class Draws:
    def __call__(self, items):
        made = super().__call__(items)
        return {**made, "label": made["label"] + torch.randint(9, (len(made["label"]),))}


class PadsInFront:
    def __call__(self, items):
        made = super().__call__(items)
        return {**made, "ids": made["ids"].flip(1)}


class MasksByNumbers:
    def __call__(self, items):
        made = super().__call__(items)
        return {**made, "mask": made["mask"].long()}


COLLATE_FAULTS = [
    (Shuffles, "gives_tensors_with_rows_first_and_their_numbers", "keep the order that is given"),
    (NumbersInHalf, "gives_tensors_with_rows_first_and_their_numbers", "`_index` is torch.int32"),
    (GivesArrays, "gives_tensors_with_rows_first_and_their_numbers", "holds tensors only"),
    (LosesAColumn, "gives_tensors_with_rows_first_and_their_numbers", "leaves out ['label']"),
    (Transposes, "gives_tensors_with_rows_first_and_their_numbers", "axis 0 is the rows"),
    (Draws, "the_same_rows_give_the_same_bits", "draw no lots"),
    (PadsInFront, "neighbours_only_add_padding", "neighbours may only add padding behind"),
    (MasksByNumbers, "masks_are_bool", 'makes "mask" as torch.int64: a mask is bool'),
]


@pytest.mark.parametrize(("fault", "check", "message"), COLLATE_FAULTS)
def test_a_faulty_collate_is_found_by_its_check(fault, check, message):
    kit = collate(fault)()
    if fault is Transposes:  # as many rows as the longest is long would hide it
        kit.columns = {"ids": [[1, 2], [], [3, 4, 5, 6]], "label": [0, 1, 1]}
    with pytest.raises(AssertionError, match=re.escape(message)) as caught:
        getattr(kit, f"test_{check}")(kit.build())
    assert f'data_collate "kit_{fault.__name__.lower()}"' in str(caught.value)


def test_a_right_collate_passes_every_check():
    kit = collate()()
    for name in dir(kit):
        if name.startswith("test_"):
            wants = "collate" in getattr(kit, name).__code__.co_varnames[:2]
            getattr(kit, name)(*([kit.build()] if wants else []))
