"""The shipped callbacks, trainer and imodel keep what the kit asks; wrong ones are found out."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import Callback

from dlk.config import Base, IntField, cregister
from dlk.errors import ConfigError
from dlk.registry import register
from dlk.testing import CallbackConformance, IModelConformance, TrainerConformance


class TestCheckpoint(CallbackConformance):
    component = ("callback", "checkpoint")
    config = {"monitor": "val_acc", "save_top_k": 2}


class TestEarlyStop(CallbackConformance):
    component = ("callback", "early_stop")
    config = {"monitor": "val_loss", "mode": "min"}


class TestLRMonitor(CallbackConformance):
    component = ("callback", "lr_monitor")


class TestProgressBar(CallbackConformance):
    component = ("callback", "progress_bar")


class TestRichProgressBar(CallbackConformance):
    component = ("callback", "progress_bar")
    config = {"type_bar": "rich"}


class TestResume(CallbackConformance):
    component = ("callback", "resume")


class TestWeightAverage(CallbackConformance):
    component = ("callback", "weight_average")


class TestLightning(TrainerConformance):
    component = ("trainer", "lightning")
    config = {"accelerator": "cpu", "@callback@checkpoint": {}}
    unread = (  # when a run begins
        "compile", "compile_backend", "compile_dynamic", "compile_mode", "matmul_precision",
    )  # fmt: skip


class TestDefaultIModel(IModelConformance):
    component = ("imodel", "default")
    config = {
        "@model@basic": {
            "@embedding@random": {"vocab_size": 20, "embedding_dim": 8},
            "@decoder@linear": {"input_size": 8, "output_size": 3, "pool": "mean"},
        },
        "@loss@cross_entropy": {"pred_truth_pair": {"logits": "label_ids"}},
        "@optimizer@adamw": {"lr": 0.05},
        "@postprocessor@identity": {"outputs": ["logits"]},
    }

    def batch(self) -> dict[str, torch.Tensor]:
        return {
            "input_ids": torch.randint(1, 20, (6, 5), generator=torch.Generator().manual_seed(0)),
            "attention_mask": torch.ones(6, 5, dtype=torch.bool),
            "label_ids": torch.tensor([0, 1, 2, 0, 1, 2]),
            "_index": torch.arange(6),
        }


@cregister("callback", "kit_wrong")
class WrongConfig(Base):
    """A callback that breaks the kit's rules."""

    fault = IntField(value=0, help="which rule it breaks")


class _Unpicklable:
    pass


@register("callback", "kit_wrong")
class Wrong(Callback):
    shared: Any = None

    def __new__(cls, config: WrongConfig) -> Any:
        if config.fault == 0:
            return object.__new__(_Unpicklable)  # no callback at all
        if config.fault == 2:
            cls.shared = cls.shared or object.__new__(cls)
            return cls.shared
        return object.__new__(cls)

    def __init__(self, config: WrongConfig) -> None:
        self.fault = config.fault

    def state_dict(self) -> dict[str, Any]:
        return {"object": _Unpicklable()} if self.fault == 1 else {}


@pytest.mark.parametrize(
    ("fault", "check", "message"),
    [
        (0, "test_it_is_a_lightning_callback", "derive it from"),
        (1, "test_its_state_can_be_saved_without_pickle", "Weights only load failed"),
        (2, "test_two_of_them_share_nothing", "each build must give a new object"),
    ],
)
def test_a_wrong_callback_is_found_out(fault: int, check: str, message: str) -> None:
    kit = CallbackConformance()
    kit.component, kit.config = ("callback", "kit_wrong"), {"fault": fault}
    with pytest.raises(Exception, match=message):
        getattr(kit, check)()


def wrong(kit: Any, family: str, made: type, **config: Any) -> Any:
    """Return the checks of a component of some class, built from the default's config class."""
    name = f"kit_{made.__name__.lower()}"
    default = {"trainer": "lightning", "imodel": "default"}[family]
    if (family, name) not in register:
        base: Any = register.config(family, default)
        cregister(family, name)(type(name, (base,), {"__doc__": "Of a test of the kit."}))
        register(family, name)(made)
    checks = kit()
    checks.component, checks.config = (family, name), config
    return checks


Trainer: Any = register.get("trainer", "lightning")


class WithoutValidate(Trainer):
    validate = None


