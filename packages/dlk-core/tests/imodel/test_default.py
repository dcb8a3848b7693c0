"""The training loop's inside: steps, schedules, modes, losses, and what a step costs."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace

import pytest
import torch

from dlk.config import child, make
from dlk.context import Setup
from dlk.errors import ConfigError, DlkError, RunError
from dlk.fit import load_fit, load_meta
from dlk.registry import register

pytestmark = pytest.mark.once

NO_CHECKPOINT = {"@trainer@lightning/@callback@checkpoint": None}


@pytest.fixture
def spied(toy, monkeypatch):
    """The toy task, and what its imodel saw: one entry per call of the hooks named."""
    from dlk.imodel.default import DefaultIModel

    toy.edit(NO_CHECKPOINT)
    seen = []

    def spy(name, note):
        real = getattr(DefaultIModel, name)

        def call(self, *args, **kwargs):
            seen.append(note(self, *args, **kwargs))
            return real(self, *args, **kwargs)

        monkeypatch.setattr(DefaultIModel, name, call)

    return toy, seen, spy


def rates(toy):
    return [line["lr"] for line in toy.metrics() if "train_loss" in line]


# Steps and schedules ------------------------------------------------------------------------------


@pytest.mark.parametrize("accumulate", [1, 2, 5])
def test_the_schedule_counts_optimizer_steps(toy, accumulate):
    """12 batches an epoch: with 5, the third step of an epoch takes the two that are left."""
    toy.edit({**NO_CHECKPOINT, "@trainer@lightning/log_every_n_steps": 1})
    toy.train(f"trainer.accumulate_grad_batches={accumulate}")
    total = 2 * math.ceil(12 / accumulate)
    expected = [0.025, 0.05] + [0.05 * (total - s) / (total - 2) for s in range(2, total)]
    assert rates(toy) == pytest.approx(expected)


def test_the_schedule_of_a_run_bounded_by_steps_ends_with_it(toy):
    toy.edit({**NO_CHECKPOINT, "@trainer@lightning/log_every_n_steps": 1})
    toy.train("trainer.max_steps=7")
    assert rates(toy)[-1] == pytest.approx(0.05 * 1 / 5)
    assert len(rates(toy)) == 7


def test_a_schedule_of_epochs_moves_after_each_epoch(toy):
    toy.edit({**NO_CHECKPOINT, "@trainer@lightning/log_every_n_steps": 1})
    toy.train(
        "trainer.max_epochs=3",
        "trainer.accumulate_grad_batches=2",
        "imodel.scheduler.interval=epoch",
        "imodel.scheduler.num_warmup_steps=1",
    )
    by_epoch = {line["epoch"]: line["lr"] for line in toy.metrics() if "train_loss" in line}
    assert list(by_epoch.values()) == pytest.approx([0.05, 0.05, 0.025])


def test_training_without_an_end_is_refused(toy):
    toy.edit(NO_CHECKPOINT)
    with pytest.raises(RunError, match="set the trainer's max_epochs or max_steps"):
        toy.train("trainer.max_epochs=-1")


def test_a_loss_schedule_does_not_run_past_its_end(toy):
    toy.edit(NO_CHECKPOINT)
    toy.train(
        "trainer.accumulate_grad_batches=2",
        "imodel.loss.schedule=[0.25, 0.5, 1.0]",
        "imodel.loss.scale=[1.0, 2.0, 3.0]",
    )


def test_groups_with_rates_of_their_own_are_logged_by_name(toy):
    toy.edit(NO_CHECKPOINT)
    groups = {"order": ["head"], "head": {"config": {"lr": 0.5}, "pattern": ["decoder"]}}
    toy.train(f"imodel.optimizer.optimizer_special_groups={json.dumps(groups)}")
    line = next(line for line in toy.metrics() if "train_loss" in line)
    assert line["lr/head"] == pytest.approx(10 * line["lr/default"])


@pytest.mark.parametrize(("algorithm", "limit"), [("norm", 1e-3), ("value", 1e-4)])
def test_gradients_are_clipped(spied, algorithm, limit):
    toy, seen, spy = spied
    from dlk.imodel.default import DefaultIModel

    spy("on_before_zero_grad", lambda self, optimizer: _gradient(self, algorithm))
    assert DefaultIModel.on_before_zero_grad
    toy.train(
        f"trainer.gradient_clip_val={limit}",
        f"trainer.gradient_clip_algorithm={algorithm}",
        "trainer.max_steps=3",
    )
    found = [value for value in seen if value]
    assert found
    assert max(found) <= limit * 1.001


def _gradient(module, algorithm):
    found = [p.grad for p in module.parameters() if p.grad is not None]
    if not found:
        return 0.0
    flat = torch.cat([g.flatten() for g in found])
    return float(flat.norm() if algorithm == "norm" else flat.abs().max())


# Losses -------------------------------------------------------------------------------------------


def test_evaluation_gives_the_unscaled_mean_over_all_rows(trained):
    """22 rows in batches of 8: the last batch is short and must not weigh as much as the others."""
    toy = trained.toy
    losses, count = _losses_by_hand(toy, trained.checkpoint, "valid")
    assert count == 22
    assert trained.result.metrics["val_loss"] == pytest.approx(losses / count, abs=1e-6)


def test_the_scale_of_a_loss_is_for_training_only(toy, trained):
    toy.edit(NO_CHECKPOINT)
    done = toy.train(
        "imodel.loss.scale=[100.0]", "imodel.optimizer.lr=0.0", checkpoint=trained.checkpoint
    )
    assert done.metrics["val_loss"] == pytest.approx(trained.result.metrics["val_loss"], abs=1e-6)
    first = next(line for line in toy.metrics() if "train_loss" in line)
    assert first["train_loss"] > 20


def _losses_by_hand(toy, checkpoint, split):
    from dlk.checkpoint import read_weights
    from dlk.config import child
    from dlk.context import Setup
    from dlk.inference import load_weights
    from dlk.registry import register

    fit = load_fit(toy.fit_config).one().root("fit")
    setup = Setup(meta=load_meta(str(toy.processed)), pretrained=False)
    datamodule = register.build(child(fit, "datamodule"), setup)
    datamodule.open(toy.processed)
    model = register.build_child(child(fit, "imodel"), "model", setup).eval()
    load_weights(model, read_weights(checkpoint))
    total, count = 0.0, 0
    with torch.no_grad():
        for batch in datamodule.loader(split):
            logits = model(batch)["logits"]
            total += float(
                torch.nn.functional.cross_entropy(logits, batch["label_ids"], reduction="sum")
            )
            count += len(logits)
    return total, count


def test_the_terms_of_a_loss_are_logged_and_can_be_monitored(toy):
    part = {"pred_truth_pair": {"logits": "label_ids"}}
    toy.edit(
        {
            "@imodel@default/@loss@cross_entropy": None,
            "@imodel@default/@loss@multi_loss": {
                "@loss@cross_entropy#plain": part,
                "@loss@cross_entropy#smooth": {**part, "label_smoothing": 0.1},
            },
            "@trainer@lightning/@callback@checkpoint": {
                "monitor": "val_smooth/loss",
                "mode": "min",
            },
        }
    )
    done = toy.train()
    parts = [done.metrics["val_plain/loss"], done.metrics["val_smooth/loss"]]
    assert sum(parts) == pytest.approx(done.metrics["val_loss"], rel=1e-5)
    assert done.weights.startswith("best val_smooth/loss")


# Modes --------------------------------------------------------------------------------------------


def test_dropout_is_on_in_training_and_off_in_evaluation(spied):
    """A pretrained part arrives in evaluation mode; here the whole model does."""
    toy, seen, spy = spied
    from dlk.imodel.default import DefaultIModel

    real = DefaultIModel.__init__

    def init(self, *args, **kwargs):
        real(self, *args, **kwargs)
        self.model.eval()

    spy("compute", lambda self, batch: (self.trainer.training, self.model.decoder.dropout.training))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DefaultIModel, "__init__", init)
        toy.train("trainer.val_check_interval=4")
    assert {dropout for is_training, dropout in seen if is_training} == {True}
    assert {dropout for is_training, dropout in seen if not is_training} == {False}


def test_a_part_that_stays_in_evaluation_mode_stays_there(spied, monkeypatch):
    from dlk.nn.layer.embedding.random import RandomEmbedding

    def stay(self, mode=True):
        return super(RandomEmbedding, self).train(False)

    monkeypatch.setattr(RandomEmbedding, "train", stay, raising=False)
    toy, seen, spy = spied
    spy("training_step", lambda self, *_: self.model.embedding.training)
    toy.train("trainer.max_steps=15")
    assert set(seen) == {False}


# What a step costs --------------------------------------------------------------------------------


def test_a_step_neither_logs_nor_waits_for_the_device(spied, monkeypatch):
    """24 steps, 2 epochs, a line each 12 steps: what touches the device is counted by epochs."""
    from dlk.imodel.default import DefaultIModel

    toy, seen, spy = spied
    spy("log", lambda self, name, *_, **__: name)
    spy("log_dict", lambda self, values, *_, **__: "log_dict")
    waits = []
    in_step = []
    real = torch.Tensor.__float__
    item = torch.Tensor.item
    step = DefaultIModel.training_step

    def counted(self, batch, batch_idx):
        in_step.append(True)
        try:
            return step(self, batch, batch_idx)
        finally:
            in_step.pop()

    monkeypatch.setattr(DefaultIModel, "training_step", counted)
    monkeypatch.setattr(torch.Tensor, "item", lambda t: (waits.extend(in_step), item(t))[1])
    monkeypatch.setattr(torch.Tensor, "__float__", lambda t: (waits.extend(in_step), real(t))[1])
    toy.drop("valid", "test")
    toy.train("trainer.log_every_n_steps=12")
    assert seen == ["train_loss_epoch", "train_loss_epoch"]
    assert waits == []


# Wrong parts --------------------------------------------------------------------------------------


def test_a_loss_that_compares_what_is_not_there_says_what_there_is(toy):
    toy.edit(NO_CHECKPOINT)
    with pytest.raises(DlkError, match=r'there is no "label".*label_ids'):
        toy.train('imodel.loss.pred_truth_pair={"logits": "label"}')


def test_an_imodel_needs_a_loss():
    with pytest.raises(ConfigError, match="loss"):
        make("imodel", "default", {"@model@basic": {"@embedding@identity": {}}})


def test_an_imodel_names_what_it_measures(toy):
    from dlk.config import child

    imodel = child(load_fit(toy.fit_config).one().root("fit"), "imodel")
    assert imodel.signature().metrics == ("loss", "acc")


def planned(**changes):
    """What optimizers ask of a trainer, for ten steps in two epochs."""
    facts = {"precision": "32-true", "gradient_clip_val": None, "estimated_stepping_batches": 10}
    return SimpleNamespace(
        **{**facts, "num_training_batches": 5, "accumulate_grad_batches": 1, **changes}
    )


@pytest.mark.parametrize(
    ("precision", "clip", "fuses"),
    [
        ("16-mixed", 1.0, None),
        ("16-mixed", None, True),
        ("bf16-mixed", 1.0, None),
        ("bf16-mixed", None, True),
        ("bf16-true", 1.0, True),
    ],
)
def test_clipped_gradients_of_mixed_precision_are_not_stepped_fused(toy, precision, clip, fuses):
    fit = load_fit(toy.fit_config).one().root("fit")
    setup = Setup(meta=load_meta(fit.processed_data_dir))
    imodel = register.build(child(fit, "imodel"), setup)
    imodel.trainer = planned(precision=precision, gradient_clip_val=clip)
    assert imodel.configure_optimizers()["optimizer"].defaults["fused"] is fuses


def test_a_loss_that_is_no_number_ends_the_run(toy, monkeypatch):
    from dlk.nn.loss.cross_entropy import CrossEntropyLoss

    toy.edit(NO_CHECKPOINT)
    real = CrossEntropyLoss.forward
    monkeypatch.setattr(CrossEntropyLoss, "forward", lambda *args: real(*args) * math.nan)
    with pytest.raises(RunError, match=r"the training loss is nan at step 4, .* targets"):
        toy.train()
    result = json.loads((toy.logs / "0" / "result.json").read_text())
    assert (result["state"], result["bundle"]) == ("failed", "")
    assert toy.metrics()[-1]["train_loss"] is None


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_half_precision_trains_with_the_default_clipping(toy, precision):
    toy.edit({**NO_CHECKPOINT, "@trainer@lightning/max_steps": 2})
    done = toy.train(f"trainer.precision={precision}")
    assert (done.state, done.weights) == ("done", "last: step 2")
    assert math.isfinite(done.metrics["val_loss"])


def test_weights_of_a_loss_are_trained_beside_the_model(toy):
    fit = load_fit(toy.fit_config).one().root("fit")
    imodel = register.build(child(fit, "imodel"), Setup(meta=load_meta(fit.processed_data_dir)))
    imodel.loss.balance = torch.nn.Parameter(torch.zeros(2))
    imodel.trainer = planned()
    optimizer = imodel.configure_optimizers()["optimizer"]
    optimised = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert optimised == {id(p) for p in imodel.parameters()}


# Batches that the config does not fit -------------------------------------------------------------


def computed(model, **batch):
    """Compute a batch by a model that is a function."""
    from dlk.imodel.default import DefaultIModel

    return DefaultIModel.compute(SimpleNamespace(model=model), batch)


@pytest.mark.parametrize(
    "pick",
    [
        lambda states, index: states.gather(1, index.unsqueeze(-1).expand(-1, -1, 3)),
        lambda states, index: states[torch.arange(2)[:, None], index],
        lambda states, index: states.scatter_add(1, index.unsqueeze(-1), torch.ones(2, 2, 1)),
    ],
)
def test_positions_that_lie_outside_are_named_with_the_batch(pick):
    index = torch.tensor([[0, 7], [0, 1]])
    with pytest.raises(RunError, match=r"index 7 is out of bounds.*a position.*gather_index") as e:
        computed(
            lambda x: {"embedding": pick(torch.zeros(2, 5, 3), x["gather_index"])},
            input_ids=torch.zeros(2, 5, dtype=torch.long),
            gather_index=index,
        )
    assert "gather_index (2, 2) from 0 to 7, input_ids (2, 5) from 0 to 0" in str(e.value)
    assert "vocab_size" not in str(e.value)


@pytest.mark.parametrize(
    "run",
    [
        lambda: torch.nn.Linear(4, 2)(torch.zeros(2, 3)),
        lambda: torch.zeros(2, 3) + torch.zeros(2, 4),
        lambda: torch.cat([torch.zeros(2, 3), torch.zeros(1, 3)], dim=1),
        lambda: torch.zeros(2, 3).view(7),
    ],
)
def test_sizes_that_do_not_go_together_are_named_with_the_batch(run):
    with pytest.raises(RunError, match=r"the model cannot take a batch: .*there is a \(2, 3\)"):
        computed(lambda x: {"b": run()}, a=torch.zeros(2, 3))


def test_an_error_that_is_not_of_the_batch_stays_what_it_is():
    def run(x):
        raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")

    with pytest.raises(RuntimeError, match="out of memory"):
        computed(run, a=torch.zeros(2, 3))


# Losses of steps ----------------------------------------------------------------------------------


def stepped(values, weight=1.0, **terms):
    """What a loss says of some steps."""
    from dlk.nn.loss.base import LossOut

    return [
        LossOut(torch.tensor(v), {k: torch.tensor(t) for k, t in terms.items()}, weight)
        for v in values
    ]


def test_means_are_of_the_steps_since_the_last_time():
    from dlk.imodel.default import _Losses

    losses = _Losses()
    assert losses.take() == {}
    for loss in stepped([1.0, 2.0, 6.0], part=0.5):
        losses.add(loss)
    assert losses.take() == {"part": 0.5, "loss": 3.0}
    assert losses.take() == {}
    losses.add(stepped([7.0])[0])
    assert losses.take() == {"loss": 7.0}


def test_the_mean_of_an_epoch_is_of_its_items():
    from dlk.imodel.default import _Losses

    losses = _Losses()
    assert losses.take_epoch() is None
    for loss in (*stepped([1.0], torch.tensor(3)), *stepped([5.0], 1.0)):
        losses.add(loss)
    losses.take()
    for loss in stepped([8.0], torch.tensor(4)):
        losses.add(loss)
    losses.take()
    assert losses.take_epoch() == (3 * 1 + 5 + 4 * 8) / 8
    assert losses.take_epoch() is None


def test_an_epoch_in_which_no_item_counts_has_a_mean_of_zero():
    from dlk.imodel.default import _Losses

    losses = _Losses()
    losses.add(stepped([0.0], torch.tensor(0))[0])
    losses.take()
    assert losses.take_epoch() == 0.0


def test_steps_may_have_terms_of_their_own():
    from dlk.imodel.default import _Losses

    losses = _Losses()
    for loss in (*stepped([1.0, 2.0], a=4.0), *stepped([3.0], b=5.0), *stepped([6.0], a=7.0)):
        losses.add(loss)
    assert losses.take() == {"a": 5.0, "loss": 3.0, "b": 5.0}


def test_few_tensors_are_kept_however_rarely_is_logged():
    from dlk.imodel.default import _KEPT, _Losses

    losses = _Losses()
    values = [float(n % 7) for n in range(3 * _KEPT + 5)]
    for loss in stepped(values):
        losses.add(loss)
    assert len(losses._kept) <= _KEPT
    assert len(losses._sums) == 3
    assert losses.take()["loss"] == pytest.approx(sum(values) / len(values))


def test_a_step_that_is_kept_holds_no_graph():
    from dlk.imodel.default import _Losses
    from dlk.nn.loss.base import LossOut

    losses = _Losses()
    losses.add(LossOut((torch.ones(3, requires_grad=True) * 2).sum(), {}, 1.0))
    ((values, _),) = losses._kept
    assert values["loss"].grad_fn is None


@pytest.mark.parametrize("stop", [1, 3, 7])
def test_losses_that_are_put_back_give_the_same_means(stop):
    from dlk.imodel.default import _Losses

    torch.manual_seed(1)
    steps = [
        loss
        for number, value in enumerate(torch.rand(9))
        for loss in stepped([float(value)], torch.tensor(number + 1), part=float(value) / 3)
    ]
    whole, first, second = _Losses(), _Losses(), _Losses()
    for number, loss in enumerate(steps):
        whole.add(loss)
        if number == stop:
            second.load_state_dict(json.loads(json.dumps(first.state_dict())), "cpu")
        (first if number < stop else second).add(loss)
        if number == 4:
            assert (first if stop > 4 else second).take() == whole.take()
    assert second.take() == whole.take()
    assert second.take_epoch() == whole.take_epoch()


@pytest.mark.parametrize(("accumulate", "drop_last"), [(1, True), (2, True), (5, True), (5, False)])
def test_the_schedule_counts_the_batches_that_there_are(toy, accumulate, drop_last):
    toy.edit({**NO_CHECKPOINT, "@trainer@lightning/log_every_n_steps": 1})
    toy.drop("valid", "test")
    size = 7
    toy.train(
        f"trainer.accumulate_grad_batches={accumulate}",
        f"datamodule.train_batch_size={size}",
        f"datamodule.drop_last={json.dumps(drop_last)}",
    )
    rows = len(toy.rows("train"))
    batches = rows // size if drop_last else math.ceil(rows / size)
    assert rows % size
    total = 2 * math.ceil(batches / accumulate)
    expected = [0.025, 0.05] + [0.05 * (total - s) / (total - 2) for s in range(2, total)]
    assert rates(toy) == pytest.approx(expected)
