"""The path that evaluation, Predict and Server share: the same bits for the same batch."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dlk.data.sampler import EvalBatches
from dlk.errors import DlkError
from dlk.inference import Engine, answer_of
from dlk.predict import Predict
from dlk.server import Server

LONG = "the big old cat near a big old cat with my big old cat"


@pytest.fixture
def spied(monkeypatch, trained):
    """What every call of the model's decode saw: (logits, rows), with the stage's name.

    `trained` has the toy's components imported, which puts their module in place.
    """
    import toy_labels

    seen = []
    real = toy_labels.ToyLabels.decode

    def decode(self, out, rows):
        answers = real(self, out, rows)
        seen.append((out["logits"].clone(), [(r["_row"], r["_part"]) for r in rows], answers))
        return answers

    monkeypatch.setattr(toy_labels.ToyLabels, "decode", decode)
    return seen


def windows(toy, **more):
    """Cut texts into windows of 4 tokens that share 1."""
    config = json.loads(toy.process_config.read_text())
    step = config["@processor@default"]["@subprocessor@fast_tokenizer"]
    step.update(expand_examples=True, truncation={"max_length": 4, "stride": 1}, **more)
    toy.process_config.write_text(json.dumps(config))
    toy.process()
    return toy


@pytest.mark.parametrize("is_cut", [False, True])
def test_evaluation_predict_and_server_see_the_same_bits(toy, spied, is_cut):
    if is_cut:
        windows(toy)
    toy.edit({"@trainer@lightning/num_sanity_val_steps": 0})
    rows = toy.rows("test")
    done = toy.train("trainer.max_steps=6")
    # validation, the test split, the golden predictions: each starts at row 0
    _, start, end = (n for n, call in enumerate(spied) if call[1][0] == (0, 0))
    trained = spied[start:end]
    del spied[:]
    Predict(done.bundle).evaluate(rows)
    evaluated = list(spied)
    del spied[:]
    Predict(done.bundle).run(rows)
    predicted = list(spied)
    del spied[:]
    Server(done.bundle).fit([{"sentence": row["sentence"]} for row in rows])
    served = list(spied)
    for other in (evaluated, predicted, served):
        assert [call[1] for call in other] == [call[1] for call in trained]
        for (logits, _, answers), (expected, _, first) in zip(other, trained, strict=True):
            assert torch.equal(logits, expected)
            assert answers == first


def test_the_windows_of_a_row_make_one_prediction(toy):
    windows(toy)
    done = toy.train("trainer.max_steps=6")
    server = Server(done.bundle, batch_size=2)
    rows = [{"sentence": "a dog"}, {"sentence": LONG}, {"sentence": "some bread"}]
    answers = server.fit(rows)
    assert len(answers) == 3
    for row, answer in zip(rows, answers, strict=True):
        alone = server.fit(row)
        assert alone["label"] == answer["label"]
        assert alone["score"] == pytest.approx(answer["score"], abs=1e-6)
    assert Predict(done.bundle, batch_size=2).run(rows) == answers


def test_a_bad_row_among_windows_keeps_its_place(toy):
    windows(toy)
    done = toy.train("trainer.max_steps=1")
    answers = Server(done.bundle).fit([{"sentence": LONG}, {"sentence": 3}, {"sentence": LONG}])
    assert answers[0] == answers[2]
    assert set(answers[1]) == {"error"}


@given(parts=st.lists(st.integers(1, 5), max_size=12), size=st.integers(1, 6))
def test_requests_are_cut_into_batches_as_the_loaders_cut_data(parts, size):
    numbers = [row for row, count in enumerate(parts) for _ in range(count)]
    engine = Engine(None, None, torch.nn.Identity(), None, size, torch.device("cpu"), ())
    cut = list(engine._batches({"_row": numbers}))
    assert cut == [b for b in EvalBatches(len(numbers), size, rows=numbers) if b]


def test_columns_of_the_postprocessor_come_from_the_request(toy):
    toy.edit({"@imodel@default/@postprocessor@toy_labels": {"columns": ["uid"]}})
    done = toy.train("trainer.max_steps=1")
    rows = toy.rows("test")
    predict = Predict(done.bundle)
    assert [answer["uid"] for answer in predict.run(rows)] == [row["uid"] for row in rows]
    server = Server(done.bundle)
    assert "uid" not in server.fit({"sentence": "the cat"})  # it is not required
    assert server.fit({"sentence": "the cat", "uid": 7, "label": 1})["uid"] == 7
    assert predict.evaluate(rows).rows == len(rows)
    # no file could hold a prediction with half a character in it
    rows[1]["uid"] = "\ud800"
    answers = predict.run(rows[:3])
    assert [set(answer) for answer in answers] == [set(answers[0]), {"error"}, set(answers[0])]
    assert answers[1]["error"]["column"] == "uid"
    assert "half of a surrogate pair" in answers[1]["error"]["reason"]


def test_a_postprocessor_that_loses_rows_is_noticed(trained, monkeypatch):
    import toy_labels

    monkeypatch.setattr(toy_labels.ToyLabels, "decode", lambda self, out, rows: [])
    with pytest.raises(DlkError, match="0 predictions for 2 rows"):
        Server(trained.bundle).fit([{"sentence": "a"}, {"sentence": "a"}])


def test_outputs_that_nobody_writes_are_named(trained, monkeypatch):
    from dlk.nn.layer.decoder.linear import LinearDecoder

    monkeypatch.setattr(LinearDecoder, "forward", lambda self, x: {"scores": x["embedding"]})
    with pytest.raises(DlkError, match=r"reads logits, which the model did not write.*scores"):
        Server(trained.bundle).fit({"sentence": "a"})


def test_predictions_stay_what_they_are():
    assert answer_of({"label": "x"}) == {"label": "x"}


@given(
    lengths=st.lists(st.integers(0, 30), min_size=1, max_size=60),
    size=st.integers(1, 4),
    parts=st.integers(1, 3),
)
def test_long_calls_are_cut_by_length_and_no_row_is_lost(lengths, size, parts):
    numbers = [row for row in range(len(lengths)) for _ in range(1 + row % parts)]
    ids = [[7] * lengths[row] for row in numbers]
    engine = Engine(None, None, torch.nn.Identity(), None, size, torch.device("cpu"), ())
    cut = list(engine._batches({"_row": numbers, "input_ids": ids}))
    assert sorted(position for batch in cut for position in batch) == list(range(len(numbers)))
    of_rows = [{numbers[position] for position in batch} for batch in cut]
    assert all(one.isdisjoint(two) for n, one in enumerate(of_rows) for two in of_rows[:n])
    longest = [max(lengths[row] for row in rows) for rows in of_rows]
    if len(numbers) >= 8 * size:
        assert longest == sorted(longest, reverse=True)
    else:
        assert cut == [b for b in EvalBatches(len(numbers), size, rows=numbers) if b]


def test_predictions_of_long_data_are_in_the_order_of_the_rows(trained):
    rows = trained.toy.rows("test") * 4
    predict = Predict(trained.bundle, batch_size=3)
    answers = predict.run(rows)
    alone = [predict.run([row])[0] for row in rows[:21]] * 4
    for answer, other in zip(answers, alone, strict=True):
        assert answer["label"] == other["label"]
        assert answer["score"] == pytest.approx(other["score"], abs=1e-6)
