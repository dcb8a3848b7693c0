"""Sequence labelling from configs to served entities, on a few dozen tweets with names."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from seqeval.metrics import f1_score

from dlk.predict import Predict
from dlk.preprocess import Process
from dlk.server import Server
from dlk.train import RunResult, Train
from examples import end_to_end
from examples.sequence_labeling import main
from scripts.golden import GOLDENS, differences, small_bert

ROOT = Path(__file__).resolve().parent.parent
FIXTURES = ROOT / "tests" / "fixtures"
EXAMPLE = ROOT / "examples" / "sequence_labeling"
GOLDEN = GOLDENS["sequence_labeling"]
SPLITS = ("train", "valid", "test")

Rows = list[dict[str, Any]]


def texts(some: Rows) -> Rows:
    """Return the rows as a client sends them: without the truth."""
    return [{"sentence": row["sentence"]} for row in some]


def spans(row: dict[str, Any]) -> list[tuple[int, int, str]]:
    return [(e["start"], e["end"], e["labels"][0]) for e in row["entities_info"]]


def same(one: Rows, other: Rows) -> None:
    """Assert equal entities, and probabilities within what another batch may change."""
    assert [spans(row) for row in one] == [spans(row) for row in other]
    scores = [[e["score"] for row in each for e in row["entities_info"]] for each in (one, other)]
    assert scores[0] == pytest.approx(scores[1], abs=1e-5)


@dataclass(frozen=True)
class Tagger:
    """The fixture's task after its run."""

    folder: Path
    result: RunResult

    @property
    def bundle(self) -> Path:
        return Path(self.result.bundle)


@pytest.fixture(scope="module")
def tagger(tmp_path_factory: pytest.TempPathFactory) -> Tagger:
    folder = tmp_path_factory.mktemp("tweets") / "task"
    return Tagger(folder, GOLDEN.train(folder))


def test_training_learns_the_tweets_it_saw(tagger: Tagger) -> None:
    train = GOLDEN.rows("train")
    found = Predict(tagger.bundle).evaluate(train)
    assert 0.9 <= found.metrics["f1"] <= 1.0
    assert {line["label"] for line in found.table} >= {"person", "geo-loc", "facility"}
    assert sum(line["support"] for line in found.table) == sum(len(spans(row)) for row in train)


def test_evaluation_of_the_run_and_of_the_bundle_agree(tagger: Tagger) -> None:
    found = Predict(tagger.bundle).evaluate(GOLDEN.rows("test"))
    assert found.rows == 24
    assert {f"test_{name}" for name in found.metrics} <= set(tagger.result.metrics)
    for name, value in found.metrics.items():
        assert value == pytest.approx(tagger.result.metrics[f"test_{name}"])


def test_metrics_are_what_seqeval_counts_over_the_served_entities(tagger: Tagger) -> None:
    data = GOLDEN.rows("train")
    served = Server(tagger.bundle).fit(texts(data))
    # every character is a token, so that no word decides what a boundary is
    tags = [
        [character_tags(spans(row), len(row["sentence"])) for row in each]
        for each in (data, served)
    ]
    expected = f1_score(*tags)
    assert expected > 0.9
    assert Predict(tagger.bundle).evaluate(data).metrics["f1"] == pytest.approx(expected)


def character_tags(entities: list[tuple[int, int, str]], length: int) -> list[str]:
    tags = ["O"] * length
    for start, end, label in entities:
        tags[start:end] = [f"B-{label}", *[f"I-{label}"] * (end - start - 1)]
    return tags


def test_predict_and_server_give_the_same_bits_for_the_same_batch(tagger: Tagger) -> None:
    data = texts(GOLDEN.rows("train"))
    assert Predict(tagger.bundle).run(data) == Server(tagger.bundle).fit(data)


def test_a_tweet_alone_gets_what_it_gets_among_others(tagger: Tagger) -> None:
    data = texts(GOLDEN.rows("train"))
    server = Server(tagger.bundle)
    same([server.fit(row) for row in data], server.fit(data))


