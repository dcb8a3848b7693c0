"""What every task answers to inputs that a user will try: a good prediction, or a clear error."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import pytest

from dlk.errors import ConfigError, DataError, DlkError, RowError
from dlk.predict import Predict
from dlk.server import Server
from dlk.train import Train
from tests.small_tasks import (
    SEQ_LAB,
    SIZE,
    SPAN_CLS,
    SPAN_RELATION,
    TASKS,
    TXT_CLS,
    TXT_MATCH,
    SmallTask,
)

GOOD = "What did Ada write in Paris ?"
TEXTS = {
    "empty": "",
    "one character": "a",
    "spaces": "   ",
    "white space": " \t\n\r\n\u2028\u00a0 ",
    "emoji": "👩🏽\u200d🔬🇫🇷😀",
    "one combining mark": "\u0301",
    "nothing to see": "\u200b\u200d\ufeff",
    "right to left": "كتبت آدا إلى بوب في باريس",
    "no spaces": "日本語の文章です。" * 5,
    "control characters": "\x00\x07 Ada \x1b[31m",
    "markup": "<b>Ada</b> & \"Bob\" 'x' {{y}} %s",
    "long word": "a" * 5000,
}
WRONG = {
    "null": None,
    "number": 3,
    "fraction": 2.5,
    "not a number": math.nan,
    "boolean": True,
    "list": ["Ada", "lives"],
    "object": {"text": "Ada"},
}
LONG_S = 60  # for 100,000 characters on a busy machine; alone it takes a second or two


@pytest.fixture(scope="module", params=TASKS, ids=lambda task: task.name)
def trained(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[SmallTask, Path, Server]:
    """Each task, its bundle and a server of it."""
    task: SmallTask = request.param
    bundle = task.train(tmp_path_factory.mktemp(task.name))
    return task, bundle, Server(bundle)


def row_of(task: SmallTask, text: Any = GOOD) -> dict[str, Any]:
    """A row to predict, the text in its last column."""
    return {**dict.fromkeys(task.texts, GOOD), task.texts[-1]: text}


def assert_answers(task: SmallTask, row: dict[str, Any], answer: dict[str, Any]) -> None:
    """Assert that the answer is whole, is that of the row, and holds no value that is no JSON."""
    assert "error" not in answer, answer
    for column in task.texts:
        assert answer[column] == row[column]
    assert set(task.answers) <= set(answer)
    json.dumps(answer, allow_nan=False)
    for entity in answer.get("entities_info") or []:
        assert 0 <= entity["start"] < entity["end"] <= len(row["sentence"])
        assert row["sentence"][entity["start"] : entity["end"]] == entity["text"]


def close(one: Any, other: Any) -> bool:
    """Whether two answers are equal, their numbers to 1e-5 (rows beside them pad otherwise)."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(close(one[k], other[k]) for k in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(close, one, other))
    if isinstance(one, float):
        return bool(one == pytest.approx(other, abs=1e-5))
    return bool(one == other)


# Predict and Server ------------------------------------------------------------------------------


def test_any_text_gets_a_prediction_and_leaves_its_neighbours_alone(trained: Any) -> None:
    task, bundle, server = trained
    alone = server.fit(row_of(task))
    rows = [row for text in TEXTS.values() for row in (row_of(task, text), row_of(task))]
    answers = server.fit(rows)
    assert len(answers) == len(rows)
    for row, answer in zip(rows, answers, strict=True):
        assert_answers(task, row, answer)
    assert all(close(answer, alone) for answer in answers[1::2])
    for row, answer in zip(rows[::2], answers[::2], strict=True):
        assert close(server.fit(row), answer)
    assert all(map(close, Predict(bundle).run(rows), answers))


def test_both_texts_of_a_pair_may_be_empty(trained: Any) -> None:
    task, _, server = trained
    row = dict.fromkeys(task.texts, "")
    assert_answers(task, row, server.fit(row))


LONG = {"sentences": "Ada lives in Paris . ", "one word": "a", "one cluster": "\u0301"}


@pytest.mark.parametrize("unit", LONG.values(), ids=list(LONG))
@pytest.mark.parametrize(
    "length", [10_000, pytest.param(100_000, marks=pytest.mark.slow)], ids=["10k", "100k"]
)
def test_long_texts_get_an_answer_in_time(trained: Any, unit: str, length: int) -> None:
    task, _, server = trained
    rows = [row_of(task, (unit * length)[:length]), row_of(task)]
    start = time.monotonic()
    answers = server.fit(rows)
    assert time.monotonic() - start < LONG_S
    for row, answer in zip(rows, answers, strict=True):
        assert_answers(task, row, answer)


