"""Words and characters side by side."""

from __future__ import annotations

import pytest
import torch

from dlk.config import make
from dlk.context import Setup
from dlk.errors import ConfigError, DlkError
from dlk.registry import register
from dlk.testing import EmbeddingConformance
from dlk.testing.nn import kept_mask, text_inputs

WORD = {"vocab_size": 10, "embedding_dim": 3}
CHAR = {"vocab_size": 12, "embedding_dim": 4, "kernel_sizes": [1, 3]}
PARTS = {"@embedding@random#word": WORD, "@embedding@static_char_cnn#char": CHAR}


def batch():
    words = kept_mask()
    drawn = torch.Generator().manual_seed(3)
    chars = torch.randint(1, 12, (*words.shape, 5), generator=drawn)
    given = text_inputs(10)
    return {
        "input_ids": given["input_ids"],
        "attention_mask": words,
        "char_ids": chars.where(words.unsqueeze(-1), 0),
    }


def build(parts=PARTS, **values):
    torch.manual_seed(0)
    config = make("embedding", "combine_word_char_cnn", {**parts, **values})
    return register.build(config, Setup.empty()).eval()


class TestConformance(EmbeddingConformance):
    component = ("embedding", "combine_word_char_cnn")
    config = {**PARTS, "dropout": 0.2, "embedding_dim": 7}

    def inputs(self, config):
        return batch()


def test_the_vectors_stand_side_by_side_words_first():
    layer = build()
    out = layer(batch())
    words, chars = (part(batch())["embedding"] for part in (layer.word, layer.char))
    assert out["embedding"].shape == (3, 7, 7)
    kept = kept_mask()
    assert torch.equal(out["embedding"][kept], torch.cat([words, chars], dim=-1)[kept])
    assert not out["embedding"][~kept].any()
    assert torch.equal(out["embedding_mask"], kept)


def test_the_order_in_the_config_changes_nothing():
    turned = dict(reversed(PARTS.items()))
    first, second = build(), build(turned)
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(batch())["embedding"], second(batch())["embedding"])


def test_what_the_children_call_their_outputs_does_not_matter():
    named = {"embedding": "w", "embedding_mask": "w_mask"}
    layer = build({**PARTS, "@embedding@random#word": {**WORD, "output_map": named}})
    assert torch.equal(layer(batch())["embedding"], build()(batch())["embedding"])


def test_a_position_is_kept_where_both_parts_keep_it():
    parts = {**PARTS, "@embedding@random#word": {**WORD, "input_map": {"attention_mask": ""}}}
    given = batch()
    given["input_ids"] = given["input_ids"].clone()
    given["input_ids"][0, 1] = 0
    kept = kept_mask()
    kept[0, 1] = False
    out = build(parts)(given)
    assert torch.equal(out["embedding_mask"], kept)
    assert not out["embedding"][0, 1].any()


def test_dropout_falls_on_the_joined_vectors_in_training_only():
    layer = build(dropout=0.5)
    assert torch.equal(layer(batch())["embedding"], layer(batch())["embedding"])
    layer.train()
    assert not torch.equal(layer(batch())["embedding"], layer(batch())["embedding"])


def test_the_signature_names_what_the_parts_read_and_need():
    static = {**WORD, "embedding_meta": "w.npy"}
    parts = {"@embedding@static#word": static, "@embedding@static_char_cnn#char": CHAR}
    signature = make("embedding", "combine_word_char_cnn", parts).signature()
    assert signature.reads == ("input_ids", "attention_mask", "char_ids")
    assert signature.writes == ("embedding", "embedding_mask")
    assert signature.meta == ("w.npy",)


@pytest.mark.parametrize(
    "parts",
    [
        {"@embedding@random#word": WORD, "@embedding@random#other": WORD},
        {"@embedding@random#word": WORD},
        {**PARTS, "@embedding@random#third": WORD},
    ],
)
def test_the_parts_are_called_word_and_char(parts):
    with pytest.raises(ConfigError, match=r"embedding"):
        make("embedding", "combine_word_char_cnn", parts)


def test_another_width_than_stated_is_refused():
    with pytest.raises(DlkError, match=r"3 \+ 4 = 7, got 8"):
        build(embedding_dim=8)(batch())


def test_words_without_their_characters_are_refused():
    given = batch()
    given["char_ids"] = given["char_ids"][:, :5]
    given["attention_mask"] = given["attention_mask"][:, :5]
    with pytest.raises(DlkError, match="each word needs its list of characters"):
        build()(given)
