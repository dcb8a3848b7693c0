"""A Lightning logger that appends metrics to a file of JSON lines."""

from __future__ import annotations

import json
import math
import os
import time
from typing import Any

from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.loggers.logger import Logger

from dlk.errors import RunError

__all__ = ["JsonlLogger"]


class JsonlLogger(Logger):
    """Appends ``{"step": …, "time": …, name: value, …}`` to ``metrics.jsonl``, a line at once.

    Values that are not finite become null, so that every line is JSON.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    @property
    def name(self) -> str:
        """Name of the logger."""
        return "jsonl"

    @property
    def version(self) -> str:
        """There is one version only."""
        return ""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Append one line.

        Raises:
            RunError: it cannot be written, such as where the disk is full.
        """
        plain = {k: (float(v) if math.isfinite(float(v)) else None) for k, v in metrics.items()}
        line = json.dumps({"step": step, "time": round(time.time(), 3), **plain}) + "\n"
        try:
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
            with open(self.path, "a", encoding="utf-8") as handle:
                handle.write(line)
        except OSError as error:
            reason = error.strerror or error
            raise RunError(f"cannot write metrics to {self.path}: {reason}") from error

    @rank_zero_only
    def log_hyperparams(self, params: Any, *_: Any, **__: Any) -> None:
        """Nothing: the run's config stands beside the file."""
