import subprocess
import sys
from typing import ClassVar

import pytest
import torch
import transformers
from torch import Tensor

from dlk.config import make
from dlk.context import Setup
from dlk.errors import ConfigError, DlkError
from dlk.nlp.embedding.bert_like import BertLikeEmbedding, gather
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
    fill: ClassVar = {"input_ids": 1}  # its positions are counted by what is not padding


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
    picked, kept = gather(states, torch.ones(1, 3).bool(), torch.tensor([[2, -1]]))
    picked[kept].sum().backward()
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
