"""Worker processes: the same bytes for any number of them, and a clear end where one dies."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dlk.config import make, to_dict
from dlk.data.processor import _crew
from dlk.data.processor._crew import Crew, cores
from dlk.data.store import open_split
from dlk.errors import ConfigError, DataError
from dlk.preprocess import Process
from dlk.registry import register
from dlk.testing.data import tiny_tokenizer

pytestmark = pytest.mark.once

STEPS = '''
import os
import signal
import sys
import time

from dlk.config import IntField, Signature, StrField, cregister
from dlk.data.subprocessor.base import Subprocessor
from dlk.data.subprocessor.configs import SubprocessorConfig
from dlk.registry import register

MARK = 1


@cregister("subprocessor", "crew_step")
class CrewStepConfig(SubprocessorConfig):
    """Length of a text, times a mark."""

    mode = StrField("", help="what goes wrong at the text that says so")
    log = StrField("", help="file that tells which chunks were done, and by whom")
    pause_ms = IntField(0, help="how long a chunk takes")
    times = IntField(1, help="what the length is multiplied by")

    def signature(self):
        return Signature(reads=("sentence",), writes=("length",))


@register("subprocessor", "crew_step")
class CrewStep(Subprocessor):
    def transform(self, columns, ctx):
        if self.config.log:
            with open(self.config.log, "a") as handle:
                handle.write(f"{ctx.split} {columns['_row'][0]} {os.getpid()}\\n")
        print("a step that prints harms nobody")
        time.sleep(self.config.pause_ms / 1000)
        lengths = []
        for position, text in enumerate(columns["sentence"]):
            if "bad" in text:
                ctx.bad_row(position, "sentence", text, "is bad")
            if "trouble" in text:
                if self.config.mode == "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                if self.config.mode == "exit":
                    os._exit(7)
                if self.config.mode == "memory":
                    raise MemoryError
                if self.config.mode == "raise":
                    raise RuntimeError("trouble here")
            lengths.append(len(text) * self.config.times * MARK)
        ctx.count("letters", sum(lengths))
        return {"length": lengths}


@cregister("subprocessor", "crew_words")
class CrewWordsConfig(SubprocessorConfig):
    """One record a word."""

    def signature(self):
        return Signature(reads=("sentence",), writes=("word", "_part"))


@register("subprocessor", "crew_words")
class CrewWords(Subprocessor):
    def transform(self, columns, ctx):
        rows, parts, words = [], [], []
        for row, text in zip(columns["_row"], columns["sentence"], strict=True):
            for part, word in enumerate(text.split() or [""]):
                rows.append(row)
                parts.append(part)
                words.append(word)
        return {"word": words, "_row": rows, "_part": parts}
'''


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A project's own steps."""
    folder = tmp_path_factory.mktemp("project")
    path = folder / "crew_steps.py"
    path.write_text(STEPS)
    register.add_local([str(folder)])
    return folder


@pytest.fixture(autouse=True)
def _written_long_ago(monkeypatch):
    monkeypatch.setattr("dlk.data.processor._code._started", lambda: float("inf"))


def texts(count):
    words = ("a", "bb", "ccc", "dd e", "f g h")
    return [f"{words[n % 5]} {words[n % 3]} {n % 11}" for n in range(count)]


def run(folder, data, name="out", **values):
    steps = values.pop("steps", {"crew_step": {}})
    children = {f"@subprocessor@{key}": step for key, step in steps.items()}
    config = make(
        "processor",
        "default",
        {"processed_data_dir": str(folder / name), "chunk_size": 7, **values, **children},
    )
    return Process(config).run(data)


