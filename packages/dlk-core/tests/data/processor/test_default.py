"""The processor: steps over chunks, offline and online."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import pytest

from dlk.config import IntField, ListField, MapField, Signature, StrField, cregister, make
from dlk.context import Setup
from dlk.data.meta import Meta
from dlk.data.store import open_split
from dlk.data.subprocessor import fast_tokenizer
from dlk.data.subprocessor.base import Subprocessor
from dlk.data.subprocessor.configs import SubprocessorConfig
from dlk.errors import ConfigError, DataError, RowError
from dlk.preprocess import Process
from dlk.registry import register
from dlk.testing import ProcessorConformance
from dlk.testing.data import SubprocessorConformance, tiny_tokenizer


@cregister("subprocessor", "test_length")
class LengthConfig(SubprocessorConfig):
    """Length of a text; texts that hold "bad" are refused."""

    input_map = MapField({"text": "sentence"}, help="the text")
    output_map = MapField(
        {"length": "length", "extra": "extra"}, help="its length, and a column on demand"
    )
    how = StrField("report", options=["report", "raise"], help="how a bad row is told")


@register("subprocessor", "test_length")
class Length(Subprocessor):
    """Counts the chunks it saw, to show which passes were made."""

    calls: list[tuple[str, int]] = []

    def transform(self, columns, ctx):
        texts = columns[self.input_map["text"]]
        self.calls.append((ctx.split, len(texts)))
        for position, text in enumerate(texts):
            if "bad" in text:
                if self.config.how == "raise":
                    raise RowError(
                        columns["_row"][position], self.input_map["text"], text, "is bad"
                    )
                ctx.bad_row(position, self.input_map["text"], text, "is bad")
        made = {self.output_map["length"]: [len(text) for text in texts]}
        if ctx.wants(self.output_map["extra"]):
            made[self.output_map["extra"]] = [text.upper() for text in texts]
        return made


class TestConformance(ProcessorConformance):
    component = ("processor", "default")
    data: ClassVar = {
        "train": {"sentence": ["a b", "c", "d e f"], "labels": ["x", "y", "x"]},
        "valid": {"sentence": ["b"], "labels": ["y"]},
    }
    bad: ClassVar = {"sentence": ["bad"], "labels": ["x"]}

    def values(self, folder):
        return {
            "keep": ["extra"],
            "@subprocessor@fast_tokenizer": {
                "tokenizer_path": tiny_tokenizer(folder / "tokenizer.json")
            },
            "@subprocessor@test_length": {},
            "@subprocessor@token_gather": {"gather_columns": ["labels"]},
            "@subprocessor@token2id": {
                "vocab": "token_vocab.json",
                "input_map": {"tokens": "labels"},
            },
        }


@cregister("subprocessor", "test_tally")
class TallyConfig(SubprocessorConfig):
    """Counts texts that hold a question mark."""

    def signature(self):
        return Signature(reads=("sentence",))


@register("subprocessor", "test_tally")
class Tally(Subprocessor):
    """Counts nothing but marks; a text of "!" alone is refused by raising."""

    def transform(self, columns, ctx):
        ctx.count("texts with a question", sum("?" in text for text in columns["sentence"]))
        for row, text in zip(columns["_row"], columns["sentence"], strict=True):
            if text == "!":
                raise RowError(row, "sentence", text, "is no text")
        return {}


@cregister("subprocessor", "test_truth")
class TruthConfig(SubprocessorConfig):
    """Length of a text, and that of its label where the truth is known."""

    def signature(self):
        return Signature(
            reads=("sentence",),
            targets=("labels",),
            writes=("length", "label_length"),
            supervised=("label_length",),
        )


@register("subprocessor", "test_truth")
class Truth(Subprocessor):
    """Measures what it is given, and says in `given` which columns that were."""

    given: ClassVar[list[tuple[str, list[str]]]] = []

    def transform(self, columns, ctx):
        self.given.append((ctx.stage, sorted(columns)))
        made = {"length": [len(text) for text in columns["sentence"]]}
        if "labels" in columns:
            made["label_length"] = [len(label) for label in columns["labels"]]
        return made


class TestTruth(SubprocessorConformance):
    component = ("subprocessor", "test_truth")
    columns: ClassVar = {"sentence": ["a b", "c"], "labels": ["x", "why"]}


@cregister("subprocessor", "test_split")
class SplitConfig(SubprocessorConfig):
    """One record per word."""

    def signature(self):
        return Signature(reads=("sentence",), writes=("word", "_part"))


@register("subprocessor", "test_split")
class Split(Subprocessor):
    """Splits at spaces."""

    def transform(self, columns, ctx):
        rows, parts, words = [], [], []
        for row, text in zip(columns["_row"], columns["sentence"], strict=True):
            for part, word in enumerate(text.split()):
                rows.append(row)
                parts.append(part)
                words.append(word)
        return {"word": words, "_row": rows, "_part": parts}


@cregister("subprocessor", "test_learn")
class LearnConfig(SubprocessorConfig):
    """Sums a column over the training split."""

    train_data_set = ListField(["train"], help="where it learns")
    predict_data_set = ListField([], help="nowhere")
    online_data_set = ListField([], help="nowhere")
    column = StrField("length", help="what is summed")

    def signature(self):
        return Signature(reads=(self.column,), meta=("sum.json",))


@register("subprocessor", "test_learn")
class Learn(Subprocessor):
    """Writes the sum to meta."""

    learns = True

    def fit(self, chunks, meta):
        total = sum(value for columns in chunks for value in columns[self.config.column])
        meta.put("sum.json", {"total": total}, text="{}")

    def transform(self, columns, ctx):
        return {}


@cregister("subprocessor", "test_teach")
class TeachConfig(SubprocessorConfig):
    """Reads the made length, and learns from the raw text alone."""

    def signature(self):
        return Signature(reads=("length", "sentence"), meta=("sum.json",))


@register("subprocessor", "test_teach")
class Teach(Subprocessor):
    """Says in `seen` which columns `fit` and `screen` were given."""

    learns = True
    seen: ClassVar[list[list[str]]] = []

    def __init__(self, config, setup):
        super().__init__(config, setup)
        self.learns_from = ("sentence",)

    def screen(self, columns, ctx):
        self.seen.append(sorted(columns))

    def fit(self, chunks, meta):
        self.seen.extend(sorted(columns) for columns in chunks)
        meta.put("sum.json", {"total": 0}, text="{}")

    def transform(self, columns, ctx):
        return {}


@cregister("subprocessor", "test_draw")
class DrawConfig(SubprocessorConfig):
    """A random number per row, or a broken output."""

    mode = StrField("draw", help="what to write")
    sides = IntField(1000, help="how many numbers there are")

    def signature(self):
        return Signature(reads=("sentence",), writes=("drawn",))


@register("subprocessor", "test_draw")
class Draw(Subprocessor):
    """Draws, or breaks the contract as `mode` says."""

    def transform(self, columns, ctx):
        size = len(columns["sentence"])
        if self.config.mode == "short":
            return {"drawn": [0] * (size - 1)}
        if self.config.mode == "undeclared":
            return {"other": [0] * size}
        if self.config.mode == "row":
            return {"_row": [0] * size}
        if self.config.mode == "wrong row":
            raise RowError(99999, "sentence", None, "nowhere")
        if self.config.mode == "kill":
            if columns["_row"][0] > 0:
                print("half", flush=True)
                time.sleep(60)
            return {"drawn": [0] * size}
        if self.config.mode == "crash" and columns["_row"][0] > 0:
            raise RuntimeError("crash")
        return {
            "drawn": [ctx.rng(position).randrange(self.config.sides) for position in range(size)]
        }


@pytest.fixture(autouse=True)
def _no_calls():
    Length.calls.clear()


def processor(steps, meta=None, **values):
    children = {f"@subprocessor@{name}": step for name, step in steps.items()}
    return register.build(
        make("processor", "default", {**values, **children}), Setup(meta=meta or Meta.empty())
    )


SENTENCES = {"sentence": ["a", "bb", "ccc", "dddd", "e"]}


def rows(folder, split="train", columns=None):
    opened = open_split(folder / split)
    return opened.rows(range(len(opened)), columns)


def test_raw_and_made_columns_and_row_numbers_are_stored(tmp_path):
    report = processor({"test_length": {}}, chunk_size=2).fit_transform(
        {"train": SENTENCES}, tmp_path / "out"
    )
    assert rows(tmp_path / "out") == [
        {"sentence": text, "_row": row, "length": len(text)}
        for row, text in enumerate(SENTENCES["sentence"])
    ]
    assert (report.rows, report.records, report.rejects) == (
        {"train": 5},
        {"train": 5},
        {"train": 0},
    )
    assert Length.calls == [("train", 2), ("train", 2), ("train", 1)]


@pytest.mark.parametrize("split", ["train", "test", "valid"])
def test_one_split_alone_is_enough(tmp_path, split):
    processor({"test_length": {}}).fit_transform({split: SENTENCES}, tmp_path / "out")
    assert len(rows(tmp_path / "out", split)) == 5
    assert Meta.load(tmp_path / "out").numbers() == {}


@pytest.mark.parametrize("content", ["", "sentence,label\n"])
def test_a_split_without_rows_is_named_as_such(tmp_path, content):
    path = tmp_path / ("empty.csv" if content else "empty.jsonl")
    path.write_text(content)
    with pytest.raises(DataError, match="there are no rows in valid: give data, or leave it out"):
        processor({"test_length": {}}).fit_transform(
            {"train": SENTENCES, "valid": path}, tmp_path / "out"
        )
    assert not (tmp_path / "out").exists()


def test_the_chunk_size_changes_nothing_that_is_stored(tmp_path):
    steps = {"test_length": {}, "test_draw": {}, "test_split": {}}
    for size in (1, 3, 4096):
        processor(steps, chunk_size=size).fit_transform({"train": SENTENCES}, tmp_path / str(size))
    assert rows(tmp_path / "1") == rows(tmp_path / "3") == rows(tmp_path / "4096")


def test_the_seed_decides_what_steps_draw(tmp_path):
    def drawn(seed):
        processor({"test_draw": {}}, seed=seed).fit_transform(
            {"train": SENTENCES}, tmp_path / "out"
        )
        return rows(tmp_path / "out", columns=["drawn"])

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def test_steps_run_in_feed_order_or_as_written(tmp_path):
    steps = {
        "test_length#second": {"input_map": {"text": "extra"}, "output_map": {"length": "again"}},
        "test_length#first": {},
    }
    made = processor(steps, feed_order=["first", "second"])
    assert [step.name for step in made.steps] == ["first", "second"]
    made.fit_transform({"train": SENTENCES}, tmp_path / "out")
    with pytest.raises(ConfigError, match='reads the column "extra"'):
        processor(steps).fit_transform({"train": SENTENCES}, tmp_path / "out")


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (["test_lenght"], 'no step "test_lenght". Did you mean "test_length"'),
        (["test_length", "test_length"], "names test_length twice"),
        (["test_draw"], "leaves out test_length"),
    ],
)
def test_a_feed_order_that_does_not_fit_is_a_config_error(order, message):
    with pytest.raises(ConfigError, match=message):
        processor({"test_length": {}, "test_draw": {}}, feed_order=order)


def test_steps_run_only_on_the_splits_they_name(tmp_path):
    steps = {"test_length": {"train_data_set": ["valid"], "online_data_set": []}}
    made = processor(steps)
    made.fit_transform({"train": SENTENCES, "valid": SENTENCES}, tmp_path / "out")
    assert open_split(tmp_path / "out" / "train").column_names == ("sentence", "_row")
    assert "length" in open_split(tmp_path / "out" / "valid").column_names
    assert made.online(SENTENCES).columns.keys() == {"sentence", "_row"}


def test_columns_are_checked_before_any_work_and_all_mistakes_told(tmp_path):
    steps = {
        "test_length#a": {"input_map": {"text": "sentense"}},
        "test_length#b": {"input_map": {"text": "other"}},
    }
    with pytest.raises(ConfigError) as caught:
        processor(steps).fit_transform({"train": SENTENCES}, tmp_path / "out")
    first, second = caught.value.problems
    assert first.path.endswith("subprocessor#a")
    assert 'reads the column "sentense"' in first.message
    assert 'Did you mean "sentence"' in first.message
    assert "other" in second.message
    assert Length.calls == []
    assert not (tmp_path / "out").exists()


def test_columns_on_demand_are_made_for_later_steps_or_keep(tmp_path):
    later = {
        "test_length#a": {},
        "test_length#b": {"input_map": {"text": "extra"}, "output_map": {"length": "n"}},
    }
    processor(later).fit_transform({"train": SENTENCES}, tmp_path / "out")
    assert [row["extra"] for row in rows(tmp_path / "out")] == ["A", "BB", "CCC", "DDDD", "E"]
    processor({"test_length": {}}, keep=["extra"]).fit_transform(
        {"train": SENTENCES}, tmp_path / "out"
    )
    assert "extra" in open_split(tmp_path / "out" / "train").column_names
    assert "extra" in processor({"test_length": {}}, keep=["extra"]).online(SENTENCES).columns
    with pytest.raises(ConfigError, match='keep: no step writes "extras"'):
        processor({"test_length": {}}, keep=["extras"]).fit_transform(
            {"train": SENTENCES}, tmp_path / "out"
        )


@cregister("subprocessor", "test_passing")
class PassingConfig(SubprocessorConfig):
    """Upper case for the steps after it."""

    def signature(self):
        return Signature(reads=("sentence",), writes=("upper",), passing=("upper",))


@register("subprocessor", "test_passing")
class Passing(Subprocessor):
    """Makes what no one asked to store."""

    def transform(self, columns, ctx):
        if not ctx.wants("upper"):
            return {}
        return {"upper": [text.upper() for text in columns["sentence"]]}


def test_columns_that_steps_make_for_one_another_are_stored_where_keep_names_them(tmp_path):
    steps = {"test_passing": {}, "test_length": {"input_map": {"text": "upper"}}}
    made = processor(steps)
    made.fit_transform({"train": SENTENCES}, tmp_path / "out")
    assert open_split(tmp_path / "out" / "train").column_names == ("sentence", "_row", "length")
    assert "upper" not in made.online(SENTENCES).columns
    kept = processor(steps, keep=["upper"])
    kept.fit_transform({"train": SENTENCES}, tmp_path / "out")
    assert rows(tmp_path / "out")[0]["upper"] == "A"
    assert kept.online(SENTENCES).columns["upper"][0] == "A"


def test_a_raw_column_is_stored_though_a_step_could_make_one_of_its_name(tmp_path):
    data = {**SENTENCES, "upper": ["given"] * len(SENTENCES["sentence"])}
    processor({"test_passing": {}}).fit_transform({"train": data}, tmp_path / "out")
    assert rows(tmp_path / "out")[0]["upper"] == "given"


def test_learning_sees_the_training_split_through_the_steps_it_needs_alone(tmp_path):
    other = {"output_map": {"length": "other"}}
    steps = {"test_length#other": other, "test_length": {}, "test_learn": {}}
    data = {"train": {"sentence": ["a", "bb"]}, "valid": {"sentence": ["cccc"]}}
    processor(steps).fit_transform(data, tmp_path / "out")
    assert Meta.load(tmp_path / "out").numbers() == {"sum": {"total": 3}}
    assert Length.calls == [("train", 2)] + [("train", 2)] * 2 + [("valid", 1)] * 2


def test_a_file_that_nobody_makes_is_a_config_error_before_any_work(tmp_path):
    label = {"token2id": {"vocab": "v.json", "input_map": {"tokens": "sentence"}}}
    with pytest.raises(ConfigError, match=r"needs v\.json, and no step learns it"):
        processor(label).fit_transform({"train": SENTENCES}, tmp_path / "out")
    both = {"token_gather": {"token_vocab": "v.json", "gather_columns": ["sentence"]}, **label}
    with pytest.raises(
        ConfigError, match=r"needs v\.json, and token_gather learns it on the training split"
    ):
        processor(both).fit_transform({"test": SENTENCES}, tmp_path / "out")
    processor(both).fit_transform({"train": SENTENCES}, tmp_path / "out")
    again = processor(both, meta=Meta.load(tmp_path / "out"))
    again.transform({"test": SENTENCES}, tmp_path / "out", stage="train")
    assert rows(tmp_path / "out", "test", ["token_ids"]) == rows(
        tmp_path / "out", "train", ["token_ids"]
    )


BAD = {"sentence": ["a", "bad", "c", "very bad", "e"]}


def test_a_value_of_another_type_than_the_others_is_a_bad_row(tmp_path):
    rows = [{"sentence": "a", "id": 1}, {"sentence": "b", "id": "x"}, {"sentence": "c", "id": 3}]
    with pytest.raises(DataError, match=r"train: row 1, column 'id': is of another type.*got 'x'"):
        processor({"test_length": {}}).fit_transform({"train": rows}, tmp_path / "stop")
    made = processor({"test_length": {}}, bad_rows="reject")
    report = made.fit_transform({"train": rows}, tmp_path / "out")
    assert (report.rows, report.records, report.rejects) == (
        {"train": 3},
        {"train": 2},
        {"train": 1},
    )
    split = open_split(tmp_path / "out" / "train")
    assert split.rows(range(2), ["_row", "id"]) == [{"_row": 0, "id": 1}, {"_row": 2, "id": 3}]
    (line,) = (tmp_path / "out" / "train" / "rejects.jsonl").read_text().splitlines()
    assert (json.loads(line)["row"], json.loads(line)["value"]) == (1, "x")


def test_a_type_that_changes_between_chunks_is_a_bad_row(tmp_path):
    rows = [{"sentence": "a", "id": 1, "values": 1}, {"sentence": "b", "id": 2, "values": 2.5}]
    rows += [{"sentence": "c", "id": "x", "values": 3}, {"sentence": "d", "id": 4, "values": 4}]
    with pytest.raises(DataError, match=r"train: row 2, column 'id': is of another.*got 'x'"):
        processor({"test_length": {}}, chunk_size=1).fit_transform(
            {"train": rows}, tmp_path / "stop"
        )
    made = processor({"test_length": {}}, bad_rows="reject", chunk_size=1)
    report = made.fit_transform({"train": rows}, tmp_path / "out")
    assert (report.records, report.rejects) == ({"train": 3}, {"train": 1})
    split = open_split(tmp_path / "out" / "train")
    assert [row["values"] for row in split.rows(range(3))] == [1.0, 2.5, 4.0]
    (line,) = (tmp_path / "out" / "train" / "rejects.jsonl").read_text().splitlines()
    assert (json.loads(line)["row"], json.loads(line)["value"]) == (2, "x")


@pytest.mark.parametrize("column", ["sentence", "labels", "uid", "more"])
def test_a_row_that_is_no_unicode_is_a_bad_row_wherever_it_is_read_or_stored(tmp_path, column):
    half = "a \ud800 b"
    rows = [
        {"sentence": "a", "labels": "x", "uid": str(number), "more": {"k": ["c"]}}
        for number in range(4)
    ]
    rows[2][column] = {"k": [half]} if column == "more" else half
    config = {
        "fast_tokenizer": {"tokenizer_path": tiny_tokenizer(tmp_path / "tokenizer.json")},
        "token_gather": {"gather_columns": ["labels"]},
    }
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    data = {"train": str(tmp_path / "rows.jsonl")}
    with pytest.raises(DataError, match=rf"row 2, column '{column}': .*half of a surrogate pair"):
        processor(config).fit_transform(data, tmp_path / "out")
    made = processor(config, bad_rows="reject").fit_transform(data, tmp_path / "out")
    assert (made.records, made.rejects) == ({"train": 3}, {"train": 1})
    listed = (tmp_path / "out" / "train" / "rejects.jsonl").read_text(encoding="utf-8")
    (line,) = listed.splitlines()
    assert (json.loads(line)["column"], json.loads(line)["value"]) == (column, rows[2][column])


def test_a_bad_row_of_a_file_names_the_file(tmp_path):
    for name, texts in (("a", "xy"), ("b", ["z", "bad"])):
        lines = [json.dumps({"sentence": text}) for text in texts]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    data = {"train": [str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl")]}
    with pytest.raises(DataError, match=r"train \(.*b\.jsonl, its row 1\): row 3, column"):
        processor({"test_length": {}}).fit_transform(data, tmp_path / "stop")
    made = processor({"test_length": {}}, bad_rows="reject")
    made.fit_transform(data, tmp_path / "out")
    (line,) = (tmp_path / "out" / "train" / "rejects.jsonl").read_text().splitlines()
    assert json.loads(line)["file"] == f"{tmp_path / 'b.jsonl'}, its row 1"


@pytest.mark.parametrize("how", ["report", "raise"])
@pytest.mark.parametrize("size", [2, 100])
def test_rejected_rows_are_listed_counted_and_the_others_stay(tmp_path, how, size):
    made = processor({"test_length": {"how": how}}, bad_rows="reject", chunk_size=size)
    report = made.fit_transform({"train": BAD, "valid": SENTENCES}, tmp_path / "out")
    assert report.rejects == {"train": 2, "valid": 0}
    assert report.records == {"train": 3, "valid": 5}
    assert [row["_row"] for row in rows(tmp_path / "out")] == [0, 2, 4]
    lines = (tmp_path / "out" / "train" / "rejects.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"split": "train", "row": 1, "column": "sentence", "value": "bad", "reason": "is bad"},
        {"split": "train", "row": 3, "column": "sentence", "value": "very bad", "reason": "is bad"},
    ]
    assert not (tmp_path / "out" / "valid" / "rejects.jsonl").exists()
    assert open_split(tmp_path / "out" / "train").info["rejects"] == 2


def test_a_split_without_a_good_row_is_an_error_that_tells_the_first(tmp_path):
    made = processor({"test_length": {}}, bad_rows="reject", chunk_size=1)
    with pytest.raises(DataError, match=r"valid: all 2 rows are bad; the first: row 0, .*'bad 1'"):
        made.fit_transform(
            {"train": SENTENCES, "valid": {"sentence": ["bad 1", "bad 2"]}}, tmp_path / "out"
        )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("how", ["report", "raise"])
def test_a_bad_row_stops_the_run_with_split_row_column_and_value(tmp_path, how):
    made = processor({"test_length": {"how": how}}, chunk_size=2)
    with pytest.raises(
        DataError, match=r"valid: row 3, column 'sentence': is bad; got 'very bad'.*reject"
    ):
        made.fit_transform(
            {"train": SENTENCES, "valid": {"sentence": ["a", "b", "c", "very bad"]}},
            tmp_path / "out",
        )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("size", [1, 100])
def test_a_value_that_cannot_be_learnt_from_is_a_bad_row_like_any_other(tmp_path, size):
    steps = {"token_gather": {"gather_columns": ["labels"], "pad": None, "unk": None}}
    data = {"train": {"labels": ["a", {"x": 1}, "b", ["c", {"y": 2}]]}}
    with pytest.raises(DataError, match=r"train: row 1, column 'labels': .*got \{'x': 1\}"):
        processor(steps, chunk_size=size).fit_transform(data, tmp_path / "out")
    data["train"]["labels"][1] = {"x": 1}
    made = processor(steps, chunk_size=size, bad_rows="reject")
    report = made.fit_transform(data, tmp_path / "out")
    assert (report.records, report.rejects) == ({"train": 2}, {"train": 2})
    assert Meta.load(tmp_path / "out").vocabulary("token_vocab.json").words == ("a", "b")


def test_a_row_split_into_records_takes_its_columns_along(tmp_path):
    data = {"sentence": ["a b", "", "c"], "label": [1, 2, 3]}
    report = processor({"test_split": {}}).fit_transform({"train": data}, tmp_path / "out")
    assert rows(tmp_path / "out") == [
        {"sentence": "a b", "label": 1, "_row": 0, "word": "a", "_part": 0},
        {"sentence": "a b", "label": 1, "_row": 0, "word": "b", "_part": 1},
        {"sentence": "c", "label": 3, "_row": 2, "word": "c", "_part": 0},
    ]
    assert (report.rows, report.records) == ({"train": 3}, {"train": 3})


def test_one_bad_record_takes_its_whole_row_along(tmp_path):
    steps = {"test_split": {}, "test_length": {"input_map": {"text": "word"}}}
    made = processor(steps, bad_rows="reject")
    made.fit_transform({"train": {"sentence": ["a bad c", "d e"]}}, tmp_path / "out")
    assert [row["word"] for row in rows(tmp_path / "out")] == ["d", "e"]


def test_only_one_step_may_split_rows(tmp_path):
    made = processor({"test_split#a": {}, "test_split#b": {}})
    with pytest.raises(ConfigError, match="a splits rows into records already"):
        made.fit_transform({"train": SENTENCES}, tmp_path / "out")


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("short", "given 5 records"),
        ("undeclared", "does not say"),
        ("row", "both _row and _part"),
        ("wrong row", "not given the row"),
    ],
)
def test_a_step_that_breaks_its_contract_is_named(tmp_path, mode, message):
    with pytest.raises(ValueError, match=message):
        processor({"test_draw": {"mode": mode}}).fit_transform(
            {"train": SENTENCES}, tmp_path / "out"
        )


def test_unknown_splits_and_a_missing_column_of_a_request_are_data_errors(tmp_path):
    made = processor({"test_length": {}})
    with pytest.raises(DataError, match=r'got validation. Did you mean "valid"'):
        made.fit_transform({"validation": SENTENCES}, tmp_path)
    with pytest.raises(DataError, match='lacks the column "sentence", which test_length reads'):
        made.online({"text": ["a"]})
    with pytest.raises(DataError, match="differ in length"):
        made.online({"sentence": ["a"], "b": []})


def test_online_gives_what_offline_stores(tmp_path):
    steps = {"test_length": {}, "test_split": {}}
    made = processor(steps)
    made.fit_transform({"train": SENTENCES}, tmp_path / "out")
    online = made.online(SENTENCES)
    stored = rows(tmp_path / "out")
    assert [
        {name: values[n] for name, values in online.columns.items()} for n in range(5)
    ] == stored
    assert online.errors == {}


def test_online_gives_the_good_rows_and_an_error_for_each_bad_one():
    given = copy.deepcopy(BAD)
    online = processor({"test_length": {}}).online(given)
    assert given == BAD
    assert online.columns == {"sentence": ["a", "c", "e"], "_row": [0, 2, 4], "length": [1, 1, 1]}
    assert {row: error.value for row, error in online.errors.items()} == {1: "bad", 3: "very bad"}
    assert processor({"test_length": {}}).online({"sentence": []}).columns == {
        "sentence": [],
        "_row": [],
        "length": [],
    }


def test_online_serves_many_threads(tmp_path):
    steps = {
        "fast_tokenizer": {"tokenizer_path": tiny_tokenizer(tmp_path / "t.json")},
        "test_length": {},
    }
    made = processor(steps)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: made.online({"sentence": ["a b"] * n}), range(1, 40)))
    assert all(
        each.columns["input_ids"] == [[2, 4, 5, 3]] * n for n, each in enumerate(found, start=1)
    )


def test_the_config_is_written_beside_the_data_and_read_back(tmp_path):
    from dlk.config import from_resolved, to_dict

    made = processor({"test_length": {}}, processed_data_dir=str(tmp_path / "out"))
    made.fit_transform({"train": SENTENCES}, tmp_path / "out")
    plain = json.loads((tmp_path / "out" / "process.json").read_text())
    assert plain == to_dict(made.config)
    (again,) = from_resolved(plain, folder=str(tmp_path)).values()
    assert to_dict(again) == plain


@pytest.mark.parametrize("stage", ["train", "predict"])
def test_splits_are_not_added_to_those_that_other_steps_made(tmp_path, stage):
    split = "test" if stage == "train" else "predict"
    out = tmp_path / "out"
    steps = {"test_draw": {"sides": 3}, "test_length": {}}
    processor(steps, chunk_size=2).fit_transform({"train": SENTENCES}, out)
    processor(steps, chunk_size=9).transform({split: SENTENCES}, out, stage=stage)
    before = rows(out, split)
    for other, named in (
        ({**steps, "test_draw": {"sides": 4}}, "test_draw"),
        ({"test_draw": {"sides": 3}}, "test_length"),
        (dict(reversed(steps.items())), "test_draw, test_length"),
    ):
        with pytest.raises(DataError, match=rf"processed otherwise \({named}\)"):
            processor(other).transform({split: SENTENCES}, out, stage=stage)
    assert rows(out, split) == before


def test_a_tokenizer_that_moved_is_the_same_step(tmp_path):
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
        tiny_tokenizer(tmp_path / folder / "tokenizer.json")
    out = tmp_path / "out"

    def made(folder, meta=None):
        path = str(tmp_path / folder / "tokenizer.json")
        return processor({"fast_tokenizer": {"tokenizer_path": path}}, meta=meta)

    made("here").fit_transform({"train": SENTENCES}, out)
    made("there", Meta.load(out)).transform({"test": SENTENCES}, out, stage="train")
    assert rows(out, "test") == rows(out, "train")


@pytest.mark.parametrize("name", ["train.jsonl", "train/raw.txt", "meta/notes.txt", "valid"])
def test_a_folder_with_anything_else_in_it_is_never_replaced(tmp_path, name):
    made = processor({"test_length": {}})
    made.fit_transform({"test": SENTENCES}, tmp_path / "out")
    made.fit_transform({"test": SENTENCES}, tmp_path / "out")
    if name.startswith("meta"):
        (tmp_path / "out" / "meta" / "meta.json").unlink()
    (tmp_path / "out" / name).parent.mkdir(exist_ok=True)
    (tmp_path / "out" / name).write_text("mine")
    with pytest.raises(DataError, match=r"would be replaced.*choose another processed_data_dir"):
        made.fit_transform({"train": SENTENCES}, tmp_path / "out")
    assert (tmp_path / "out" / name).read_text() == "mine"
    if name.startswith("train/"):
        with pytest.raises(DataError, match="would be replaced"):
            made.transform({"train": SENTENCES}, tmp_path / "out", stage="train")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DataError, match="is a file"):
        made.fit_transform({"train": SENTENCES}, tmp_path / "file")


def test_a_run_that_raises_leaves_the_old_result_whole(tmp_path):
    processor({"test_length": {}}).fit_transform({"train": SENTENCES}, tmp_path / "out")
    before = rows(tmp_path / "out")
    with pytest.raises(RuntimeError, match="crash"):
        processor({"test_draw": {"mode": "crash"}}, chunk_size=2).fit_transform(
            {"train": SENTENCES}, tmp_path / "out"
        )
    assert rows(tmp_path / "out") == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_killed_run_leaves_the_old_result_whole(tmp_path):
    processor({"test_length": {}}).fit_transform({"train": SENTENCES}, tmp_path / "out")
    before = rows(tmp_path / "out")
    code = f"""
