"""Snapshots of a run at a URL: whole at each moment, whatever breaks."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import fsspec
import pytest

from dlk import _mirror, _remote, _remote_run
from dlk._mirror import Mirror
from dlk._remote_run import OBJECTS, RemoteRuns, fetch, read_index
from dlk.errors import RunError, StateWarning, StorageError

pytestmark = pytest.mark.once

URL = "memory://mirrored/logs"


@pytest.fixture(autouse=True)
def _places(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(_mirror, "PAUSES", ())
    monkeypatch.setattr(_remote_run, "_SETTLES", 0.0)
    memory = fsspec.filesystem("memory")
    if memory.exists("/mirrored"):
        memory.rm("/mirrored", recursive=True)


def silent(line):
    pass


def written(run, files):
    """Let a run's folder hold files, and nothing else of before."""
    folder = Path(run.dir)
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_file() and path.name[0] != ".":
            path.unlink()
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        aside = folder / ".aside"
        aside.write_text(text)
        os.replace(aside, folder / name)


def begun(url=URL):
    run = RemoteRuns(url).claim(silent)
    Path(run.dir).mkdir(parents=True)
    return run


def read(url, folder):
    """The newest snapshot, as another machine gets it."""
    index = read_index(url)
    if index is None:
        return None
    fetch(url, index, folder)
    return {
        p.relative_to(folder).as_posix(): p.read_text() for p in folder.rglob("*") if p.is_file()
    }


LIVES = [
    {"config.json": "{}", "metrics.jsonl": ""},
    {
        "config.json": "{}",
        "metrics.jsonl": '{"a": 1}\n',
        "state/step=1.state": "one",
        "checkpoint/a.ckpt": "one",
    },
    {
        "config.json": "{}",
        "metrics.jsonl": '{"a": 1}\n{"a": 2}\n',
        "state/step=2.state": "two",
        "checkpoint/b.ckpt": "two",
    },
    {
        "config.json": "{}",
        "metrics.jsonl": '{"a": 1}\n{"a": 2}\n',
        "checkpoint/b.ckpt": "two",
        "bundle/bundle.json": "{}",
        "bundle/model.safetensors": "two",
        "result.json": '{"state": "done"}',
    },
]


def live(run):
    """One run: each snapshot is taken by hand, in the order of things."""
    mirror = Mirror(run, silent, in_background=False)
    for number, files in enumerate(LIVES):
        written(run, files)
        yield mirror, number


class Killed(BaseException):
    """The process is no more."""


class Breaking:
    """A file system of which one operation fails, before or after it took effect."""

    def __init__(self, system, plan):
        self._system, self._plan = system, plan

    def __getattr__(self, name):
        real = getattr(self._system, name)
        known = (
            "put_file",
            "mv",
            "rm_file",
            "info",
            "ls",
            "exists",
            "get_file",
            "makedirs",
            "mkdir",
        )
        if name not in known:
            return real

        def call(*args, **kwargs):
            plan = self._plan
            plan["count"] += 1
            if plan["dead"]:
                raise Killed
            if plan["count"] != plan["at"]:
                return real(*args, **kwargs)
            if plan["how"] == "after":
                real(*args, **kwargs)
            elif plan["how"] == "half" and name == "put_file":
                path, inner = args
                self._system.pipe_file(inner, Path(path).read_bytes()[:1])
            elif plan["how"] == "killed":
                plan["dead"] = True
                raise Killed
            raise OSError("the connection broke")

        return call


@pytest.fixture
def plan(monkeypatch):
    found = {"count": 0, "at": 0, "how": "before", "dead": False}
    real = _remote._system

    def system(url):
        given, inner = real(url)
        return Breaking(given, found), inner

    monkeypatch.setattr(_remote, "_system", system)
    return found


def snapshots(run):
    """Take them; return how far it came, and which are whole at the URL after each."""
    for mirror, number in live(run):
        try:
            mirror._snapshot(is_done=number == 3, is_last=True)
        except (OSError, StorageError):
            yield number, False
        else:
            yield number, True


