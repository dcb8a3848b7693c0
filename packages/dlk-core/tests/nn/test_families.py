"""What holds for all families of networks and training parts together."""

import subprocess
import sys
from importlib import import_module

import pytest
import torch

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
