"""Weights as safetensors: tensors that share memory are written once, under all their names."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from dlk.errors import BundleError
from dlk.io import atomic_write

__all__ = ["load_state", "save_state"]


def save_state(state: Mapping[str, Tensor], path: str | os.PathLike[str]) -> None:
    """Write a state dict; the file appears whole or not at all."""
    first: dict[tuple[object, ...], str] = {}
    kept: dict[str, Tensor] = {}
    aliases: dict[str, str] = {}
    for name, tensor in state.items():
        same = (
            tensor.untyped_storage().data_ptr(),
            tensor.storage_offset(),
            tuple(tensor.shape),
            tensor.stride(),
            tensor.dtype,
        )
        if tensor.numel() and same in first:
            aliases[name] = first[same]
            continue
        first[same] = name
        kept[name] = tensor.detach().to("cpu").clone().contiguous()
    # one key at most: safetensors writes several in any order, and equal weights make equal files
    metadata = {"aliases": json.dumps(aliases, sort_keys=True)} if aliases else {"format": "pt"}
    with atomic_write(path, "wb") as handle:
        handle.write(save(kept, metadata=metadata))


def load_state(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Read a state dict that `save_state` wrote; memory-mapped until it is copied into a model.

    Raises:
        BundleError: the file is missing or damaged.
    """
    try:
        with safe_open(os.fspath(path), framework="pt") as handle:
            state = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118 - no mapping
            aliases = json.loads((handle.metadata() or {}).get("aliases", "{}"))
    except FileNotFoundError:
        raise BundleError(f"there are no weights {os.fspath(path)}") from None
    except (SafetensorError, ValueError, RecursionError) as error:
        raise BundleError(f"{os.fspath(path)} is damaged: {error}") from error
    if not isinstance(aliases, dict):
        raise BundleError(f"{os.fspath(path)} is damaged: its aliases are no object")
    for name, other in aliases.items():
        if not isinstance(other, str) or other not in state:
            raise BundleError(
                f"{os.fspath(path)} is damaged: {name} stands for {other}, which is missing"
            )
        state[name] = state[other]
    return state
