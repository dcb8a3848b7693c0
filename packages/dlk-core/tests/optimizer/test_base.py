import subprocess
import sys

import pytest
import torch
from torch import nn

from dlk.config import make
from dlk.errors import ConfigError, DlkError
from dlk.optimizer.adamw import AdamWOptimizer
from dlk.registry import register


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.Linear(4, 4)
        self.LayerNorm = nn.LayerNorm(4)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(7, 4)
        self.layers = nn.ModuleList([Layer(), Layer()])
        self.lstm = nn.LSTM(4, 4)
        self.head = nn.Linear(4, 3)


def adamw(groups: dict[str, object] | None = None, **values: object) -> AdamWOptimizer:
    values = {"lr": 0.01, "weight_decay": 0.1, **values}
    if groups is not None:
        values["optimizer_special_groups"] = groups
    return register.build(make("optimizer", "adamw", values))


def named(optimizer: torch.optim.Optimizer, model: nn.Module) -> dict[str, set[str]]:
    names = {id(p): n for n, p in model.named_parameters()}
    return {g["name"]: {names[id(p)] for p in g["params"]} for g in optimizer.param_groups}


def group(pattern: object, **config: object) -> dict[str, object]:
    return {"config": config, "pattern": pattern}


def test_biases_and_norms_get_no_weight_decay():
    model = Model()
    optimizer = adamw().build(model)
    decay = {g["name"]: g["weight_decay"] for g in optimizer.param_groups}
    assert decay == {"default": 0.1, "default/no_decay": 0.0}
    plain = named(optimizer, model)["default/no_decay"]
    assert plain == {
        *(f"layers.{i}.attention.bias" for i in (0, 1)),
        *(f"layers.{i}.LayerNorm.{kind}" for i in (0, 1) for kind in ("weight", "bias")),
        "lstm.bias_ih_l0",
        "lstm.bias_hh_l0",
        "head.bias",
    }


def test_decay_all_decays_them_too():
    optimizer = adamw(decay_all=True).build(Model())
    assert [(g["name"], g["weight_decay"]) for g in optimizer.param_groups] == [("default", 0.1)]


@pytest.mark.parametrize("kind", [nn.BatchNorm1d, nn.LayerNorm, nn.RMSNorm, nn.InstanceNorm1d])
def test_norms_of_every_kind_are_recognised(kind):
    norm = kind(3, affine=True) if kind is nn.InstanceNorm1d else kind(3)
    optimizer = adamw().build(nn.Sequential(norm, nn.Linear(3, 2, bias=False)))
    sizes = {g["name"]: sum(p.numel() for p in g["params"]) for g in optimizer.param_groups}
    assert sizes["default"] == 6


def test_norms_of_other_libraries_are_recognised_by_their_name():
    class MyRMSNorm(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3))

    optimizer = adamw().build(nn.Sequential(MyRMSNorm()))
    assert [g["name"] for g in optimizer.param_groups] == ["default/no_decay"]


def test_the_first_group_in_order_that_matches_wins():
    groups = {
        "order": ["norms", "layers"],
        "layers": group([r"^layers\."], lr=1.0),
        "norms": group(["LayerNorm", "no_such_name"], lr=2.0, weight_decay=0.5),
    }
    model = Model()
    optimizer = adamw(groups).build(model)
    found = named(optimizer, model)
    assert found["norms"] == {
        f"layers.{i}.LayerNorm.{kind}" for i in (0, 1) for kind in ("weight", "bias")
    }
    assert found["layers"] == {f"layers.{i}.attention.weight" for i in (0, 1)}
    assert found["layers/no_decay"] == {f"layers.{i}.attention.bias" for i in (0, 1)}
    settings = {g["name"]: (g["lr"], g["weight_decay"]) for g in optimizer.param_groups}
    assert settings["norms"] == (2.0, 0.5)  # says weight_decay itself: not split
    assert settings["layers"] == (1.0, 0.1)
    assert settings["layers/no_decay"] == (1.0, 0.0)
    assert settings["default"] == (0.01, 0.1)


def test_group_sizes_are_reported():
    made = adamw({"order": ["head"], "head": group("head", weight_decay=0.0)}, decay_all=True)
    model = Model()
    made.build(model)
    rest = sum(p.numel() for n, p in model.named_parameters() if "head" not in n)
    assert made.groups == [
        {"name": "head", "params": 2, "numel": 15},
        {"name": "default", "params": 13, "numel": rest},
    ]


