"""The header of a safetensors file, checked without torch: names, types, shapes, places.

Format: 8 bytes, the header's length, little-endian; the header, a JSON object; the numbers.
https://huggingface.co/docs/safetensors
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any

from dlk.bundle._json import parse

__all__ = ["Tensors", "read_header"]

MAX_HEADER = 32 << 20
MAX_TENSORS = 200_000
MAX_SIZES = 32
# The types that `save_state` writes; those of packed weights are among them.
_KINDS = {
    8: "F64 I64 U64 C64",
    4: "F32 I32 U32",
    2: "F16 BF16 I16 U16",
    1: "I8 U8 BOOL F8_E4M3 F8_E5M2",
}
_BYTES = {kind: size for size, kinds in _KINDS.items() for kind in kinds.split()}


@dataclass(frozen=True, slots=True)
class Tensors:
    """What a file of weights holds.

    Attributes:
        shapes: of each tensor by name.
        types: of each tensor by name, as safetensors calls them: ``F32``.
        start: where the numbers begin in the file.
        places: begin and end of each tensor's numbers, counted from `start`.
        aliases: further names of tensors, each with the name under which it is stored.
    """

    shapes: Mapping[str, tuple[int, ...]]
    types: Mapping[str, str]
    start: int
    places: Mapping[str, tuple[int, int]]
    aliases: Mapping[str, str]

    @property
    def numbers(self) -> int:
        """How many numbers there are, each counted once."""
        return sum(math.prod(shape) for shape in self.shapes.values())


def read_header(handle: IO[bytes], size: int) -> Tensors:
    """Return what the header of an open file of `size` bytes says, once all of it is true.

    The tensors must fill the file: no gap, no overlap, nothing behind.

    Raises:
        ValueError: it is no safetensors file, or its header does not describe this file.
    """
    length = int.from_bytes(handle.read(8), "little")
    if size < 8 or length > size - 8:
        raise ValueError("it is no safetensors file: its header would be longer than the file")
    if length > MAX_HEADER:
        raise ValueError(f"its header has {length} bytes, at most {MAX_HEADER} are read")
    header = parse(handle.read(length), limit=MAX_HEADER)
    if not isinstance(header, dict):
        raise ValueError("its header is no object")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise ValueError("its metadata is no object of texts")
    if len(header) > MAX_TENSORS:
        raise ValueError(f"it holds {len(header)} tensors, at most {MAX_TENSORS} are read")
    shapes: dict[str, tuple[int, ...]] = {}
    places: dict[str, tuple[int, int]] = {}
    types: dict[str, str] = {}
    for name, about in header.items():
        shapes[name], places[name], types[name] = _tensor(name, about)
    end = 0
    for name, (begin, until) in sorted(places.items(), key=lambda item: item[1]):
        if begin != end:
            raise ValueError(f"the numbers of {name} begin at {begin}, expected {end}")
        end = until
    if 8 + length + end != size:
        raise ValueError(f"its tensors end at {8 + length + end}, the file at {size}")
    return Tensors(shapes, types, 8 + length, places, _aliases(metadata, shapes))


def _tensor(name: str, about: Any) -> tuple[tuple[int, ...], tuple[int, int], str]:
    if not isinstance(about, dict) or about.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"it does not describe {name} by dtype, shape and data_offsets")
    kind, shape, offsets = about["dtype"], about["shape"], about["data_offsets"]
    if not isinstance(kind, str) or kind not in _BYTES:
        raise ValueError(f"{name} has the type {str(kind)[:40]}, which is not known")
    if not _counts(shape) or len(shape) > MAX_SIZES:
        raise ValueError(f"the shape of {name} is no list of at most {MAX_SIZES} sizes")
    if not _counts(offsets) or len(offsets) != 2:
        raise ValueError(f"the place of {name} is no pair of offsets")
    begin, end = offsets
    if end - begin != math.prod(shape) * _BYTES[kind]:
        raise ValueError(
            f"{name} has the shape {shape} of {kind}, and {end - begin} bytes of numbers"
        )
    return tuple(shape), (begin, end), kind


def _counts(value: object) -> bool:
    return isinstance(value, list) and all(type(v) is int and 0 <= v < 1 << 62 for v in value)


def _aliases(metadata: Mapping[str, str], shapes: Mapping[str, object]) -> dict[str, str]:
    aliases = parse(metadata.get("aliases", "{}").encode("utf-8", "surrogatepass"))
    if not isinstance(aliases, dict):
        raise ValueError("its aliases are no object")
    for name, other in aliases.items():
        if not isinstance(other, str) or other not in shapes:
            raise ValueError(f"{name} stands for {other}, which is missing")
        if name in shapes:
            raise ValueError(f"{name} is there, and stands for {other}, too")
    if len(aliases) > MAX_TENSORS:
        raise ValueError(f"it has {len(aliases)} aliases, at most {MAX_TENSORS} are read")
    return aliases
