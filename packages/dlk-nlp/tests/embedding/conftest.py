"""Tiny models of several architectures, with random weights, saved as pretrained ones are."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers

SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "vocab_size": 30,
    "max_position_embeddings": 20,
}
CONFIGS = {
    "albert": transformers.AlbertConfig(embedding_size=8, **SIZES),
    "bart": transformers.BartConfig(
        d_model=16,
        encoder_layers=2,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=24,
        decoder_ffn_dim=24,
        vocab_size=30,
        max_position_embeddings=20,
    ),
    "bert": transformers.BertConfig(**SIZES),
    "deberta": transformers.DebertaV2Config(
        relative_attention=True, pos_att_type=["p2c", "c2p"], type_vocab_size=0, **SIZES
    ),
    "distilbert": transformers.DistilBertConfig(
        dim=16, n_layers=2, n_heads=2, hidden_dim=24, vocab_size=30, max_position_embeddings=20
    ),
    "electra": transformers.ElectraConfig(embedding_size=8, **SIZES),
    "funnel": transformers.FunnelConfig(
        architectures=["FunnelModel"],
        block_sizes=[1, 1],
        num_decoder_layers=1,
        d_model=16,
        n_head=2,
        d_head=8,
        d_inner=24,
        vocab_size=30,
    ),
    "gpt2": transformers.GPT2Config(
        n_embd=16, n_layer=2, n_head=2, n_inner=24, vocab_size=30, n_positions=20
    ),
    "mpnet": transformers.MPNetConfig(**SIZES),
    "roberta": transformers.RobertaConfig(
        **{**SIZES, "max_position_embeddings": 22, "type_vocab_size": 1}
    ),
    "t5": transformers.T5Config(
        d_model=16, d_kv=8, d_ff=24, num_layers=2, num_heads=2, vocab_size=30
    ),
    "xlnet": transformers.XLNetConfig(d_model=16, n_layer=2, n_head=2, d_inner=24, vocab_size=30),
}
"""Configs by the names that tests use; all are 16 wide and know 30 ids."""


@pytest.fixture(scope="session")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function that gives the folder of a model, written when it is first asked for."""
    root = tmp_path_factory.mktemp("pretrained")

    def folder(name: str) -> Path:
        path: Path = root / name
        if not path.exists():
            torch.manual_seed(0)
            with warnings.catch_warnings():  # what transformers says of its own parts
                warnings.simplefilter("ignore")
                transformers.AutoModel.from_config(CONFIGS[name]).save_pretrained(path)
        return path

    return folder
