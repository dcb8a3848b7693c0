"""What the predictions of all text tasks share: copied columns and further model outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dlk.postprocessor._plain import plain
from dlk.postprocessor.base import (
    Outputs,
    Parts,
    PostProcessor,
    Prediction,
    Row,
    copy_columns,
    pick,
)

if TYPE_CHECKING:
    from dlk.context import Setup
    from dlk.nlp.postprocessor.configs import TextConfig


class TextPostProcessor(PostProcessor):
    """Frames a task's own results with the row's columns before and `predict_extend_return` after.

    Of a row in several parts, further outputs are those of its first part.
    """

    def __init__(self, config: TextConfig, setup: Setup) -> None:
        super().__init__(config, setup)
        self.columns = config.copied_columns()
        self.extend = dict(config.predict_extend_return)

    def frame(
        self, own: Sequence[Prediction], parts: Parts, out: Outputs, rows: Sequence[Row]
    ) -> list[Prediction]:
        """Return the whole predictions, given the task's own part of each, one per distinct row."""
        further = {key: parts.first_of(pick(out, name, rows)) for key, name in self.extend.items()}
        results = []
        for place, position in enumerate(parts.first):
            result = copy_columns(rows[position], self.columns)
            result.update(own[place])
            result.update((key, plain(tensor[place])) for key, tensor in further.items())
            results.append(result)
        return results