import importlib.util
spec = importlib.util.spec_from_file_location("steps", {str(Path(__file__))!r})
module = importlib.util.module_from_spec(spec); spec.loader.exec_module(module)
made = module.processor({{"test_draw": {{"mode": "kill"}}}}, chunk_size=2)
made.fit_transform({{"train": module.SENTENCES}}, {str(tmp_path / "out")!r})
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        watchdog = threading.Timer(60, child.kill)
        watchdog.start()
        assert child.stdout.readline() == b"half\n"
        watchdog.cancel()
        child.kill()
    assert rows(tmp_path / "out") == before
    processor({"test_length": {}}).fit_transform({"train": SENTENCES}, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"], (
        "what the killed run left is swept away"
    )


def test_a_bar_is_shown_on_a_terminal_only(tmp_path, capsys, monkeypatch):
    processor({"test_length": {}}).fit_transform({"train": SENTENCES}, tmp_path / "out")
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    processor({"test_length": {}}).fit_transform({"train": SENTENCES}, tmp_path / "out")
    assert "processing train" in capsys.readouterr().err


def test_what_steps_count_is_summed_per_split_and_step(tmp_path):
    data = {
        "train": {"sentence": ["a?", "b", "!", "c?", "d?"]},
        "valid": {"sentence": ["a", "b?"]},
        "test": {"sentence": ["a"]},
    }
    values = {
        "chunk_size": 2,  # several chunks, one of which is transformed again without its bad row
        "bad_rows": "reject",
        "@subprocessor@test_tally": {},
        "@subprocessor@test_tally#second": {"train_data_set": ["train"]},
    }
    processor = register.build(make("processor", "default", **values), Setup(Meta.empty()))
    report = processor.fit_transform(data, tmp_path / "out")
    expected = {
        "train": {"second: texts with a question": 3, "test_tally: texts with a question": 3},
        "valid": {"test_tally: texts with a question": 1},
        "test": {},
    }
    assert report.counts == expected
    for split, counts in expected.items():
        written = json.loads((tmp_path / "out" / split / "split.json").read_text())
        assert written["counts"] == counts
    later = {"predict": {"sentence": ["?", "?"]}}
    fresh = register.build(make("processor", "default", **values), Setup(Meta(tmp_path / "out")))
    assert fresh.transform(later, tmp_path / "out", stage="predict").counts == {
        "predict": {"second: texts with a question": 2, "test_tally: texts with a question": 2}
    }


