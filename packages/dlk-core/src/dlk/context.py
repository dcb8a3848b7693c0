"""What a component may know: `Setup` when it is built, `Context` while a step runs.

Imports no torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dlk.data.meta import Meta

__all__ = ["Context", "Setup"]


@dataclass(frozen=True, slots=True)
class Context:
    """What a training or evaluation step may know about its run.

    Attributes:
        training: true in training steps; false in validation, test and prediction.
        step: optimizer steps done so far.
        total_steps: optimizer steps planned; 0 where unknown.
        epoch: epochs done so far.
        run_dir: folder of the run; empty outside a run.
    """

    training: bool = False
    step: int = 0
    total_steps: int = 0
    epoch: int = 0
    run_dir: str = ""

    @property
    def progress(self) -> float:
        """Share of the planned steps done, in [0, 1]; 0 where the total is unknown."""
        return min(1.0, self.step / self.total_steps) if self.total_steps > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Setup:
    """What a component may know when it is built.

    Attributes:
        meta: what Process learnt: numbers, vocabularies, files.
        pretrained: false where weights come from a checkpoint or bundle: none are to be loaded.
        seed: the run's seed.
    """

    meta: Meta
    pretrained: bool = True
    seed: int = 0

    @classmethod
    def empty(cls, *, pretrained: bool = True, seed: int = 0) -> Setup:
        """Return a setup without any meta, for components that need none (and for tests)."""
        from dlk.data.meta import Meta

        return cls(meta=Meta.empty(), pretrained=pretrained, seed=seed)
