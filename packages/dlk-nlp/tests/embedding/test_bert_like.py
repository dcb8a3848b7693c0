import subprocess
import sys
from typing import ClassVar

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from dlk.config import make
from dlk.context import Setup
from dlk.errors import ConfigError, DlkError
from dlk.nlp.embedding.bert_like import BertLikeEmbedding, pick, word_max, word_mean
from dlk.registry import register
from dlk.testing import EmbeddingConformance

IDS = torch.tensor([[2, 7, 9, 3], [2, 5, 3, 0]])
BATCH = {
    "input_ids": IDS,
    "attention_mask": IDS != 0,
    "type_ids": torch.tensor([[0, 0, 1, 1], [0, 0, 0, 0]]),
}


def embedding(path, *, pretrained: bool = True, **changes: object) -> BertLikeEmbedding:
    config = make("embedding", "bert_like", {"pretrained_model_path": str(path), **changes})
    return register.build(config, Setup.empty(pretrained=pretrained))


class BertLikeConformance(EmbeddingConformance):
    component = ("embedding", "bert_like")
    architecture = "bert"
    atol = 2e-6  # states are of size 3 or so, after a few layers of sums in another order
    changes: ClassVar[dict[str, object]] = {}

    @pytest.fixture(autouse=True)
    def values(self, pretrained):
        self.config = {"pretrained_model_path": str(pretrained(self.architecture)), **self.changes}


class TestConformanceBert(BertLikeConformance):
    changes: ClassVar = {"dropout": 0.1, "embedding_dim": 16}


class TestConformanceAlbert(BertLikeConformance):
    architecture = "albert"


class TestConformanceBart(BertLikeConformance):
    architecture = "bart"


class TestConformanceDeberta(BertLikeConformance):
    architecture = "deberta"


class TestConformanceDistilBert(BertLikeConformance):
    architecture = "distilbert"
    changes: ClassVar = {"input_map": {"type_ids": ""}}


class TestConformanceElectra(BertLikeConformance):
    architecture = "electra"


class TestConformanceRoberta(BertLikeConformance):
    architecture = "roberta"


class TestConformanceT5(BertLikeConformance):
    architecture = "t5"


class TestConformanceFrozen(BertLikeConformance):
    changes: ClassVar = {"freeze": True}
    frozen = (".",)


class TestConformanceFromScratch(BertLikeConformance):
    changes: ClassVar = {"from_pretrain": False}


class TestConformanceWithWords(BertLikeConformance):
    changes: ClassVar = {"input_map": {"gather_index": "first_pieces"}}

    def inputs(self, config) -> dict[str, Tensor]:
        index = torch.tensor([[0, 2, 5, 6], [1, 3, -1, -1], [0, -1, -1, -1]])
        return {**super().inputs(config), "gather_index": index}


WORDS = {  # pieces of words; the row's first and last tokens belong to none
    "gather_index": torch.tensor([[1, 3, 4], [1, -1, -1], [0, -1, -1]]),
    "word_index": torch.tensor(
        [[-1, 0, 0, 1, 2, 2, -1], [-1, 0, 0, -1, -1, -1, -1], [0, -1, -1, -1, -1, -1, -1]]
    ),
}
BY_WORD = {"gather_index": "first_pieces", "word_index": "words"}


class TestConformanceMeanOfPieces(BertLikeConformance):
    changes: ClassVar = {"gather": "mean", "input_map": BY_WORD}
    fill: ClassVar = {"word_index": -1}

    def inputs(self, config) -> dict[str, Tensor]:
        return {**super().inputs(config), **WORDS}


class TestConformanceMaxOfPieces(BertLikeConformance):
    changes: ClassVar = {"gather": "max", "input_map": BY_WORD, "layer_pooling": "mix"}
    fill: ClassVar = {"word_index": -1}

    def inputs(self, config) -> dict[str, Tensor]:
        return {**super().inputs(config), **WORDS}


class TestConformanceMix(BertLikeConformance):
    changes: ClassVar = {"layer_pooling": "mix", "freeze": True, "gather_layer": {"low": 0}}
    frozen = ("^bert",)


