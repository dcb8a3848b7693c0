"""`dlk.hf` with transformers installed."""

import json
import shutil
from types import SimpleNamespace

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from dlk import hf
from dlk.errors import DlkError

NAMES = ["albert", "bert", "deberta", "distilbert", "electra", "mpnet", "roberta", "t5"]


@pytest.fixture
def copy(pretrained, tmp_path):
    """A folder of BERT that a test may spoil."""
    return shutil.copytree(pretrained("bert"), tmp_path / "bert")


@pytest.mark.parametrize("name", NAMES)
def test_an_encoder_is_read_in_training_mode_with_all_its_weights(pretrained, name):
    model = hf.load_encoder(str(pretrained(name)))
    assert all(module.training for module in model.modules())
    assert hf.hidden_size(model) == 16
    whole = transformers.AutoModel.from_pretrained(pretrained(name))
    stored = (whole.get_encoder() if name in ("bart", "t5") else whole).state_dict()
    for key, tensor in model.state_dict().items():
        assert torch.equal(tensor, stored[key])


@pytest.mark.parametrize(("with_weights", "times"), [(True, 0), (False, 1)])
def test_no_weights_are_drawn_to_be_thrown_away(pretrained, monkeypatch, with_weights, times):
    """Outlines, which hold no numbers, may be built more often."""
    path, built, drawn = pretrained("roberta"), set(), 0
    for model in (transformers.BertModel, transformers.RobertaModel):

        def made(self, *args, inner=model.__init__, **options):
            nonlocal drawn
            inner(self, *args, **options)
            built.add(type(self))
            drawn += next(self.parameters()).device.type != "meta"

        monkeypatch.setattr(model, "__init__", made)
    hf.load_encoder(str(path), pretrained=with_weights)
    assert built == {transformers.RobertaModel}
    assert drawn == times


@pytest.mark.parametrize("name", ["albert", "bert", "mpnet", "roberta"])
def test_no_pooler_is_built_that_nobody_would_read(pretrained, name):
    model = hf.load_encoder(str(pretrained(name)))
    assert not [key for key, _ in model.named_parameters() if "pooler" in key]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("weights", [True, False])
def test_every_parameter_gets_a_gradient(pretrained, name, weights):
    # A parameter without one stops a run under DDP.
    model = hf.load_encoder(str(pretrained(name)), pretrained=weights)
    ids = torch.randint(2, 30, (2, 6))
    states = hf.encode(model, ids, torch.ones(2, 6).bool(), torch.zeros_like(ids))
    (states * torch.randn_like(states)).sum().backward()
    without = [key for key, parameter in model.named_parameters() if parameter.grad is None]
    assert without == []


@pytest.mark.parametrize("name", NAMES)
def test_texts_without_any_token_have_no_states(pretrained, name):
    """A batch of empty texts, and a tokenizer without special tokens."""
    model = hf.load_encoder(str(pretrained(name)))
    ids = torch.zeros(2, 0, dtype=torch.long)
    assert hf.encode(model, ids, ids.bool(), ids).shape == (2, 0, 16)
    layers = hf.encode_layers(model, ids, ids.bool())
    assert {tuple(states.shape) for states in layers} == {(2, 0, 16)}


def test_without_pretrained_weights_no_weight_file_is_needed(copy):
    (copy / "model.safetensors").unlink()
    model = hf.load_encoder(str(copy), pretrained=False)
    assert all(module.training for module in model.modules())
    with pytest.raises(DlkError, match="cannot be used"):
        hf.load_encoder(str(copy))


def test_weights_in_half_precision_are_trained_in_single(copy):
    file = copy / "model.safetensors"
    save_file({k: v.half() for k, v in load_file(file).items()}, file, metadata={"format": "pt"})
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "dtype": "float16"}))
    for weights in (True, False):
        model = hf.load_encoder(str(copy), pretrained=weights)
        assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_nothing_that_nobody_asked_for_is_computed(copy):
    config = json.loads((copy / "config.json").read_text())
    wasteful = {"output_attentions": True, "output_hidden_states": True, "use_cache": True}
    (copy / "config.json").write_text(json.dumps({**config, **wasteful}))
    model = hf.load_encoder(str(copy))
    assert model.config._attn_implementation == "sdpa"
    out = model(input_ids=torch.ones(1, 3, dtype=torch.long))
    assert set(out.keys()) == {"last_hidden_state"}


def test_loading_prints_nothing_and_leaves_logging_as_it_was(copy, capfd):
    logging = transformers.utils.logging
    before = logging.get_verbosity()
    try:
        logging.set_verbosity_warning()
        hf.load_encoder(str(copy))
        assert logging.get_verbosity() == logging.WARNING
        assert logging.is_progress_bar_enabled()
    finally:
        logging.set_verbosity(before)
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""


