"""Conformance of what runs a training: callbacks, trainers, imodels."""

from __future__ import annotations

import io
from pickle import UnpicklingError
from typing import Any

import pytest
import torch

from dlk.config import child, children, node_of
from dlk.errors import ConfigError
from dlk.registry import register
from dlk.testing._common import Conformance, seed_all

__all__ = ["CallbackConformance", "IModelConformance", "TrainerConformance"]


class _WithRunDir(Conformance):
    """Components that are built for a run, in its folder."""

    run_dir: str = ""

    @pytest.fixture(autouse=True)
    def _run_dir(self, tmp_path: Any) -> None:
        self.run_dir = str(tmp_path)

    def build(self, *, seed: int = 0, pretrained: bool = True, config: Any = None) -> Any:
        """Build the component as `Train` does: with the run's folder, where it asks for it."""
        config = self.make() if config is None else config
        seed_all(seed)
        setup = self.setup(pretrained=pretrained, seed=seed)
        return register.build(config, setup, run_dir=self.run_dir)


class CallbackConformance(_WithRunDir):
    """Checks of any callback."""

    def test_it_is_a_lightning_callback(self) -> None:
        """The trainer hands callbacks to Lightning as they are."""
        from lightning.pytorch.callbacks import Callback

        built = self.build()
        assert isinstance(built, Callback), (
            f"{self._name} builds a {type(built).__name__}: "
            "derive it from lightning.pytorch.callbacks.Callback"
        )

    def test_its_state_can_be_saved_without_pickle(self) -> None:
        """Checkpoints are read with `weights_only=True`: plain containers and tensors only."""
        built = self.build()
        state, buffer = built.state_dict(), io.BytesIO()
        torch.save(state, buffer)
        buffer.seek(0)
        try:
            read = torch.load(buffer, weights_only=True)
        except UnpicklingError as error:
            reason = str(error).strip().splitlines()[0]
            raise AssertionError(
                f"{self._name}: state_dict() cannot be read with weights_only=True: keep numbers, "
                f"texts, lists, dicts and tensors in it ({reason})"
            ) from error
        assert read == state, (
            f"{self._name}: state_dict() must come back equal from torch.load(…, weights_only=True)"
        )
        again = self.build()
        again.load_state_dict(read)
        assert again.state_dict() == state, (
            f"{self._name}: after load_state_dict its state_dict() is {again.state_dict()}, saved "
            f"was {state}: a resumed run would forget it"
        )

    def test_two_of_them_share_nothing(self) -> None:
        """A search builds one per run."""
        first, second = self.build(), self.build()
        assert first is not second, f"{self._name}: each build must give a new object"


class TrainerConformance(_WithRunDir):
    """Checks of any trainer."""

    def test_it_offers_what_train_calls(self) -> None:
        """`Train` calls these, and nothing else."""
        built = self.build()
        missing = [
            name
            for name in ("fit", "test", "validate", "check_monitors", "log_hyperparameters")
            if not callable(getattr(built, name, None))
        ]
        assert not missing, (
            f"{self._name} lacks {', '.join(missing)}: `Train` calls them; dlk.trainer.lightning "
            "shows what each does"
        )
        assert hasattr(built, "checkpoint"), (
            f"{self._name} lacks checkpoint: the callback that keeps the best, or None"
        )

    def test_two_of_them_share_nothing(self) -> None:
        """A search builds one per run."""
        first, second = self.build(), self.build()
        assert first is not second, f"{self._name}: each build must give a new object"
        assert first.checkpoint is None or first.checkpoint is not second.checkpoint, (
            f"{self._name}: two trainers share the callback that keeps the best: build it anew"
        )

    def test_a_monitor_that_nothing_computes_is_refused(self) -> None:
        """A callback that waits for a metric which never comes is found before any training."""
        built = self.build()
        watched = [
            str(monitor)
            for each in children(self.make(), "callback").values()
            if (monitor := getattr(each, "monitor", None))
        ]
        if not watched:
            return
        with self.refuses("a monitor that nothing computes", ConfigError, naming=watched):
            built.check_monitors(("of_somebody_else",), has_validation_data=True)


class IModelConformance(_WithRunDir):
    """Checks of any imodel: its loss falls on one batch, and evaluating leaves it as it was."""

    def batch(self) -> dict[str, torch.Tensor]:
        """Return one batch with targets."""
        raise TypeError(
            f"{type(self).__name__} must define batch(self): one batch with its targets"
        )

    def exercise(self, component: Any) -> None:
        """Nothing: an imodel's config has children only."""

    def test_it_has_the_parts_that_a_bundle_needs(self) -> None:
        """A bundle holds `model`; `postprocessor` makes its predictions."""
        from dlk.imodel.base import IModel

        built = self.build()
        assert isinstance(built, IModel), f"{self._name}: derive it from dlk.imodel.base.IModel"
        assert isinstance(getattr(built, "model", None), torch.nn.Module), (
            f"{self._name}: set self.model in the constructor"
        )
        assert hasattr(getattr(built, "postprocessor", None), "decode"), (
            f"{self._name}: set self.postprocessor in the constructor"
        )

    def test_its_signature_names_the_postprocessors_metrics(self) -> None:
        """Callbacks may monitor what the config's signature names, and nothing else."""
        config = self.make()
        own = child(config, "postprocessor").signature().metrics
        missing = set(own) - set(config.signature().metrics)
        assert not missing, (
            f"{self._name}: signature() of {node_of(config).path} leaves out the metrics "
            f"{', '.join(sorted(missing))} of its postprocessor: pass them on"
        )

    def test_training_on_one_batch_lowers_the_loss(self) -> None:
        """Twenty steps of its own optimizer on one batch."""
        losses, _ = self._train(steps=20)
        assert losses[-1] < losses[0], (
            f"{self._name}: the loss went from {losses[0]:.4f} to {losses[-1]:.4f} in 20 steps on "
            "one batch: is the optimizer built of all parameters, and the loss not detached?"
        )

    def test_computing_changes_nothing(self) -> None:
        """In evaluation the same batch gives the same outputs and loss, and weights stay."""
        _, built = self._train(steps=1)
        built.eval()
        before = {name: tensor.clone() for name, tensor in built.state_dict().items()}
        with torch.no_grad():
            (first, loss), (second, again) = (built.compute(self.batch()) for _ in range(2))
        for name, tensor in built.state_dict().items():
            assert torch.equal(tensor, before[name]), (
                f"{self._name}: computing a batch changes {name}: compute has no side effects"
            )
        differing = [name for name in first if not torch.equal(first[name], second[name])]
        differing += [] if torch.equal(loss.total, again.total) else ["the loss"]
        assert not differing, (
            f"{self._name}: computing a batch twice in evaluation gives another "
            f"{', '.join(differing)}: keep no state between calls, and draw no lots"
        )

    def _train(self, steps: int) -> tuple[list[float], Any]:
        """Return the losses of a few steps on one batch, and the imodel after them."""
        import lightning.pytorch as pl

        built = self.build()
        batch = self.batch()
        losses: list[float] = []

        class Record(pl.Callback):
            def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, *_: Any) -> None:
                losses.append(float(outputs["loss"]))

        trainer = pl.Trainer(
            max_steps=steps,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=self.run_dir,
            callbacks=[Record()],
        )
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            batches: Any = [batch] * steps  # a list is a dataset, too
            trainer.fit(built, torch.utils.data.DataLoader(batches, batch_size=None))
        return losses, built