class TestConformanceMeanOfLayers(BertLikeConformance):
    changes: ClassVar = {
        "layer_pooling": "mean",
        "layers": [0, 1],
        "gather_layer": {"embedding_1": 1},
    }


@pytest.mark.parametrize("name", ["bert", "roberta", "distilbert", "electra", "deberta", "albert"])
def test_states_and_gradients_are_those_of_transformers(pretrained, name):
    path = pretrained(name)
    ours = embedding(path).eval()
    theirs = transformers.AutoModel.from_pretrained(path).float().eval()
    types = {} if name in ("distilbert", "roberta") else {"token_type_ids": BATCH["type_ids"]}
    expected = theirs(input_ids=IDS, attention_mask=(IDS != 0).long(), **types).last_hidden_state
    out = ours(BATCH)
    kept = out["embedding_mask"]
    torch.testing.assert_close(out["embedding"][kept], expected[kept])
    out["embedding"][kept].square().sum().backward()
    expected[kept].square().sum().backward()
    reference = dict(theirs.named_parameters())
    for key, parameter in ours.bert.named_parameters():
        torch.testing.assert_close(parameter.grad, reference[key].grad, rtol=1e-4, atol=1e-5)


def test_dropout_of_the_encoder_is_on_in_training(pretrained):
    layer = embedding(pretrained("bert")).train()
    assert not torch.equal(layer(BATCH)["embedding"], layer(BATCH)["embedding"])


def test_a_frozen_encoder_stays_frozen_whatever_mode_its_model_is_in(pretrained):
    layer = embedding(pretrained("bert"), freeze=True)
    layer.train()
    assert not any(module.training for module in layer.bert.modules())
    assert layer.dropout.training
    assert not any(parameter.requires_grad for parameter in layer.parameters())
    first, second = layer(BATCH)["embedding"], layer(BATCH)["embedding"]
    assert torch.equal(first, second)
    layer.eval()
    assert not layer.dropout.training


def test_a_model_does_not_draw_over_pretrained_weights(pretrained):
    part = {"pretrained_model_path": str(pretrained("bert"))}
    model = register.build(make("model", "basic", {"@embedding@bert_like": part}), Setup.empty())
    alone = embedding(pretrained("bert"))
    for key, tensor in alone.state_dict().items():
        assert torch.equal(model.embedding.state_dict()[key], tensor)


def test_from_scratch_nothing_stored_is_read(pretrained, tmp_path):
    (tmp_path / "config.json").write_bytes((pretrained("bert") / "config.json").read_bytes())
    weights = []
    for options in ({"pretrained": False}, {"from_pretrain": False}):
        torch.manual_seed(5)
        weights.append(embedding(tmp_path, **options).state_dict())
    stored = embedding(pretrained("bert")).state_dict()
    key = "bert.encoder.layer.0.attention.self.query.weight"
    assert torch.equal(weights[0][key], weights[1][key])
    assert not torch.equal(weights[0][key], stored[key])


def test_the_stated_width_is_checked(pretrained):
    with pytest.raises(ConfigError, match=r"writes states of width 16, got 32"):
        embedding(pretrained("bert"), embedding_dim=32)


def test_positions_are_picked_and_their_mask_says_which_are_words(pretrained):
    layer = embedding(pretrained("bert"), input_map={"gather_index": "words"}).eval()
    index = torch.tensor([[3, 1, -1], [1, 3, 0]])  # row 1 has padding at position 3
    out = layer({**BATCH, "words": index})
    whole = embedding(pretrained("bert")).eval()(BATCH)["embedding"]
    assert out["embedding_mask"].tolist() == [[True, True, False], [True, False, True]]
    assert torch.equal(out["embedding"][0, :2], whole[0, [3, 1]])
    assert torch.equal(out["embedding"][1, [0, 2]], whole[1, [1, 0]])
    assert not out["embedding"][~out["embedding_mask"]].any()


def test_a_gradient_reaches_the_picked_states_alone():
    states = torch.randn(1, 3, 2, requires_grad=True)
    picked = pick(states, torch.tensor([[2, -1]]))
    picked[:, 0].sum().backward()
    assert states.grad.any(-1).tolist() == [[False, False, True]]