@pytest.mark.parametrize("how", ["before", "after", "half", "killed"])
@pytest.mark.parametrize("each", [23, pytest.param(1, marks=pytest.mark.slow)])
def test_whichever_operation_fails_the_last_good_snapshot_is_read(tmp_path, plan, how, each):
    run = begun()
    plan["count"] = 0
    assert all(good for _, good in snapshots(run))
    total = plan["count"]
    assert total > 60
    for at in range(1, total + 1, each):
        fsspec.filesystem("memory").rm("/mirrored", recursive=True)
        run = begun()
        last, folder = -1, tmp_path / f"{how}{at}"
        plan.update(count=0, at=at, how=how)
        try:
            for number, good in snapshots(run):
                keep, plan["at"] = plan["at"], 0
                count = plan["count"]
                found = read(run.url, folder / str(number))
                plan.update(at=keep, count=count)
                here = LIVES.index(found) if found is not None else -1
                assert here in ({number} if good else {last, number}), (at, number)
                last, was_good = here, good
        except Killed:
            plan.update(dead=False, at=0)
            found = read(run.url, folder / "killed")
            assert found is None or LIVES.index(found) in (last, last + 1)
            # who goes on leaves nothing behind of what was killed
            written(run, LIVES[2])
            mirror = Mirror(run, silent, in_background=False)
            mirror._snapshot(is_done=False, is_last=True)
            assert read(run.url, folder / "again") == LIVES[2]
            last, was_good = 2, True
        else:
            assert last == 3 or at > total - 40, at
        plan.update(at=0)
        run.lease.release()
        if was_good:  # else the next one does it, as `finish` does
            check_clean(run.url)


def check_clean(url):
    index = read_index(url)
    places = {each.place for each in index.files.values()}
    there = {
        name.partition(url.removeprefix("memory:/"))[2][1:]
        for name in fsspec.filesystem("memory").find(url)
    }
    assert {t for t in there if t.startswith(f"{OBJECTS}/")} == {
        p for p in places if p.startswith(f"{OBJECTS}/")
    }
    assert not [t for t in there if "/." in f"/{t}"]


def test_only_what_changed_is_sent(monkeypatch):
    run = begun()
    sent = []
    real = _remote.send
    monkeypatch.setattr(_remote, "send", lambda path, url: (sent.append(url), real(path, url)))
    counts = []
    for mirror, number in live(run):
        sent.clear()
        mirror._snapshot(is_done=number == 3, is_last=True)
        counts.append(sum(f"/{OBJECTS}/" in url or "/bundle/" in url for url in sent))
        mirror._snapshot(is_done=number == 3, is_last=True)
    # one text is of a state and a checkpoint
    assert counts == [2, 2, 2, 2]
    assert sum(url.endswith("run.json") for url in sent) == 1
    run.lease.release()


def test_a_line_that_is_being_written_is_left_out(tmp_path):
    run = begun()
    written(run, {"metrics.jsonl": '{"a": 1}\n{"a"'})
    mirror = Mirror(run, silent)
    mirror.finish(is_done=False)
    assert read(run.url, tmp_path / "found") == {"metrics.jsonl": '{"a": 1}\n'}


def test_a_failed_upload_is_warned_of_once_and_made_up_for(monkeypatch, tmp_path):
    run = begun()
    written(run, LIVES[0])
    real = _remote.send

    def refuse(path, url):
        raise StorageError(f"cannot write {url}: no")

    mirror, tried = Mirror(run, silent), threading.Event()
    monkeypatch.setattr(_remote, "send", lambda path, url: (tried.set(), refuse(path, url)))

    def fail():
        for _ in range(3):
            tried.clear()
            mirror.changed()
            assert tried.wait(30)
        with pytest.raises(StorageError, match=r"All of it is in .*--resume` sends what is"):
            mirror.finish(is_done=False)

    with pytest.warns(StateWarning, match=r"run 0 cannot be sent to memory.*goes on") as told:
        fail()
    assert len(told) == 1
    monkeypatch.setattr(_remote, "send", real)
    Mirror(run, silent).finish(is_done=False)
    assert read(run.url, tmp_path / "found") == LIVES[0]