def test_entities_are_the_text_between_their_ends(tagger: Tagger) -> None:
    found = Server(tagger.bundle).fit(texts(GOLDEN.rows("train")))
    entities = [(row["sentence"], e) for row in found for e in row["entities_info"]]
    assert entities
    for sentence, entity in entities:
        assert entity["text"] == sentence[entity["start"] : entity["end"]]
        assert 0.0 < entity["score"] <= 1.0


def test_what_was_predicted_is_data_on_which_the_prediction_is_perfect(tagger: Tagger) -> None:
    predict = Predict(tagger.bundle)
    predicted = predict.run(texts(GOLDEN.rows("train")))
    scores = predict.evaluate(predicted).metrics
    assert (scores["precision"], scores["recall"]) == (1.0, 1.0)


def test_a_bundle_serves_elsewhere_with_data_encoder_and_tokenizer_gone(
    tagger: Tagger, tmp_path: Path
) -> None:
    data = texts(GOLDEN.rows("test"))
    expected = Server(tagger.bundle).fit(data)
    whole = shutil.copytree(tagger.folder, tmp_path / "task")
    moved = shutil.move(whole / "logs" / tagger.result.name / "bundle", tmp_path / "moved")
    shutil.rmtree(whole)
    server = Server(moved)
    assert server.inputs == ["sentence"]
    assert server.fit(data) == expected


def test_a_long_text_has_its_entities_in_every_window(tagger: Tagger) -> None:
    known = [row for row in GOLDEN.rows("train") if len(spans(row)) == 1][:12]
    server = Server(tagger.bundle)
    kept = [
        row
        for row, alone in zip(known, server.fit(texts(known)), strict=True)
        if spans(alone) == spans(row)
    ]
    sentence, truth = "", []
    for row in kept:
        truth += [(s + len(sentence), e + len(sentence), label) for s, e, label in spans(row)]
        sentence += row["sentence"] + " "
    assert len(sentence.split()) > 100  # a window holds 26 pieces
    found = spans(server.fit({"sentence": sentence}))
    assert len(kept) >= 8
    # the context of a tweet differs here, so not all are found; those that are stand where they are
    hits = [place for place, entity in enumerate(truth) if entity in found]
    assert len(hits) >= len(truth) / 2
    assert hits[-1] >= len(truth) - 3
    starts = [start for start, _, _ in found]
    assert starts == sorted(set(starts))


@pytest.mark.parametrize("sentence", ["", " ", "\u200b", "a", "🎉" * 300, "x" * 5000])
def test_odd_texts_have_an_answer(tagger: Tagger, sentence: str) -> None:
    answer = Server(tagger.bundle).fit({"sentence": sentence})
    assert answer["sentence"] == sentence
    assert all(0 <= start < end <= len(sentence) for start, end, _ in spans(answer))
    if not sentence.strip():
        assert answer["entities_info"] == []


def test_a_label_never_seen_in_training_counts_as_missed(tagger: Tagger) -> None:
    row = {
        "sentence": "dear youtube why",
        "entities_info": [{"start": 5, "end": 12, "labels": ["planet"]}],
    }
    found = Predict(tagger.bundle).evaluate([row])
    assert found.metrics["recall"] == 0.0
    assert [line["support"] for line in found.table if line["label"] == "planet"] == [1]


def test_the_golden_run_predicts_what_is_written(tagger: Tagger) -> None:
    """Renew by ``python -m scripts.golden sequence_labeling`` where a change is meant."""
    expected = json.loads(GOLDEN.file.read_text(encoding="utf-8"))
    assert differences(GOLDEN.found(tagger.result), expected) == []


# Other ways of tagging ---------------------------------------------------------------------------