def test_a_missing_folder_is_one_short_error(tmp_path):
    with pytest.raises(DlkError, match=r'^embedding: pretrained model: ".*nowhere" does not exist'):
        embedding(tmp_path / "nowhere")


def test_checking_a_config_needs_neither_torch_nor_transformers(pretrained):
    code = (
        "import sys; from dlk.config import make; "
        f"make('embedding', 'bert_like', {{'pretrained_model_path': {str(pretrained('bert'))!r}}});"
        "assert not {'torch', 'transformers', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_types_that_are_asked_for_and_not_there_are_named_with_both_ways_out(pretrained):
    single = {name: tensor for name, tensor in BATCH.items() if name != "type_ids"}
    path = pretrained("bert")
    with pytest.raises(DlkError, match=r'key_type_pairs.*"input_map": \{"type_ids": ""\}'):
        embedding(path)(single)
    embedding(path, input_map={"type_ids": ""})(single)


def layers_of(path) -> list[Tensor]:
    model = transformers.AutoModel.from_pretrained(path).float().eval()
    given = {"attention_mask": (IDS != 0).long(), "token_type_ids": BATCH["type_ids"]}
    return list(model(input_ids=IDS, output_hidden_states=True, **given).hidden_states)


@pytest.mark.parametrize("layers", [[], [1, 2], [-1, 0], [1]])
def test_layers_are_joined_by_their_mean_or_a_learnt_sum(pretrained, layers):
    path, kept = pretrained("bert"), IDS != 0
    every = layers_of(path)
    chosen = torch.stack([every[number] for number in layers] or every)
    mean = embedding(path, layer_pooling="mean", layers=layers).eval()
    torch.testing.assert_close(mean(BATCH)["embedding"][kept], chosen.mean(0)[kept])
    mix = embedding(path, layer_pooling="mix", layers=layers).eval()
    torch.testing.assert_close(mix(BATCH)["embedding"][kept], chosen.mean(0)[kept])
    with torch.no_grad():  # Peters et al. 2018, eq. 1
        mix.mix.scores.copy_(torch.arange(len(chosen)))
        mix.mix.gamma.fill_(2.0)
    shares = torch.arange(len(chosen)).float().exp()
    expected = (2 * chosen * (shares / shares.sum()).view(-1, 1, 1, 1)).sum(0)
    torch.testing.assert_close(mix(BATCH)["embedding"][kept], expected[kept])


def test_blocks_above_the_layers_that_are_read_are_not_built(pretrained):
    path = pretrained("bert")

    def blocks(**changes: object) -> int:
        return len(embedding(path, **changes).bert.encoder.layer)

    assert blocks() == 2
    assert blocks(layer_pooling="mean", layers=[0, 1]) == 1
    assert blocks(layer_pooling="mix", layers=[-2]) == 1
    assert blocks(layer_pooling="mean", layers=[1], gather_layer={"top": -1}) == 2
    assert blocks(pretrained=False, layer_pooling="mean", layers=[1]) == 1


@pytest.mark.parametrize("architecture", ["deberta", "t5"])
def test_a_layer_is_the_same_whether_blocks_above_it_are_built(pretrained, architecture):
    path = pretrained(architecture)
    whole = embedding(path, gather_layer={"low": 1, "top": -1}).eval()
    cut = embedding(path, layer_pooling="mean", layers=[1])
    torch.testing.assert_close(cut.eval()(BATCH)["embedding"], whole(BATCH)["low"])
    names = {name for name, p in cut.train().named_parameters() if p.requires_grad}
    cut(BATCH)["embedding"].sum().backward()
    assert {name for name, p in cut.named_parameters() if p.grad is not None} == names


def test_layers_get_names_of_their_own(pretrained):
    path, kept = pretrained("bert"), IDS != 0
    every = layers_of(path)
    out = embedding(path, gather_layer={"low": 0, "middle": -2, "top": 2}).eval()(BATCH)
    assert set(out) == {"embedding", "embedding_mask", "low", "middle", "top"}
    for name, number in (("low", 0), ("middle", 1), ("top", 2)):
        torch.testing.assert_close(out[name][kept], every[number][kept])
        assert not out[name][~kept].any()
    assert torch.equal(out["top"], out["embedding"])
    words = embedding(path, gather_layer={"low": 0}, input_map={"gather_index": "words"}).eval()(
        {**BATCH, "words": torch.tensor([[3, -1], [1, 0]])}
    )
    assert words["low"].shape == words["embedding"].shape
    torch.testing.assert_close(words["low"][0, 0], every[0][0, 3])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layers": [1]}, 'layers: layer_pooling "last" reads the last layer alone'),
        ({"layers": ["1"], "layer_pooling": "mean"}, r"layers: expected whole numbers.*\['1'\]"),
        ({"gather_layer": {"a": True}}, "gather_layer: expected whole numbers"),
        ({"gather_layer": {"embedding": 1}}, '"embedding" is written already'),
        ({"gather": "mean"}, "missing: gather_index, word_index"),
        ({"gather": "max", "input_map": {"gather_index": "g"}}, "missing: word_index"),
        ({"input_map": {"gather_index": "g", "word_index": "w"}}, '"first" reads gather_index'),
        ({"layer_pooling": "mean", "layers": [3]}, r"0 \(embeddings\) to 2, got 3"),
        ({"gather_layer": {"a": -4}}, r"0 \(embeddings\) to 2, got -4"),
        ({"layer_pooling": "mean", "layers": [0]}, "0 is the embeddings alone"),
    ],
)
def test_layers_and_words_that_do_not_fit_are_refused(pretrained, changes, message):
    with pytest.raises(ConfigError, match=message):
        embedding(pretrained("bert"), **changes)