def test_what_another_machine_went_on_with_is_not_replaced(monkeypatch, tmp_path):
    run = begun()
    written(run, LIVES[1])
    first = Mirror(run, silent)
    first.finish(is_done=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    other = RemoteRuns(URL).run("0")
    other.lease.acquire(silent)
    other.bring()
    assert Path(other.dir, "state/step=1.state").read_text() == "one"
    written(other, LIVES[2])
    Mirror(other, silent).finish(is_done=False)
    written(run, {**LIVES[2], "state/step=2.state": "another"})
    with pytest.raises(StorageError, match=r"gone on with by another process.*copy what you need"):
        Mirror(run, silent).finish(is_done=False)
    assert read(run.url, tmp_path / "found") == LIVES[2]
    assert run.look() != run.dir  # the other one is newer


def test_a_folder_that_was_removed_replaces_no_snapshot(tmp_path):
    run = begun()
    written(run, LIVES[1])
    mirror = Mirror(run, silent)
    run.drop()
    written(run, {"metrics.jsonl": ""})
    with pytest.raises(StorageError, match="was removed while the run went on"):
        mirror.finish(is_done=False)
    assert read(run.url, tmp_path / "found") in (None, LIVES[1])


def test_who_writes_is_named_and_left_alone_while_there_are_signs_of_life(monkeypatch, tmp_path):
    monkeypatch.setattr(_remote_run, "BEAT", 0.1)
    run = begun()
    with pytest.raises(RunError, match=rf"process {os.getpid()} of .* since 20"):
        RemoteRuns(URL).run("0").lease.acquire(silent)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    said = []
    other = RemoteRuns(URL).run("0")
    with pytest.raises(RunError, match="is writing a run to memory://"):
        other.lease.acquire(said.append)
    assert "a sign of life" in said[0]
    # killed: no beat any more, and nothing was taken back
    run.lease._stop.set()
    run.lease._thread.join()
    other.lease.acquire(said.append)
    assert json.loads(fsspec.filesystem("memory").cat_file("/mirrored/logs/0/owner.json"))
    other.lease.release()
    assert not _remote.exists(f"{URL}/0/owner.json")


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"schema": "dlk.run/2"}',
        '{"schema": "dlk.run/1", "snapshot": "a", "taken": "b", "head": {}, "files": '
        '{"../x": {"sha256": "' + "0" * 64 + '", "size": 1, "place": "objects/x"}}}',
        '{"schema": "dlk.run/1", "snapshot": "a", "taken": "b", "head": {}, "files": '
        '{"x": {"sha256": "' + "0" * 64 + '", "size": 1, "place": "../../x"}}}',
        '{"schema": "dlk.run/1", "snapshot": "a", "taken": "b", "head": {}, "files": '
        '{"x\\u0000": {"sha256": "' + "0" * 64 + '", "size": 1, "place": "objects/x"}}}',
        '{"schema": "dlk.run/1", "snapshot": "a", "taken": "b", "head": {}, "files": '
        '{"a/b": {"sha256": "' + "0" * 64 + '", "size": 1, "place": "objects/x"}, '
        '"a": {"sha256": "' + "0" * 64 + '", "size": 1, "place": "objects/x"}}}',
        '{"schema": "dlk.run/1", "snapshot": "a", "taken": "b", "head": {}, "files": '
        '{"a/./b": {"sha256": "' + "0" * 64 + '", "size": 1, "place": "objects/x"}}}',
    ],
)
def test_a_damaged_or_hostile_index_is_refused(text):
    fsspec.filesystem("memory").pipe_file("/mirrored/logs/0/run.json", text.encode())
    with pytest.raises(RunError, match=r"run\.json is damaged"):
        read_index(f"{URL}/0")


