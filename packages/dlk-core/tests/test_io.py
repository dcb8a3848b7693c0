from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from dlk import io

STOPPED = 'print("ready", flush=True); import time; time.sleep(60)'


def run_and_kill(code: str) -> None:
    """Start a process, wait until it says that it is ready, and kill it."""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGKILL)
        process.wait()


def fail_half_way(
    path: str | Path, content: str | bytes, error: type[BaseException] = RuntimeError
) -> None:
    with io.atomic_write(path, "w" if isinstance(content, str) else "wb") as handle:
        handle.write(content)
        raise error


def fail_half_way_in_folder(path: Path) -> None:
    with io.atomic_dir(path) as aside:
        (aside / "new").touch()
        raise RuntimeError


@pytest.mark.parametrize(("mode", "content"), [("w", "é\n"), ("wb", b"\x00\xff")])
def test_a_file_is_written_with_the_folders_above_it(
    tmp_path: Path, mode: str, content: str | bytes
) -> None:
    target = tmp_path / "a" / "b" / "f"
    with io.atomic_write(target, mode) as handle:
        handle.write(content)
        assert not target.exists()
    assert target.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert os.listdir(target.parent) == ["f"]


def test_only_whole_writes_are_offered(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="got 'a'"), io.atomic_write(tmp_path / "f", "a"):
        pass


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_aside(
    tmp_path: Path, error: type[BaseException]
) -> None:
    (tmp_path / "f").write_text("old")
    with pytest.raises(error):
        fail_half_way(tmp_path / "f", "half", error)
    assert (tmp_path / "f").read_text() == "old"
    assert os.listdir(tmp_path) == ["f"]


def test_a_killed_writer_leaves_the_old_file_and_the_next_one_clears_up(tmp_path: Path) -> None:
    target = tmp_path / "f"
    target.write_text("old")
    run_and_kill(
        f"from dlk.io import atomic_write\nwith atomic_write({str(target)!r}) as h:\n"
        f"    h.write('half'); h.flush(); {STOPPED}"
    )
    assert target.read_text() == "old"
    assert len(os.listdir(tmp_path)) == 2
    with io.atomic_write(target) as handle:
        handle.write("new")
    assert target.read_text() == "new"
    assert os.listdir(tmp_path) == ["f"]


def test_what_others_are_writing_is_not_cleared_up(tmp_path: Path) -> None:
    with io.atomic_write(tmp_path / "f") as slow:
        slow.write("slow")
        with io.atomic_write(tmp_path / "f") as fast:
            fast.write("fast")
        (tmp_path / ".f.otherhost-1-ab.part").write_text("of another machine")
        (tmp_path / ".f.mine.part").write_text("of somebody else")
    assert (tmp_path / "f").read_text() == "slow"
    assert sorted(os.listdir(tmp_path)) == [".f.mine.part", ".f.otherhost-1-ab.part", "f"]


def test_writers_at_the_same_time_leave_one_whole_file(tmp_path: Path) -> None:
    def write(number: int) -> None:
        for _ in range(20):
            with io.atomic_write(tmp_path / "f") as handle:
                handle.write(str(number) * 10_000)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set((tmp_path / "f").read_text())) == 1
    assert os.listdir(tmp_path) == ["f"]


