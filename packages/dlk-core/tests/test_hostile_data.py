"""Data that looks like expressions runs nothing: labels, words, columns and names of files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dlk.config import _intc
from dlk.fit import load_fit, load_meta
from dlk.preprocess import Process

pytestmark = pytest.mark.once

HOSTILE = [
    "@lambda _: [0] * 10 ** 10",
    "@_G.meta.label_vocab.size @lambda n: open('ran', 'w')",
    "@lambda @_G.meta.label_vocab.size",
    "@$.processed_data_dir",
    "@fit@default",
    "_search",
    "_base",
    "???",
    "__import__('os').system('touch ran')",
    "lambda: open('ran', 'w')",
    "'; open('ran', 'w') #",
    "{0.__class__.__mro__}",
    "{label}",
    "%s%s%n",
    "$(touch ran)",
    "`touch ran`",
    "../../ran",
    "[red]\x1b[31m",
]
PROCESS = {
    "@processor@default": {
        "processed_data_dir": "processed",
        "@subprocessor@token_gather#words": {
            "gather_columns": ["words"],
            "token_vocab": "vocab.json",
        },
        "@subprocessor@token_gather#labels": {
            "gather_columns": ["label"],
            "token_vocab": "label_vocab.json",
            "pad": None,
            "unk": None,
        },
        "@subprocessor@token2id": {
            "vocab": "vocab.json",
            "input_map": {"tokens": "words"},
            "output_map": {"token_ids": "input_ids"},
        },
        "@subprocessor@token2id-label": {
            "vocab": "label_vocab.json",
            "input_map": {"tokens": "label"},
        },
    }
}
FIT = {
    "@fit": {
        "processed_data_dir": "processed",
        "@datamodule@default": {
            "@dataset@default": {"key_type_pairs": {"input_ids": "long", "label_ids": "long"}},
            "@data_collate@default": {"gen_mask": {"input_ids": "attention_mask"}},
        },
        "@imodel@default": {
            "@model@basic": {
                "@embedding@random": {
                    "vocab_size": "@lambda @_G.meta.vocab.size",
                    "embedding_dim": 4,
                },
                "@decoder@linear": {
                    "input_size": 4,
                    "output_size": "@lambda @_G.meta.label_vocab.size",
                    "pool": "mean",
                },
            },
            "@loss@cross_entropy": {"pred_truth_pair": {"logits": "label_ids"}},
            "@postprocessor@identity": {"outputs": ["logits"]},
        },
    }
}


@pytest.fixture
def evaluated(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the list of the expressions that are compiled while a test runs."""
    sources: list[str] = []
    compile_lambda = _intc.compile_lambda

    def watched(source: str, *more: Any) -> Any:
        sources.append(str(source))
        return compile_lambda(source, *more)

    monkeypatch.setattr(_intc, "compile_lambda", watched)
    return sources


def test_hostile_data_runs_nothing_from_file_to_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evaluated: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "process.jsonc").write_text(json.dumps(PROCESS))
    (tmp_path / "fit.jsonc").write_text(json.dumps(FIT))
    rows = [
        {"words": [text, "a"], "label": text, HOSTILE[0]: text, HOSTILE[8]: 1} for text in HOSTILE
    ]
    data = tmp_path / "@lambda _: open('ran', 'w').jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    Process("process.jsonc").run({"train": [str(data)], "valid": [str(data)]})

    meta = load_meta("processed")
    assert sorted(meta.vocabulary("label_vocab.json")) == sorted(HOSTILE)
    point = load_fit("fit.jsonc").one()
    model = point.resolved["@fit"]["@imodel@default"]["@model@basic"]
    assert model["@decoder@linear"]["output_size"] == len(HOSTILE)
    assert set(evaluated) == {"lambda x: x"}  # the references of the config, nothing of the data
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path.parent / "ran").exists()


def test_a_hostile_name_of_a_vocabulary_is_a_key_and_no_expression(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evaluated: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    from dlk.config import load
    from dlk.errors import ConfigError

    numbers = {"meta": {HOSTILE[1]: {"size": 3}, "label_vocab": {"size": 2}}}
    decoder = {"input_size": 4, "output_size": "@lambda @_G.meta.label_vocab.size"}
    loaded = load({"@decoder@linear": decoder}, global_values=lambda _: numbers)
    assert loaded.one().resolved["@decoder@linear"]["output_size"] == 2
    assert set(evaluated) == {"lambda x: x"}
    for text in HOSTILE[:3]:
        hostile = {"meta": {"label_vocab": {"size": text}}}
        with pytest.raises(ConfigError, match="data may not bring an expression"):
            load({"@decoder@linear": decoder}, global_values=lambda _, found=hostile: found)