def truth_processor(tmp_path, **more):
    config = make("processor", "default", **{"@subprocessor@test_truth": {}, **more})
    return register.build(config, Setup(Meta(tmp_path / "out")))


def test_the_truth_is_read_in_training_and_never_given_afterwards(tmp_path):
    data = {"sentence": ["a b", "c"], "labels": ["x", "why"]}
    processor = truth_processor(tmp_path)
    Truth.given.clear()
    processor.fit_transform({"train": data, "valid": data}, tmp_path / "out")
    stored = open_split(tmp_path / "out" / "valid").rows(range(2), ["length", "label_length"])
    assert stored == [{"length": 3, "label_length": 1}, {"length": 1, "label_length": 3}]
    processor.transform({"predict": data}, tmp_path / "out", stage="predict")
    processor.transform({"predict": {"sentence": ["a"]}}, tmp_path / "out", stage="predict")
    assert processor.online({"sentence": ["a"]}).columns["length"] == [1]
    both = processor.online(data).columns
    assert both["labels"] == ["x", "why"]  # kept for whoever reads the raw columns
    assert "label_length" not in both
    training = ["_row", "labels", "sentence"]
    assert [given for stage, given in Truth.given if stage == "train"] == [training, training]
    assert {tuple(given) for stage, given in Truth.given if stage != "train"} == {
        ("_row", "sentence")
    }


