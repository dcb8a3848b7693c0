"""What a row comes to depends neither on its padding nor on its neighbours, in every part."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers import BertConfig, BertModel

from dlk.config import make
from dlk.context import Setup
from dlk.data.meta import Meta
from dlk.data.vocabulary import Vocabulary
from dlk.nlp.tags import tag_set
from dlk.registry import register
from dlk.testing.nn import run

TIME = 11  # positions of a row; no other size is that number
TAGS = tag_set(["per", "loc"], "BIO")
WORD = {"vocab_size": 30, "embedding_dim": 6}
CHARS = {"vocab_size": 12, "embedding_dim": 4, "kernel_sizes": [1, 3], "output_size": 8}
SIZES = {"input_size": 8, "output_size": 8}
SCORES = {"input_size": 8, "output_size": 5}
TRANSFORMER = {**SIZES, "num_layers": 1, "num_heads": 2}
LAYERS = {"layer_pooling": "mix", "gather_layer": {"first_block": 1}}
SCHEME = {"scheme": "BIO", "label_vocab": "label_vocab.json"}
BIAFFINE = {**SCORES, "hidden_size": 6}
CASES = {
    "bert_like": ("embedding", "bert_like", {"input_map": {"type_ids": ""}}),
    "bert_like, layers": ("embedding", "bert_like", {"input_map": {"type_ids": ""}, **LAYERS}),
    "random": ("embedding", "random", WORD),
    "static": ("embedding", "static", {**WORD, "embedding_file": "vectors.npy"}),
    "static_char_cnn": ("embedding", "static_char_cnn", CHARS),
    "combine_word_char_cnn": (
        "embedding",
        "combine_word_char_cnn",
        {"@embedding@random#word": WORD, "@embedding@static_char_cnn#char": CHARS},
    ),
    "linear encoder": ("encoder", "linear", SIZES),
    "lstm": ("encoder", "lstm", {**SIZES, "num_layers": 2}),
    "transformer, rotary": ("encoder", "transformer", TRANSFORMER),
    "transformer, waves": (
        "encoder",
        "transformer",
        {**TRANSFORMER, "position": "sinusoidal", "norm": "post", "active": "swiglu"},
    ),
    "linear": ("decoder", "linear", SCORES),
    "linear, first": ("decoder", "linear", {**SCORES, "pool": "first"}),
    "linear, mean": ("decoder", "linear", {**SCORES, "pool": "mean"}),
    "linear, max": ("decoder", "linear", {**SCORES, "pool": "max"}),
    "regression": ("decoder", "regression", {"input_size": 8}),
    "linear_crf": ("decoder", "linear_crf", {**SCORES, "reduction": "none"}),
    "linear_crf, scheme": ("decoder", "linear_crf", {**SCORES, "reduction": "none", **SCHEME}),
    "biaffine": ("decoder", "biaffine", BIAFFINE),
    "biaffine, everything": (
        "decoder",
        "biaffine",
        {**BIAFFINE, "multi_matrix": 2, "rotary": True, "width_size": 3, "rank": 2},
    ),
    "biaffine, chunks": ("decoder", "biaffine", {**BIAFFINE, "rotary": True, "chunk_size": 2}),
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], nn.Module]:
    """Return a function that builds a case, with weights that leave nothing small."""
    folder = tmp_path_factory.mktemp("parts")
    meta = Meta(folder / "meta")
    vocabulary = Vocabulary()
    vocabulary.add({tag: len(TAGS) - place for place, tag in enumerate(TAGS)})
    meta.put_vocabulary("label_vocab.json", vocabulary)
    np.save(folder / "vectors.npy", np.random.default_rng(0).normal(size=(30, 6)))
    parts: dict[str, nn.Module] = {}

    def build(case: str) -> nn.Module:
        if case not in parts:
            kind, name, values = CASES[case]
            values = dict(values)
            if name == "bert_like":
                values["pretrained_model_path"] = small_bert(folder / "bert")
            if "embedding_file" in values:
                values["embedding_file"] = str(folder / "vectors.npy")
            torch.manual_seed(0)
            part: nn.Module = register.build(make(kind, name, values), Setup(meta=meta))
            if kind != "embedding":
                with torch.no_grad():
                    for parameter in part.parameters():
                        parameter.normal_(std=0.7)
            parts[case] = part.eval()
        return parts[case]

    return build


def small_bert(folder: Path) -> str:
    if not folder.exists():
        config = BertConfig(
            vocab_size=30,
            hidden_size=8,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=12,
            max_position_embeddings=20,
            initializer_range=0.5,
        )
        with warnings.catch_warnings():  # what transformers says of its own parts
            warnings.simplefilter("ignore")
            torch.manual_seed(0)
            BertModel(config).save_pretrained(folder)
    return str(folder)


def drawn(shape: tuple[int, ...], generator: torch.Generator) -> dict[str, Tensor]:
    """Return what parts may read, for rows (B, T)."""
    return {
        "input_ids": torch.randint(1, 30, shape, generator=generator),
        "char_ids": torch.randint(0, 12, (*shape, 4), generator=generator),
        "embedding": 3 * torch.randn(*shape, 8, generator=generator),
        "label_ids": torch.randint(0, len(TAGS), shape, generator=generator),
    }


def with_masks(columns: Mapping[str, Tensor], mask: Tensor) -> dict[str, Tensor]:
    return {**columns, "attention_mask": mask, "embedding_mask": mask}


def kept_part(tensor: Tensor, kept: Tensor) -> Tensor:
    """Return a row of an output (1, …) without the positions that are not kept."""
    (places,) = kept.nonzero(as_tuple=True)
    for axis in range(1, tensor.ndim):
        if tensor.shape[axis] == len(kept):
            tensor = tensor.index_select(axis, places)
    return tensor


MASKS = st.lists(st.lists(st.booleans(), min_size=TIME, max_size=TIME), min_size=1, max_size=4)


@pytest.mark.parametrize("case", CASES)
@settings(deadline=None, max_examples=10)
@given(mask=MASKS, seed=st.integers(0, 1000))
def test_a_row_among_others_with_padding_anywhere_is_the_row_alone(
    built: Callable[[str], nn.Module], case: str, mask: Any, seed: int
) -> None:
    part, kept = built(case), torch.tensor(mask)
    generator = torch.Generator().manual_seed(seed)
    columns = drawn((len(mask), TIME), generator)  # noise, too, where nothing is kept
    with torch.no_grad():
        together = run(part, with_masks(columns, kept))
        for row, mine in enumerate(kept):
            (places,) = mine.nonzero(as_tuple=True)
            own = {name: column[row : row + 1, places] for name, column in columns.items()}
            alone = run(part, with_masks(own, torch.ones(1, len(places), dtype=torch.bool)))
            assert set(alone) == set(together)
            for name, expected in alone.items():
                found = kept_part(together[name][row : row + 1], mine)
                torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5, msg=name)
