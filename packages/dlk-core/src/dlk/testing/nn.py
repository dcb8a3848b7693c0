"""Conformance of embeddings, encoders, decoders and models."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from dlk.nn.base import Module, merge
from dlk.testing._batches import Watched, alone, along_time, difference, padded
from dlk.testing._common import Conformance, seed_all

LENGTHS = (7, 4, 1)
"""Kept positions of the rows of a standard batch."""


class ModuleConformance(Conformance):
    """What every network part keeps: it computes the same thing whoever stands beside it.

    Attributes:
        frozen: patterns of the parameters that must not learn; all others must.
        fill: value of padding in integer inputs, by name; 0 where none is given.
        mask: the part's own name of the input that says which positions are kept.
        atol: how far outputs may differ that should be equal; float32 sums in another order.
    """

    frozen: tuple[str, ...] = ()
    fill: Mapping[str, int] = {}
    mask: str = "attention_mask"
    atol: float = 1e-6

    def batch(self) -> dict[str, Tensor]:
        """Return a batch of three rows with padding behind; override it where inputs differ.

        Its names are those of the batch, so after the config's input_map.
        """
        inputs = self.inputs(self.make())
        names = dict(getattr(self.make(), "input_map", None) or {})
        given = {names.get(name, name): tensor for name, tensor in inputs.items()}
        given.pop("", None)
        return given

    def inputs(self, config: Any) -> dict[str, Tensor]:
        """Return the standard inputs of the family, by the part's own names."""
        raise AssertionError(f"{type(self).__name__} must define batch()")

    def exercise(self, component: Any) -> None:
        """Run forward and predict once."""
        run(component, self.batch())

    # Checks ------------------------------------------------------------------------------------

    def test_same_seed_gives_the_same_result(self) -> None:
        """Weights, dropout and all else random come from the global generators alone."""
        results = []
        for _ in range(2):
            module = self.build(seed=3).train()
            seed_all(4)
            results.append(({**module.state_dict()}, run(module, self.batch())))
        (weights, out), (weights_again, out_again) = results
        for name, tensor in weights.items():
            assert torch.equal(tensor, weights_again[name]), (
                f"{self._name}: two builds from one seed differ in {name}: draw start values from "
                "torch's global generator, and nowhere else"
            )
        for name, tensor in out.items():
            assert torch.equal(tensor, out_again[name]), (
                f'{self._name}: two runs from one seed differ in "{name}": draw from torch\'s '
                "global generator, and keep no state between calls"
            )

    def test_gradients_reach_what_should_learn(self) -> None:
        """Each parameter gets a gradient, unless it is said to be frozen."""
        module = self.build().train()
        batch = self._leaves()
        self._backward(module, batch)
        for name, parameter in module.named_parameters():
            if any(re.search(pattern, name) for pattern in self.frozen):
                assert not parameter.requires_grad, (
                    f"{self._name}: {name} should be frozen (`frozen` of the test class) but "
                    "learns: set requires_grad to False"
                )
                continue
            assert parameter.requires_grad, (
                f"{self._name}: {name} is frozen: let it learn, or name it in `frozen` of the "
                "test class"
            )
            assert _arrived(parameter.grad), (
                f"{self._name}: no gradient reaches {name} from any output: is it used, and is "
                "nothing detached on the way? (Under DDP an unused parameter stops the run.)"
            )

    def test_gradients_reach_the_inputs(self) -> None:
        """Float inputs are not detached: what stands before this part learns through it."""
        module = self.build().train()
        batch = self._leaves()
        floats = [n for n, t in batch.items() if t.requires_grad and n in set(self._signature[0])]
        if not floats or not self._signature[1]:
            return
        self._backward(module, batch)
        for name in floats:
            assert _arrived(batch[name].grad), (
                f'{self._name}: no gradient reaches the input "{name}": nothing may be detached'
            )

    def test_saving_and_loading_restores_the_outputs(self) -> None:
        """What the outputs depend on is in the state, and the state can be loaded."""
        first = self.build(seed=1).train()
        with torch.no_grad():
            run(first, self.batch())  # moves running statistics, where there are any
        state = load(save({k: v.contiguous().clone() for k, v in first.state_dict().items()}))
        second = self.build(seed=2, pretrained=False)
        second.load_state_dict(state, strict=True)
        before, after = self._evaluate(first), self._evaluate(second)
        for name, tensor in before.items():
            assert torch.equal(tensor, after[name]), (
                f'{self._name}: "{name}" differs after saving and loading: register what it '
                "depends on as a parameter or a persistent buffer"
            )

    def test_padding_changes_nothing(self) -> None:
        """An example's outputs are the same with more padding behind it."""
        batch, mask = self.batch(), self._mask
        if mask not in batch:
            return
        module = self.build()
        small = self._evaluate(module, batch)
        large = self._evaluate(module, padded(batch, mask, 3, self._fill))
        for name, tensor in small.items():
            gap = difference(tensor, large[name], batch[mask])
            assert gap <= self.atol, (
                f'{self._name}: padding changes "{name}" by {gap:.2g} (allowed {self.atol:.2g}): '
                "use the mask wherever positions are summed, averaged or compared"
            )

    def test_neighbours_change_nothing(self) -> None:
        """An example's outputs are the same alone as in a batch."""
        batch, mask = self.batch(), self._mask
        if mask not in batch:
            return
        module = self.build()
        together = self._evaluate(module, batch)
        for row in range(len(batch[mask])):
            single = alone(batch, mask, row)
            for name, tensor in self._evaluate(module, single).items():
                gap = difference(tensor, together[name][row : row + 1], single[mask])
                assert gap <= self.atol, (
                    f'{self._name}: "{name}" of row {row} alone differs by {gap:.2g} from the '
                    f"same row in a batch (allowed {self.atol:.2g}): nothing may be computed "
                    "across rows"
                )

    def test_the_signature_is_true(self) -> None:
        """It reads and writes what its config's signature() says: no more, no less."""
        reads, writes, targets = self._signature
        bystander = {"_index": torch.arange(len(LENGTHS)), "of_somebody_else": torch.zeros(3, 7)}
        module = self.build().eval()
        watched = Watched({**self.batch(), **bystander})
        written = set(run(module, watched))
        extra = watched.read - set(reads) - set(targets)
        assert not extra, (
            f"{self._name} reads {_list(extra)}, which its signature() does not declare: add them "
            "to input_map or to signature()"
        )
        idle = set(reads) - watched.read
        assert not idle, (
            f"{self._name} declares to read {_list(idle)}, but never does: override signature()"
        )
        assert written == set(writes), (
            f"{self._name} writes {_list(written)}, its signature() declares {_list(set(writes))}: "
            "make them agree (output_map, signature())"
        )

    def test_the_widths_are_true(self) -> None:
        """What it reads and writes has the last sizes that its config's signature() says."""
        signature = self.make().signature()
        batch = self.batch()
        out = {**batch, **self._evaluate(self.build(), batch)}
        for said, tensors in ((signature.takes, batch), (signature.gives, out)):
            for name, width in said.items():
                if name in tensors and isinstance(width, int):
                    found = tensors[name].shape[-1]
                    assert found == width, (
                        f'{self._name}: "{name}" is {found} wide, its signature() says {width} '
                        "(takes, gives)"
                    )

    def test_forward_runs_without_targets(self) -> None:
        """Prediction has no truth to offer."""
        signature = self.make().signature()
        reads, targets = signature.reads, signature.targets
        batch = {n: t for n, t in self.batch().items() if n in reads or n not in targets}
        written = set(run(self.build().eval(), batch))
        if set(targets) & set(self.batch()):
            expected = set(signature.writes) - set(signature.supervised)
            assert written == expected, (
                f"{self._name}: without targets it writes {_list(written)}, its signature() says "
                f"{_list(expected)} (writes without supervised)"
            )

    def test_the_batch_is_not_changed(self) -> None:
        """A part returns what it writes, and leaves what it was given as it is."""
        batch = self.batch()
        before = {name: tensor.clone() for name, tensor in batch.items()}
        module = self.build().train()
        with torch.no_grad():
            run(module, MappingProxyType(batch))
        assert set(batch) == set(before), f"{self._name} adds names to the batch it was given"
        for name, tensor in before.items():
            assert torch.equal(tensor, batch[name]), (
                f'{self._name} changes "{name}" of the batch in place: make a new tensor'
            )

    def test_tensors_are_registered(self) -> None:
        """A tensor that is neither parameter nor buffer stays behind on the CPU."""
        for path, module in self.build().named_modules():
            loose = [name for name, value in vars(module).items() if isinstance(value, Tensor)]
            assert not loose, (
                f"{self._name}: {path or 'the module'} holds {_list(set(loose))} as plain "
                "attributes: use register_buffer, so that they move with the module"
            )

    # Helpers -----------------------------------------------------------------------------------

    @property
    def _signature(self) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
        signature = self.make().signature()
        return signature.reads, signature.writes, signature.targets

    @property
    def _mask(self) -> str:
        names = getattr(self.make(), "input_map", None) or {}
        return str(names.get(self.mask, self.mask))

    @property
    def _fill(self) -> dict[str, int]:
        names = getattr(self.make(), "input_map", None) or {}
        return {str(names.get(name, name)): value for name, value in self.fill.items()}

    def _evaluate(
        self, module: nn.Module, batch: Mapping[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        with torch.no_grad():
            return run(module.eval(), self.batch() if batch is None else batch)

    def _leaves(self) -> dict[str, Tensor]:
        """Return the batch, its float tensors such that they take gradients."""
        return {
            name: tensor.clone().requires_grad_() if tensor.is_floating_point() else tensor
            for name, tensor in self.batch().items()
        }

    def _backward(self, module: nn.Module, batch: Mapping[str, Tensor]) -> None:
        """Send a gradient back from every output, each entry with a weight of its own."""
        seed_all(5)
        out = module(batch)
        learnt = [t for t in out.values() if t.is_floating_point() and t.requires_grad]
        if learnt:
            torch.stack([(t * torch.randn_like(t)).sum() for t in learnt]).sum().backward()  # type: ignore[no-untyped-call]  # torch types it not


class EmbeddingConformance(ModuleConformance):
    """Checks of an embedding: ids in, vectors and their mask out."""

    def inputs(self, config: Any) -> dict[str, Tensor]:
        """Return ids below the config's vocab_size (10 where it has none), mask and type ids."""
        return text_inputs(int(getattr(config, "vocab_size", 0) or 10))

    def test_vectors_come_with_their_mask(self) -> None:
        """Writes `embedding` (B, T, D) float and `embedding_mask` (B, T) bool."""
        names = getattr(self.make(), "output_map", None) or {}
        out = self._evaluate(self.build())
        if not out:
            return
        nothing = torch.zeros(0)
        vectors = out.get(names.get("embedding", "embedding"), nothing)
        mask = out.get(names.get("embedding_mask", "embedding_mask"), nothing)
        assert vectors.ndim == 3, f"{self._name} must write embedding (B, T, D)"
        assert vectors.is_floating_point(), f"{self._name} must write embedding as floats"
        assert mask.dtype == torch.bool, (
            f"{self._name} must write embedding_mask as bool, true where a position holds something"
        )
        assert mask.shape == vectors.shape[:2], (
            f"{self._name}: embedding {tuple(vectors.shape)} and embedding_mask "
            f"{tuple(mask.shape)} disagree"
        )


class EncoderConformance(ModuleConformance):
    """Checks of an encoder: vectors in, vectors out."""

    mask = "embedding_mask"

    def inputs(self, config: Any) -> dict[str, Tensor]:
        """Return vectors of the config's input_size (8 where it has none) and their mask."""
        return vector_inputs(int(getattr(config, "input_size", 0) or 8))


class DecoderConformance(EncoderConformance):
    """Checks of a decoder: vectors in, the task's outputs out."""


class ModelConformance(ModuleConformance):
    """Checks of a whole model."""

    vocab_size: int = 10

    def inputs(self, config: Any) -> dict[str, Tensor]:  # for those below
        """Return ids below `vocab_size` of the test class, mask and type ids."""
        return text_inputs(self.vocab_size)


def run(module: nn.Module, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return what forward and then predict write."""
    out: dict[str, Tensor] = dict(module(batch))
    if isinstance(module, Module):
        out.update(module.predict(merge(batch, out, writer=module)))
    return out


def kept_mask() -> Tensor:
    """Return the mask (B, T) bool of the standard batch."""
    return torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS).unsqueeze(1)


def text_inputs(vocab_size: int) -> dict[str, Tensor]:
    """Return `input_ids`, `attention_mask` and `type_ids` of the standard batch."""
    mask = kept_mask()
    drawn = torch.Generator().manual_seed(11)
    ids = torch.randint(2, max(vocab_size, 3), mask.shape, generator=drawn)
    return {
        "input_ids": ids.where(mask, 0),
        "attention_mask": mask,
        "type_ids": torch.zeros_like(ids),
    }


def vector_inputs(width: int) -> dict[str, Tensor]:
    """Return `embedding`, with noise where nothing is kept, and `embedding_mask`."""
    drawn = torch.Generator().manual_seed(12)
    mask = kept_mask()
    return {
        "embedding": torch.randn(*mask.shape, width, generator=drawn),
        "embedding_mask": mask,
    }


def _arrived(grad: Tensor | None) -> bool:
    return grad is not None and bool(grad.isfinite().all()) and bool(grad.any())


def _list(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "nothing"


__all__ = [
    "DecoderConformance",
    "EmbeddingConformance",
    "EncoderConformance",
    "ModelConformance",
    "ModuleConformance",
    "along_time",
    "kept_mask",
    "run",
    "text_inputs",
    "vector_inputs",
]