def test_the_truth_must_be_there_in_training(tmp_path):
    data = {"train": {"sentence": ["a"], "labels": ["x"]}, "valid": {"sentence": ["a"]}}
    with pytest.raises(ConfigError, match=r'reads the column "labels", which neither.*"valid"'):
        truth_processor(tmp_path).fit_transform(data, tmp_path / "out")


def test_a_step_that_needs_what_is_made_of_the_truth_is_named_where_there_is_none(tmp_path):
    reader = {"input_map": {"text": "label_length"}, "output_map": {"length": "n", "extra": "e"}}
    processor = truth_processor(tmp_path, **{"@subprocessor@test_length": reader})
    with pytest.raises(ConfigError, match=r"test_length.*'label_length'.*the stage online"):
        processor.online({"sentence": ["a"]})


def test_a_learning_step_gets_what_an_earlier_one_makes_of_the_truth(tmp_path):
    learner = {"@subprocessor@test_learn": {"column": "label_length"}}
    data = {"train": {"sentence": ["a", "b"], "labels": ["x", "why"]}}
    truth_processor(tmp_path, **learner).fit_transform(data, tmp_path / "out")
    assert Meta.load(tmp_path / "out").numbers()["sum"] == {"total": 4}


def test_the_signature_of_the_processor_tells_the_truth_apart():
    steps = {"@subprocessor@test_truth": {}, "@subprocessor@fast_tokenizer": {}}
    steps["@subprocessor@fast_tokenizer"]["tokenizer_path"] = "none.json"
    signature = make("processor", "default", **steps).signature()
    assert (signature.reads, signature.targets) == (("sentence",), ("labels",))