def files(folder):
    """Return a digest of every file below a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    }


def test_any_number_of_workers_writes_the_same_bytes_with_rejects_windows_and_misfits(
    source, tmp_path
):
    import datetime as dt

    rows = [
        {"sentence": text, "label": "xyz"[n % 3], "value": n} for n, text in enumerate(texts(60))
    ]
    rows[3]["sentence"] = "bad one"
    rows[20]["value"] = "no number"  # of another type than the chunks before
    for row in rows[42:49]:  # a whole chunk that fits together, and not with those before
        row["value"] = "text"
    rows[33]["value"] = 2.5  # widens the whole column
    rows[40]["label"] = ["x", None]  # cannot be learnt from
    rows[50]["sentence"] = "half \ud800"
    train = tmp_path / "train.jsonl"
    train.write_text("".join(json.dumps(row) + "\n" for row in rows))
    # what no pipe takes as plain data is done here instead
    valid = {
        "sentence": texts(9),
        "label": ["x"] * 9,
        "value": [dt.datetime(2020, 1, 1)] * 8 + [None],  # noqa: DTZ001 - any value will do
    }
    steps = {
        "fast_tokenizer": {"tokenizer_path": tiny_tokenizer(tmp_path / "t.json")},
        "crew_step": {},
        "token_gather#labels": {"gather_columns": ["label"], "token_vocab": "l.json"},
        "token_gather#words": {"gather_columns": ["sentence"], "token_vocab": "w.json"},
        "token2id": {"vocab": "l.json", "input_map": {"tokens": "label"}},
        "crew_words": {},
    }
    found = {}
    for workers in (0, 1, 2):
        made = run(
            tmp_path,
            {"train": str(train), "valid": valid},
            steps=steps,
            num_workers=workers,
            bad_rows="reject",
            shard_rows=40,
            cache=False,
        )
        found[workers] = files(tmp_path / "out"), made
    assert found[0] == found[1] == found[2]
    assert found[0][1].rejects == {"train": 11, "valid": 0}
    assert len([name for name in found[0][0] if name.startswith("train/data")]) > 2
    listed = (tmp_path / "out" / "train" / "rejects.jsonl").read_text().splitlines()
    assert [json.loads(line)["row"] for line in listed] == [3, 20, 40, *range(42, 49), 50]


def test_workers_do_the_work_and_leave_the_environment_alone(source, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "true")
    log = tmp_path / "log"
    run(
        tmp_path,
        {"train": {"sentence": texts(50)}},
        steps={"crew_step": {"log": str(log), "pause_ms": 30}},
        num_workers=2,
    )
    pids = {line.split()[2] for line in log.read_text().splitlines()}
    assert len(pids) == 2
    assert str(os.getpid()) not in pids
    assert os.environ["TOKENIZERS_PARALLELISM"] == "true"
    assert capfd.readouterr().out == ""  # what steps print is no answer
    for pid in pids:
        assert not Path(f"/proc/{pid}/cmdline").exists()


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("kill", r"processing train: rows 7 to 13: the worker process \d+ was ended by signal 9"),
        ("exit", r"the worker process \d+ ended with status 7"),
        ("memory", "rows 7 to 13: a worker process ran out of memory"),
    ],
)
def test_a_worker_that_dies_is_told_and_leaves_the_old_folder_whole(
    source, tmp_path, mode, message
):
    data = {"sentence": texts(30)}
    run(tmp_path, {"train": data}, num_workers=0, cache=False)
    before = files(tmp_path)
    data["sentence"][9] = "trouble"
    with pytest.raises(DataError, match=message):
        run(
            tmp_path,
            {"train": data},
            steps={"crew_step": {"mode": mode}},
            num_workers=2,
            cache=False,
        )
    assert files(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_a_step_raises_in_a_worker_is_raised_here(source, tmp_path):
    data = {"sentence": [*texts(20), "trouble"]}
    with pytest.raises(RuntimeError, match="trouble here"):
        run(tmp_path, {"train": data}, steps={"crew_step": {"mode": "raise"}}, num_workers=1)
    data["sentence"][10] = "bad"
    with pytest.raises(DataError, match="train: row 10, column 'sentence': is bad"):
        run(tmp_path, {"train": data}, num_workers=1)
    assert not (tmp_path / "out").exists()


def test_a_step_that_no_file_holds_stays_in_this_process(source, tmp_path, monkeypatch):
    monkeypatch.setattr(type(make("subprocessor", "crew_step", {})), "__module__", "__main__")
    with pytest.raises(ConfigError, match="a step that no file holds cannot be built"):
        run(tmp_path, {"train": {"sentence": texts(3)}}, num_workers=1)
    assert run(tmp_path, {"train": {"sentence": texts(3)}}).rows == {"train": 3}


def script(source, folder, steps, **values):
    """Return a program without a main guard that processes, as users write them."""
    children = {f"@subprocessor@{key}": step for key, step in steps.items()}
    config = {
        "@processor@default": {
            "processed_data_dir": str(folder / "out"),
            "chunk_size": 7,
            **values,
            **children,
        }
    }
    return f"""
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # also where no terminal is
from dlk.registry import register
register.add_local([{str(source)!r}])
from dlk.preprocess import Process
print("ready", flush=True)
Process({config!r}).run({{"train": {{"sentence": {texts(70)!r}}}}})
"""


def start(program, folder):
    path = folder / "program.py"
    path.write_text(program)
    return subprocess.Popen(
        [sys.executable, str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a terminal sends Ctrl-C to the whole group, as the test does
    )


def wait_for(log, lines, process):
    """Wait until so many chunks were begun."""
    limit = time.monotonic() + 60
    while not log.exists() or len(log.read_text().splitlines()) < lines:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < limit
        time.sleep(0.01)


def gone(pids):
    limit = time.monotonic() + 30
    while any(_runs(pid) for pid in pids):
        assert time.monotonic() < limit, "a worker goes on"
        time.sleep(0.02)


def _runs(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_end_by_ctrl_c_or_kill_ends_the_workers_and_leaves_the_old_folder(source, tmp_path, how):
    run(tmp_path, {"train": {"sentence": ["old"]}}, num_workers=0)
    before = files(tmp_path / "out")
    log = tmp_path / "log"
    steps = {"crew_step": {"log": str(log), "pause_ms": 100}}
    process = start(script(source, tmp_path, steps, num_workers=2), tmp_path)
    with process:
        wait_for(log, 3, process)
        os.killpg(process.pid, how)
        _, told = process.communicate(timeout=60)
    gone({line.split()[2] for line in log.read_text().splitlines()})
    assert files(tmp_path / "out") == before
    if how == signal.SIGINT:
        assert told.count("KeyboardInterrupt") == 1, "workers have nothing to say"
        assert not list(tmp_path.glob(".out.*"))


def done_chunks(log):
    if not log.exists():  # all was done before
        return []
    return [int(line.split()[1]) for line in log.read_text().splitlines()]


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("workers", "chunks"),
    [
        (0, 4),
        (2, 5),
        *(pytest.param(0, chunks, marks=SLOW) for chunks in (0, 1, 2, 6, 9)),
        *(pytest.param(2, chunks, marks=SLOW) for chunks in (1, 8)),
    ],
)
def test_after_a_kill_only_what_is_missing_is_done_and_the_result_is_the_same(
    source, tmp_path, workers, chunks
):
    (tmp_path / "whole").mkdir()
    log = tmp_path / "log"
    steps = {"crew_step": {"log": str(log), "pause_ms": 30}}
    data = {"train": {"sentence": texts(70)}}
    program = script(source, tmp_path, steps, num_workers=workers)
    process = start(program, tmp_path)
    with process:
        wait_for(log, chunks + 1, process)
        process.kill()
        process.wait(60)
        process.stdout.close()
        process.stderr.close()
    begun = done_chunks(log)
    gone({line.split()[2] for line in log.read_text().splitlines()})
    assert not (tmp_path / "out").exists()
    log.unlink()
    run(tmp_path, data, steps=steps, num_workers=0)
    again = done_chunks(log)
    # each chunk of the first run but those under way when it ended is there
    assert len(set(begun) & set(again)) <= max(1, workers) * 2
    assert set(begun) | set(again) == set(range(0, 70, 7))
    # a worker that begins a chunk has kept the one before
    assert len(again) <= 10 - (chunks + 1 - max(1, workers))
    assert not list(tmp_path.glob(".out.*")), "what the killed run left is swept away"
    other = tmp_path / "whole"
    run(other, data, steps=steps, num_workers=0, cache=False)
    same, whole = files(tmp_path / "out"), files(other / "out")
    same.pop("process.json")
    whole.pop("process.json")  # it names the folder
    assert same == whole


def test_the_automatic_choice_stays_here_where_little_is_to_do(source, tmp_path):
    log = tmp_path / "log"
    run(tmp_path, {"train": {"sentence": texts(50)}}, steps={"crew_step": {"log": str(log)}})
    assert {line.split()[2] for line in log.read_text().splitlines()} == {str(os.getpid())}


def test_the_automatic_choice_takes_workers_where_much_is_left_and_cores_are_idle(
    source, tmp_path, monkeypatch
):
    monkeypatch.setattr(_crew, "TRIAL_S", 0.05)
    monkeypatch.setattr(_crew, "cores", lambda: 2)
    log = tmp_path / "log"
    run(
        tmp_path,
        {"train": {"sentence": texts(100)}},
        steps={"crew_step": {"log": str(log), "pause_ms": 20}},
    )
    pids = [line.split()[2] for line in log.read_text().splitlines()]
    assert pids[0] == str(os.getpid()) != pids[-1]


@pytest.mark.parametrize(
    ("wall", "cpu", "done", "total", "wanted"),
    [
        (1.0, 1.0, 10, None, False),  # has not gone on for long
        (10.0, 10.0, 10, None, True),
        (10.0, 10.0, 10, 11, False),  # nearly done
        (10.0, 10.0, 10, 1000, True),
        (10.0, 35.0, 10, 1000, False),  # threads keep the cores busy
    ],
)
def test_workers_are_wanted_where_they_pay(monkeypatch, wall, cpu, done, total, wanted):
    monkeypatch.setattr(_crew, "cores", lambda: 4)
    crew = Crew(None, is_possible=True)
    monkeypatch.setattr(_crew.time, "perf_counter", lambda: 0.0)
    monkeypatch.setattr(_crew.time, "process_time", lambda: 0.0)
    crew.begin({})
    monkeypatch.setattr(_crew.time, "perf_counter", lambda: wall)
    monkeypatch.setattr(_crew.time, "process_time", lambda: cpu)
    assert crew.is_wanted(done, total) is wanted
    assert not Crew(0, is_possible=True).is_wanted(done, total)
    assert Crew(3, is_possible=True).is_wanted(0, 1)


def test_one_core_means_this_process_alone(monkeypatch):
    monkeypatch.setattr(_crew, "cores", lambda: 1)
    assert Crew(None, is_possible=True).size == 0
    assert cores() >= 1


def test_workers_use_what_was_learnt_before(source, tmp_path):
    steps = {
        "crew_step": {},
        "token_gather": {"gather_columns": ["sentence"]},
        "token2id": {"input_map": {"tokens": "sentence"}, "vocab": "token_vocab.json"},
    }
    data = {"sentence": texts(30)}
    run(tmp_path, {"train": data}, steps=steps, num_workers=0)
    run(tmp_path, {"test": data}, steps=steps, num_workers=1)
    train, test = (open_split(tmp_path / "out" / name) for name in ("train", "test"))
    assert train.rows(range(30)) == test.rows(range(30))


def test_a_worker_is_in_no_group_that_ctrl_c_reaches():
    worker = _crew._Worker()
    try:
        assert os.getpgid(worker.process.pid) == worker.process.pid != os.getpgrp()
    finally:
        worker.end()
    assert worker.process.returncode == -signal.SIGKILL


def test_after_its_end_a_crew_asks_new_workers():
    crew = Crew(1, is_possible=True)
    try:
        pids = []
        for _ in range(2):
            crew.begin({"do": "nothing"})
            with pytest.raises(_crew.Refused, match="AssertionError"):
                crew.submit({"do": "write", "columns": {}}, "a test").result(60)
            pids.append(crew._workers[0].process.pid)
            crew.end()
            assert crew._idle.empty()
            assert not crew._workers
        assert pids[0] != pids[1]
    finally:
        crew.end()


def test_a_worker_that_died_is_given_no_other_chunk():
    crew = Crew(1, is_possible=True)
    try:
        crew.begin({"do": "setup"})
        with pytest.raises(_crew.Refused):
            crew.submit({"do": "write"}, "a test").result(60)
        crew._workers[0].process.kill()
        with pytest.raises(DataError, match="was ended by signal 9"):
            crew.submit({"do": "write"}, "a test").result(60)
        with pytest.raises(_crew.Refused):
            crew.submit({"do": "write"}, "a test").result(60)
    finally:
        crew.end()


def test_a_worker_that_cannot_be_set_up_answers_nothing_by_the_pass_before(source, tmp_path):
    values = {"processed_data_dir": str(tmp_path / "out"), "@subprocessor@crew_step": {}}
    config = make("processor", "default", values)
    setup = {
        "do": "setup",
        "config": to_dict(config),
        "folder": str(tmp_path),
        "meta": "",
        "seed": 0,
        "sources": [str(source)],
        "modules": [],
        "cache": {},
    }
    message = {
        "do": "write",
        "stage": "train",
        "split": "train",
        "screened": [],
        "columns": {"sentence": ["a"], "_row": [0]},
    }
    crew = Crew(1, is_possible=True)
    try:
        crew.begin(setup)
        answer, body = crew.submit(message, "a test").result(60)
        assert answer["counts"] == {"crew_step: letters": 1}
        assert body
        crew.begin({**setup, "meta": str(tmp_path / "missing")})
        for _ in range(2):
            with pytest.raises(_crew.Refused, match=r"holds no meta\.json"):
                crew.submit(message, "a test").result(60)
        crew.begin(setup)
        assert crew.submit(message, "a test").result(60)[0]["counts"]
    finally:
        crew.end()
