"""An average of weights in the place of the weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["put_average"]


def put_average(weights: Mapping[str, Any], average: Mapping[str, Any]) -> dict[str, Any]:
    """Return the weights with the average in their place, under all names of shared ones."""
    places = {(weights[name].data_ptr(), weights[name].shape): name for name in average}
    return {
        name: average[places[key]].to(value.dtype)
        if (key := (value.data_ptr(), value.shape)) in places
        else value
        for name, value in weights.items()
    }
