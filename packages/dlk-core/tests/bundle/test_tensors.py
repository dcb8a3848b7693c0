"""The header of the weights: every lie about types, shapes and places is told, without torch."""

from __future__ import annotations

import io
import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import SafetensorError
from safetensors.torch import load, save

from dlk.bundle._tensors import read_header


def file_of(header, numbers=b"", *, length=None):
    text = json.dumps(header).encode() if not isinstance(header, bytes) else header
    return (len(text) if length is None else length).to_bytes(8, "little") + text + numbers


def read(content):
    return read_header(io.BytesIO(content), len(content))


def entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


@pytest.mark.parametrize(
    "kind", [torch.float32, torch.bfloat16, torch.int64, torch.bool, torch.uint8, torch.float64]
)
def test_what_safetensors_writes_is_read(kind):
    state = {"a": torch.zeros(2, 3).to(kind), "b": torch.zeros(0, 4).to(kind), "c": torch.ones(())}
    found = read(save(state))
    assert found.shapes == {"a": (2, 3), "b": (0, 4), "c": ()}
    assert found.numbers == 7
    begin, end = found.places["a"]
    assert end - begin == 6 * state["a"].element_size()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no safetensors file"),
        (b"\x01", "no safetensors file"),
        (file_of({}, length=1 << 40), "longer than the file"),
        (file_of({}, length=3), "longer than the file"),
        (file_of(b"nope"), "Expecting value"),
        (file_of([]), "no object"),
        (file_of({"__metadata__": {"a": 1}}), "metadata"),
        (file_of({"a": []}), "does not describe a"),
        (file_of({"a": {**entry(), "more": 1}}, bytes(8)), "does not describe a"),
        (file_of({"a": entry("F99")}, bytes(8)), "F99, which is not known"),
        (file_of({"a": entry(shape=(-2, -1))}, bytes(8)), "no list of at most 32 sizes"),
        (file_of({"a": entry(shape=(True, 2))}, bytes(8)), "no list of at most 32 sizes"),
        (file_of({"a": entry(shape=(1,) * 33, offsets=(0, 4))}, bytes(4)), "at most 32 sizes"),
        (file_of({"a": entry(shape=(1 << 61, 8))}, bytes(8)), "8 bytes of numbers"),
        (file_of({"a": entry(offsets=(0, 8, 9))}, bytes(8)), "no pair of offsets"),
        (file_of({"a": entry(offsets=(8, 0))}, bytes(8)), "-8 bytes of numbers"),
        (file_of({"a": entry(offsets=(8, 16))}, bytes(16)), "begin at 8, expected 0"),
        (file_of({"a": entry(), "b": entry()}, bytes(8)), "b begin at 0, expected 8"),
        (file_of({"a": entry(), "b": entry(offsets=(4, 12))}, bytes(12)), "expected 8"),
        (file_of({"a": entry()}, bytes(9)), "its tensors end at"),
        (file_of({"a": entry(shape=(1 << 20,), offsets=(0, 1 << 22))}, bytes(8)), "tensors end at"),
        (file_of(b'{"a": 1, "a": 2}'), "stands twice"),
        (file_of({"__metadata__": {"aliases": '{"b": "c"}'}}), "b stands for c"),
    ],
)
def test_a_header_that_lies_is_refused(content, reason):
    with pytest.raises(ValueError, match=reason):
        read(content)


def test_a_name_is_no_alias_of_another_too():
    header = {"a": entry(), "__metadata__": {"aliases": '{"a": "a"}'}}
    with pytest.raises(ValueError, match="a is there, and stands for a, too"):
        read(file_of(header, bytes(8)))


@given(data=st.data())
def test_what_is_read_here_is_read_by_safetensors_and_alike(data):
    """Random damage: never another error, and never a file that safetensors refuses."""
    content = bytearray(save({"a": torch.arange(4.0), "b": torch.arange(3)}))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    try:
        found = read(bytes(content))
    except ValueError:
        return
    try:
        state = load(bytes(content))
    except SafetensorError as error:
        pytest.fail(f"{error}: {bytes(content)!r}")
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == dict(found.shapes)