def test_numbers_go_on_after_those_of_others_and_a_store_of_objects_settles_who_was_first(
    monkeypatch,
):
    fsspec.filesystem("memory").pipe_file("/mirrored/logs/4/run.json", b"{}")
    first = begun()
    assert first.name == "5"
    first.lease.release()
    monkeypatch.setattr(_remote, "_APPEAR_WHOLE", frozenset({"memory"}))
    second = begun()
    assert second.name == "6"
    real = _remote_run.Lease._say

    def say(self):  # another machine is a little later, and the last to write
        real(self)
        if self.url.endswith("/7"):
            owner = {**json.loads(_remote_run._read(self.url, "owner.json")), "token": "other"}
            _remote_run._write(f"{self.url}/owner.json", json.dumps(owner))

    monkeypatch.setattr(_remote_run.Lease, "_say", say)
    third = begun()
    assert third.name == "8"
    for run in (second, third):
        run.lease.release()


@pytest.mark.parametrize("has_weights", [True, False])
def test_a_run_that_is_replaced_is_kept_if_it_has_weights(tmp_path, has_weights):
    runs = RemoteRuns(URL)
    run = runs.run("a=1/b=2")
    for number, text in enumerate(("one", "two", "three")):
        run = runs.run("a=1/b=2")
        run.take(silent)
        Path(run.dir).mkdir(parents=True)
        files = {"config.json": "{}", "checkpoint/a.ckpt" if has_weights else "x": text}
        written(run, files)
        Mirror(run, silent).finish(is_done=False)
        assert os.listdir(runs.folder / "a=1") == ["b=2"]
        assert read(run.url, tmp_path / f"new{number}") == files
        old = read(f"{run.url}.old", tmp_path / f"old{number}")
        assert (old or {}).get("checkpoint/a.ckpt") == (
            [None, "one", "two"][number] if has_weights else None
        )
    run.drop()
    assert not (runs.folder / "a=1").exists()


def test_of_two_machines_that_go_on_with_a_run_at_once_one_is_refused(monkeypatch, tmp_path):
    """Each finds nobody there, before the other has said that it writes."""
    run = begun()
    run.lease.release()
    machines = []
    for name in ("one", "other"):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name))
        machines.append(RemoteRuns(URL).run("0"))
    said = threading.Barrier(2, timeout=60)
    real_read, real_say = _remote_run.Lease._read, _remote_run.Lease._say

    def say(self):  # both looked before
        if self._beats == 0:
            said.wait()
        real_say(self)
        if self._beats == 0:
            said.wait()  # which a pause stands for elsewhere

    one = threading.Lock()  # files of memory have one place for all who read

    def read_owner(self):
        with one:
            return real_read(self)

    monkeypatch.setattr(_remote_run.Lease, "_say", say)
    monkeypatch.setattr(_remote_run.Lease, "_read", read_owner)
    refused = []

    def acquire(machine):
        try:
            machine.lease.acquire(silent)
        except RunError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=acquire, args=(each,)) for each in machines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(refused) == 1
    assert "began to write a run to memory://mirrored/logs/0 just now" in refused[0]
    assert real_read(machines[0].lease) is not None
    for each in machines:
        each.lease.release()
    assert real_read(machines[0].lease) is None


def test_who_goes_on_looks_again_after_a_while_and_who_made_the_folder_does_not(monkeypatch):
    slept = []
    monkeypatch.setattr(_remote_run.time, "sleep", slept.append)
    monkeypatch.setattr(_remote_run, "_SETTLES", 2.0)
    run = begun()
    run.lease.release()
    assert slept == []
    again = RemoteRuns(URL).run("0")
    again.lease.acquire(silent)
    again.lease.release()
    assert slept == [2.0]


