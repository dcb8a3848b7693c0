"""Requests: one row or many, good and bad, from any number of threads."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest

from dlk.errors import ConfigError, DataError, DlkError, RowError, RunError
from dlk.server import Server


@pytest.fixture(scope="module")
def server(trained):
    return Server(trained.bundle)


@pytest.fixture(scope="module")
def rows(trained):
    return [{"sentence": row["sentence"]} for row in trained.toy.rows("test")]


def test_one_row_gives_one_prediction(server):
    answer = server.fit({"sentence": "the big cat near my dog"})
    assert answer["label"] == "animal"
    assert 0.3 < answer["score"] <= 1


def test_predictions_come_in_the_order_of_the_rows(server, rows):
    alone = [server.fit(row)["label"] for row in rows]
    assert [answer["label"] for answer in server.fit(rows)] == alone
    assert [answer["label"] for answer in server.fit(rows[::-1])] == alone[::-1]
    assert len(set(alone)) == 3


@pytest.mark.parametrize("size", [1, 3, 8, 100])
def test_the_batch_does_not_change_a_prediction(trained, server, rows, size):
    answers = Server(trained.bundle, batch_size=size).fit(rows)
    for answer, other in zip(answers, server.fit(rows), strict=True):
        assert answer["label"] == other["label"]
        assert answer["score"] == pytest.approx(other["score"], abs=1e-6)


def test_the_same_request_gives_the_same_bits(server, rows):
    assert server.fit(rows) == server.fit(rows)


def test_a_frame_a_tuple_and_a_list_are_the_same(server, rows):
    expected = server.fit(rows)
    assert server.fit(pd.DataFrame(rows)) == expected
    assert server.fit(pd.DataFrame(rows, index=range(50, 50 + len(rows)))) == expected
    assert server.fit(tuple(rows)) == expected


def test_a_text_that_is_no_unicode_is_refused_with_what_to_do(server, rows):
    with pytest.raises(RowError, match=r"row 0, column 'sentence': half of a .*mend the text"):
        server.fit({"sentence": "a \ud800"})
    answers = server.fit([rows[0], {"sentence": "a \ud800"}])
    assert answers[0] == server.fit(rows[0])
    assert answers[1]["error"]["column"] == "sentence"


def test_no_rows_give_no_predictions(server):
    assert server.fit([]) == []
    assert server.fit(pd.DataFrame({"sentence": []})) == []


def test_bad_rows_are_errors_in_their_place(server):
    good = {"sentence": "the cat"}
    answers = server.fit([{"sentence": None}, good, {"sentence": 3}, good, {"other": 1}])
    assert answers[1] == answers[3]
    assert "label" in answers[1]
    for number in (0, 2, 4):
        assert answers[number].keys() == {"error"}
        assert answers[number]["error"]["column"] == "sentence"
        assert answers[number]["error"]["reason"]


def test_one_bad_row_alone_raises(server):
    with pytest.raises(RowError, match="sentence") as caught:
        server.fit({"sentence": None})
    assert caught.value.row == 0


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA, np.nan])
def test_what_is_missing_in_a_frame_is_a_bad_row(server, missing):
    answers = server.fit(pd.DataFrame({"sentence": ["the cat", missing]}))
    assert "label" in answers[0]
    assert "error" in answers[1]


def test_a_missing_column_is_named_with_its_neighbours(server):
    with pytest.raises(DataError, match=r'column "sentence" is missing.*Did you mean "sentences"'):
        server.fit([{"sentences": "the cat"}])
    with pytest.raises(DataError, match="without any column"):
        server.fit({})


@pytest.mark.parametrize("rows", ["the cat", 3, None, b"x", iter([])])
def test_what_is_no_row_is_refused(server, rows):
    with pytest.raises(DataError, match="expected a row"):
        server.fit(rows)


def test_texts_in_a_list_are_not_taken_for_files(server, tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"sentence": "the cat"}\n')
    with pytest.raises(DataError, match="row 0: expected an object of columns, got str"):
        server.fit([str(tmp_path / "rows.jsonl")])


def test_columns_that_nobody_reads_may_hold_anything(server):
    plain = server.fit([{"sentence": "the cat"}, {"sentence": "some bread"}])
    mixed = server.fit(
        [
            {"sentence": np.str_("the cat"), "label": 3, "at": pd.Timestamp(0), "object": object()},
            {"sentence": "some bread", "numbers": np.ones(3), "nan": float("nan")},
        ]
    )
    assert mixed == plain


def test_a_frame_may_hold_arrays(server):
    frame = pd.DataFrame({"sentence": ["the cat", "a dog"], "boxes": [np.ones(3), np.ones(2)]})
    assert server.fit(frame) == server.fit([{"sentence": "the cat"}, {"sentence": "a dog"}])


def test_the_request_is_left_as_it_was(server):
    row = {"sentence": "the cat", "tags": ["a", "b"]}
    server.fit([row, row])
    assert row == {"sentence": "the cat", "tags": ["a", "b"]}


def test_many_threads_get_the_answers_of_one(server, rows):
    """1000 requests of 1 to 5 rows, and bad ones among them."""
    requests = [
        [*rows[n % 20 : n % 20 + 1 + n % 5], *([{"sentence": None}] if n % 7 == 0 else [])]
        for n in range(1000)
    ]
    expected = [server.fit(request) for request in requests[:140]]  # they repeat after 140
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(server.fit, requests))
    assert answers == [expected[n % 140] for n in range(1000)]


def test_configs_and_a_checkpoint_serve_as_the_bundle_does(trained, server, rows):
    toy = trained.toy
    best = next((trained.dir / "checkpoint").glob("epoch*.ckpt"))
    other = Server(toy.process_config, toy.fit_config, best)
    assert other.fit(rows) == server.fit(rows)
    assert other.inputs == server.inputs == ["sentence"]
    weights = Server(toy.process_config, toy.fit_config, trained.bundle / "model.safetensors")
    assert weights.fit(rows) == server.fit(rows)


def test_a_checkpoint_of_another_model_is_refused(trained):
    toy = trained.toy
    sizes = {"imodel.model.embedding.embedding_dim": 4, "imodel.model.decoder.input_size": 4}
    with pytest.raises(DlkError, match=r"decoder\.linear\.weight: the model has \(3, 4\)"):
        Server(toy.process_config, toy.fit_config, trained.checkpoint, overrides=sizes)


def test_wrong_arguments_are_refused(trained, tmp_path):
    toy = trained.toy
    with pytest.raises(TypeError, match="process_config, fit_config, checkpoint"):
        Server(toy.process_config, toy.fit_config)
    with pytest.raises(TypeError, match="process_config, fit_config, checkpoint"):
        Server({"@processor@default": {}})
    with pytest.raises(RunError, match="no checkpoint"):
        Server(toy.process_config, toy.fit_config, tmp_path / "x.ckpt")
    with pytest.raises(ConfigError):
        Server(
            toy.process_config, toy.fit_config, trained.checkpoint, overrides=["imodel.modl.x=1"]
        )
    with pytest.raises(ValueError, match="batch_size"):
        Server(trained.bundle, batch_size=0)


def test_serving_makes_no_loader(trained, monkeypatch):
    from torch.utils.data import DataLoader

    server = Server(trained.bundle)

    def refuse(self, *args, **kwargs):
        raise AssertionError("a loader was made")

    monkeypatch.setattr(DataLoader, "__init__", refuse)
    assert server.fit({"sentence": "the cat"})["label"] == "animal"
    assert len(server.fit([{"sentence": "the cat"}] * 20)) == 20


def test_serving_loads_no_lightning_no_datasets_and_no_pandas(trained, parts):
    code = (
        "import sys\n"
        "from dlk.server import Server\n"
        "server = Server(sys.argv[1], src=[sys.argv[2]])\n"
        "assert server.fit([{'sentence': 'the cat'}])[0]['label'] == 'animal'\n"
        "heavy = {'lightning', 'pytorch_lightning', 'datasets', 'pandas', 'transformers',\n"
        "         'streamlit', 'tensorboard', 'torchmetrics'}\n"
        "loaded = heavy & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(trained.bundle), str(parts)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
