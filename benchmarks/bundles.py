"""Bundles to measure: classifiers of questions with untrained heads, on a small BERT or MiniLM."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from dlk.bundle.write import write_bundle
from dlk.config import child
from dlk.context import Setup
from dlk.fit import load_fit, load_meta
from dlk.preprocess import Process
from dlk.registry import register
from examples.data import minilm, trec

SMALL = {
    "model_type": "bert",
    "vocab_size": 30522,
    "hidden_size": 256,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 1024,
}
"""A BERT of 4 layers, 256 wide, with random weights."""
ENCODERS = ("small", "minilm")


def texts() -> list[str]:
    """Return real questions, all different."""
    return [str(row["sentence"]) for rows in trec().values() for row in rows]


def classifier(folder: Path, encoder: str = "small") -> Path:
    """Write a bundle that tells six kinds of questions apart (at random), and return its folder.

    Args:
        folder: for everything that is made.
        encoder: "small" is a BERT of 4 layers, 256 wide, "minilm" all-MiniLM-L6-v2.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model = minilm()
    if encoder == "small":
        model = folder / "encoder"
        model.mkdir(exist_ok=True)
        (model / "config.json").write_text(json.dumps(SMALL))
    width = json.loads((model / "config.json").read_text())["hidden_size"]
    process = {
        "@processor@default": {
            "processed_data_dir": str(folder / "processed"),
            "@subprocessor@fast_tokenizer": {
                "tokenizer_path": str(minilm() / "tokenizer.json"),
                "truncation": {"max_length": 512},
            },
            "@subprocessor@token_gather": {
                "gather_columns": ["labels"],
                "token_vocab": "label_vocab.json",
                "pad": None,
                "unk": None,
            },
            "@subprocessor@token2id-label": {"vocab": "label_vocab.json"},
        }
    }
    rows = trec()["train"]
    Process(process).run({"train": rows[:200], "valid": rows[200:232]})
    fit = load_fit(_fit(folder, model, width)).one().root("fit")
    torch.manual_seed(0)
    setup = Setup(meta=load_meta(str(folder / "processed")), seed=0)
    made = register.build(child(child(fit, "imodel"), "model"), setup)
    bundle = folder / "bundle"
    write_bundle(
        bundle, fit=fit, model=made, processed_data_dir=str(folder / "processed"), metrics={}
    )
    return bundle


def _fit(folder: Path, model: Path, width: int) -> dict[str, Any]:
    return {
        "@fit": {
            "processed_data_dir": str(folder / "processed"),
            "log_dir": str(folder / "logs"),
            "@datamodule@default": {
                "predict_batch_size": 32,
                "@dataset@default": {"key_type_pairs": {"input_ids": "long", "label_ids": "long"}},
                "@data_collate@default": {
                    "key_padding_pairs": {"input_ids": 0},
                    "gen_mask": {"input_ids": "attention_mask"},
                },
            },
            "@imodel@default": {
                "@model@basic": {
                    "@embedding@bert_like": {
                        "pretrained_model_path": str(model),
                        "from_pretrain": (model / "model.safetensors").exists(),
                        "embedding_dim": width,
                        "input_map": {"type_ids": ""},
                    },
                    "@decoder@linear": {
                        "input_size": width,
                        "output_size": "@lambda @_G.meta.label_vocab.size",
                        "pool": "mean",
                    },
                },
                "@loss@cross_entropy": {"pred_truth_pair": {"logits": "label_ids"}},
                "@optimizer@adamw": {"lr": 1e-3},
                "@postprocessor@txt_cls": {"label_vocab": "label_vocab.json"},
            },
        }
    }
