"""Requests: one row or many, good and bad, from any number of threads."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from fractions import Fraction

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


# Poisoned rows -----------------------------------------------------------------------------------


@pytest.fixture
def poisoned(server, monkeypatch):
    """A server on which the word "soup" breaks one part: preprocessing, model or decoding."""
    from dlk.data.subprocessor.fast_tokenizer import FastTokenizer
    from dlk.nn.layer.embedding.random import RandomEmbedding

    soup = server.engine.prepare({"sentence": ["soup"]}).records["input_ids"][0][0]

    def in_preprocessing():
        real = FastTokenizer.transform

        def transform(self, columns, ctx):
            if "soup" in " ".join(map(str, columns["sentence"])):
                raise KeyError("soup")
            return real(self, columns, ctx)

        monkeypatch.setattr(FastTokenizer, "transform", transform)

    def in_the_model():
        real = RandomEmbedding.forward

        def forward(self, x):
            if (x["input_ids"] == soup).any():
                raise RuntimeError("soup in the kernel")
            return real(self, x)

        monkeypatch.setattr(RandomEmbedding, "forward", forward)

    def in_decoding():
        import toy_labels

        real = toy_labels.ToyLabels.decode

        def decode(self, out, rows):
            answers = real(self, out, rows)
            if any(answer["label"] == "food" for answer in answers):
                raise ZeroDivisionError("food")
            return answers

        monkeypatch.setattr(toy_labels.ToyLabels, "decode", decode)

    return {"preprocessing": in_preprocessing, "model": in_the_model, "decoding": in_decoding}


@pytest.mark.parametrize(
    ("place", "kind"),
    [("preprocessing", KeyError), ("model", RuntimeError), ("decoding", ZeroDivisionError)],
)
def test_a_row_that_breaks_a_component_fails_alone(server, poisoned, place, kind):
    texts = ["the cat", "my soup", "a big lake", "soup soup", "my dog"]
    rows = [{"sentence": text} for text in texts]
    sound = [server.fit(row) for row in rows]
    poisoned[place]()
    answers = server.fit(rows)
    for number in (0, 2, 4):
        assert answers[number]["label"] == sound[number]["label"]
        assert answers[number]["score"] == pytest.approx(sound[number]["score"], abs=1e-6)
    for number in (1, 3):
        assert set(answers[number]) == {"error"}
        assert f"cannot be answered: {kind.__name__}" in answers[number]["error"]["reason"]
    with pytest.raises(kind):
        server.fit(rows[1])  # alone, it raises what was raised
    with pytest.raises(kind):
        server.fit([rows[1], rows[3]])  # and so does what fails on all rows of a call


def test_bad_rows_keep_their_places_beside_poisoned_ones(server, poisoned):
    poisoned["preprocessing"]()
    answers = server.fit([{"sentence": t} for t in ("soup", None, "the cat", 3, "soup")])
    reasons = [answer.get("error", {}).get("reason", "") for answer in answers]
    assert ["KeyError" in reason for reason in reasons] == [True, False, False, False, True]
    assert reasons[1] == "there is no text"
    assert reasons[3] == "expected a text"
    assert answers[2]["label"] == "animal"


def test_a_row_of_nan_harms_no_other(server, monkeypatch):
    from dlk.nn.layer.embedding.random import RandomEmbedding

    rows = [{"sentence": text} for text in ("the cat", "my soup", "a big lake")]
    sound = server.fit(rows)
    soup = server.engine.prepare({"sentence": ["soup"]}).records["input_ids"][0][0]
    real = RandomEmbedding.forward

    def forward(self, x):
        out = real(self, x)
        bad = (x["input_ids"] == soup).any(dim=1)
        out["embedding"][bad] = float("nan")
        return out

    monkeypatch.setattr(RandomEmbedding, "forward", forward)
    answers = server.fit(rows)
    assert answers[0] == sound[0]
    assert answers[2] == sound[2]
    assert np.isnan(answers[1]["score"])


def test_what_is_wrong_with_the_call_is_said_once(server, monkeypatch):
    from dlk.data.processor.default import DefaultProcessor

    calls = []

    def online(self, columns):
        calls.append(len(columns["sentence"]))
        raise DataError("the request lacks everything")

    monkeypatch.setattr(DefaultProcessor, "online", online)
    with pytest.raises(DataError, match="lacks everything"):
        server.fit([{"sentence": "the cat"}] * 50)
    assert calls == [50, 1, 1]


# Bounds ------------------------------------------------------------------------------------------


def test_a_call_of_too_many_rows_is_refused(trained):
    server = Server(trained.bundle, max_rows=3)
    assert len(server.fit([{"sentence": "the cat"}] * 3)) == 3
    with pytest.raises(DataError, match=r"holds 4 rows, and 3 may be \(max_rows\).*Predict"):
        server.fit([{"sentence": "the cat"}] * 4)
    with pytest.raises(DataError, match="max_rows"):
        server.fit(pd.DataFrame({"sentence": ["the cat"] * 4}))


def test_a_row_of_too_many_characters_is_a_bad_row(trained):
    server = Server(trained.bundle, max_chars=20)
    rows = [{"sentence": "the cat"}, {"sentence": "the cat" + " " * 14}, {"sentence": "a dog"}]
    answers = server.fit(rows)
    assert [set(answer) == {"error"} for answer in answers] == [False, True, False]
    assert answers[1]["error"]["column"] == "sentence"
    assert "more than 20 characters" in answers[1]["error"]["reason"]
    assert server.fit({"sentence": "x" * 20})["label"]
    with pytest.raises(RowError, match="more than 20 characters") as caught:
        server.fit({"sentence": "x" * 10**7})
    assert len(str(caught.value)) < 300
    # what nobody reads may be as long as it likes
    assert server.fit({"sentence": "the cat", "note": "x" * 1000})["label"] == "animal"


@pytest.mark.parametrize("value", [["x" * 30], [[["x"]] * 30], {"a": "x" * 30}, ["x"] * 30])
def test_texts_within_lists_count_too(trained, value):
    from dlk.inference import _extent

    assert _extent(value, 20) > 20
    assert _extent(value, 1000) <= 100


def test_nesting_without_end_is_refused(trained):
    deep = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(DataError, match="nests too deep"):
        Server(trained.bundle).fit([{"sentence": deep}, {"sentence": "the cat"}])


def test_a_million_characters_are_answered(trained):
    text = "the big cat near my dog " * (10**6 // 24)
    server = Server(trained.bundle)
    answers = server.fit([{"sentence": text}, {"sentence": "x" * 10**6}, {"sentence": "the cat"}])
    assert [answer["label"] for answer in (answers[0], answers[2])] == ["animal", "animal"]
    assert "label" in answers[1]


def test_more_calls_at_once_than_may_be_are_refused(trained, monkeypatch):
    from threading import Event

    from dlk.inference import Engine
    from dlk.micro_batch import ServerBusyError

    server = Server(trained.bundle, max_waiting=2)
    entered, opened, real = [Event(), Event()], Event(), Engine.predict

    def predict(self, columns):
        next(each for each in entered if not each.is_set()).set()
        assert opened.wait(20)
        return real(self, columns)

    monkeypatch.setattr(Engine, "predict", predict)
    with ThreadPoolExecutor(2) as pool:
        waiting = []
        for each in entered:
            waiting.append(pool.submit(server.fit, {"sentence": "the cat"}))
            assert each.wait(20)
        with pytest.raises(ServerBusyError, match=r"2 calls are under way \(max_waiting\)"):
            server.fit({"sentence": "the cat"})
        opened.set()
        assert [each.result(20)["label"] for each in waiting] == ["animal"] * 2
    monkeypatch.setattr(Engine, "predict", real)
    assert server.fit({"sentence": "the cat"})["label"] == "animal"


@pytest.mark.parametrize("name", ["max_rows", "max_chars", "max_waiting", "max_batch_tokens"])
def test_bounds_are_at_least_one(trained, name):
    with pytest.raises(ValueError, match=f"{name} is at least 1, got 0"):
        Server(trained.bundle, **{name: 0})


LIMITS = ["max_rows", "max_chars", "max_waiting", "max_batch_tokens", "batch_size"]


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize("value", [0, -1, -(10**30)])
def test_a_bound_below_one_is_refused(trained, name, value):
    with pytest.raises(ValueError, match=f"{name} is at least 1, got {value}"):
        Server(trained.bundle, **{name: value})


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize(
    "value",
    [
        *(True, np.True_, 1.5, float("nan"), float("inf"), "3", [3], np.float32(2)),
        *(Fraction(2), Decimal(2), np.array(2)),
    ],
)
def test_a_bound_that_is_no_whole_number_is_refused(trained, name, value):
    with pytest.raises(TypeError, match=f"{name} is a whole number of at least 1, got"):
        Server(trained.bundle, **{name: value})


def test_a_bound_may_be_a_number_of_numpy(trained):
    server = Server(trained.bundle, batch_size=np.int64(2), max_rows=np.int32(3))
    assert len(server.fit([{"sentence": "the cat"}] * 3)) == 3
    assert type(server.max_rows) is int


def test_a_bound_may_be_as_large_as_one_likes(trained):
    server = Server(trained.bundle, **dict.fromkeys(LIMITS, 10**5000))
    assert len(server.fit([{"sentence": "the cat"}] * 3)) == 3
    assert len(server.submit([{"sentence": "the cat"}] * 3).result(20)) == 3
    assert server.warm()
    server.close()
    for name in LIMITS:
        with pytest.raises(ValueError, match=f"{name} is at least 1, got one far below"):
            Server(trained.bundle, **{name: -(10**5000)})


@pytest.mark.parametrize("name", ["micro_batch", "packed"])
def test_whether_or_not_is_said_by_true_or_false(trained, name):
    for value in ("false", 1, 0, None, 10**5000, Fraction(1), Decimal(1), float("nan"), [True]):
        with pytest.raises(TypeError, match=f"{name} is True or False, got"):
            Server(trained.bundle, **{name: value})
    assert Server(trained.bundle, **{name: np.False_}).joins is False


@pytest.mark.parametrize("device", [None, 1.5, "meta", ["cpu"]])
def test_a_device_on_which_nothing_can_be_computed_is_named(trained, device):
    with pytest.raises(DlkError, match=r'the device ".*" (cannot be used|holds no numbers)'):
        Server(trained.bundle, device=device)


def test_one_folder_of_sources_in_place_of_a_list_is_told(trained, tmp_path):
    with pytest.raises(TypeError, match=r"src is a list of folders, got .*src=\['.*'\]"):
        Server(trained.bundle, src=str(tmp_path))


# Beginning and end -------------------------------------------------------------------------------


def test_warming_answers_rows_of_several_lengths(trained, monkeypatch):
    from dlk.inference import Engine

    server = Server(trained.bundle)
    shapes, real = set(), Engine.predict_records

    def predict_records(self, records):
        shapes.add((len(records["_row"]), max(map(len, records["input_ids"]))))
        return real(self, records)

    monkeypatch.setattr(Engine, "predict_records", predict_records)
    assert server.warm() == 27
    assert {rows for rows, _ in shapes} == {1, 8}
    assert len({length for _, length in shapes}) == 3
    assert server.warm([{"sentence": "the cat"}]) == 6
    with pytest.raises(RowError):
        server.warm([{"sentence": None}])


def test_without_rows_of_its_own_a_server_warms_on_those_given(trained):
    toy = trained.toy
    server = Server(toy.process_config, toy.fit_config, trained.checkpoint)
    assert server.warm() == 0
    assert server.warm([{"sentence": "the cat"}]) == 6


def test_warming_keeps_to_the_bounds(trained):
    assert Server(trained.bundle, max_rows=3).warm() == 3 * (1 + 8)
    assert Server(trained.bundle, max_chars=4).warm() == 0  # its own rows are all longer
    one = Server(trained.bundle, max_chars=10)
    assert one.warm({"sentence": "the cat"}) == 2  # and not 4 times over
    with pytest.raises(RowError, match="more than 10 characters"):
        one.warm([{"sentence": "the big old cat"}])
    assert one.warm([{"sentence": ""}, {"sentence": "a"}]) > 0


def test_warming_stops_at_no_text_that_is_too_long_for_the_model(trained, monkeypatch):
    from dlk.nn.layer.embedding.random import RandomEmbedding

    server, real = Server(trained.bundle), RandomEmbedding.forward

    def forward(self, x):
        if x["input_ids"].shape[1] > 4:
            raise IndexError("no place for the fifth")
        return real(self, x)

    monkeypatch.setattr(RandomEmbedding, "forward", forward)
    assert server.warm([{"sentence": "cat"}] * 2) == (1 + 2) * 2  # once and four times
    with pytest.raises(IndexError, match="the fifth"):
        server.warm([{"sentence": "the cat and my dog"}])


def test_a_closed_server_does_not_warm(trained):
    from dlk.micro_batch import ServerClosedError

    server = Server(trained.bundle)
    server.close()
    with pytest.raises(ServerClosedError):
        server.warm()


def test_a_call_that_is_under_way_ends_though_the_server_is_closed(trained, monkeypatch):
    from threading import Event

    from dlk.inference import Engine

    server, entered, opened, real = Server(trained.bundle), Event(), Event(), Engine.predict

    def predict(self, columns):
        entered.set()
        assert opened.wait(20)
        return real(self, columns)

    monkeypatch.setattr(Engine, "predict", predict)
    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(server.fit, {"sentence": "the cat"})
        assert entered.wait(20)
        server.close()
        opened.set()
        assert waits.result(20)["label"] == "animal"


@pytest.mark.parametrize("packed", [False, True])
def test_a_bundle_that_is_deleted_while_it_is_served_is_not_missed(trained, tmp_path, packed):
    import shutil

    folder = shutil.copytree(trained.bundle, tmp_path / "bundle")
    server = Server(folder, packed=packed)
    expected = server.fit({"sentence": "the cat"})
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_file():
            path.write_bytes(b"")  # what is still mapped would be gone
    shutil.rmtree(folder)
    assert server.fit({"sentence": "the cat"}) == expected
    assert server.submit({"sentence": "the cat"}).result(20)["label"] == expected["label"]
    assert server.warm() == 27


def test_sixteen_threads_with_good_bad_and_poisoned_rows_get_their_own_answers(
    server, rows, poisoned
):
    from dlk.errors import DlkError as Known

    sound = {row["sentence"]: server.fit(row)["label"] for row in rows}
    sound = {text: label for text, label in sound.items() if "soup" not in text}
    poisoned["preprocessing"]()
    texts = sorted(sound)

    def ask(number):
        text, other = texts[number % len(texts)], texts[(7 * number + 1) % len(texts)]
        call = server.submit if number % 2 else server.fit
        batch = [{"sentence": text}, {"sentence": "soup"}, {"sentence": None}, {"sentence": other}]
        given = call(batch) if number % 3 else call({"sentence": text})
        if number % 5 == 0:
            try:
                done = call({"sentence": "soup"})
                done.result(60) if number % 2 else done
            except (KeyError, Known):
                pass
            else:
                return "a poisoned row was answered"
        answer = given.result(60) if number % 2 else given
        if not number % 3:
            return "" if answer["label"] == sound[text] else f"{text}: {answer}"
        good = [answer[0]["label"], answer[3]["label"]] == [sound[text], sound[other]]
        return "" if good and "error" in answer[1] and "error" in answer[2] else str(answer)

    with ThreadPoolExecutor(16) as pool:
        assert [wrong for wrong in pool.map(ask, range(160)) if wrong] == []


def test_a_panic_of_the_tokenizer_is_the_fault_of_its_row(server, monkeypatch):
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    from dlk.data.subprocessor.fast_tokenizer import FastTokenizer

    slow = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    slow.pre_tokenizer = pre_tokenizers.Split(Regex("(a+)+$"), "isolated")
    real = FastTokenizer.transform

    def transform(self, columns, ctx):
        if any(text and "aaa" in text for text in columns["sentence"]):
            slow.encode("a" * 40 + "b")
        return real(self, columns, ctx)

    monkeypatch.setattr(FastTokenizer, "transform", transform)
    good, bad = server.fit([{"sentence": "the cat"}, {"sentence": "aaa"}])
    assert good["label"] == "animal"
    assert "PanicException: Onig" in bad["error"]["reason"]
    with pytest.raises(DlkError, match="PanicException"):
        server.fit({"sentence": "aaa"})
    with pytest.raises(DlkError, match="PanicException"):
        server.submit({"sentence": "aaa"}).result(20)


@pytest.mark.parametrize("leaving", [KeyboardInterrupt, SystemExit])
def test_what_is_meant_for_the_process_is_no_bad_row(server, monkeypatch, leaving):
    from dlk.data.subprocessor.fast_tokenizer import FastTokenizer

    def transform(self, columns, ctx):
        raise leaving

    monkeypatch.setattr(FastTokenizer, "transform", transform)
    with pytest.raises(leaving):
        server.fit([{"sentence": "the cat"}, {"sentence": "a dog"}])


FORKING = """
import os, signal, sys, torch
from dlk.server import Server
torch.set_num_threads(2)
server = Server(sys.argv[1], src=[sys.argv[2]], max_waiting=1)
wide = torch.randn(600, 600)
product = wide @ wide  # now PyTorch has threads, which no child gets
server.fit({"sentence": "the cat"})
with server._lock:  # as another thread may hold it, with a call under way
    server._under_way = 1
    child = os.fork()
    if not child:
        signal.alarm(60)
        product = (wide @ wide).softmax(-1)
        alone = server.fit({"sentence": "the cat"})["label"]
        joined = server.submit({"sentence": "the cat"}).result(30)["label"]
        os._exit(0 if alone == joined == "animal" else 3)
    server._under_way = 0
