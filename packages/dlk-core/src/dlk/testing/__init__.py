"""The conformance kit: what every registered component keeps, as pytest classes.

A package with a component of its own derives a class and gets the checks of its family::

    class TestMine(EmbeddingConformance):
        component = ("embedding", "mine")
        config = {"vocab_size": 50, "embedding_dim": 8}

Each check fails with a message that says what to do.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dlk.testing._common import ConfigConformance
    from dlk.testing.data import DataCollateConformance, SubprocessorConformance
    from dlk.testing.engine import (
        CallbackConformance,
        IModelConformance,
        TrainerConformance,
    )
    from dlk.testing.initmethod import InitMethodConformance
    from dlk.testing.loss import LossConformance
    from dlk.testing.nn import (
        DecoderConformance,
        EmbeddingConformance,
        EncoderConformance,
        ModelConformance,
    )
    from dlk.testing.optimizer import OptimizerConformance
    from dlk.testing.postprocessor import PostProcessorConformance
    from dlk.testing.scheduler import SchedulerConformance
    from dlk.testing.splits import (
        DataModuleConformance,
        DatasetConformance,
        ProcessorConformance,
    )

_HOME = {
    "CallbackConformance": "dlk.testing.engine",
    "ConfigConformance": "dlk.testing._common",
    "DataCollateConformance": "dlk.testing.data",
    "DataModuleConformance": "dlk.testing.splits",
    "DatasetConformance": "dlk.testing.splits",
    "DecoderConformance": "dlk.testing.nn",
    "EmbeddingConformance": "dlk.testing.nn",
    "EncoderConformance": "dlk.testing.nn",
    "IModelConformance": "dlk.testing.engine",
    "InitMethodConformance": "dlk.testing.initmethod",
    "LossConformance": "dlk.testing.loss",
    "ModelConformance": "dlk.testing.nn",
    "OptimizerConformance": "dlk.testing.optimizer",
    "PostProcessorConformance": "dlk.testing.postprocessor",
    "ProcessorConformance": "dlk.testing.splits",
    "SchedulerConformance": "dlk.testing.scheduler",
    "SubprocessorConformance": "dlk.testing.data",
    "TrainerConformance": "dlk.testing.engine",
}

__all__ = [
    "CallbackConformance",
    "ConfigConformance",
    "DataCollateConformance",
    "DataModuleConformance",
    "DatasetConformance",
    "DecoderConformance",
    "EmbeddingConformance",
    "EncoderConformance",
    "IModelConformance",
    "InitMethodConformance",
    "LossConformance",
    "ModelConformance",
    "OptimizerConformance",
    "PostProcessorConformance",
    "ProcessorConformance",
    "SchedulerConformance",
    "SubprocessorConformance",
    "TrainerConformance",
]


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
