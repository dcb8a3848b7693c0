"""The file of a state: read as it was written, or refused; never executed."""

from __future__ import annotations

import pickle
from pathlib import PurePosixPath

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dlk.errors import RunError
from dlk.trainer._state import FORMAT, States, read_state, write_state
from dlk.trainer._writer import copied

STATE = {
    "dlk": {"format": FORMAT, "random": (3, (1, 2), None)},
    "state_dict": {"w": torch.arange(300.0), "b": torch.tensor(2, dtype=torch.int8)},
    "empty": [torch.empty(0), {}, (), "", None, True, 1.5],
}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("state") / "step=1.state"
    write_state(str(path), STATE)
    return path.read_bytes()


def test_it_is_read_as_it_was_written(tmp_path):
    write_state(str(tmp_path / "a.state"), STATE)
    found = read_state(str(tmp_path / "a.state"))
    assert torch.equal(found["state_dict"]["w"], STATE["state_dict"]["w"])
    assert found["dlk"] == STATE["dlk"]
    assert found["empty"][1:] == STATE["empty"][1:]


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_every_flipped_bit_is_noticed(tmp_path_factory, written, data):
    place = data.draw(st.integers(0, len(written) * 8 - 1))
    content = bytearray(written)
    content[place // 8] ^= 1 << place % 8
    path = tmp_path_factory.mktemp("flipped") / "a.state"
    path.write_bytes(content)
    with pytest.raises(RunError, match=r"is damaged|is cut"):
        read_state(str(path))


@pytest.mark.parametrize("size", [0, 10, 39, 40, 500, -1, -40])
def test_a_part_of_it_is_refused(tmp_path, written, size):
    (tmp_path / "a.state").write_bytes(written[:size])
    with pytest.raises(RunError, match="is cut"):
        read_state(str(tmp_path / "a.state"))


def test_code_in_it_is_not_run(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (tmp_path.joinpath("exploded").mkdir, ())

    write_state(str(tmp_path / "a.state"), {**STATE, "more": Bomb()})
    with pytest.raises(RunError, match="nothing in a state is executed"):
        read_state(str(tmp_path / "a.state"))
    assert not (tmp_path / "exploded").exists()


def test_what_would_need_code_is_never_written():
    with pytest.raises(RunError, match=r"callbacks\.mine\[1\] is a set"):
        copied({"callbacks": {"mine": [1, {2}]}}, strict=True)
    with pytest.raises(RunError, match="model is a PurePosixPath"):
        copied({"model": PurePosixPath()}, strict=True)
    assert pickle.dumps(copied([1, (2, None)], strict=True))


def test_another_format_is_refused_by_name(tmp_path):
    own = {"format": FORMAT + 1, "versions": {"dlk-core": "9.9"}}
    write_state(str(tmp_path / "a.state"), {**STATE, "dlk": own})
    with pytest.raises(RunError, match=rf"of format {FORMAT + 1}, .*that wrote it \(9\.9\)"):
        read_state(str(tmp_path / "a.state"))


@pytest.mark.parametrize("content", [[1], {"state_dict": {}}])
def test_a_file_of_something_else_is_refused(tmp_path, content):
    write_state(str(tmp_path / "a.state"), content)
    with pytest.raises(RunError, match="is no state of a run"):
        read_state(str(tmp_path / "a.state"))


def test_the_newest_two_are_kept_by_number(tmp_path):
    states = States(str(tmp_path))
    assert states.newest() == (None, [])
    for step in (2, 9, 10):
        write_state(states.path(step), {**STATE, "global_step": step})
    states.drop_old()
    assert states.steps() == [9, 10]
    found, wrong = states.newest()
    assert found is not None
    assert (found["global_step"], wrong) == (10, [])


def test_copies_are_apart_and_shared_tensors_stay_shared():
    weight = torch.zeros(3)
    held = copied({"a": weight, "b": weight, "c": weight[:2]})
    weight.fill_(1)
    assert held["a"].tolist() == [0, 0, 0]
    assert held["a"] is held["b"]
    assert held["c"].tolist() == [0, 0]
