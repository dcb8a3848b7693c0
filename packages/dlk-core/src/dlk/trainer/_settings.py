"""What holds for torch while a run goes on: exactness of products, compiling, device checks."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import nn

from dlk.config import node_of
from dlk.errors import ConfigError, Problem

if TYPE_CHECKING:
    from dlk.trainer.configs import LightningTrainerConfig

__all__ = ["settings"]

_GPU_CHECK = "PYTORCH_NVML_BASED_CUDA_CHECK"


@contextlib.contextmanager
def settings(
    config: LightningTrainerConfig, model: nn.Module, device: torch.device
) -> Iterator[None]:
    """Run with what the config asks of torch; afterwards torch is set as it was.

    Args:
        config: `matmul_precision` and the fields of `compile`.
        model: what is compiled; its parameters and their names stay what they are.
        device: where the run goes on.

    Raises:
        ConfigError: the model cannot be compiled.
    """
    before = torch.get_float32_matmul_precision()
    with _cheap_device_checks(device), _refused(config):
        if config.matmul_precision is not None:
            torch.set_float32_matmul_precision(config.matmul_precision)
        if config.compile and model._compiled_call_impl is None:
            model.compile(
                mode=config.compile_mode,
                dynamic=config.compile_dynamic,
                backend=config.compile_backend,
            )
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(before)


@contextlib.contextmanager
def _refused(config: LightningTrainerConfig) -> Iterator[None]:
    """Give what torch.compile cannot do as a mistake of the config."""
    try:
        yield
    except Exception as error:
        if config.compile and type(error).__module__.startswith(("torch._dynamo", "torch._induct")):
            reason = " ".join(str(error).strip().partition("\n\n")[0].split())
            message = f"the model cannot be compiled: {reason}; set compile to false"
            raise ConfigError([Problem(f"{node_of(config).path}.compile", message)]) from error
        raise


@contextlib.contextmanager
def _cheap_device_checks(device: torch.device) -> Iterator[None]:
    """Spare a run on the CPU a look for GPUs in each step.

    torch's Adam asks in each step whether there is a GPU. Lightning, when it is imported, has this
    answered by NVML, a library that is loaded anew each time, so that processes can be forked
    safely; a run that uses no GPU needs no such care.
    """
    before = os.environ.get(_GPU_CHECK)
    if device.type != "cpu" or before is None:
        yield
        return
    os.environ[_GPU_CHECK] = "0"
    try:
        yield
    finally:
        os.environ[_GPU_CHECK] = before
