"""Picks layers out of a list of states, or of scores, under names of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn


class LogitsGather(nn.Module):
    """``{prefix + name: outputs[layer]}`` for each name and the number of its layer."""

    def __init__(self, gather_layer: Mapping[str, int], *, prefix: str = "") -> None:
        """Remember which layers are picked.

        Args:
            gather_layer: {name: number of a layer}; negative numbers count from the end.
            prefix: stands before each name.
        """
        super().__init__()
        self.picked = {f"{prefix}{name}": number for name, number in gather_layer.items()}

    def forward(self, outputs: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return the picked ones of all layers' outputs, as they are.

        Raises:
            ValueError: there is no layer of such a number.
        """
        found: dict[str, Tensor] = {}
        for name, number in self.picked.items():
            if not -len(outputs) <= number < len(outputs):
                raise ValueError(f'"{name}" is to be layer {number}, but there are {len(outputs)}')
            found[name] = outputs[number]
        return found