assert os.waitpid(child, 0)[1] == 0
assert torch.get_num_threads() == 2
"""


def test_a_child_of_fork_answers_though_its_parent_was_at_work(trained, parts):
    import os

    done = subprocess.run(
        [sys.executable, "-c", FORKING, str(trained.bundle), str(parts)],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "2"},
    )
    assert done.returncode == 0, done.stderr


def test_a_closed_server_answers_no_more(trained):
    from dlk.micro_batch import ServerClosedError

    with Server(trained.bundle) as server:
        assert server.fit({"sentence": "the cat"})["label"] == "animal"
    for call in (server.fit, server.submit):
        with pytest.raises(ServerClosedError):
            call({"sentence": "the cat"})


def test_a_device_that_is_not_there_is_named(trained):
    with pytest.raises(DlkError, match='the device "cudda" cannot be used here'):
        Server(trained.bundle, device="cudda")


def test_auto_takes_what_is_there(trained, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert Server(trained.bundle, device="auto").engine.device.type == "cpu"


def test_packed_weights_change_no_answer(trained, monkeypatch, server, rows):
    from dlk.nn.module import packed_linear

    monkeypatch.setattr(packed_linear, "GAIN", 0.0)  # wherever it can be, whatever is faster
    packed = Server(trained.bundle, packed=True)
    kinds = [type(module).__name__ for module in packed.engine.model.modules()]
    assert "PackedLinear" in kinds
    for mine, other in zip(packed.fit(rows), server.fit(rows), strict=True):
        assert mine["label"] == other["label"]
        assert mine["score"] == pytest.approx(other["score"], abs=1e-5)
