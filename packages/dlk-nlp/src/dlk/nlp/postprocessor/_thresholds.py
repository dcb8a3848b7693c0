"""The threshold that validation finds, in the ways that the config's `threshold` can ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlk.errors import DlkError

if TYPE_CHECKING:
    from dlk.metrics import ThresholdSearch


def found_threshold(search: ThresholdSearch, how: str) -> float | list[float]:
    """Return the threshold with the best F1 on the data that was counted.

    Args:
        search: after the validation data.
        how: search (one, by micro F1), search_macro (one, by macro F1) or search_each (a list).

    Raises:
        DlkError: no label is true in any row, so that every threshold is as bad.
    """
    if not search.support.any():
        raise DlkError(
            "the threshold cannot be searched: what it decides is true in no row of the validation "
            "data; give a number, or validation data with such rows"
        )
    if how == "search_each":
        return [best.threshold for best in search.each()]
    return (search.macro() if how == "search_macro" else search.micro()).threshold
