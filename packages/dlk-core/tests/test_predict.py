"""Predicting files: every row, in order, in flat memory, and whole files only."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from dlk.errors import ConfigError, DataError
from dlk.predict import Predict
from dlk.server import Server


@pytest.fixture(scope="module")
def predict(trained):
    return Predict(trained.bundle)


@pytest.fixture(scope="module")
def rows(trained):
    return trained.toy.rows("test")


def read(path):
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def test_every_kind_of_data_gives_the_same_predictions(predict, rows, tmp_path):
    expected = predict.run(rows)
    assert len(expected) == len(rows)
    frame = pd.DataFrame(rows)
    frame.to_csv(tmp_path / "rows.csv", index=False)
    frame.to_parquet(tmp_path / "rows.parquet")
    frame.to_json(tmp_path / "rows.jsonl", orient="records", lines=True)
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    files = [str(tmp_path / f"rows.{ending}") for ending in ("csv", "parquet", "jsonl")]
    for data in (frame, columns, *files):
        assert predict.run(data) == expected


def test_files_hold_the_predictions_in_order(predict, rows, tmp_path):
    expected = predict.run(rows)
    path = predict.run(rows, tmp_path / "new" / "out.jsonl")
    assert path == str(tmp_path / "new" / "out.jsonl")
    assert read(path) == expected
    table = pq.read_table(predict.run(rows, tmp_path / "out.parquet"))
    assert table.column_names == ["label", "score", "error"]
    assert table.to_pylist() == [{**row, "error": None} for row in expected]


def test_bad_rows_are_errors_in_their_place(predict, rows, tmp_path):
    data = [rows[0], {"sentence": None}, rows[1]]
    found = read(predict.run(data, tmp_path / "out.jsonl"))
    assert [set(row) for row in found] == [{"label", "score"}, {"error"}, {"label", "score"}]
    table = pq.read_table(predict.run(data, tmp_path / "out.parquet")).to_pylist()
    assert table[1]["label"] is None
    assert json.loads(table[1]["error"]) == found[1]["error"]
    assert table[0]["error"] is None


def test_a_text_that_is_no_unicode_is_an_error_in_its_place(predict, rows, tmp_path):
    (tmp_path / "rows.jsonl").write_text(
        "\n".join(map(json.dumps, [rows[0], {"sentence": "a \ud800"}, rows[1]]))
    )
    found = read(predict.run(str(tmp_path / "rows.jsonl"), tmp_path / "out.jsonl"))
    assert [set(row) for row in found] == [{"label", "score"}, {"error"}, {"label", "score"}]
    assert found[1]["error"]["column"] == "sentence"
    assert "half of a surrogate pair" in found[1]["error"]["reason"]
    with pytest.raises(DataError, match=r"row 1, column 'sentence': half of a surrogate pair"):
        predict.evaluate([rows[0], {**rows[0], "sentence": "a \ud800"}])


def test_an_error_after_thousands_of_rows_still_has_its_column(predict, tmp_path):
    """A file's columns are known only when all rows were seen."""
    rows = [{"sentence": "the cat"}] * 4100
    late = pq.read_table(predict.run([*rows, {"sentence": None}], tmp_path / "late.parquet"))
    assert late.num_rows == 4101
    assert late.column("error").null_count == 4100
    early = [{"sentence": None}] * 4100
    table = pq.read_table(predict.run([*early, rows[0]], tmp_path / "early.parquet"))
    assert table.to_pylist()[-1]["label"] == "animal"
    assert table.column("label").null_count == 4100


def test_no_rows_make_an_empty_file(predict, tmp_path):
    assert predict.run([]) == []
    assert read(predict.run([], tmp_path / "out.jsonl")) == []
    assert pq.read_table(predict.run([], tmp_path / "out.parquet")).num_rows == 0


