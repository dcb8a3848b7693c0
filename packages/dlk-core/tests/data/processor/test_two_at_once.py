"""Two that process at once, with one cache, into one folder: each result is that of one alone."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from dlk.data.processor import default
from dlk.data.store import open_split
from dlk.errors import DataError
from dlk.preprocess import Process

OLD = [{"label": label} for label in "xyxyx"]
NEW = [{"label": label} for label in "zzyzx"]  # by how often: z, y, x


def config(folder, **more):
    return {
        "@processor@default": {
            "processed_data_dir": str(folder),
            "cache_dir": str(folder.parent / "cache"),
            **more,
            "@subprocessor@token_gather": {"gather_columns": ["label"], "pad": None, "unk": None},
            "@subprocessor@token2id": {
                "vocab": "token_vocab.json",
                "input_map": {"tokens": "label"},
                "output_map": {"token_ids": "ids"},
            },
        }
    }


def content(folder):
    """All files of a folder; the place of it is no part of them."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes().replace(
            str(folder).encode(), b"FOLDER"
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "process.json"
    }


@pytest.fixture
def alone(tmp_path):
    folder = tmp_path / "alone" / "processed"
    Process(config(folder)).run({"train": OLD, "valid": OLD})
    return content(folder)


@pytest.fixture
def meanwhile(monkeypatch):
    """Does something of another process before a split is written, or after it was."""
    real, left = default.write_split, []

    def write_split(*args, split, **kwargs):
        plan = left.pop() if left and left[-1][:1] == (split,) else None
        if plan and plan[1] == "before":
            plan[2]()
        made = real(*args, split=split, **kwargs)
        if plan and plan[1] == "after":
            plan[2]()
        return made

    monkeypatch.setattr(default, "write_split", write_split)
    return lambda split, when, what: left.append((split, when, what))


@pytest.mark.parametrize("when", ["before", "after"])
def test_of_two_that_learn_the_last_one_s_folder_stands_whole(tmp_path, alone, meanwhile, when):
    folder = tmp_path / "processed"
    other = []
    meanwhile(
        "valid",
        when,
        lambda: other.append(Process(config(folder)).run({"train": NEW, "valid": NEW})),
    )
    Process(config(folder)).run({"train": OLD, "valid": OLD})
    assert other
    assert content(folder) == alone
    assert sorted(path.name for path in tmp_path.iterdir() if path.name[0] == ".") == []


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_split_is_not_put_beside_what_another_learnt_meanwhile(tmp_path, meanwhile, when):
    """Its ids would mean other labels there."""
    folder = tmp_path / "processed"
    Process(config(folder)).run({"train": OLD})
    meanwhile("test", when, lambda: Process(config(folder)).run({"train": NEW}))
    with pytest.raises(DataError, match="was processed anew by another process meanwhile"):
        Process(config(folder)).run({"test": OLD})
    assert sorted(path.name for path in folder.iterdir()) == ["meta", "process.json", "train"]
    Process(config(folder)).run({"test": OLD})
    ids = {
        label: number
        for split, rows in (("train", NEW), ("test", OLD))
        for label, number in zip(
            [row["label"] for row in rows],
            open_split(folder / split).table.column("ids").to_pylist(),
            strict=True,
        )
    }
    assert len(set(ids.values())) == 3


def test_what_a_killed_process_left_of_a_split_is_no_data_of_anybody(tmp_path):
    folder = tmp_path / "processed"
    Process(config(folder)).run({"train": OLD})
    (folder / ".test.host-1-00000000.part").mkdir()
    Process(config(folder)).run({"train": NEW})
    assert sorted(path.name for path in folder.iterdir()) == ["meta", "process.json", "train"]


def test_two_that_add_splits_both_do(tmp_path, meanwhile):
    folder = tmp_path / "processed"
    Process(config(folder)).run({"train": OLD})
    meanwhile("test", "before", lambda: Process(config(folder)).run({"valid": OLD}))
    Process(config(folder)).run({"test": OLD})
    Process(config(folder)).run({"test": OLD[:2]})
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == [
        "meta",
        "test",
        "train",
        "valid",
    ]
    assert len(open_split(folder / "test").table) == 2


TWO = """
import json, sys, time
from pathlib import Path
from dlk.preprocess import Process

config, rows, own, other = sys.argv[1:]
process = Process(json.loads(config))
data = {"train": json.loads(rows), "valid": json.loads(rows)}
Path(own).touch()
until = time.monotonic() + 60
while not Path(other).exists() and time.monotonic() < until:
    time.sleep(0.005)
for _ in range(5):
    process.run(data)
"""


@pytest.mark.parametrize("place", ["one folder", "two folders"])
def test_two_processes_with_one_cache_make_what_one_makes(tmp_path, alone, place):
    """Chunks of one row each, so that both put and get the same entries all the time."""
    names = ("processed", "processed" if place == "one folder" else "others")
    flags = (str(tmp_path / "a"), str(tmp_path / "b"))
    both = [
        subprocess.Popen(
            [
                *(sys.executable, "-c", TWO),
                json.dumps(config(tmp_path / name, chunk_size=1, num_workers=0)),
                *(json.dumps(OLD), *(flags[::-1] if number else flags)),
            ],
            stderr=subprocess.PIPE,
            text=True,
        )
        for number, name in enumerate(names)
    ]
    try:
        told = [process.communicate(timeout=240)[1] for process in both]
    finally:
        for process in both:
            process.kill()
    assert [process.returncode for process in both] == [0, 0], told
    for name in names:
        assert content(tmp_path / name) == content_of_one_row_each(tmp_path)
    left = [path for path in tmp_path.rglob(".*") if path.name.endswith((".part", ".old"))]
    assert left == []


def content_of_one_row_each(folder):
    alone = folder / "once" / "processed"
    if not alone.exists():
        Process(config(alone, chunk_size=1, cache=False)).run({"train": OLD, "valid": OLD})
    return content(alone)
