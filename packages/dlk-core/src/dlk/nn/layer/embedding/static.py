"""A table of vectors read from a file (GloVe, word2vec, fastText … as .npy or .safetensors)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from dlk.errors import DataError, nearest
from dlk.nn.layer.embedding._table import TableEmbedding
from dlk.registry import register

if TYPE_CHECKING:
    from dlk.context import Setup
    from dlk.nn.layer.embedding.configs import StaticEmbeddingConfig


@register("embedding", "static")
class StaticEmbedding(TableEmbedding):
    """Vectors by id, read from a file; with `freeze` they stay as they are there.

    `embedding_file` names the file, or `embedding_meta` one that Process wrote beside the
    vocabulary.

    The row of `padding_idx` becomes zero, whatever the file holds there. Where the weights come
    from a checkpoint, the file is not needed.
    """

    keeps_own_init = True

    def __init__(self, config: StaticEmbeddingConfig, setup: Setup) -> None:
        super().__init__(config)
        self.embedding.weight.requires_grad_(not config.freeze)
        if setup.pretrained:
            path = config.embedding_file
            if config.embedding_meta is not None:
                path = setup.meta.path(config.embedding_meta)
            assert path is not None  # by the config's rules
            fill_table(self.embedding.weight, path)
            with torch.no_grad():
                if self.padding_idx is not None:
                    self.embedding.weight[self.padding_idx] = 0.0


def fill_table(weight: Tensor, path: str) -> None:
    """Copy a file's matrix into `weight`, reading it through a memory map.

    Args:
        weight: (V, D) float on the CPU, filled in place.
        path: a .npy file, or a .safetensors file that holds one tensor; numbers of any float type.

    Raises:
        DataError: there is no such file, it is no such matrix, its shape is another than
            `weight`'s, or it holds numbers that are not finite.
    """
    source = Path(path)
    if not source.is_file():
        near = nearest(source.name, (p.name for p in source.parent.glob("*")))
        hint = f' Did you mean "{source.parent / near[0]}"?' if near else ""
        raise DataError(f'embedding_file: there is no file "{path}".{hint}')
    readers = {".npy": _fill_from_npy, ".safetensors": _fill_from_safetensors}
    if source.suffix not in readers:
        raise DataError(f'embedding_file: "{path}" is neither .npy nor .safetensors.')
    with torch.no_grad():
        readers[source.suffix](weight, source)
        if not torch.isfinite(weight).all():
            raise DataError(f'embedding_file: "{path}" holds numbers that are not finite.')


def _fill_from_npy(weight: Tensor, source: Path) -> None:
    try:
        matrix = np.load(source, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise DataError(f'embedding_file: "{source}" is no matrix in .npy format.') from error
    if not isinstance(matrix, np.ndarray) or matrix.dtype.kind not in "fiu":
        raise DataError(f'embedding_file: "{source}" holds no numbers.')
    _check_shape(matrix.shape, weight, source)
    np.copyto(weight.detach().numpy(), matrix, casting="same_kind")


def _fill_from_safetensors(weight: Tensor, source: Path) -> None:
    try:
        with safe_open(source, framework="pt") as file:
            names = list(file.keys())
            if len(names) != 1:
                raise DataError(
                    f'embedding_file: "{source}" must hold one tensor, it holds {len(names)}: '
                    f"{', '.join(names[:10])}."
                )
            part: Any = file.get_slice(names[0])
            _check_shape(tuple(part.get_shape()), weight, source)
            weight.copy_(part[:])
    except SafetensorError as error:
        raise DataError(f'embedding_file: "{source}" is no .safetensors file.') from error


def _check_shape(shape: tuple[int, ...], weight: Tensor, source: Path) -> None:
    if shape != tuple(weight.shape):
        expected = f"(vocab_size {weight.shape[0]}, embedding_dim {weight.shape[1]})"
        raise DataError(f'embedding_file: expected {expected}, got {shape} in "{source}".')