@pytest.mark.parametrize("name", ["out.csv", "out", "out.json"])
def test_another_ending_is_refused_before_any_work(predict, rows, tmp_path, monkeypatch, name):
    monkeypatch.setattr(type(predict.engine), "predict", None)
    with pytest.raises(DataError, match=r"\.jsonl or \.parquet, got .*out"):
        predict.run(rows, tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_a_file_appears_whole_or_not_at_all(predict, rows, tmp_path, monkeypatch, ending):
    target = tmp_path / f"out.{ending}"
    target.write_text("what was there")
    real, calls = type(predict.engine).predict_records, []

    def stop(self, records):
        calls.append(records)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(self, records)

    monkeypatch.setattr(type(predict.engine), "predict_records", stop)
    with pytest.raises(KeyboardInterrupt):
        predict.run(rows, target)
    assert [p.name for p in tmp_path.iterdir()] == [target.name]
    assert target.read_text() == "what was there"


def test_rows_are_read_only_as_they_are_needed(predict, monkeypatch):
    """A chunk of the data is read when the predictions before it are taken."""
    from dlk.data import inputs

    reads = []

    class Endless:
        def chunks(self, size):
            for number in range(1000):
                reads.append(number)
                yield {"sentence": ["the cat"] * size}

    monkeypatch.setattr(inputs, "open_input", lambda data: Endless())
    stream = predict.stream("endless")
    for _ in range(10):
        assert next(stream)["label"] == "animal"
    assert reads == [0]


def test_nothing_but_numbers_is_written(predict, rows, tmp_path, monkeypatch):
    """A model that diverged gives scores that are no numbers: null, which JSON can hold."""
    nan = {"label": "x", "score": float("nan")}
    monkeypatch.setattr(type(predict.engine), "predict", lambda self, columns: [nan])
    text = Path(predict.run(rows, tmp_path / "out.jsonl")).read_text()
    assert text == '{"label": "x", "score": null}\n'


def test_data_without_the_column_is_refused(predict):
    with pytest.raises(DataError, match='column "sentence" is missing'):
        predict.run([{"text": "the cat"}])


# Evaluation ---------------------------------------------------------------------------------------


def test_evaluation_agrees_with_training(trained, predict, rows):
    found = predict.evaluate(rows)
    assert found.metrics == {"acc": trained.result.metrics["test_acc"]}
    assert found.rows == len(rows)
    assert found.table == [{"rows": 21, "right": round(found.metrics["acc"] * 21)}]
    assert predict.evaluate(trained.toy.rows("valid")).metrics["acc"] == pytest.approx(
        trained.result.metrics["val_acc"]
    )


def test_evaluation_agrees_with_predictions(predict, rows):
    right = [
        answer["label"] == row["label"] for answer, row in zip(predict.run(rows), rows, strict=True)
    ]
    assert predict.evaluate(rows).metrics["acc"] == sum(right) / len(right)


def test_evaluation_needs_labels(predict, rows):
    with pytest.raises(ConfigError, match='"label"'):
        predict.evaluate([{"sentence": row["sentence"]} for row in rows])


def test_evaluation_leaves_nothing_behind(predict, rows, tmp_path, monkeypatch):
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    predict.evaluate(rows)
    assert list(tmp_path.iterdir()) == []


def test_evaluation_uses_the_batch_size_given(trained, rows, monkeypatch):
    predict = Predict(trained.bundle, batch_size=5)
    sizes = []
    real = type(predict.engine.postprocessor).decode

    def decode(self, out, rows):
        sizes.append(len(rows))
        return real(self, out, rows)

    monkeypatch.setattr(type(predict.engine.postprocessor), "decode", decode)
    predict.evaluate(rows)
    assert sizes == [5, 5, 5, 5, 1]


def test_server_and_predict_give_the_same_bits(trained, predict, rows):
    asked = [{"sentence": row["sentence"]} for row in rows]
    assert Server(trained.bundle).fit(asked) == predict.run(rows)