def test_who_wrote_slower_than_that_replaces_no_snapshot(tmp_path):
    run = begun()
    lives = live(run)
    mirror, _ = next(lives)
    owner = {**json.loads(_remote_run._read(run.url, "owner.json")), "token": "other"}
    _remote_run._write(f"{run.url}/owner.json", json.dumps(owner))
    with pytest.raises(StorageError, match="it was gone on with by process"):
        mirror.finish(is_done=False)
    assert read(run.url, tmp_path / "found") is None


def test_what_a_last_upload_sent_that_died_does_not_stay(monkeypatch, tmp_path):
    """On the other machine the event file has another name, and there is no error any more."""
    run = begun()
    lives = live(run)
    next(lives), next(lives)
    mirror, _ = next(lives)
    mirror._snapshot(is_done=False, is_last=False)
    files = {**LIVES[-1], "metrics/events.one": "x", "error.txt": "x", "source/fit.jsonc": "{}"}
    written(run, files)
    with monkeypatch.context() as patch:
        real = _remote.send

        def send(path, url):
            if url.endswith("run.json"):
                raise OSError("the connection broke")
            real(path, url)

        patch.setattr(_remote, "send", send)
        with pytest.raises(StorageError):
            mirror.finish(is_done=True)
    assert _remote.exists(f"{run.url}/bundle/bundle.json")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    runs = RemoteRuns(URL)
    other = runs.run("0")
    other.lease.acquire(silent)
    other.bring()
    below = runs.run("0/x=1")  # another run, of a name with more parts
    below.take(silent)
    written(below, LIVES[0])
    Mirror(below, silent).finish(is_done=True)
    mirror = Mirror(other, silent, in_background=False)
    (Path(other.dir) / "metrics.jsonl").write_text("later")
    mirror._snapshot(is_done=False, is_last=False)  # the run goes on: nothing of it is done
    there = set(_remote.files_below(other.url))
    assert {name for name in there if not name.startswith(("objects/", "x=1/"))} == {
        "owner.json",
        "run.json",
    }
    written(other, {**LIVES[-1], "metrics/events.other": "x"})
    mirror.finish(is_done=True)
    there = set(_remote.files_below(other.url))
    assert {name for name in there if name.startswith(("metrics", "source", "error"))} == {
        "metrics.jsonl",
        "metrics/events.other",
    }
    assert read(below.url, tmp_path / "below") == LIVES[0]


def test_where_a_server_replaces_no_file_the_newest_that_was_moved_away_is_read(monkeypatch):
    memory = fsspec.filesystem("memory")
    place = "/mirrored/logs/0"
    for number, text in enumerate(("older", "newest", "old")):
        memory.pipe_file(f"{place}/.run.json.{number}.old", text.encode())
    for number, day in enumerate((1, 3, 2)):
        file = memory.store[f"{place}/.run.json.{number}.old"]
        file.modified = file.created = file.modified.replace(year=2020, month=1, day=day)
    assert _remote_run._read(f"{URL}/0", "run.json") == "newest"
    real = _remote.listed

    def listed(url):  # the new one comes after it was looked for, and the old ones go
        found = real(url)
        for name in found:
            memory.rm_file(f"{place}/{name}")
        memory.pipe_file(f"{place}/run.json", b"new")
        monkeypatch.setattr(_remote, "listed", real)
        return found

    monkeypatch.setattr(_remote, "listed", listed)
    assert _remote_run._read(f"{URL}/0", "run.json") == "new"
    assert _remote_run._read(f"{URL}/1", "run.json") is None


def test_runs_may_stand_at_the_root_of_a_file_system():
    memory = fsspec.filesystem("memory")
    runs = RemoteRuns("memory://")
    runs.check()
    run = runs.claim(silent)
    try:
        Path(run.dir).mkdir(parents=True)
        written(run, LIVES[0])
        Mirror(run, silent).finish(is_done=False)
        assert memory.exists(f"/{run.name}/run.json")
        assert run.name in set(RemoteRuns("memory://").numbers())
        assert read_index(RemoteRuns("memory://").run(run.name).url) is not None
    finally:
        memory.rm(f"/{run.name}", recursive=True)