def test_the_rest_has_the_name_it_is_given():
    assert adamw(name="body", decay_all=True).build(Model()).param_groups[0]["name"] == "body"


def test_frozen_parameters_are_left_out():
    model = Model()
    model.layers.requires_grad_(False)
    optimizer = adamw().build(model)
    assert not any(
        name.startswith("layers") for names in named(optimizer, model).values() for name in names
    )


def test_a_tied_parameter_is_there_once_and_found_by_either_name():
    model = nn.ModuleDict({"a": nn.Linear(3, 3, bias=False), "b": nn.Linear(3, 3, bias=False)})
    model["b"].weight = model["a"].weight
    optimizer = adamw({"order": ["tied"], "tied": group(r"^b\.", lr=1.0)}).build(model)
    assert [(g["name"], len(g["params"])) for g in optimizer.param_groups] == [("tied", 1)]


def test_a_group_that_takes_nothing_names_parameters_near():
    with pytest.raises(DlkError, match=r'"x" \("heads"\) takes no parameter.*near: .*head\.weight'):
        adamw({"order": ["x"], "x": group("heads", lr=1.0)}).build(Model())


def test_a_group_of_frozen_parameters_says_so():
    model = Model()
    model.head.requires_grad_(False)
    with pytest.raises(DlkError, match=r"all that it matches are frozen, such as head\.weight"):
        adamw({"order": ["x"], "x": group("head", lr=1.0)}).build(model)


def test_a_group_that_comes_too_late_says_so():
    groups = {"order": ["all", "x"], "all": group("."), "x": group("head")}
    with pytest.raises(DlkError, match="an earlier group takes all of them"):
        adamw(groups).build(Model())


def test_a_model_without_anything_to_train_is_refused():
    with pytest.raises(DlkError, match="no trainable parameter"):
        adamw().build(nn.Linear(2, 2).requires_grad_(False))


def test_a_setting_that_the_optimizer_does_not_know_is_refused():
    with pytest.raises(
        ConfigError, match=r'group "x", learning_rate: there is no.*Known: betas.*lr'
    ):
        adamw({"order": ["x"], "x": group("head", learning_rate=1.0)}).build(Model())


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({"x": group("a")}, r'expected "order"'),
        ({"order": "x", "x": group("a")}, r'expected "order"'),
        ({"order": ["y"], "x": group("a")}, r'order names "y", which is no group'),
        ({"order": [], "x": group("a")}, r'must name the group "x" once, it does 0 times'),
        ({"order": ["x", "x"], "x": group("a")}, r"it does 2 times"),
        ({"order": ["default"], "default": group("a")}, r"group of all other parameters"),
        ({"order": ["x"], "x": {"pattern": "a"}}, r"expected \{config: \{…\}, pattern: \[…\]\}"),
        ({"order": ["x"], "x": {"config": [], "pattern": "a"}}, r"expected config to be an object"),
        ({"order": ["x"], "x": group(3)}, r"a regular expression or a list of them"),
        ({"order": ["x"], "x": group([])}, r"a regular expression or a list of them"),
        ({"order": ["x"], "x": group(["("])}, r'"\(" is no regular expression'),
    ],
)
def test_groups_that_make_no_sense_are_refused_before_any_model(groups, message):
    with pytest.raises(ConfigError, match=message):
        adamw(groups)


def test_checking_a_config_needs_no_torch():
    code = (
        "import sys; from dlk.config import make; make('optimizer', 'adamw', {}); "
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("lr", "fast", r"group \"own\", lr: expected a number >= 0.0, got \"fast\""),
        ("lr", -1, r"group \"own\", lr: expected a number >= 0.0, got -1"),
        ("weight_decay", True, r"group \"own\", weight_decay: expected a number >= 0.0, got true"),
        (
            "betas",
            [0.9, 3],
            r"group \"own\", betas: expected two numbers in \[0, 1\), got \[0.9, 3",
        ),
        ("betas", 0.9, r"group \"own\", betas: expected a list, got 0.9"),
        ("lrr", 1, r"group \"own\", lrr: there is no such setting. Did you mean \"lr\"\?"),
    ],
)
def test_a_group_s_settings_are_checked_as_the_optimizer_s_own(setting, value, message):
    with pytest.raises(ConfigError, match=message):
        adamw({"order": ["own"], "own": group("head", **{setting: value})})


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_what_a_group_may_set_is_what_the_optimizer_sets(name):
    config = make("optimizer", name)
    assert set(config.settable) == set(register.build(config).settings())
