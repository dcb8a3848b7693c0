"""Options of the trainers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dlk.config import AnyField, Base, BoolField, DictField, IntField, StrField, cregister, many

__all__ = ["LightningTrainerConfig"]

_LIMITS = (
    "limit_train_batches",
    "limit_val_batches",
    "limit_test_batches",
    "overfit_batches",
    "val_check_interval",
)


@cregister("trainer", "lightning")
class LightningTrainerConfig(Base):
    """Lightning's Trainer: options have its names and meanings; `extra` passes on all others."""

    accelerator = StrField("auto", help="cpu, gpu, mps, tpu or auto")
    strategy = StrField("auto", help="how several devices work together, such as ddp")
    devices: Any = AnyField(
        1, help="which device: 1, a list of one number, or auto where there is one"
    )
    num_nodes = IntField(value=1, minimum=1, help="machines that train together")
    precision: Any = AnyField(
        "32-true", help="number format, such as 32-true, bf16-mixed, 16-mixed"
    )
    max_epochs: int | None = IntField(
        value=10, minimum=-1, additions=[None], help="epochs at most; -1: no limit"
    )
    min_epochs: int | None = IntField(
        value=None, minimum=0, additions=[None], help="epochs at least"
    )
    max_steps = IntField(value=-1, minimum=-1, help="optimizer steps at most; -1: no limit")
    min_steps: int | None = IntField(
        value=None, minimum=0, additions=[None], help="optimizer steps at least"
    )
    max_time: str | None = StrField(None, additions=[None], help="time at most, as DD:HH:MM:SS")
    limit_train_batches: Any = AnyField(
        None, help="an integer: batches of an epoch; a float: their share; null: all"
    )
    limit_val_batches: Any = AnyField(
        None, help="an integer: validation batches; a float: their share; null: all"
    )
    limit_test_batches: Any = AnyField(
        None, help="an integer: test batches; a float: their share; null: all"
    )
    overfit_batches: Any = AnyField(
        0.0, help="train on so many batches (integer) or this share (float) again and again"
    )
    val_check_interval: Any = AnyField(
        None, help="validate each so many batches (integer) or share of an epoch (float)"
    )
    check_val_every_n_epoch: int | None = IntField(
        value=1, minimum=1, additions=[None], help="validate each so many epochs"
    )
    num_sanity_val_steps = IntField(
        value=2, minimum=-1, help="validation batches run before training starts; -1: all"
    )
    log_every_n_steps = IntField(
        value=50, minimum=1, help="optimizer steps between two logged training losses"
    )
    enable_progress_bar = BoolField(True, help="show a progress bar on a terminal")
    enable_model_summary = BoolField(True, help="show the model's parts on a terminal")
    accumulate_grad_batches = IntField(
        value=1, minimum=1, help="batches whose gradients make one optimizer step"
    )
    gradient_clip_val: float | None = AnyField(
        5.0, help="largest gradient norm or value; null: not clipped"
    )
    gradient_clip_algorithm = StrField("norm", options=["norm", "value"], help="what is clipped")
    matmul_precision: str | None = StrField(
        None,
        options=["highest", "high", "medium", None],
        help="how exact products of float32 matrices are during the run; medium computes in "
        "bfloat16 where the device has it; null: as torch is set",
    )
    compile = BoolField(
        False, help="compile the model's forward by torch.compile; weights keep their names"
    )
    compile_mode: str | None = StrField(
        None,
        options=["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs", None],
        help="what the compiler aims at; null: its default",
    )
    compile_dynamic: bool | None = BoolField(
        None,
        additions=[None],
        help="true: one program for all sizes of batches; false: one for each; null: as it finds",
    )
    compile_backend = StrField("inductor", help="what torch.compile compiles with")
    deterministic: Any = BoolField(
        False, additions=["warn"], help='only operations with equal results; "warn": say where not'
    )
    benchmark: bool | None = BoolField(
        None, additions=[None], help="let cuDNN search for the fastest kernels"
    )
    detect_anomaly = BoolField(False, help="find the operation that gave a nan gradient; slow")
    inference_mode = BoolField(True, help="evaluate under inference_mode rather than no_grad")
    sync_batchnorm = BoolField(False, help="batch norm over all devices")
    profiler: str | None = StrField(
        None,
        options=["simple", "advanced", "pytorch", None],
        help="where the time goes; null: not measured",
    )
    fast_dev_run: Any = AnyField(
        False, help="true or a number: run so few batches of everything, save nothing"
    )
    reload_dataloaders_every_n_epochs = IntField(
        value=0, minimum=0, help="epochs between fresh loaders; 0: never"
    )
    extra = DictField({}, help="further options of lightning.Trainer, by its names")
    children = {"callback": many()}

    def rules(self) -> Iterable[tuple[str, str]]:
        """One device trains a run; batch limits are integers or shares, a boolean is neither."""
        devices = self.devices
        count = len(devices) if isinstance(devices, (list, tuple)) else devices
        if type(count) is int and count > 1:
            yield "devices", f"one device trains a run so far, got {count}: set it to 1"
        if self.num_nodes > 1:
            yield "num_nodes", f"one machine trains a run so far, got {self.num_nodes}: set it to 1"
        for name in _LIMITS:
            value = getattr(self, name)
            if value is None:
                continue
            if type(value) not in (int, float) or value < 0:
                yield name, f"expected an integer (batches), a float (share) or null, got {value!r}"
            elif type(value) is float and value > 1:
                hint = f"write {int(value)} for batches"
                yield name, f"a float is a share and at most 1.0, got {value!r}; {hint}"
        clip = self.gradient_clip_val
        if clip is not None and (type(clip) not in (int, float) or clip < 0):
            yield "gradient_clip_val", f"expected a number >= 0 or null, got {clip!r}"
        for name, unset in (
            ("compile_mode", None),
            ("compile_dynamic", None),
            ("compile_backend", "inductor"),
        ):
            if not self.compile and getattr(self, name) != unset:
                yield name, "says how to compile, and compile is false: set it to true"
        if type(self.fast_dev_run) not in (bool, int):
            yield (
                "fast_dev_run",
                f"expected true, false or a number of batches, got {self.fast_dev_run!r}",
            )