def test_learning_runs_no_step_whose_columns_it_does_not_need(tmp_path):
    config = make("processor", "default", **{
        "@subprocessor@test_length": {}, "@subprocessor@test_teach": {},
    })  # fmt: skip
    Length.calls.clear()
    Teach.seen.clear()
    processor = register.build(config, Setup(Meta.empty()))
    processor.fit_transform({"train": {"sentence": ["a", "b"]}}, tmp_path / "out")
    assert Length.calls == [("train", 2)]  # once, to write
    assert Teach.seen == [["_row", "sentence"], ["sentence"]]  # screened once


def test_two_steps_that_learn_one_file_are_a_config_error(tmp_path):
    config = make("processor", "default", **{
        "@subprocessor@token_gather": {"gather_columns": ["sentence"]},
        "@subprocessor@token_gather#more": {"gather_columns": ["labels"]},
    })  # fmt: skip
    processor = register.build(config, Setup(Meta.empty()))
    data = {"train": {"sentence": ["a"], "labels": ["b"]}}
    with pytest.raises(ConfigError, match=r"#more: learns token_vocab\.json, and so does token_g"):
        processor.fit_transform(data, tmp_path / "out")


def _gather(column, vocab, **values):
    return {"gather_columns": [column], "token_vocab": vocab, **values}


