"""Conformance of losses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from dlk.context import Context
from dlk.testing._batches import Watched
from dlk.testing._common import Conformance

EVALUATION = Context()


class LossConformance(Conformance):
    """What every registered loss keeps.

    Attributes:
        is_mean_of_items: whether the means of two parts of a batch, weighted, are the mean of the
            whole. Set it to False where that cannot be, and say why.
        atol: how far sums in another order may differ.
    """

    is_mean_of_items: bool = True
    atol: float = 1e-6

    def batch(self) -> dict[str, Tensor]:
        """Return four rows of a batch and outputs; override it where they differ.

        By default: scores (4, 3) of the one output, class ids (4,) of the one target.
        """
        signature = self.make().signature()
        drawn = torch.Generator().manual_seed(13)
        out = {name: torch.randn(4, 3, generator=drawn) for name in signature.reads}
        return out | {name: torch.tensor([0, 2, 1, 1]) for name in signature.targets}

    def exercise(self, component: Any) -> None:
        """Compute once in training."""
        component.compute(self.batch(), Context(training=True, step=1, total_steps=2))

    def test_a_loss_is_a_scalar_with_detached_terms(self) -> None:
        """`total` is trained on, `terms` are logged, `weight` counts items."""
        total, terms, weight = self.build().compute(self._leaves(), EVALUATION)
        assert total.shape == (), f"{self._name}: total must be a scalar, got {tuple(total.shape)}"
        assert bool(total.isfinite()), f"{self._name}: total is {total.item()}"
        assert terms, f"{self._name}: name at least one term, so that the loss is logged"
        for name, term in terms.items():
            assert term.shape == (), f'{self._name}: the term "{name}" must be a scalar'
            assert not term.requires_grad, f'{self._name}: detach the term "{name}"'
        assert float(weight) > 0, (
            f"{self._name}: weight must be the number of items (a scalar), got {float(weight)}"
        )

    def test_gradients_reach_every_output_read(self) -> None:
        """The loss teaches all that it reads."""
        batch = self._leaves()
        self.build().compute(batch, EVALUATION).total.backward()
        for name in self.make().signature().reads:
            grad = batch[name].grad
            arrived = grad is not None and bool(grad.isfinite().all()) and bool(grad.any())
            assert arrived, f'{self._name}: no finite gradient reaches "{name}": is it detached?'

    def test_the_signature_is_true(self) -> None:
        """It reads what signature() declares: outputs in `reads`, truths in `targets`."""
        signature = self.make().signature()
        watched = Watched({**self.batch(), "of_somebody_else": torch.zeros(4)})
        self.build().compute(watched, EVALUATION)
        declared = set(signature.reads) | set(signature.targets)
        allowed = declared | {"_index"}
        assert watched.read <= allowed, (
            f"{self._name} reads {sorted(watched.read - allowed)}, which signature() does not name"
        )
        assert declared <= watched.read, (
            f"{self._name} declares {sorted(declared - watched.read)}, but never reads it"
        )

    def test_it_keeps_no_state_and_changes_nothing(self) -> None:
        """Computing twice gives the same bits and leaves the batch as it was."""
        batch = self.batch()
        before = {name: tensor.clone() for name, tensor in batch.items()}
        loss = self.build()
        ctx = Context(training=True, step=3, total_steps=4)
        first = loss.compute(batch, ctx).total
        assert set(batch) == set(before), f"{self._name} adds names to the batch it was given"
        for name, tensor in before.items():
            assert torch.equal(tensor, batch[name]), f'{self._name} changes "{name}" in place'
        assert torch.equal(first, loss.compute(batch, ctx).total), (
            f"{self._name}: a second call gives another loss: keep no state between calls"
        )

    def test_the_schedule_scales_training_alone(self) -> None:
        """Each stage has its factor, the last one goes on past the end; evaluation has none."""
        if not {"schedule", "scale"} <= set(self.fields):
            return
        plain = self._total(self.build(), EVALUATION)
        staged = self.build(config=self.make(schedule=[0.5, 1.0], scale=[2.0, 3.0]))
        assert torch.equal(self._total(staged, EVALUATION), plain), (
            f"{self._name}: scale must not touch evaluation (ctx.training is false)"
        )
        unscaled = self._total(self.build(), Context(training=True, step=0, total_steps=10))
        for step, factor in ((0, 2.0), (4, 2.0), (5, 3.0), (9, 3.0), (10, 3.0), (99, 3.0)):
            got = self._total(staged, Context(training=True, step=step, total_steps=10))
            assert abs(float(got - factor * unscaled)) <= 1e-5 * abs(float(got)) + self.atol, (
                f"{self._name}: at step {step} of 10 with schedule [0.5, 1.0] and scale [2, 3] the "
                f"loss must be {factor} times the plain one: multiply total by self.factor(ctx)"
            )

    def test_the_weight_makes_means_of_batches_exact(self) -> None:
        """The weighted mean over the parts of a batch is the loss of the batch."""
        if not self.is_mean_of_items:
            return
        batch, loss = self.batch(), self.build()
        rows = max(len(tensor) for tensor in batch.values())
        whole = loss.compute(batch, EVALUATION)
        parts = [
            loss.compute(self._rows(batch, rows, half), EVALUATION)
            for half in (slice(0, 1), slice(1, None))
        ]
        mass = sum(float(part.weight) for part in parts)
        mean = sum(float(part.total) * float(part.weight) for part in parts) / mass
        assert abs(mean - float(whole.total)) <= self.atol * max(1.0, abs(mean)), (
            f"{self._name}: batches of 1 and {rows - 1} rows give {mean:.7g} on average, one batch "
            f"gives {float(whole.total):.7g}: weight must be what the mean was divided by"
        )
        assert abs(mass - float(whole.weight)) <= self.atol * mass, (
            f"{self._name}: the weights of the parts must add up to the weight of the whole"
        )

    def test_tensors_are_registered(self) -> None:
        """A tensor that is neither parameter nor buffer stays behind on the CPU."""
        for module in self.build().modules():
            loose = [name for name, value in vars(module).items() if isinstance(value, Tensor)]
            assert not loose, f"{self._name}: register {', '.join(loose)} as buffer"

    def _leaves(self) -> dict[str, Tensor]:
        reads = self.make().signature().reads
        return {
            name: tensor.clone().requires_grad_() if name in reads else tensor
            for name, tensor in self.batch().items()
        }

    def _total(self, loss: Any, ctx: Context) -> Tensor:
        total: Tensor = loss.compute(self.batch(), ctx).total
        return total

    def _rows(self, batch: Mapping[str, Tensor], rows: int, part: slice) -> dict[str, Tensor]:
        return {n: t[part] if t.ndim and len(t) == rows else t for n, t in batch.items()}