PIECES = {"type_ids": "", "gather_index": ""}
WAYS: dict[str, dict[str, Any]] = {
    "pieces whose CRF writes nothing but BIOES": {
        "relabel": {"vocab": "label_vocab.json", "scheme": "BIOES"},
        "columns": {"unit_mask": "bool"},
        "decoder": {
            "@decoder@linear_crf": {
                "scheme": "BIOES",
                "label_vocab": "label_vocab.json",
                "reduction": "token_mean",
                "input_map": {"embedding_mask": "unit_mask"},
            }
        },
        "loss": {"@loss@identity": {}},
        "post": {"use_crf": True, "scheme": "BIOES", "strict": True},
    },
    "pieces that vote on their word": {
        "relabel": {"vocab": "label_vocab.json"},
        "keep": ["word_ids"],
        "decoder": {"@decoder@linear": {}},
        "loss": {"@loss@cross_entropy": {"pred_truth_pair": {"logits": "label_ids"}}},
        "post": {"aggregation_strategy": "average"},
    },
    "pieces in IO, some types left out": {
        "relabel": {"vocab": "label_vocab.json", "scheme": "IO"},
        "decoder": {"@decoder@linear": {}},
        "loss": {"@loss@focal": {"pred_truth_pair": {"logits": "label_ids"}}},
        "post": {"scheme": "IO", "ignore_labels": ["person"], "ignore_position": True},
    },
}


@pytest.mark.parametrize("way", WAYS)
def test_other_ways_of_tagging_agree_from_evaluation_to_server(
    tagger: Tagger, way: str, tmp_path: Path
) -> None:
    options = WAYS[way]
    columns = {"input_ids": "long", "label_ids": "long", **options.get("columns", {})}
    tokenizer = {
        "tokenizer_path": str(tagger.folder / "data" / "minilm" / "tokenizer.json"),
        "truncation": {"max_length": 28, "stride": 8},
        "expand_examples": True,
    }
    process = {
        "processed_data_dir": str(tmp_path / "processed"),
        "keep": options.get("keep", []),
        "@subprocessor@fast_tokenizer": tokenizer,
        "@subprocessor@seq_lab_relabel": options["relabel"],
    }
    ((decoder, more),) = options["decoder"].items()
    size = {"input_size": 32, "output_size": "@lambda @_G.meta.label_vocab.size"}
    encoder = tagger.folder / "data" / "minilm"
    embedding = {"pretrained_model_path": str(encoder), "input_map": PIECES}
    fit = {
        "processed_data_dir": str(tmp_path / "processed"),
        "log_dir": str(tmp_path / "logs"),
        "seed": 1,
        "@trainer@lightning": {"accelerator": "cpu", "max_epochs": 12},
        "@datamodule@default": {
            "train_batch_size": 16,
            "@dataset@default": {"key_type_pairs": columns},
            "@data_collate@default": {
                "key_padding_pairs": {"input_ids": 0, "label_ids": -100},
                "gen_mask": {"input_ids": "attention_mask"},
            },
        },
        "@imodel@default": {
            "@model@basic": {"@embedding@bert_like": embedding, decoder: {**size, **more}},
            "@optimizer@adamw": {"lr": 5e-3},
            "@postprocessor@seq_lab": {"label_vocab": "label_vocab.json", **options["post"]},
            **options["loss"],
        },
    }
    train = GOLDEN.rows("train")
    Process({"@processor@default": process}).run({"train": train, "test": train})
    (done,) = Train({"@fit": fit}).run().runs
    predict = Predict(done.bundle)
    found = predict.evaluate(train)
    assert found.metrics["f1"] == pytest.approx(done.metrics["test_f1"])
    assert found.metrics["f1"] > 0.15  # it learns
    served = Server(done.bundle).fit(texts(train))
    same(served, predict.run(texts(train)))
    labels = {label for row in served for *_, label in spans(row)}
    ignored = set(options["post"].get("ignore_labels", ()))
    assert not labels & ignored
    assert not {line["label"] for line in found.table} & ignored
    if options["post"].get("aggregation_strategy"):
        letters = [row["sentence"][s - 1 : s + 1] for row in served for s, *_ in spans(row) if s]
        assert not any(pair.isalpha() and pair.isascii() for pair in letters)  # whole words


