"""The outputs as they are: for a model whose tensors are the wanted result, such as embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dlk.postprocessor._form import prediction_form
from dlk.postprocessor._plain import plain
from dlk.postprocessor.base import (
    Metrics,
    NoMetrics,
    Outputs,
    Parts,
    PostProcessor,
    Prediction,
    Row,
    copy_columns,
    pick,
)
from dlk.registry import register

if TYPE_CHECKING:
    from dlk.context import Setup
    from dlk.postprocessor.configs import IdentityConfig


@register("postprocessor", "identity")
class Identity(PostProcessor):
    """One dict per row: each named column and output, as lists of numbers; {} where none is named.

    Outputs are given as the model wrote them, padding included. Of a row in several parts
    (windows of a long text) the first part's are given. A number that is not finite becomes null.
    """

    def __init__(self, config: IdentityConfig, setup: Setup) -> None:
        super().__init__(config, setup)
        self.outputs = tuple(config.outputs)
        self.columns = {name: name for name in config.columns}

    def decode(self, out: Outputs, rows: Sequence[Row]) -> list[Prediction]:
        parts = Parts(rows)
        values = {name: parts.first_of(pick(out, name, rows)) for name in self.outputs}
        results = []
        for place, position in enumerate(parts.first):
            result = copy_columns(rows[position], self.columns)
            result.update((name, plain(tensor[place])) for name, tensor in values.items())
            results.append(result)
        return results

    def prediction_schema(self) -> dict[str, Any]:  # Any: JSON
        return prediction_form({}, columns=self.columns, outputs=self.outputs)

    def new_metrics(self) -> Metrics:
        return NoMetrics()