class ChecksNothing(Trainer):
    def check_monitors(self, metrics: Any, *, has_validation_data: bool) -> None:
        return


class NamesNothing(Trainer):
    def check_monitors(self, metrics: Any, *, has_validation_data: bool) -> None:
        raise ConfigError("something is wrong")


class IsOneForAll(Trainer):
    only: Any = None

    def __new__(cls, config: Any, setup: Any, run_dir: str) -> Any:
        cls.only = cls.only or object.__new__(cls)
        return cls.only


@pytest.mark.parametrize(
    ("fault", "check", "message"),
    [
        (WithoutValidate, "it_offers_what_train_calls", "lacks validate"),
        (
            ChecksNothing,
            "a_monitor_that_nothing_computes_is_refused",
            "takes a monitor that nothing computes without a word",
        ),
        (
            NamesNothing,
            "a_monitor_that_nothing_computes_is_refused",
            "does not name val_acc: something is wrong",
        ),
        (IsOneForAll, "two_of_them_share_nothing", "each build must give a new object"),
    ],
)
def test_a_wrong_trainer_is_found_out(fault: type, check: str, message: str, tmp_path: Any) -> None:
    callback = {"@callback@checkpoint": {"monitor": "val_acc", "mode": "max"}}
    kit = wrong(TrainerConformance, "trainer", fault, accelerator="cpu", **callback)
    kit.run_dir = str(tmp_path)
    with pytest.raises(AssertionError, match=message) as caught:
        getattr(kit, f"test_{check}")()
    assert f'trainer "kit_{fault.__name__.lower()}"' in str(caught.value)


IModel: Any = register.get("imodel", "default")


class LearnsNothing(IModel):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return super().training_step(batch, batch_idx) * 0.0 + batch_idx


class CountsCalls(IModel):
    def compute(self, batch: Any) -> Any:
        out, loss = super().compute(batch)
        self.calls = getattr(self, "calls", 0) + 1
        return out, loss._replace(total=loss.total + self.calls)


class MovesItsWeights(IModel):
    def compute(self, batch: Any) -> Any:
        made = super().compute(batch)
        if not self.training:
            for parameter in self.parameters():
                parameter.data.add_(1.0)
        return made


class WithoutPostprocessor(IModel):
    def __init__(self, config: Any, setup: Any) -> None:
        super().__init__(config, setup)
        self.postprocessor = None


class IsNoIModel(torch.nn.Module):
    def __init__(self, config: Any, setup: Any) -> None:
        super().__init__()


@pytest.mark.parametrize(
    ("fault", "check", "message"),
    [
        (LearnsNothing, "training_on_one_batch_lowers_the_loss", "in 20 steps on one batch"),
        (CountsCalls, "computing_changes_nothing", "another the loss: keep no state"),
        (MovesItsWeights, "computing_changes_nothing", "compute has no side effects"),
        (WithoutPostprocessor, "it_has_the_parts_that_a_bundle_needs", r"set self\.postprocessor"),
        (IsNoIModel, "it_has_the_parts_that_a_bundle_needs", r"derive it from dlk\.imodel"),
    ],
)
def test_a_wrong_imodel_is_found_out(fault: type, check: str, message: str, tmp_path: Any) -> None:
    kit = wrong(IModelConformance, "imodel", fault, **TestDefaultIModel.config)
    kit.run_dir, kit.batch = str(tmp_path), TestDefaultIModel().batch
    with pytest.raises(AssertionError, match=message) as caught:
        getattr(kit, f"test_{check}")()
    assert f'imodel "kit_{fault.__name__.lower()}"' in str(caught.value)


class ForgetsItsState(Callback):
    def __init__(self, config: WrongConfig) -> None:
        self.seen = 3

    def state_dict(self) -> dict[str, Any]:
        return {"seen": self.seen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.seen = 0


register("callback", "kit_forgets")(ForgetsItsState)
cregister("callback", "kit_forgets")(type("ForgetsConfig", (Base,), {"__doc__": "Of a test."}))


def test_a_callback_that_forgets_is_found_out() -> None:
    kit = CallbackConformance()
    kit.component, kit.config = ("callback", "kit_forgets"), {}
    with pytest.raises(AssertionError, match="a resumed run would forget it"):
        kit.test_its_state_can_be_saved_without_pickle()