PIECES = st.lists(st.lists(st.integers(-1, 3), min_size=6, max_size=6), min_size=1, max_size=3)


@settings(deadline=None)
@given(word=PIECES, seed=st.integers(0, 99))
def test_words_are_the_mean_or_maximum_of_their_pieces(word, seed):
    index = torch.tensor(word)
    states = torch.randn(len(word), 6, 3, generator=torch.Generator().manual_seed(seed))
    ours, theirs = states.clone().requires_grad_(), states.clone().requires_grad_()
    for join, by_hand in ((word_mean, lambda s: s.mean(0)), (word_max, lambda s: s.amax(0))):
        found = join(ours, index, 4)
        expected = [
            [by_hand(row[of == w]) if (of == w).any() else None for w in range(4)]
            for row, of in zip(theirs, index, strict=True)
        ]
        pairs = [
            (found[r, w], expected[r][w])
            for r in range(len(word))
            for w in range(4)
            if expected[r][w] is not None
        ]
        if pairs:
            one, other = (torch.stack(side) for side in zip(*pairs, strict=True))
            torch.testing.assert_close(one, other)
            grads = [
                torch.autograd.grad(side.square().sum(), leaf)[0]
                for side, leaf in ((one, ours), (other, theirs))
            ]
            torch.testing.assert_close(*grads)


@pytest.mark.parametrize("gather", ["mean", "max"])
def test_words_have_the_states_of_their_kept_pieces(pretrained, gather):
    path = pretrained("bert")
    whole = embedding(path).eval()(BATCH)["embedding"]
    words = {
        "g": torch.tensor([[1, 3, -1], [1, 3, -1]]),
        "w": torch.tensor([[-1, 0, 0, 1], [-1, 0, 0, 1]]),  # position 3 of row 1 is padding
    }
    layer = embedding(path, gather=gather, input_map={"gather_index": "g", "word_index": "w"})
    out = layer.eval()({**BATCH, **words})
    assert out["embedding_mask"].tolist() == [[True, True, False], [True, False, False]]
    join = {"mean": lambda s: s.mean(0), "max": lambda s: s.amax(0)}[gather]
    torch.testing.assert_close(out["embedding"][0, 0], join(whole[0, 1:3]))
    torch.testing.assert_close(out["embedding"][0, 1], whole[0, 3])
    torch.testing.assert_close(out["embedding"][1, 0], join(whole[1, 1:3]))
    assert not out["embedding"][~out["embedding_mask"]].any()