@pytest.mark.parametrize("value", WRONG.values(), ids=list(WRONG))
def test_what_is_no_text_is_named_and_the_other_rows_are_answered(trained: Any, value: Any) -> None:
    task, bundle, server = trained
    column = task.texts[-1]
    rows = [row_of(task), row_of(task, value), row_of(task)]
    for answers in (server.fit(rows), Predict(bundle).run(rows)):
        assert len(answers) == 3
        assert answers[1]["error"]["column"] == column
        assert "text" in answers[1]["error"]["reason"]
        for place in (0, 2):
            assert_answers(task, rows[place], answers[place])
    with pytest.raises(RowError) as caught:
        server.fit(rows[1])
    assert (caught.value.row, caught.value.column) == (0, column)


def test_a_column_that_is_missing_is_named(trained: Any) -> None:
    task, bundle, server = trained
    column = task.texts[-1]
    row = row_of(task)
    row["sentense"] = row.pop(column)
    for predict in (server.fit, lambda row: Predict(bundle).run([row])):
        with pytest.raises(DataError, match=column):
            predict(row)


def test_a_column_that_only_some_rows_have_is_null_in_the_others(trained: Any) -> None:
    task, _, server = trained
    column = task.texts[-1]
    lacking = {name: text for name, text in row_of(task).items() if name != column}
    answers = server.fit([row_of(task), {**lacking, "other": 1}])
    assert_answers(task, row_of(task), answers[0])
    assert answers[1]["error"]["column"] == column


def test_no_rows_give_no_predictions(trained: Any) -> None:
    _, bundle, server = trained
    assert server.fit([]) == []
    assert Predict(bundle).run([]) == []


def test_equal_rows_get_equal_predictions(trained: Any) -> None:
    task, _, server = trained
    answers = server.fit([row_of(task)] * 7)
    assert all(close(answer, answers[0]) for answer in answers)


def test_columns_of_the_truth_are_not_needed_and_may_hold_anything(trained: Any) -> None:
    task, _, server = trained
    plain = server.fit(row_of(task))
    for value in (None, "nonsense", 7, [{"start": 10**9}], {"a": 1}):
        odd = {**row_of(task), **dict.fromkeys(task.truths, value)}
        assert close(server.fit(odd), plain)


@pytest.mark.parametrize("rows", ["text", 3, [1], [None], None])
def test_what_is_no_row_is_refused(trained: Any, rows: Any) -> None:
    _, _, server = trained
    with pytest.raises(DataError, match="expected"):
        server.fit(rows)


# Process -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_any_text_can_be_learnt_from(task: SmallTask, tmp_path: Path) -> None:
    blank = {"entities_info": [], "relations_info": []}
    rows = [
        {**task.rows[0], **{key: blank[key] for key in task.truths if key in blank}, **texts}
        for text in TEXTS.values()
        for texts in (dict.fromkeys(task.texts, text),)
    ]
    report = task.process(tmp_path, {"train": [*task.rows, *rows, *rows]})
    assert report.rows["train"] == len(task.rows) + 2 * len(rows)
    assert report.rejects["train"] == 0


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
@pytest.mark.parametrize("value", [None, 3, ["Ada"]])
def test_a_row_without_text_stops_or_is_rejected(
    task: SmallTask, value: Any, tmp_path: Path
) -> None:
    bad = {**task.rows[0], task.texts[-1]: value}
    assert_bad(task, bad, task.texts[-1], repr(value), tmp_path)