def test_permissions_are_the_users_usual_ones_and_those_of_a_file_replaced(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with io.atomic_write(tmp_path / "f"):
            pass
        with io.atomic_dir(tmp_path / "d"):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "d").stat().st_mode) == 0o750
    (tmp_path / "f").chmod(0o600)
    with io.atomic_write(tmp_path / "f"):
        pass
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o600


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    with io.atomic_write(tmp_path / "link") as handle:
        handle.write("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"
    (tmp_path / "folder").mkdir()
    (tmp_path / "to_folder").symlink_to("folder")
    with io.atomic_dir(tmp_path / "to_folder") as aside:
        (aside / "f").touch()
    assert os.listdir(tmp_path / "folder") == ["f"]
    assert (tmp_path / "to_folder").is_symlink()


def test_a_name_of_any_length_can_be_written(tmp_path: Path) -> None:
    with io.atomic_write(tmp_path / ("n" * 250)) as handle:
        handle.write("x")
    assert os.listdir(tmp_path) == ["n" * 250]


@pytest.mark.parametrize("old", [None, [], ["a", "b"]])
def test_a_folder_is_replaced_whole(tmp_path: Path, old: list[str] | None) -> None:
    target = tmp_path / "above" / "d"
    if old is not None:
        target.mkdir(parents=True)
        for name in old:
            (target / name).touch()
    with io.atomic_dir(target) as aside:
        (aside / "new").touch()
        assert (sorted(os.listdir(target)) if target.exists() else None) == old
    assert os.listdir(target) == ["new"]
    assert os.listdir(target.parent) == ["d"]


@pytest.mark.parametrize("old", [True, False])
def test_a_folder_that_fails_leaves_the_old_one(tmp_path: Path, old: bool) -> None:
    target = tmp_path / "d"
    if old:
        target.mkdir()
        (target / "a").touch()
    with pytest.raises(RuntimeError):
        fail_half_way_in_folder(target)
    assert os.listdir(tmp_path) == (["d"] if old else [])
    assert not old or os.listdir(target) == ["a"]


def test_a_killed_writer_of_a_folder_leaves_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "d"
    target.mkdir()
    (target / "a").touch()
    run_and_kill(
        f"from dlk.io import atomic_dir\nwith atomic_dir({str(target)!r}) as d:\n"
        f"    (d / 'half').touch(); {STOPPED}"
    )
    assert os.listdir(target) == ["a"]
    with io.atomic_dir(target) as aside:
        (aside / "new").touch()
    assert os.listdir(target) == ["new"]
    assert os.listdir(tmp_path) == ["d"]


def test_a_process_that_ended_and_was_not_reaped_is_not_alive() -> None:
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    if sys.platform == "linux":
        assert not io.is_alive(process.pid)
    process.wait()
    assert not io.is_alive(process.pid)
    assert io.is_alive(os.getpid())


def test_a_reader_always_finds_one_of_the_two_folders(tmp_path: Path) -> None:
    target, seen, done = tmp_path / "d", set(), threading.Event()
    with io.atomic_dir(target) as aside:
        (aside / "f").write_text("0")

    def watch() -> None:
        while not done.is_set():
            try:
                seen.add((target / "f").read_text())
            except FileNotFoundError:
                seen.add("nothing")

    thread = threading.Thread(target=watch)
    thread.start()
    for number in range(100):
        with io.atomic_dir(target) as aside:
            (aside / "f").write_text(str(number % 2))
    done.set()
    thread.join()
    if sys.platform == "linux":
        assert seen <= {"0", "1"}


def test_folders_change_places_where_the_system_cannot_do_it_in_one_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    for name in ("one", "two"):
        with io.atomic_dir(tmp_path / "d") as aside:
            (aside / name).touch()
    assert os.listdir(tmp_path / "d") == ["two"]
    assert os.listdir(tmp_path) == ["d"]


def test_a_folder_does_not_replace_a_file(tmp_path: Path) -> None:
    (tmp_path / "d").write_text("a file")
    with pytest.raises(NotADirectoryError), io.atomic_dir(tmp_path / "d"):
        pass
    assert (tmp_path / "d").read_text() == "a file"
    assert os.listdir(tmp_path) == ["d"]


# Other file systems -----------------------------------------------------------------------------


@pytest.fixture
def remote(request: pytest.FixtureRequest) -> str:
    """A folder of its own on fsspec's file system in memory."""
    return f"memory://{request.node.name}"


def test_a_remote_file_appears_whole_or_not_at_all(remote: str) -> None:
    url = f"{remote}/deep/f.txt"
    with pytest.raises(RuntimeError):
        fail_half_way(url, "half")
    assert not io.exists(url)
    with io.atomic_write(url) as handle:
        handle.write("é")
        assert not io.exists(url)
    with io.open_file(url) as handle:
        assert handle.read() == "é"
    with pytest.raises(RuntimeError):
        fail_half_way(url, b"half")
    with io.open_file(url, "rb") as handle:
        assert handle.read() == "é".encode()


def test_remote_files_are_found_and_summed_as_local_ones(remote: str, tmp_path: Path) -> None:
    for name in ("b.json", "a.json", "c.txt"):
        for folder in (remote, str(tmp_path)):
            with io.atomic_write(f"{folder}/{name}") as handle:
                handle.write(name)
    assert [p.rpartition("/")[2] for p in io.glob(f"{remote}/*.json")] == ["a.json", "b.json"]
    assert io.exists(io.glob(f"{remote}/*.json")[0])
    assert io.glob(tmp_path / "*.json") == [str(tmp_path / "a.json"), str(tmp_path / "b.json")]
    assert io.glob(f"file://{tmp_path}/**/c.*") == [str(tmp_path / "c.txt")]
    expected = hashlib.sha256(b"c.txt").hexdigest()
    assert io.sha256_of(f"{remote}/c.txt") == io.sha256_of(tmp_path / "c.txt") == expected


@pytest.mark.parametrize(
    ("path", "remote"),
    [("a/b", False), ("/a", False), ("file:///a", False), ("s3://b/k", True), ("memory://a", True)],
)
def test_a_url_of_another_file_system_is_told_from_a_path(path: str, remote: bool) -> None:
    assert io.is_remote(path) is remote


def test_a_file_url_is_a_local_path(tmp_path: Path) -> None:
    with io.atomic_write(f"file://{tmp_path}/f") as handle:
        handle.write("x")
    assert io.exists(f"file://{tmp_path}/f")
    assert (tmp_path / "f").read_text() == "x"


def test_a_file_url_is_a_path_wherever_a_path_may_be_given(toy, tmp_path, monkeypatch):
    """In configs, for data, runs, weights and output, in Python and in the shell."""
    from dlk.cli import main
    from dlk.predict import Predict
    from dlk.preprocess import Process
    from dlk.train import Train

    here = tmp_path / "elsewhere"
    here.mkdir()
    monkeypatch.chdir(here)
    rows = "".join(json.dumps(row) + "\n" for row in toy.rows("train"))
    (toy.folder / "train-1.jsonl").write_text(rows)
    url = f"file://{toy.folder}"
    made = [f"processor.processed_data_dir={url}/made", f"processor.cache_dir={url}/cache"]
    data = {"train": f"{url}/train-*.jsonl", "valid": f"{url}/train-1.jsonl"}
    done = Process(f"{url}/process.jsonc", overrides=made).run(data)
    assert done.dir == str(toy.folder / "made")
    config, more = f"{url}/fit.jsonc", [f"fit.processed_data_dir={url}/made", "trainer.max_steps=2"]
    (run,) = Train(config, overrides=[*more, f"fit.log_dir={url}/logs"]).run().runs
    assert run.dir == str(toy.folder / "logs" / "0")
    again = Train(config, overrides=more, resume=f"file://{run.dir}").run().runs
    assert again[0].skipped
    weights = f"file://{run.bundle}/model.safetensors"
    (other,) = Train(config, overrides=more, checkpoint=weights).run().runs
    assert other.dir == str(toy.folder / "logs" / "1")
    Predict(f"file://{run.bundle}").run(data["valid"], f"{url}/answers.parquet")
    assert (toy.folder / "answers.parquet").is_file()
    assert main(["check", config, "--set", more[0]]) == 0
    assert main(["bundle", "zip", f"file://{run.bundle}"]) == 0
    assert Path(f"{run.bundle}.zip").is_file()
    command = ["predict", f"file://{run.bundle}.zip", data["valid"]]
    assert main([*command, f"--output={url}/answers.jsonl"]) == 0
    assert (toy.folder / "answers.jsonl").is_file()
    assert list(here.iterdir()) == []


def test_a_full_disk_names_the_file_that_has_no_room(tmp_path):
    target = tmp_path / "x.zip"
    full = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(OSError, match=r"No space .*x\.zip"), io.atomic_write(target):
        raise full
    assert list(tmp_path.iterdir()) == []