def test_a_folder_is_read_without_any_network(copy, monkeypatch):
    given = []
    cls = transformers.BertModel
    original = cls.from_pretrained.__func__

    def spy(klass, *args, **kwargs):
        given.append(kwargs["local_files_only"])
        return original(klass, *args, **kwargs)

    monkeypatch.setattr(cls, "from_pretrained", classmethod(spy))
    hf.load_encoder(str(copy))
    assert given == [True]


def test_a_folder_that_is_not_there_is_named_with_its_neighbour(copy):
    with pytest.raises(DlkError, match=r'bret" does not exist\. Did you mean ".*/bert"\?'):
        hf.load_config(str(copy.with_name("bret")))


def test_a_file_is_no_folder(copy):
    with pytest.raises(DlkError, match="is a file, not a folder"):
        hf.load_config(str(copy / "config.json"))


def test_a_folder_without_a_config_is_an_error_of_one_line(tmp_path):
    with pytest.raises(DlkError, match="cannot be used") as caught:
        hf.load_config(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_name_is_looked_up_on_the_hub_and_its_failure_is_told(monkeypatch):
    asked = []

    def refuse(path, **options):
        asked.append((path, options["local_files_only"]))
        raise OSError("no such model\nand much more")

    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", refuse)
    with pytest.raises(DlkError, match=r'hub\'s "some-org/some-model" cannot .*: no such model$'):
        hf.load_config("some-org/some-model")
    assert asked == [("some-org/some-model", False)]


def test_weights_of_another_model_are_refused(copy):
    file = copy / "model.safetensors"
    renamed = {f"other.{key}": tensor for key, tensor in load_file(file).items()}
    save_file(renamed, file, metadata={"format": "pt"})
    with pytest.raises(DlkError, match=r"leave \d+ parameters of BertModel without values: "):
        hf.load_encoder(str(copy))


def test_pickled_weights_are_not_opened(copy):
    stored = load_file(copy / "model.safetensors")
    (copy / "model.safetensors").unlink()
    torch.save(stored, copy / "pytorch_model.bin")
    with pytest.raises(DlkError, match="cannot be used"):
        hf.load_encoder(str(copy))


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("bert", 20),
        ("roberta", 20),
        ("distilbert", 20),
        ("electra", 20),
        ("bart", 20),
        ("gpt2", 20),
        ("t5", None),
    ],
)
def test_the_longest_row_is_known(pretrained, name, limit):
    assert hf.max_tokens(hf.load_encoder(str(pretrained(name)))) == limit


@pytest.mark.parametrize("name", ["bert", "roberta", "bart"])
def test_a_row_that_is_too_long_says_what_to_set(pretrained, name):
    model = hf.load_encoder(str(pretrained(name)))
    mask = torch.ones(1, 21).bool()
    hf.encode(model, torch.full((1, 20), 5), mask[:, :20])
    with pytest.raises(DlkError, match=r"rows of 21 tokens.*truncation\.max_length to 20 at most"):
        hf.encode(model, torch.full((1, 21), 5), mask)


@pytest.mark.parametrize(
    ("name", "takes"),
    [
        ("bert", True),
        ("roberta", False),
        ("distilbert", False),
        ("t5", False),
        ("gpt2", False),  # it has no types, and would add the vectors of the words 0 and 1
        ("xlnet", True),
    ],
)
def test_type_ids_go_only_to_models_that_know_several(pretrained, name, takes):
    model = hf.load_encoder(str(pretrained(name))).eval()
    assert hf.takes_types(model) is takes
    ids, mask = torch.randint(2, 30, (1, 4)), torch.ones(1, 4).bool()
    first = hf.encode(model, ids, mask, torch.zeros_like(ids))
    second = hf.encode(model, ids, mask, torch.tensor([[0, 0, 1, 1]]))  # XLNet's are relative
    assert torch.equal(first, second) is not takes


@pytest.mark.parametrize("name", NAMES)
def test_a_row_without_tokens_disturbs_nobody(pretrained, name):
    model = hf.load_encoder(str(pretrained(name))).eval()
    ids = torch.randint(2, 30, (2, 4), generator=torch.Generator().manual_seed(1))
    mask = torch.tensor([[True] * 4, [False] * 4])
    states = hf.encode(model, ids, mask)
    assert states.isfinite().all()
    torch.testing.assert_close(states[:1], hf.encode(model, ids[:1], mask[:1]))


