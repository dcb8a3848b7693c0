"""A small project: configs and raw data in a folder that is the working directory."""

from __future__ import annotations

import json

import pytest

PROCESS = {
    "@processor@default": {
        "processed_data_dir": "processed",
        "@subprocessor@token_gather": {
            "gather_columns": ["label"],
            "token_vocab": "label_vocab.json",
            "pad": None,
            "unk": None,
        },
        "@subprocessor@token2id-label": {
            "vocab": "label_vocab.json",
            "input_map": {"tokens": "label"},
        },
    }
}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Return the folder, with process.jsonc and data/train.jsonl, data/valid.jsonl."""
    (tmp_path / "process.jsonc").write_text(json.dumps(PROCESS))
    (tmp_path / "data").mkdir()
    for split in ("train", "valid"):
        rows = [{"sentence": f"text {k}", "label": "abc"[k % 3]} for k in range(6)]
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / "data" / f"{split}.jsonl").write_text(lines)
    monkeypatch.chdir(tmp_path)
    return tmp_path