def assert_bad(
    task: SmallTask,
    bad: dict[str, Any],
    column: str,
    shown: str,
    folder: Path,
    split: str = "train",
) -> None:
    """Assert that a row is named with column and value, or rejected and no other row with it."""
    data: dict[str, Any] = {"train": list(task.rows)}
    data[split] = [*task.rows[:3], bad, *task.rows[3:]]
    with pytest.raises(DataError) as caught:
        task.process(folder / "stop", data)
    told = str(caught.value)
    assert told.startswith(f"{split}: row 3, column {column!r}: "), told
    assert shown in told
    assert not (folder / "stop" / "processed").exists()
    report = task.process(folder / "reject", data, bad_rows="reject")
    assert (report.rows[split], report.rejects[split]) == (len(data[split]), 1)
    file = folder / "reject" / "processed" / split / "rejects.jsonl"
    (line,) = file.read_text(encoding="utf-8").splitlines()
    written = json.loads(line)
    assert (written["split"], written["row"], written["column"]) == (split, 3, column)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_a_column_that_process_needs_is_named_before_any_work(
    task: SmallTask, tmp_path: Path
) -> None:
    for column in (*task.texts, *(name for name in task.truths if name not in ("values", "match"))):
        rows = [{key: value for key, value in row.items() if key != column} for row in task.rows]
        with pytest.raises(ConfigError, match=f'reads the column "{column}"'):
            task.process(tmp_path, {"train": rows})


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_zero_rows_are_refused(task: SmallTask, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no rows in train"):
        task.process(tmp_path, {"train": []})


CLASSES = [task for task in TASKS if task.truths == ("labels",)]


@pytest.mark.parametrize("task", CLASSES, ids=lambda task: task.name)
@pytest.mark.parametrize("value", [None, math.nan])
def test_a_label_that_is_missing_stops_or_is_rejected(
    task: SmallTask, value: Any, tmp_path: Path
) -> None:
    assert_bad(task, {**task.rows[0], "labels": value}, "labels", "None", tmp_path)


@pytest.mark.parametrize("task", CLASSES, ids=lambda task: task.name)
def test_a_label_never_seen_in_training_is_named(task: SmallTask, tmp_path: Path) -> None:
    label = ["unseen"] if isinstance(task.rows[0]["labels"], list) else "unseen"
    assert_bad(task, {**task.rows[0], "labels": label}, "labels", "unseen", tmp_path, "valid")


SPANS = [task for task in TASKS if "entities_info" in task.truths]
BROKEN = {
    "null": None,
    "text": "Ada",
    "number": 4,
    "a list of texts": ["Ada"],
    "no offsets": [{"labels": ["PER"]}],
    "no label": [{"start": 0, "end": 2}],
    "offsets that are texts": [{"start": "0", "end": "2", "labels": ["PER"]}],
    "backwards": [{"start": 4, "end": 2, "labels": ["PER"]}],
    "negative": [{"start": -3, "end": 2, "labels": ["PER"]}],
    "behind the text": [{"start": 0, "end": 4000, "labels": ["PER"]}],
    "a label that is a number": [{"start": 0, "end": 4, "labels": [7]}],
}


@pytest.mark.parametrize("task", SPANS, ids=lambda task: task.name)
@pytest.mark.parametrize("value", BROKEN.values(), ids=list(BROKEN))
def test_entities_that_cannot_be_are_named(task: SmallTask, value: Any, tmp_path: Path) -> None:
    bad = {**task.rows[0], "entities_info": value}
    assert_bad(task, bad, "entities_info", "", tmp_path)


@pytest.mark.parametrize("task", SPANS, ids=lambda task: task.name)
def test_a_type_never_seen_in_training_is_counted_or_named(task: SmallTask, tmp_path: Path) -> None:
    entities = [{"start": 0, "end": 4, "labels": ["UNSEEN"]}]
    rows = [*task.rows, {**task.rows[0], "entities_info": entities, "relations_info": []}]
    data = {"train": list(task.rows), "valid": rows}
    report = task.process(tmp_path, data)
    assert sum(count for name, count in report.counts["valid"].items() if "unknown" in name) == 1
    assert report.rows["valid"] == report.records["valid"] == len(rows)


@pytest.mark.parametrize(
    "relations",
    [
        None,
        "Ada",
        [3],
        [{"from": 0, "labels": ["in"]}],
        [{"from": 0, "to": "Paris", "labels": ["in"]}],
        [{"from": 0, "to": 1}],
    ],
)
def test_relations_that_cannot_be_are_named(relations: Any, tmp_path: Path) -> None:
    bad = {**SPAN_RELATION.rows[0], "relations_info": relations}
    assert_bad(SPAN_RELATION, bad, "relations_info", "", tmp_path)


def test_a_relation_of_an_entity_that_is_not_there_is_counted(tmp_path: Path) -> None:
    relations = [{"from": 0, "to": 9, "labels": ["in"]}]
    rows = [*SPAN_RELATION.rows, {**SPAN_RELATION.rows[0], "relations_info": relations}]
    report = SPAN_RELATION.process(tmp_path, {"train": rows})
    key = "span_relation_relabel: relations of entities that are not there"
    assert report.counts["train"][key] == 1
    assert report.records["train"] == len(rows)


NUMBERS = [
    pytest.param(task, task.truths[0], id=task.name)
    for task in TASKS
    if task.truths[0] in ("values", "match")
]


@pytest.mark.parametrize(("task", "column"), NUMBERS)
@pytest.mark.parametrize("value", ["3.5", [1.0, 2.0], {"a": 1}])
def test_a_value_that_is_no_number_stops_or_is_rejected(
    task: SmallTask, column: str, value: Any, tmp_path: Path
) -> None:
    assert_bad(task, {**task.rows[0], column: value}, column, repr(value), tmp_path)


@pytest.mark.parametrize(("task", "column"), NUMBERS)
@pytest.mark.parametrize("value", [math.nan, math.inf, None])
def test_a_value_that_is_missing_never_reaches_training(
    task: SmallTask, column: str, value: Any, tmp_path: Path
) -> None:
    rows = [*task.rows[:3], {**task.rows[0], column: value}, *task.rows[3:]]
    task.process(tmp_path, {"train": rows})
    with pytest.raises(DataError, match=column) as caught:
        Train(task.fit_config(tmp_path)).run()
    assert "3" in str(caught.value)


def test_thousands_of_labels_are_learnt_and_listed(tmp_path: Path) -> None:
    rows = [{"sentence": GOOD, "labels": f"label {k:05}"} for k in range(3000)]
    bundle = TXT_CLS.train(tmp_path, rows, batch_size=500)
    answer = Server(bundle).fit({"sentence": GOOD})
    assert len(answer["predicts"]) == 3000
    assert {one["label"] for one in answer["predicts"]} == {row["labels"] for row in rows}
    assert sum(one["score"] for one in answer["predicts"]) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("task", [SEQ_LAB, SPAN_CLS], ids=lambda task: task.name)
def test_hundreds_of_entity_types_are_learnt(task: SmallTask, tmp_path: Path) -> None:
    rows = [
        {"sentence": GOOD, "entities_info": [{"start": 9, "end": 12, "labels": [f"T{k:03}"]}]}
        for k in range(300)
    ]
    bundle = task.train(tmp_path, rows, batch_size=100)
    assert_answers(task, rows[0], Server(bundle).fit(rows[0]))


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_equal_rows_are_all_kept(task: SmallTask, tmp_path: Path) -> None:
    report = task.process(tmp_path, {"train": [task.rows[0]] * 9})
    assert (report.rows["train"], report.records["train"]) == (9, 9)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_a_null_in_a_column_that_no_step_reads_costs_no_row(
    task: SmallTask, tmp_path: Path
) -> None:
    rows = [{**row, "note": None if n % 2 else "x"} for n, row in enumerate(task.rows)]
    report = task.process(tmp_path, {"train": rows}, keep=["note"])
    assert (report.rows["train"], report.rejects["train"]) == (len(rows), 0)


CLASSIFIERS = [task for task in TASKS if SIZE in json.dumps(task.imodel)]


@pytest.mark.parametrize("task", CLASSIFIERS, ids=lambda task: task.name)
def test_labels_beyond_the_model_s_size_say_which_ids_there_are(
    task: SmallTask, tmp_path: Path
) -> None:
    task.process(tmp_path, {"train": list(task.rows), "valid": list(task.rows)})
    text = json.dumps(task.fit_config(tmp_path))
    config = json.loads(text.replace(f'"output_size": "{SIZE}"', '"output_size": 1'))
    with pytest.raises(DlkError) as caught:
        Train(config).run()
    assert "_size" in str(caught.value) or "cannot take a batch" in str(caught.value)


@pytest.mark.parametrize("value", [-1.0, 4.0])
def test_a_match_that_is_neither_yes_nor_no_is_refused(value: float, tmp_path: Path) -> None:
    rows = [*TXT_MATCH.rows, {**TXT_MATCH.rows[0], "match": value}]
    TXT_MATCH.process(tmp_path, {"train": rows})
    with pytest.raises(DlkError, match=r"targets in 0\.\.1"):
        Train(TXT_MATCH.fit_config(tmp_path)).run()