def test_a_row_without_tokens_is_read_whole(pretrained):
    # Attention over nothing is 0/0 in some kernels; whatever comes out is masked afterwards.
    model = hf.load_encoder(str(pretrained("bert"))).eval()
    ids = torch.randint(2, 30, (1, 4), generator=torch.Generator().manual_seed(1))
    everything = torch.ones(1, 4).bool()
    assert torch.equal(hf.encode(model, ids, ~everything), hf.encode(model, ids, everything))


@pytest.mark.parametrize("name", [*NAMES, "bart", "gpt2"])
def test_the_states_of_all_layers_are_those_of_transformers(pretrained, name):
    model = hf.load_encoder(str(pretrained(name))).eval()
    ids = torch.randint(2, 30, (2, 5), generator=torch.Generator().manual_seed(1))
    mask = torch.ones(2, 5).bool()
    layers = hf.encode_layers(model, ids, mask)
    assert len(layers) == 3 == hf.num_layers(str(pretrained(name))) + 1
    assert torch.equal(layers[-1], hf.encode(model, ids, mask))
    whole = transformers.AutoModel.from_pretrained(pretrained(name)).float().eval()
    whole = whole.get_encoder() if name in ("bart", "t5") else whole
    expected = whole(input_ids=ids, output_hidden_states=True).hidden_states
    for one, other in zip(layers, expected, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("name", [*NAMES, "bart", "gpt2"])
def test_blocks_that_nobody_reads_are_not_built(pretrained, name):
    whole = hf.load_encoder(str(pretrained(name))).eval()
    low = hf.load_encoder(str(pretrained(name)), layers=1).eval()
    ids = torch.randint(2, 30, (2, 5), generator=torch.Generator().manual_seed(1))
    mask = torch.ones(2, 5).bool()
    layers = hf.encode_layers(low, ids, mask)
    above = 1 if name in ("gpt2", "t5") else 0  # a norm behind the last block: one more is built
    assert len(layers) == 2 + above
    states = layers[1]
    torch.testing.assert_close(states, hf.encode_layers(whole, ids, mask)[1])
    learn, every = (
        [parameter for parameter in model.parameters() if parameter.requires_grad]
        for model in (low, whole)
    )
    if name != "albert":  # whose blocks share their weights
        assert sum(p.numel() for p in learn) < sum(p.numel() for p in every)
    (states * torch.randn_like(states)).sum().backward()
    assert all(parameter.grad is not None for parameter in learn)


@pytest.mark.parametrize("name", [*NAMES, "gpt2"])
def test_padding_may_stand_anywhere(pretrained, name):
    model = hf.load_encoder(str(pretrained(name))).eval()
    ids = torch.randint(2, 30, (1, 4), generator=torch.Generator().manual_seed(1))
    alone = hf.encode(model, ids, torch.ones(1, 4).bool())
    for fill in (0, 1):
        front = torch.cat([torch.full((1, 3), fill), ids], dim=1)
        behind = torch.cat([ids, torch.full((1, 3), fill)], dim=1)
        kept = torch.arange(7) >= 3
        for row, mask in ((front, kept), (behind, kept.flip(0))):
            states = hf.encode(model, row, mask.unsqueeze(0))
            torch.testing.assert_close(states[:, mask], alone, rtol=1e-4, atol=1e-5)


def test_states_of_layers_are_asked_of_the_model_only_where_they_are_read(pretrained):
    model = hf.load_encoder(str(pretrained("bert"))).eval()
    asked = []
    model.register_forward_pre_hook(
        lambda _, args, kwargs: asked.append(kwargs.get("output_hidden_states")), with_kwargs=True
    )
    ids, mask = torch.randint(2, 30, (1, 4)), torch.ones(1, 4).bool()
    hf.encode(model, ids, mask)
    hf.encode_layers(model, ids, mask)
    assert asked == [None, True]
    assert model.config._attn_implementation == "sdpa"


def test_a_model_whose_layers_cannot_be_counted_off_is_used_whole_or_refused(pretrained):
    path = str(pretrained("funnel"))
    model = hf.load_encoder(path).eval()
    hf.encode(model, torch.randint(2, 30, (1, 4)), torch.ones(1, 4).bool())
    with pytest.raises(DlkError, match="FunnelConfig cannot be built with its lowest 1 layers"):
        hf.load_encoder(path, layers=1)


def test_a_config_that_does_not_count_its_layers_is_named(monkeypatch):
    monkeypatch.setattr(hf, "load_config", lambda _: SimpleNamespace(hidden_size=16))
    with pytest.raises(DlkError, match=r"not say how many layers there are \(SimpleNamespace"):
        hf.num_layers("somewhere")
