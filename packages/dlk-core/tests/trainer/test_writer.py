"""What is written beside training: in order, one copy at a time, and no error is lost."""

from __future__ import annotations

import errno
import threading
import weakref

import pytest
import torch

from dlk.errors import RunError
from dlk.trainer import _writer
from dlk.trainer._writer import Writer

pytestmark = pytest.mark.once

IN_BACKGROUND = pytest.mark.parametrize("in_background", [True, False])


@IN_BACKGROUND
@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (RuntimeError("no such tensor"), "RuntimeError: no such tensor"),
        (MemoryError("too much"), "MemoryError: too much"),
    ],
    ids=["system", "torch", "memory"],
)
def test_an_error_of_any_kind_is_raised_when_one_looks(
    tmp_path, monkeypatch, in_background, error, told
):
    def write_torch(value, handle):
        raise error

    monkeypatch.setattr(_writer, "write_torch", write_torch)
    writer = Writer(in_background=in_background)
    writer.write(str(tmp_path / "a.ckpt"), {"w": torch.zeros(2)})
    writer.wait()
    with pytest.raises(RunError, match=rf"cannot write .*a\.ckpt: {told}") as caught:
        writer.check()
    assert caught.value.__cause__ is error
    assert list(tmp_path.iterdir()) == []
    writer.close()


@IN_BACKGROUND
def test_the_first_error_is_the_one_that_is_told(tmp_path, in_background):
    writer = Writer(in_background=in_background)
    writer.link(str(tmp_path / "absent"), str(tmp_path / "a"))
    writer.do("sweep", lambda: [].pop())
    writer.write(str(tmp_path / "b"), {})
    writer.wait()
    with pytest.raises(RunError, match=r"cannot write .*/a: No such file"):
        writer.check()
    assert (tmp_path / "b").exists()
    writer.close()


def test_while_the_disk_hangs_a_second_copy_waits_and_little_jobs_do_not(tmp_path, monkeypatch):
    """So memory holds one copy, however slow the disk is."""
    goes_on, held = threading.Event(), []
    real = _writer.copied

    def copied(value):
        copy = real(value)
        held.append(weakref.ref(copy["w"]))
        return copy

    def write_torch(value, handle):
        assert goes_on.wait(60)
        handle.write(b"x")

    monkeypatch.setattr(_writer, "copied", copied)
    monkeypatch.setattr(_writer, "write_torch", write_torch)
    writer = Writer()
    writer.write(str(tmp_path / "a"), {"w": torch.zeros(2)})
    assert writer.busy
    writer.link(str(tmp_path / "a"), str(tmp_path / "b"))  # returns
    second = threading.Thread(
        target=writer.write, args=(str(tmp_path / "c"), {"w": torch.zeros(2)})
    )
    second.start()
    second.join(0.05)
    assert second.is_alive()
    assert len(held) == 1
    goes_on.set()
    second.join(60)
    writer.close()
    writer.check()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c"]
    assert len(held) == 2
