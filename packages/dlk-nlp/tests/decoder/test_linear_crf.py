"""The decoder linear_crf: the kit's checks, and what its options do."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from dlk.config import make
from dlk.context import Context, Setup
from dlk.data.meta import Meta
from dlk.data.vocabulary import Vocabulary
from dlk.errors import ConfigError
from dlk.nlp.decoder.linear_crf import LinearCrfDecoder
from dlk.nlp.tags import decode, encode, tag_set
from dlk.nn.base import merge
from dlk.nn.initmethod.default import DefaultInit
from dlk.nn.loss.identity import IdentityLoss
from dlk.registry import register
from dlk.testing import DecoderConformance
from dlk.testing.nn import kept_mask, vector_inputs

TAGS = tag_set(["per", "loc"], "BIO")  # O B-loc I-loc B-per I-per
VOCAB = "label_vocab.json"


def setup_of(folder: Any, words: list[str] = TAGS, **special: str) -> Setup:
    meta = Meta(str(folder))
    vocabulary = Vocabulary(**special)
    vocabulary.add(dict.fromkeys(words, 1) | {"O": 100})  # by count: O first, unless special
    meta.put_vocabulary(VOCAB, vocabulary)
    return Setup(meta=meta)


def build(setup: Setup | None = None, seed: int = 0, **values: Any) -> LinearCrfDecoder:
    torch.manual_seed(seed)
    config = make("decoder", "linear_crf", {"input_size": 8, "output_size": 5, **values})
    return register.build(config, setup or Setup.empty())


def batch(**more: Tensor) -> dict[str, Tensor]:
    labels = torch.randint(5, (3, 7), generator=torch.Generator().manual_seed(1))
    return {**vector_inputs(8), "label_ids": labels.where(kept_mask(), -100), **more}


def evaluate(decoder: LinearCrfDecoder, x: dict[str, Tensor]) -> dict[str, Tensor]:
    with torch.no_grad():
        out = dict(decoder.eval()(x))
        return {**out, **decoder.predict(merge(x, out, writer=decoder))}


class TestConformance(DecoderConformance):
    component = ("decoder", "linear_crf")
    fill: ClassVar = {"label_ids": -100}
    config: ClassVar = {
        "input_size": 8,
        "output_size": 5,
        "reduction": "none",
        "scheme": "BIO",
        "label_vocab": VOCAB,
    }

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Any) -> None:
        self.meta = setup_of(tmp_path).meta

    def setup(self, *, pretrained: bool = True, seed: int = 0) -> Setup:
        return Setup(meta=self.meta, pretrained=pretrained, seed=seed)

    def batch(self) -> dict[str, Tensor]:
        return batch()


class TestConformanceWithoutAScheme(TestConformance):
    config: ClassVar = {"input_size": 8, "output_size": 5, "reduction": "none", "dropout": 0.1}
    unread = ("label_vocab",)  # a scheme reads it


def test_predicts_without_labels_what_it_predicts_with_them() -> None:
    decoder = build()
    with_labels, x = evaluate(decoder, batch()), batch()
    del x["label_ids"]
    without = evaluate(decoder, x)
    assert set(with_labels) - set(without) == {"loss", "loss_weight"}
    for name, tensor in without.items():
        assert torch.equal(tensor, with_labels[name])


def test_positions_that_are_not_kept_are_in_no_path_and_change_none() -> None:
    """With transitions that decide, so that one position more would change the others."""
    decoder = build()
    with torch.no_grad():
        for scores in (decoder.crf.transitions, decoder.crf.start, decoder.crf.end):
            scores.normal_(std=5.0)
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(32, 9, 8, generator=generator)
    mask = torch.rand(32, 9, generator=generator) < 0.6
    found = evaluate(decoder, {"embedding": vectors, "embedding_mask": mask})
    names = ("predict_seq_label", "predict_seq_marginal", "predict_seq_conditional")
    for name, outside in zip(names, (-1, 0.0, 0.0), strict=True):
        assert (found[name][~mask] == outside).all()
    for row, kept in enumerate(mask):
        alone = {"embedding": vectors[None, row, kept], "embedding_mask": kept[None, kept]}
        expected = evaluate(decoder, alone)
        for name in names:
            torch.testing.assert_close(found[name][row, kept], expected[name][0])


def test_the_loss_is_the_crfs_reduced_as_asked() -> None:
    x = batch()
    rows = evaluate(build(reduction="none"), x)["loss"]
    tokens = int(kept_mask().sum())
    assert rows.shape == (3,)
    expected = {"mean": rows.mean(), "sum": rows.sum(), "token_mean": rows.sum() / tokens}
    for reduction, loss in expected.items():
        torch.testing.assert_close(evaluate(build(reduction=reduction), x)["loss"], loss)


def test_identity_averages_the_loss_over_rows_and_tokens_of_several_batches() -> None:
    """Evaluation in one batch and in two gives the same mean."""
    x = batch()
    parts = [{n: t[:1] for n, t in x.items()}, {n: t[1:] for n, t in x.items()}]
    for reduction, weight in (("none", ""), ("mean", ""), ("token_mean", "loss_weight")):
        loss: IdentityLoss = register.build(make("loss", "identity", {"weight": weight}))
        decoder = build(reduction=reduction)
        whole = loss.compute(evaluate(decoder, x), Context())
        split = [loss.compute(evaluate(decoder, part), Context()) for part in parts]
        mean = sum(out.total * out.weight for out in split) / sum(out.weight for out in split)
        torch.testing.assert_close(mean, whole.total)


@pytest.mark.parametrize("scheme", ["BIO", "BIOES", "IO"])
def test_a_scheme_forbids_what_it_never_writes(tmp_path: Any, scheme: str) -> None:
    words = tag_set(["per", "loc"], scheme)
    setup = setup_of(tmp_path, words)
    vocabulary = setup.meta.vocabulary(VOCAB)
    shape = {"input_size": 8, "output_size": len(words), "label_vocab": VOCAB}
    free = build(setup, **shape).eval()
    held = build(setup, **shape, scheme=scheme).eval()
    torch.manual_seed(2)
    x = {"embedding": torch.randn(64, 9, 8) * 5, "embedding_mask": torch.rand(64, 9) < 0.7}

    def valid(decoder: LinearCrfDecoder) -> int:
        count = 0
        for row in evaluate(decoder, x)["predict_seq_label"].tolist():
            tags = [vocabulary.word(i) for i in row if i >= 0]
            count += encode(decode(tags, scheme, strict=True), len(tags), scheme) == tags
        return count

    assert valid(held) == 64
    assert scheme == "IO" or valid(free) < 32


def test_words_that_are_no_tags_are_never_predicted(tmp_path: Any) -> None:
    setup = setup_of(tmp_path, pad="[PAD]", unk="O")
    vocabulary = setup.meta.vocabulary(VOCAB)
    decoder = build(setup, output_size=6, scheme="BIO", label_vocab=VOCAB)
    with torch.no_grad():
        decoder.linear.bias[0] = 50.0  # [PAD]
    kept = evaluate(decoder, vector_inputs(8))["predict_seq_label"][kept_mask()]
    assert not (kept == 0).any()
    with torch.no_grad():
        decoder.linear.bias[vocabulary.id("O")] = 50.0  # the unknown word, and a tag all the same
    kept = evaluate(decoder, vector_inputs(8))["predict_seq_label"][kept_mask()]
    assert (kept == vocabulary.id("O")).all()


def test_the_vocabulary_must_be_of_tags_and_as_long_as_the_scores(tmp_path: Any) -> None:
    setup = setup_of(tmp_path)
    with pytest.raises(ConfigError, match=r"output_size: 7 scores for the 5 tags of label_vocab"):
        build(setup, output_size=7, scheme="BIO", label_vocab=VOCAB)
    other = setup_of(tmp_path / "other", ["O", "B-x", "I-x", "S-x", "noun"])
    with pytest.raises(ConfigError, match=r"label_vocab.json: 'S-x' is no tag of BIO"):
        build(other, scheme="BIO", label_vocab=VOCAB)
    with pytest.raises(ConfigError, match="needs the vocabulary of the tags"):
        build(setup, scheme="BIO")
    with pytest.raises(ConfigError, match="logits must have a name"):
        build(setup, output_map={"logits": ""})


def test_start_values_of_the_crf_stay_small_whatever_the_init_method() -> None:
    decoder = build()
    before = {name: tensor.clone() for name, tensor in decoder.crf.state_dict().items()}
    DefaultInit(make("initmethod", "default"))(decoder)
    assert set(before) == {"transitions", "start", "end"}
    for name, tensor in decoder.crf.state_dict().items():
        assert torch.equal(tensor, before[name])
        assert tensor.abs().max() <= 0.1
        assert tensor.abs().max() > 0.05
        assert tensor.min() < 0 < tensor.max()


def test_the_crf_may_learn_at_a_rate_of_its_own() -> None:
    group = {"order": ["crf"], "crf": {"pattern": ["^crf\\."], "config": {"lr": 0.5}}}
    config = make("optimizer", "adamw", {"lr": 0.001, "optimizer_special_groups": group})
    decoder = build()
    optimizer = register.build(config).build(decoder)
    rates = {id(p): g["lr"] for g in optimizer.param_groups for p in g["params"]}
    assert {rates[id(p)] for p in decoder.crf.parameters()} == {0.5}
    assert {rates[id(p)] for p in decoder.linear.parameters()} == {0.001}


def test_names_mapped_to_nothing_are_not_written() -> None:
    none = {"predict_seq_marginal": "", "predict_seq_conditional": "", "loss_weight": ""}
    out = evaluate(build(output_map=none), batch())
    assert set(out) == {"logits", "loss", "predict_seq_label"}


def test_learns_one_batch_by_heart() -> None:
    decoder, x = build(), batch()
    optimizer = torch.optim.Adam(decoder.parameters(), lr=0.1)
    for _ in range(60):
        optimizer.zero_grad()
        loss = decoder(x)["loss"]
        loss.backward()
        optimizer.step()
    out = evaluate(decoder, x)
    assert loss.item() < 0.5
    assert torch.equal(out["predict_seq_label"][kept_mask()], x["label_ids"][kept_mask()])
    assert (out["predict_seq_marginal"][kept_mask()] > 0.5).all()