def test_steps_that_count_go_through_the_data_together(tmp_path):
    steps = {
        "test_length": {},
        "token_gather#a": _gather("length", "a.json"),
        "token_gather#b": _gather("length", "b.json", min_freq=2),
        "token_gather#c": _gather("sentence", "c.json"),
    }
    processor(steps, chunk_size=3).fit_transform({"train": SENTENCES}, tmp_path / "out")
    assert Length.calls == [("train", 3), ("train", 2)] * 2  # to learn and to write
    meta = Meta.load(tmp_path / "out")
    assert meta.vocabulary("a.json").words[2:] == ("1", "2", "3", "4")
    assert meta.vocabulary("b.json").words[2:] == ("1",)
    assert meta.vocabulary("c.json").words[2:] == ("a", "bb", "ccc", "dddd", "e")


def test_a_row_that_one_step_cannot_learn_from_is_for_the_others_and_in_no_split(tmp_path):
    steps = {
        "token_gather#a": _gather("sentence", "a.json"),
        "token_gather#b": _gather("tags", "b.json"),
    }
    data = {"sentence": ["a", "b", "c", "d"], "tags": [["x"], ["x", {}], ["y"], ["y"]]}
    for size in (1, 3):
        made = processor(steps, chunk_size=size, bad_rows="reject", keep=[])
        report = made.fit_transform({"train": data}, tmp_path / str(size))
        meta = Meta.load(tmp_path / str(size))
        assert meta.vocabulary("a.json").words[2:] == ("a", "b", "c", "d")
        assert meta.vocabulary("b.json").words[2:] == ("y", "x")
        assert report.rejects == {"train": 1}
        assert [row["_row"] for row in rows(tmp_path / str(size))] == [0, 2, 3]


