"""Mean of values that count with a weight, such as a loss by its number of items."""

from __future__ import annotations

from collections.abc import Mapping


class WeightedMean:
    """``sum(w * x) / sum(w)``, without keeping the values."""

    def __init__(self) -> None:
        self.total = 0.0
        self.weight = 0.0

    def update(self, value: float, weight: float = 1.0) -> None:
        """Add one value; a weight of 0 adds nothing, whatever the value (0 items: no mean).

        Raises:
            ValueError: the weight is negative or not a number.
        """
        if not weight >= 0:
            raise ValueError(f"a weight must be >= 0, got {weight}")
        if weight:
            self.total += value * weight
            self.weight += weight

    def compute(self) -> float | None:
        """The mean, or None while nothing has been counted."""
        return self.total / self.weight if self.weight else None

    def state(self) -> dict[str, float]:
        return {"total": self.total, "weight": self.weight}

    def merge(self, state: Mapping[str, float]) -> None:
        """Add the sums of another part of the data."""
        self.total += state["total"]
        self.weight += state["weight"]