# The example -------------------------------------------------------------------------------------


def copied(target: Path) -> Path:
    """Return a copy of the example with the fixture as its data, and toy models in place of real.

    The words of the toy vectors are in the fixture, lower case, and a few that are not.
    """
    leftovers = shutil.ignore_patterns("data", "processed", "logs", "__pycache__")
    folder = shutil.copytree(EXAMPLE, target / "example", ignore=leftovers)
    shutil.copytree(FIXTURES / "tweets", folder / "data")
    small_bert(folder / "data" / "minilm", FIXTURES / "tweets" / "tokenizer.json", width=384)
    glove = folder / "data" / "glove"
    glove.mkdir()
    words = sorted({w.lower() for row in GOLDEN.rows("train") for w in row["sentence"].split()})
    words = [*words[::2], "zebra"]
    pq.write_table(pa.table({"word": words}), glove / "glove_6B_index.parquet")
    vectors = np.random.default_rng(0).normal(size=(len(words), 50)).astype(np.float32)
    np.save(glove / "glove_6B_50d_emb.npy", vectors)
    return folder


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = copied(tmp_path_factory.mktemp("example"))
    data = {split: str(folder / "data" / f"{split}.jsonl") for split in SPLITS}
    for process in ("process_pieces.jsonc", "process_words.jsonc"):
        Process(folder / process).run(data)
    return folder


@pytest.mark.parametrize("variant", ["first_piece", "crf", "lstm", "lstm_crf", "words"])
def test_each_variant_of_the_example_trains_and_serves(
    example: Path, variant: str, tmp_path: Path
) -> None:
    overrides = [
        f"fit.log_dir={tmp_path / 'logs'}",
        "trainer.max_epochs=1",
        # so little training may find no entity at all, and then only scores could differ
        'imodel.postprocessor.predict_extend_return={"raw": "logits"}',
    ]
    (done,) = Train(example / f"fit_{variant}.jsonc", overrides=overrides).run().runs
    assert done.state == "done", done.error
    assert done.weights.startswith("best val_f1")
    assert 0 <= done.metrics["test_f1"] <= 1
    moved = shutil.move(done.bundle, tmp_path / "moved")
    data = GOLDEN.rows("test")
    server = Server(moved)
    assert server.inputs == ["sentence"]
    served = server.fit(texts(data))
    assert served == Predict(moved).run(texts(data))
    alone = [server.fit(row) for row in texts(data)]
    same(alone, served)
    for one, other in zip(alone, served, strict=True):
        scores = np.array(one["raw"])  # of the text's own units; the batch has them padded
        assert np.ptp(scores) > 0.01
        np.testing.assert_allclose(np.array(other["raw"])[: len(scores)], scores, atol=1e-4)
    found = Predict(moved).evaluate(data).metrics
    assert found["f1"] == pytest.approx(done.metrics["test_f1"])


def test_the_example_prints_scores_by_type_and_entities(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copied(tmp_path)
    trainer = folder / "modules" / "trainer@tweets.jsonc"
    text = trainer.read_text(encoding="utf-8")
    assert '"max_epochs": 6' in text
    trainer.write_text(text.replace('"max_epochs": 6', '"max_epochs": 2'), encoding="utf-8")
    monkeypatch.setattr(end_to_end, "put_all", lambda names, folder: None)
    monkeypatch.setattr(main, "FOLDER", folder)
    monkeypatch.setattr("sys.argv", ["main"])
    main.main()
    printed = capsys.readouterr().out
    summary = json.loads(printed.splitlines()[-1])
    assert set(summary) == {"f1", "precision", "recall", "f1_macro", "bundle", "seconds"}
    assert "test, by type" in printed
    assert "geo-loc" in printed
    assert "Lady Gaga" in printed
    assert Path(summary["bundle"]).is_relative_to(folder / "logs" / "crf")
