"""What holds for all families of networks and training parts together."""

import subprocess
import sys
from importlib import import_module

import pytest
import torch
from torch import nn

from dlk.components import dlk_components
from dlk.config import make
from dlk.config._intc import fields_of
from dlk.context import Context, Setup
from dlk.nn.base import merge
from dlk.registry import register

PACKAGES = [
    "dlk.nn",
    "dlk.nn.initmethod",
    "dlk.nn.layer.decoder",
    "dlk.nn.layer.embedding",
    "dlk.nn.layer.encoder",
    "dlk.nn.loss",
    "dlk.nn.model",
    "dlk.optimizer",
    "dlk.scheduler",
    "dlk.testing",
]
FAMILIES = {
    "decoder",
    "embedding",
    "encoder",
    "initmethod",
    "loss",
    "model",
    "optimizer",
    "scheduler",
}
ROWS = [row for row in dlk_components() if row.type in FAMILIES]


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_gives_all_names_it_lists_and_no_other(package):
    module = import_module(package)
    for name in module.__all__:
        assert getattr(module, name).__name__ == name or name == "Batch"
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        module.nothing  # noqa: B018  # asking is the test


def test_importing_families_and_their_options_loads_nothing_heavy():
    names = [*PACKAGES, *sorted({row.config.partition(":")[0] for row in ROWS})]
    code = (
        f"import importlib, sys; [importlib.import_module(name) for name in {names!r}]; "
        "heavy = {'torch', 'numpy', 'pandas', 'transformers', 'lightning'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.type}-{row.name}")
def test_a_row_of_the_table_names_what_the_decorators_register(row):
    module, _, attribute = row.cls.partition(":")
    assert getattr(import_module(module), attribute) is register.get(row.type, row.name)
    module, _, attribute = row.config.partition(":")
    assert getattr(import_module(module), attribute) is register.config(row.type, row.name)


def test_components_import_neither_lightning_nor_datasets_nor_transformers():
    code = (
        "import sys; from dlk.registry import register; from dlk.components import dlk_components; "
        f"[register.get(r.type, r.name) for r in dlk_components() if r.type in {FAMILIES!r}]; "
        "heavy = {'lightning', 'datasets', 'transformers', 'pandas'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_shared_options_mean_the_same_in_every_component():
    dropouts = [
        fields_of(register.config(row.type, row.name))["dropout"]
        for row in ROWS
        if "dropout" in fields_of(register.config(row.type, row.name))
    ]
    assert len(dropouts) >= 5
    for field in dropouts:
        assert (field["default"], field["minimum"], field["maximum"]) == (0.0, 0.0, 1.0)


def test_a_model_of_all_parts_learns_one_batch():
    torch.manual_seed(0)
    parts = {
        "@embedding@random": {"vocab_size": 20, "embedding_dim": 8, "dropout": 0.1},
        "@encoder@lstm": {"input_size": 8, "output_size": 8, "dropout": 0.1},
        "@decoder@linear": {"input_size": 8, "output_size": 3, "pool": "max", "dropout": 0.1},
    }
    model = register.build(make("model", "basic", parts), Setup.empty()).train()
    loss = register.build(make("loss", "cross_entropy", pred_truth_pair={"logits": "label_ids"}))
    groups = {"order": ["rnn"], "rnn": {"config": {"lr": 0.02}, "pattern": ["lstm"]}}
    made = register.build(make("optimizer", "adamw", lr=0.05, optimizer_special_groups=groups))
    optimizer = made.build(model)
    schedule = register.build(make("scheduler", "linear_warmup", num_warmup_steps=5))
    scheduler = schedule.build(optimizer, total_steps=60, steps_per_epoch=60)
    ids = torch.randint(1, 20, (6, 5))
    batch = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids).bool(),
        "label_ids": torch.tensor([0, 1, 2, 0, 1, 2]),
    }
    for step in range(60):
        ctx = Context(training=True, step=step, total_steps=60)
        out = loss.compute(merge(batch, model(batch), writer=model), ctx)
        optimizer.zero_grad()
        out.total.backward()
        optimizer.step()
        scheduler.step()
    logits = model.eval()(batch)["logits"]
    assert logits.argmax(-1).tolist() == [0, 1, 2, 0, 1, 2]
    assert out.terms["loss"] < 0.2


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("cross_entropy", torch.tensor([0, 2])),
        ("focal", torch.tensor([0, 2])),
        ("bce", torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])),
        ("mse", torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])),
    ],
)
def test_a_loss_is_computed_in_single_precision_under_autocast(name, target):
    torch.manual_seed(0)
    loss = register.build(make("loss", name, pred_truth_pair={"logits": "target"}))
    model, rows = nn.Linear(4, 3), torch.randn(2, 4)
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(rows)
        out = loss.compute({"logits": logits, "target": target}, Context(training=True))
    assert logits.dtype == torch.bfloat16
    assert out.total.dtype == torch.float32
    plain = loss.compute({"logits": logits.detach().float(), "target": target}, Context())
    torch.testing.assert_close(out.total, plain.total, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("names", "values", "weights"),
    [
        (("embedding", "random"), {"vocab_size": 5, "embedding_dim": 4}, {"embedding.weight"}),
        (
            ("encoder", "linear"),
            {"input_size": 4, "output_size": 4},
            {"linear.weight", "linear.bias"},
        ),
        (
            ("encoder", "lstm"),
            {"input_size": 4, "output_size": 4, "bidirectional": False},
            {f"lstm.lstm.{kind}_{part}_l0" for kind in ("weight", "bias") for part in ("ih", "hh")},
        ),
        (
            ("decoder", "linear"),
            {"input_size": 4, "output_size": 4},
            {"linear.weight", "linear.bias"},
        ),
        (
            ("model", "basic"),
            {
                "@embedding@random": {"vocab_size": 5, "embedding_dim": 4},
                "@decoder@linear": {"input_size": 4, "output_size": 4},
            },
            {"embedding.embedding.weight", "decoder.linear.weight", "decoder.linear.bias"},
        ),
        (
            ("loss", "cross_entropy"),
            {"pred_truth_pair": {"logits": "label_ids"}, "weight": [1.0, 2.0]},
            set(),
        ),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else "",
)
def test_weights_keep_their_names_for_the_sake_of_checkpoints(names, values, weights):
    assert set(register.build(make(*names, values), Setup.empty()).state_dict()) == weights
