"""Reading the weights of a run: a Lightning checkpoint, never unpickled, or safetensors."""

from __future__ import annotations

from typing import Any

from dlk.callback._average import put_average
from dlk.errors import RunError

__all__ = ["read_checkpoint", "read_weights"]


def read_weights(path: str) -> dict[str, Any]:
    """Return the model's weights of a ``.ckpt``, or of a bundle's ``model.safetensors``.

    Where a run was evaluated by an average of its weights, that is what its checkpoints give.

    Raises:
        RunError: there is no such checkpoint, or it cannot be read safely.
        BundleError: likewise of a ``.safetensors`` file.
    """
    if path.endswith(".safetensors"):
        from dlk.bundle.weights import load_state

        return load_state(path)
    checkpoint = read_checkpoint(path)
    weights = {
        name.removeprefix("model."): value
        for name, value in checkpoint["state_dict"].items()
        if name.startswith("model.")
    }
    return put_average(weights, checkpoint.get("average", {}))


def read_checkpoint(path: str) -> dict[str, Any]:
    """Return a checkpoint as plain containers and tensors, on the CPU.

    Raises:
        RunError: there is no such checkpoint, or it holds what would have to be executed.
    """
    import torch

    try:
        found: Any = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise RunError(f"there is no checkpoint {path}") from None
    except Exception as error:  # torch raises many kinds for a damaged or foreign file
        raise RunError(f"{path} is no checkpoint that can be read safely: {error}") from error
    if not isinstance(found, dict) or "state_dict" not in found:
        raise RunError(f"{path} is no checkpoint of a run: it holds no state_dict")
    return dict(found)
