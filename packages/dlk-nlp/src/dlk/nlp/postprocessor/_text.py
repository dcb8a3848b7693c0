"""What the predictions of all text tasks share: copied columns and further model outputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dlk.postprocessor._form import COUNT, PROBABILITY, form_of, prediction_form
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

    def framed_form(
        self,
        own: Mapping[str, Any],  # Any: JSON, as below
        *,
        optional: Iterable[str] = (),
        definitions: Mapping[str, Any] | None = None,
        **rules: Any,
    ) -> dict[str, Any]:
        """Return the JSON Schema of whole predictions, given those of the task's own keys.

        Args:
            own: by key, in the order of a prediction.
            optional: of these, the keys that may be missing.
            definitions: what forms refer to, by name.
            rules: what else holds for the whole.
        """
        return prediction_form(
            own,
            columns=self.columns,
            outputs=self.extend,
            optional=optional,
            definitions=definitions,
            **rules,
        )


def entities_form(*, has_text: bool, numbered: bool = False) -> dict[str, Any]:
    """Return the JSON Schema of `entities_info`: a list, or null where a score was no number.

    Its labels meet the definition ``#/$defs/label``.

    Args:
        has_text: whether the column is known from which an entity's text is taken.
        numbered: whether entities have an `entity_id`, as ``#/$defs/entity_id`` says.
    """
    labels = {"type": "array", "items": {"$ref": "#/$defs/label"}, "minItems": 1, "maxItems": 1}
    properties = {
        **({"entity_id": {"$ref": "#/$defs/entity_id"}} if numbered else {}),
        "start": COUNT,
        "end": {"type": "integer", "minimum": 1},
        "labels": labels,
        **({"text": {"type": "string"}} if has_text else {}),
        "score": PROBABILITY,
    }
    optional = ("text",) if has_text else ()  # a row may come without
    return {"type": ["array", "null"], "items": form_of(properties, optional=optional)}
