"""The conformance kit: what every registered component keeps, as pytest classes.

A package with a component of its own derives a class and gets the checks of its family::

    class TestMine(EmbeddingConformance):
        component = ("embedding", "mine")
        config = {"vocab_size": 50, "embedding_dim": 8}

Each check fails with a message that says what to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlk._lazy import lazy

if TYPE_CHECKING:
    from dlk.testing._common import ConfigConformance
    from dlk.testing.data import DataCollateConformance, SubprocessorConformance
    from dlk.testing.display import DisplayConformance
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
    from dlk.testing.reader import ReaderConformance
    from dlk.testing.scheduler import SchedulerConformance
    from dlk.testing.splits import (
        DataModuleConformance,
        DatasetConformance,
        ProcessorConformance,
    )

__all__ = [
    "CallbackConformance",
    "ConfigConformance",
    "DataCollateConformance",
    "DataModuleConformance",
    "DatasetConformance",
    "DecoderConformance",
    "DisplayConformance",
    "EmbeddingConformance",
    "EncoderConformance",
    "IModelConformance",
    "InitMethodConformance",
    "LossConformance",
    "ModelConformance",
    "OptimizerConformance",
    "PostProcessorConformance",
    "ProcessorConformance",
    "ReaderConformance",
    "SchedulerConformance",
    "SubprocessorConformance",
    "TrainerConformance",
]

__getattr__ = lazy(
    __name__,
    {
        "dlk.testing._common": ("ConfigConformance",),
        "dlk.testing.data": ("DataCollateConformance", "SubprocessorConformance"),
        "dlk.testing.display": ("DisplayConformance",),
        "dlk.testing.engine": ("CallbackConformance", "IModelConformance", "TrainerConformance"),
        "dlk.testing.initmethod": ("InitMethodConformance",),
        "dlk.testing.loss": ("LossConformance",),
        "dlk.testing.nn": (
            "DecoderConformance",
            "EmbeddingConformance",
            "EncoderConformance",
            "ModelConformance",
        ),
        "dlk.testing.optimizer": ("OptimizerConformance",),
        "dlk.testing.postprocessor": ("PostProcessorConformance",),
        "dlk.testing.reader": ("ReaderConformance",),
        "dlk.testing.scheduler": ("SchedulerConformance",),
        "dlk.testing.splits": (
            "DataModuleConformance",
            "DatasetConformance",
            "ProcessorConformance",
        ),
    },
)