class _SpiedTokenizer:
    """A tokenizer that says how it was asked, and what of its results was looked at."""

    def __init__(self, tokenizer, seen):
        self._tokenizer, self._seen = tokenizer, seen

    def __getattr__(self, name):
        return getattr(self._tokenizer, name)

    def encode_batch(self, rows, **options):
        self._seen.add("by the slow way")
        return [_SpiedEncoding(each, self._seen) for each in self._tokenizer.encode_batch(rows)]

    def encode_batch_fast(self, rows, **options):
        self._seen.add("by the fast way")
        found = self._tokenizer.encode_batch_fast(rows)
        return [_SpiedEncoding(each, self._seen) for each in found]


class _SpiedEncoding:
    def __init__(self, encoding, seen):
        self._encoding, self._seen = encoding, seen

    def __len__(self):
        return len(self._encoding)

    def __getattr__(self, name):
        self._seen.add(name)
        return getattr(self._encoding, name)


READERS = {
    "token_gather": {"gather_columns": ["tokens"], "token_vocab": "t.json"},
    "token2id": {"vocab": "t.json", "input_map": {"tokens": "tokens"}},
}


@pytest.mark.parametrize(
    ("keep", "later", "made"),
    [
        ([], {}, {"by the fast way", "ids"}),
        (["attention_mask"], {}, {"by the fast way", "ids", "attention_mask"}),
        (["offsets"], {}, {"by the slow way", "ids", "offsets"}),
        ([], READERS, {"by the slow way", "ids", "tokens"}),
    ],
)
def test_a_column_that_nobody_reads_is_never_made(tmp_path, monkeypatch, keep, later, made):
    seen: set[str] = set()
    untrimmed = fast_tokenizer._untrimmed

    def spied(tokenizer):
        whole, trims = untrimmed(tokenizer)
        return _SpiedTokenizer(whole, seen), trims

    monkeypatch.setattr(fast_tokenizer, "_untrimmed", spied)
    steps = {"fast_tokenizer": {"tokenizer_path": tiny_tokenizer(tmp_path / "t.json")}, **later}
    config = {
        "processed_data_dir": str(tmp_path / "out"),
        "num_workers": 0,
        "cache": False,
        "keep": keep,
        **{f"@subprocessor@{name}": values for name, values in steps.items()},
    }
    Process({"@processor@default": config}).run({"train": {"sentence": ["a b", "c"]}})
    assert seen == made
    stored = set(open_split(tmp_path / "out" / "train").column_names)
    read = {"token_ids"} if later else set()
    assert stored - read == {"sentence", "_row", "input_ids", *keep}