@pytest.mark.parametrize("gather", ["mean", "max"])
def test_a_word_has_no_state_of_padding_that_bears_its_number(pretrained, gather):
    layer = embedding(
        pretrained("bert"), gather=gather, input_map={"gather_index": "g", "word_index": "w"}
    ).eval()
    words = {"g": torch.tensor([[1]] * 2), "w": torch.tensor([[-1, 0, 0, 0]] * 2)}
    found = layer({**BATCH, **words})["embedding"][1, 0]  # its last position is padding
    words["w"] = torch.tensor([[-1, 0, 0, -1]] * 2)
    torch.testing.assert_close(found, layer({**BATCH, **words})["embedding"][1, 0])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("gather", ["first", "mean", "max"])
def test_half_precision_stays_near_single(pretrained, dtype, gather):
    names = {"gather_index": "g", "word_index": "w" if gather != "first" else ""}
    layer = embedding(pretrained("bert"), gather=gather, layer_pooling="mix", input_map=names)
    words = {"g": torch.tensor([[1, 3], [1, -1]]), "w": torch.tensor([[-1, 0, 0, 1]] * 2)}
    x = {**BATCH, **words}
    exact = layer.eval()(x)["embedding"]
    with torch.autocast("cpu", dtype=dtype):
        mixed = layer(x)["embedding"]
    whole = layer.to(dtype)(x)["embedding"]
    assert whole.dtype == dtype
    for states in (mixed, whole):
        assert (states.float() - exact).abs().max() < 0.1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_mean_of_very_many_pieces_is_exact_in_half_precision(dtype):
    states = torch.ones(1, 5000, 2).to(dtype)  # counted in bfloat16, no sum passes 256
    found = word_mean(states, torch.zeros(1, 5000, dtype=torch.long), 1)
    assert found.dtype == dtype
    assert found.tolist() == [[[1.0, 1.0]]]
    torch.manual_seed(0)
    drawn = torch.randn(1, 600, 8).to(dtype) + 3
    found = word_mean(drawn, torch.zeros(1, 600, dtype=torch.long), 1)
    assert torch.equal(found[:, 0], drawn.double().mean(1).to(dtype))


def test_padding_in_front_changes_nothing(pretrained):
    layer = embedding(pretrained("roberta"), input_map={"type_ids": ""}).eval()
    plain = {"input_ids": IDS[:1], "attention_mask": IDS[:1] != 0}
    front = {name: functional.pad(tensor, (3, 0)) for name, tensor in plain.items()}
    torch.testing.assert_close(
        layer(front)["embedding"][:, 3:], layer(plain)["embedding"], rtol=1e-4, atol=1e-5
    )


def test_adding_layers_up_leaves_the_sum_a_gradient_when_the_encoder_is_frozen(pretrained):
    layer = embedding(pretrained("bert"), layer_pooling="mix", freeze=True).train()
    (layer(BATCH)["embedding"] * torch.randn(2, 4, 16)).sum().backward()
    assert layer.mix.scores.grad.any()
    assert layer.mix.gamma.grad.any()
    assert all(parameter.grad is None for parameter in layer.bert.parameters())


@pytest.mark.parametrize("gather", ["first", "mean", "max"])
def test_words_of_texts_without_any_token_are_not_kept(pretrained, gather):
    """A batch of empty texts, and a tokenizer without special tokens."""
    names = {"gather_index": "g", "word_index": "w" if gather != "first" else ""}
    layer = embedding(pretrained("bert"), gather=gather, input_map=names).eval()
    nothing = torch.zeros(2, 0, dtype=torch.long)
    batch = {"input_ids": nothing, "attention_mask": nothing.bool(), "type_ids": nothing}
    out = layer({**batch, "g": torch.full((2, 1), -1), "w": nothing})
    assert out["embedding"].tolist() == torch.zeros(2, 1, 16).tolist()
    assert out["embedding_mask"].tolist() == [[False], [False]]
