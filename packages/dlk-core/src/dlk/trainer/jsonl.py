"""A Lightning logger that appends metrics to a file of JSON lines."""

from __future__ import annotations

import json
import math
import os
import time
from typing import Any

from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.loggers.logger import Logger

from dlk.trainer._logs import Logs

__all__ = ["JsonlLogger"]


class JsonlLogger(Logger):
    """Appends ``{"step": …, "time": …, name: value, …}`` to ``metrics.jsonl``, a line at once.

    Values that are not finite become null, so that every line is JSON. A line that the disk does
    not take is kept, and written before the next one.

    Args:
        path: the file.
        logs: the run's log files, where there are others.
    """

    def __init__(self, path: str, logs: Logs | None = None) -> None:
        super().__init__()
        self.logs = logs or Logs(os.path.dirname(path))
        self.file = self.logs.file(path)

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
            RunError: it cannot be written, such as where the disk is full, and too much waits for
                that already.
        """
        plain = {k: (float(v) if math.isfinite(float(v)) else None) for k, v in metrics.items()}
        line = json.dumps({"step": step, "time": round(time.time(), 3), **plain}) + "\n"
        self.file.write(line.encode())
        self.file.flush()
        self.logs.check()

    @rank_zero_only
    def log_hyperparams(self, params: Any, *_: Any, **__: Any) -> None:
        """Nothing: the run's config stands beside the file."""

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Try once more to write what waits."""
        self.file.flush()
