"""The direct way through a step: the same as a plain torch loop, and as Lightning's own loop."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from dlk.config import make
from dlk.context import Setup
from dlk.registry import register
from dlk.trainer._steps import StepLoop

pytestmark = pytest.mark.once

WIDTH, CLASSES, ROWS = 3, 2, 4


def batches(count, *, rows=ROWS, seed=7):
    generator = torch.Generator().manual_seed(seed)
    return [
        {
            "embedding": torch.randn(rows, WIDTH, generator=generator),
            "label_ids": torch.randint(CLASSES, (rows,), generator=generator),
            "_index": torch.arange(rows),
        }
        for _ in range(count)
    ]


class Given:
    """A datamodule of prepared batches."""

    def __init__(self, train, valid=None):
        self.parts = {"train": train, "valid": valid}

    def loader(self, name):
        data = self.parts.get(name)
        return None if data is None else DataLoader(data, batch_size=None)

    def set_epoch(self, epoch):
        pass


def build(tmp_path, *, callbacks=None, imodel=None, scheduler=None, **options):
    """Return a trainer and an imodel that is a linear map from vectors to scores."""
    setup = Setup.empty()
    torch.manual_seed(3)
    config = {
        "@model@basic": {
            "@embedding@identity": {},
            "@decoder@linear": {"input_size": WIDTH, "output_size": CLASSES, "pool": None},
        },
        "@loss@cross_entropy": {"pred_truth_pair": {"logits": "label_ids"}},
        "@optimizer@adamw": {"lr": 0.1},
        "@scheduler@linear_warmup": scheduler or {"num_warmup_steps": 2},
        **(imodel or {}),
    }
    options = {
        "accelerator": "cpu",
        "gradient_clip_val": None,
        "log_every_n_steps": 1,
        **options,
        **(callbacks or {}),
    }
    return (
        register.build(make("trainer", "lightning", options), setup, run_dir=str(tmp_path)),
        register.build(make("imodel", "default", config), setup),
    )


def trained(tmp_path, data, **options):
    """Return the weights after training."""
    trainer, imodel = build(tmp_path, **options)
    trainer.fit(imodel, Given(data))
    return trainer, imodel


def by_hand(
    model,
    data,
    *,
    epochs,
    total,
    accumulate=1,
    clip=None,
    algorithm="norm",
    max_steps=math.inf,
    autocast=False,
    fused=True,
):
    """Train in a plain loop: AdamW without decay of biases, two steps of warm-up, linear fall."""
    weight, bias = model.decoder.linear.weight, model.decoder.linear.bias
    groups = [{"params": [weight], "weight_decay": 0.01}, {"params": [bias], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=0.1, fused=fused)
    step = 0
    for _ in range(epochs):
        for index, batch in enumerate(data):
            if step >= max_steps:
                return
            vectors = batch["embedding"].to(weight.dtype)
            with torch.autocast("cpu", torch.bfloat16, enabled=autocast, cache_enabled=False):
                logits = nn.functional.linear(vectors, weight, bias)
                # as the loss component: a sum in float32 over a count
                loss = cross_entropy(logits.float(), batch["label_ids"], reduction="sum") / ROWS
            torch.autograd.backward(loss / accumulate)
            if (index + 1) % accumulate and index + 1 < len(data):
                continue
            if clip and algorithm == "norm":
                nn.utils.clip_grad_norm_([weight, bias], clip)
            elif clip:
                nn.utils.clip_grad_value_([weight, bias], clip)
            rise = (step + 1) / 2 if step < 2 else 1 - (step - 2) / (total - 2)
            for group in optimizer.param_groups:
                group["lr"] = 0.1 * rise
            optimizer.step()
            optimizer.zero_grad()
            step += 1


def weights(imodel):
    return [p.detach().clone() for p in imodel.model.parameters()]


def same(left, right):
    return all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


# A plain loop -------------------------------------------------------------------------------------


@pytest.mark.parametrize("accumulate", [1, 2, 5])
@pytest.mark.parametrize(
    "clipping",
    [
        {},
        {"gradient_clip_val": 0.05},
        {"gradient_clip_val": 0.02, "gradient_clip_algorithm": "value"},
    ],
    ids=["unclipped", "norm", "value"],
)
def test_training_is_a_plain_loop_bit_for_bit(tmp_path, accumulate, clipping):
    """7 batches: with 2 and 5, an epoch ends with a step of the batches that are left."""
    data = batches(7)
    total = 3 * math.ceil(7 / accumulate)
    _, reference = build(tmp_path)
    start = weights(reference)
    by_hand(
        reference.model,
        data,
        epochs=3,
        total=total,
        accumulate=accumulate,
        clip=clipping.get("gradient_clip_val"),
        algorithm=clipping.get("gradient_clip_algorithm", "norm"),
    )
    trainer, imodel = trained(
        tmp_path, data, max_epochs=3, accumulate_grad_batches=accumulate, **clipping
    )
    assert trainer.trainer.global_step == total
    assert same(weights(imodel), weights(reference))
    assert not same(weights(imodel), start)


@pytest.mark.parametrize(
    ("options", "epochs", "used", "total"),
    [
        ({"max_epochs": 5, "max_steps": 9}, 5, 7, 9),
        ({"max_epochs": -1, "max_steps": 9, "accumulate_grad_batches": 2}, 5, 7, 9),
        ({"max_epochs": 2, "limit_train_batches": 3}, 2, 3, 6),
        ({"max_epochs": 2, "limit_train_batches": 0.5}, 2, 3, 6),
        ({"max_epochs": 2, "limit_train_batches": 5, "accumulate_grad_batches": 2}, 2, 5, 6),
        ({"max_epochs": 3, "overfit_batches": 2}, 3, 2, 6),
    ],
)
def test_the_schedule_ends_with_the_run_however_it_is_bounded(
    tmp_path, options, epochs, used, total
):
    data = batches(7)
    _, reference = build(tmp_path)
    by_hand(
        reference.model,
        data[:used],
        epochs=epochs,
        total=total,
        accumulate=options.get("accumulate_grad_batches", 1),
        max_steps=options.get("max_steps", math.inf),
    )
    trainer, imodel = trained(tmp_path, data, **options)
    assert trainer.trainer.global_step == total
    assert same(weights(imodel), weights(reference))


def test_parts_of_a_batch_make_the_step_of_the_whole(tmp_path):
    """The mean of four means of equal sizes is the mean of all."""
    parts = batches(8)
    wholes = [
        {name: torch.cat([part[name] for part in parts[k : k + 4]]) for name in parts[0]}
        for k in (0, 4)
    ]
    _, whole = trained(tmp_path, wholes, max_epochs=2)
    _, pieces = trained(tmp_path, parts, max_epochs=2, accumulate_grad_batches=4)
    for a, b in zip(weights(whole), weights(pieces), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)  # sums in another order


@pytest.mark.parametrize(
    ("clip", "fused"), [(None, True), (0.05, False)], ids=["unclipped", "clipped"]
)
def test_mixed_precision_is_autocast_around_the_step(tmp_path, clip, fused):
    data = batches(5)
    _, reference = build(tmp_path)
    by_hand(reference.model, data, epochs=2, total=10, autocast=True, clip=clip, fused=fused)
    _, imodel = trained(
        tmp_path, data, max_epochs=2, precision="bf16-mixed", gradient_clip_val=clip
    )
    _, exact = trained(tmp_path, data, max_epochs=2, gradient_clip_val=clip)
    assert same(weights(imodel), weights(reference))
    assert not same(weights(imodel), weights(exact))
    assert {p.dtype for p in imodel.model.parameters()} == {torch.float32}


def test_true_half_precision_holds_weights_and_batches_in_it(tmp_path):
    data = batches(5)
    _, reference = build(tmp_path)
    reference.model.to(torch.bfloat16)
    by_hand(reference.model, data, epochs=2, total=10, clip=0.05)
    _, imodel = trained(tmp_path, data, max_epochs=2, precision="bf16-true", gradient_clip_val=0.05)
    assert {p.dtype for p in imodel.model.parameters()} == {torch.bfloat16}
    assert same(weights(imodel), weights(reference))


@pytest.mark.parametrize("fused", [True, False])
def test_a_fused_step_is_taken_where_it_is_asked_for(tmp_path, fused):
    data = batches(6)
    _, reference = build(tmp_path)
    by_hand(reference.model, data, epochs=1, total=3, accumulate=2, clip=0.05, fused=fused)
    trainer, imodel = trained(
        tmp_path,
        data,
        max_epochs=1,
        accumulate_grad_batches=2,
        gradient_clip_val=0.05,
        imodel={"@optimizer@adamw": {"lr": 0.1, "fused": fused}},
    )
    (optimizer,) = trainer.trainer.optimizers
    assert {bool(group["fused"]) for group in optimizer.param_groups} == {fused}
    assert same(weights(imodel), weights(reference))


def test_a_compiled_model_learns_the_same_under_the_same_names(tmp_path, monkeypatch):
    given = []

    def backend(graph, inputs):
        given.append(graph)
        return graph.forward

    registry = torch._dynamo.backends.registry
    monkeypatch.setitem(registry._BACKENDS, "as_it_is", None)
    monkeypatch.setitem(registry._COMPILER_FNS, "as_it_is", backend)
    data = batches(4)
    _, plain = trained(tmp_path, data, max_epochs=1)
    torch._dynamo.reset()
    try:
        _, compiled = trained(
            tmp_path, data, max_epochs=1, compile=True, compile_backend="as_it_is"
        )
    finally:
        torch._dynamo.reset()
    assert given
    assert list(compiled.state_dict()) == list(plain.state_dict())
    assert same(weights(compiled), weights(plain))


def test_a_scheduled_loss_sees_optimizer_steps_and_their_total(tmp_path, monkeypatch):
    """14 batches in steps of 3: 5 steps an epoch, the last of 2 batches; 10 in all."""
    from dlk.nn.loss.cross_entropy import CrossEntropyLoss

    seen = []
    real = CrossEntropyLoss.factor

    def factor(self, ctx):
        seen.append((ctx.epoch, ctx.step, ctx.total_steps, real(self, ctx)))
        return seen[-1][-1]

    monkeypatch.setattr(CrossEntropyLoss, "factor", factor)
    loss = {"pred_truth_pair": {"logits": "label_ids"}, "schedule": [0.5, 1.0], "scale": [1.0, 3.0]}
    trained(
        tmp_path,
        batches(14),
        max_epochs=2,
        accumulate_grad_batches=3,
        imodel={"@loss@cross_entropy": loss},
    )
    expected = [
        (epoch, 5 * epoch + index // 3, 10, 3.0 if epoch else 1.0)
        for epoch in range(2)
        for index in range(14)
    ]
    assert seen == expected


# Lightning's own loop -----------------------------------------------------------------------------


@pytest.fixture
def lightnings(monkeypatch):
    """Switch the direct way off."""

    def switch():
        monkeypatch.setattr(StepLoop, "_planned", lambda self, fetcher: None)

    return switch


class Recorder:
    """What a callback with every hook of a step sees."""

    HOOKS = (
        "on_train_batch_start",
        "on_before_zero_grad",
        "on_before_backward",
        "on_after_backward",
        "on_before_optimizer_step",
        "on_train_batch_end",
        "on_validation_start",
        "on_train_epoch_end",
    )

    def __new__(cls):
        import lightning.pytorch as pl

        seen = []

        def hook(name):
            def call(self, trainer, module, *args):
                progress = trainer.fit_loop.epoch_loop.state_dict()
                outputs = args[0]["loss"].item() if name == "on_train_batch_end" else None
                weight = next(module.parameters())
                seen.append(
                    (
                        name,
                        trainer.global_step,
                        json.dumps(progress, sort_keys=True, default=str),
                        outputs,
                        weight.detach().sum().item(),
                        None if weight.grad is None else weight.grad.sum().item(),
                        trainer.optimizers[0].param_groups[0]["lr"],
                        module._current_fx_name,
                    )
                )

            return call

        made = type("Recorder", (pl.Callback,), {name: hook(name) for name in cls.HOOKS})()
        made.seen = seen
        return made


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"accumulate_grad_batches": 3, "gradient_clip_val": 0.05},
        {"val_check_interval": 2, "max_steps": 9},
        {"val_check_interval": 3, "check_val_every_n_epoch": None, "accumulate_grad_batches": 2},
        {"check_val_every_n_epoch": 2, "max_epochs": 3, "val_check_interval": 0.5},
        {"limit_val_batches": 0},
        {"scheduler": {"num_warmup_steps": 1, "interval": "epoch"}},
        {"precision": "bf16-mixed"},
        {"precision": "bf16-true", "limit_train_batches": 4},
    ],
    ids=[
        "plain",
        "accumulated",
        "validated",
        "validated over epochs",
        "validated seldom",
        "not validated",
        "epochs",
        "mixed",
        "half",
    ],
)
def test_callbacks_see_what_they_see_in_lightnings_own_loop(tmp_path, lightnings, options):
    """Each hook in its order, with the same counts, gradients, rates and weights."""

    def run(folder):
        trainer, imodel = build(
            folder,
            callbacks={"@callback@checkpoint": {"every_n_train_steps": 2, "save_top_k": -1}},
            **{"max_epochs": 2, "num_sanity_val_steps": 0, **options},
        )
        recorder = Recorder()
        trainer.trainer.callbacks.append(recorder)
        trainer.fit(imodel, Given(batches(7), batches(2)))
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        for line in lines:
            del line["time"]
        saved = {
            path.name: torch.load(path, weights_only=True)
            for path in (folder / "checkpoint").iterdir()
        }
        return trainer, recorder.seen, lines, saved

    trainer, seen, lines, saved = run(tmp_path / "direct")
    assert trainer.trainer.fit_loop.epoch_loop._plan is not None
    lightnings()
    _, expected, expected_lines, expected_saved = run(tmp_path / "own")
    assert [entry[:2] for entry in seen] == [entry[:2] for entry in expected]
    assert seen == expected
    assert lines == expected_lines
    assert saved.keys() == expected_saved.keys()
    for name, state in saved.items():
        for part in ("epoch", "global_step", "loops", "lr_schedulers"):
            assert state[part] == expected_saved[name][part], (name, part)
        for key, value in state["state_dict"].items():
            assert torch.equal(value, expected_saved[name]["state_dict"][key])


@pytest.mark.parametrize(
    "name", ["optimizer_step", "configure_gradient_clipping", "lr_scheduler_step", "backward"]
)
def test_a_module_that_takes_over_a_part_of_the_step_is_asked_for_it(tmp_path, monkeypatch, name):
    from dlk.imodel.default import DefaultIModel

    calls = []
    real = getattr(DefaultIModel, name)

    def own(self, *args, **kwargs):
        calls.append(name)
        return real(self, *args, **kwargs)

    monkeypatch.setattr(DefaultIModel, name, own)
    trained(tmp_path, batches(3), max_epochs=1)
    assert len(calls) == 3


def test_what_a_callback_logs_each_step_is_logged(tmp_path):
    import lightning.pytorch as pl

    class Says(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            pl_module.log("rows", float(len(batch["label_ids"])), on_step=True, on_epoch=False)

    trainer, imodel = build(tmp_path, max_epochs=1)
    trainer.trainer.callbacks.append(Says())
    trainer.fit(imodel, Given(batches(3)))
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["rows"] for line in lines if "rows" in line] == [4.0, 4.0, 4.0]


@pytest.mark.parametrize("version", ["2.5.0", "2.6.7", "2.6.10", "2.99.0"])
def test_a_version_of_lightning_that_was_not_compared_keeps_its_own_loop(
    tmp_path, monkeypatch, version
):
    import lightning

    monkeypatch.setattr(lightning, "__version__", version)
    trainer, _ = build(tmp_path, max_epochs=1)
    assert not isinstance(trainer.trainer.fit_loop.epoch_loop, StepLoop)


# Waiting for the device ---------------------------------------------------------------------------


def test_the_device_is_read_once_for_each_line(tmp_path, monkeypatch):
    """60 steps, a line each 10: whatever reads a tensor's values is counted."""
    counted = []
    for name in ("item", "tolist", "__float__", "__int__", "__bool__", "cpu", "numpy"):
        real = getattr(torch.Tensor, name)

        def count(self, *args, _real=real, _name=name, **kwargs):
            counted.append(_name)
            return _real(self, *args, **kwargs)

        monkeypatch.setattr(torch.Tensor, name, count)
    reads = []
    trainer, imodel = build(tmp_path, max_epochs=1, log_every_n_steps=10, gradient_clip_val=5.0)
    real_log = type(imodel)._log_training

    def log(self, step):
        before = len(counted)
        real_log(self, step)
        reads.append(len(counted) - before)

    monkeypatch.setattr(type(imodel), "_log_training", log)
    inside = []
    real_step = StepLoop._optimise

    def step(self, *args):
        before = len(counted)
        outputs = real_step(self, *args)
        inside.append(len(counted) - before)
        return outputs

    monkeypatch.setattr(StepLoop, "_optimise", step)
    trainer.fit(imodel, Given(batches(60)))
    assert inside == [0] * 60
    assert reads == [1] * 6 + [0]  # the end of the epoch finds nothing left
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "train_loss" in line] == [10, 20, 30, 40, 50, 60]
