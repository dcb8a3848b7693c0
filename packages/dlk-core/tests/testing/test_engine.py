"""The shipped callbacks, trainer and imodel keep what the kit asks; wrong ones are found out."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import Callback

from dlk.config import Base, IntField, cregister
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


class TestLightning(TrainerConformance):
    component = ("trainer", "lightning")
    config = {"accelerator": "cpu", "@callback@checkpoint": {}}


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
