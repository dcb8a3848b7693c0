"""Conformance of init methods."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from dlk.nn.base import Module
from dlk.testing._common import Conformance, seed_all


class _Pretrained(Module):
    """A part that keeps its own start values."""

    keeps_own_init = True

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)


class _Mixed(nn.Module):
    """One of each kind of layer."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(6, 4, padding_idx=2)
        self.linear = nn.Linear(4, 3)
        self.convolution = nn.Conv1d(4, 4, 3)
        self.lstm = nn.LSTM(4, 3, num_layers=2, bidirectional=True)
        self.gru = nn.GRU(4, 3)
        self.norms = nn.ModuleList([nn.LayerNorm(4), nn.BatchNorm1d(4), nn.GroupNorm(2, 4)])
        self.pretrained = _Pretrained()


class InitMethodConformance(Conformance):
    """What every registered init method keeps."""

    def exercise(self, component: Any) -> None:
        """Start one model."""
        component(self._model())

    def test_start_values_are_finite_and_trainable(self) -> None:
        """Parameters stay what they were but for their values."""
        model = self._started()
        for name, parameter in model.named_parameters():
            assert parameter.isfinite().all(), f"{self._name}: {name} is not finite"
            assert parameter.requires_grad, f"{self._name} freezes {name}"
            assert parameter.is_leaf, f"{self._name} records a gradient for {name}: use no_grad"

    def test_weights_are_drawn_anew(self) -> None:
        """Linear layers, embeddings, convolutions and recurrent layers get start values."""
        before, after = self._model().state_dict(), self._started().state_dict()
        kept = [
            name
            for name in before
            if name.endswith(("weight", "weight_ih_l0", "weight_hh_l0"))
            and not name.startswith(("norms", "pretrained"))
            and torch.equal(before[name], after[name])
        ]
        assert not kept, f"{self._name} leaves {', '.join(kept)} as they were built"

    def test_the_padding_row_is_zero(self) -> None:
        """A vector of padding that is not zero would take part in sums."""
        row = self._started().embedding.weight[2]
        assert not row.any(), f"{self._name}: the row of padding_idx must be zero, got {row}"

    def test_norms_start_as_identity(self) -> None:
        """Weight 1 and bias 0."""
        for name, parameter in self._started().norms.named_parameters():
            start = 1.0 if name.endswith("weight") else 0.0
            assert bool((parameter == start).all()), (
                f"{self._name}: {name} of a norm must start at {start}"
            )

    def test_what_keeps_its_own_values_is_left_alone(self) -> None:
        """Pretrained weights are not drawn over."""
        before, after = self._model().pretrained, self._started().pretrained
        assert torch.equal(before.linear.weight, after.linear.weight), (
            f"{self._name} draws over a module with keeps_own_init: leave it and all below it alone"
        )

    def test_same_seed_gives_the_same_values(self) -> None:
        """All randomness comes from torch's global generator."""
        first, second = self._started().state_dict(), self._started().state_dict()
        for name, tensor in first.items():
            assert torch.equal(tensor, second[name]), f"{self._name}: {name} differs"

    def _model(self) -> _Mixed:
        seed_all(8)
        return _Mixed()

    def _started(self) -> _Mixed:
        model = copy.deepcopy(self._model())
        component = self.build()
        seed_all(9)
        component(model)
        return model
