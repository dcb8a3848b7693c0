"""What a cache must never change, and what it must save: steps edited one after the other."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlk.config import IntField, Signature, StrField, cregister
from dlk.data.processor import _ledger
from dlk.data.subprocessor.base import Subprocessor
from dlk.data.subprocessor.configs import SubprocessorConfig
from dlk.errors import DataError
from dlk.preprocess import Process
from dlk.registry import register
from dlk.testing.data import tiny_tokenizer

pytestmark = pytest.mark.once


@cregister("subprocessor", "cached_step")
class CachedStepConfig(SubprocessorConfig):
    """Makes a number of a text or of a number."""

    reads = StrField("sentence", help="column read")
    writes = StrField("made", help="column written")
    times = IntField(1, help="what the number is multiplied by")
    refuse = IntField(-1, help="numbers that are refused")
    split_at = IntField(0, help="whether a row becomes two records")

    def signature(self):
        parts = ("_part",) if self.split_at else ()
        return Signature(reads=(self.reads,), writes=(self.writes, *parts))


@register("subprocessor", "cached_step")
class CachedStep(Subprocessor):
    """Says in `done` which chunks it was given."""

    done: ClassVar[list[tuple[str, str, int]]] = []

    def transform(self, columns, ctx):
        config = self.config
        self.done.append((config.writes, ctx.split, columns["_row"][0] if columns["_row"] else -1))
        made = []
        for position, value in enumerate(columns[config.reads]):
            number = (len(value) if isinstance(value, str) else value) * config.times
            if number == config.refuse:
                ctx.bad_row(position, config.reads, value, "is refused")
            made.append(number)
        ctx.count("seen", len(made))
        if not config.split_at:
            return {config.writes: made}
        twice = [position for position in range(len(made)) for _ in range(2)]
        return {
            config.writes: [made[position] for position in twice],
            "_row": [columns["_row"][position] for position in twice],
            "_part": [0, 1] * len(made),
        }


@pytest.fixture(autouse=True)
def _keep_all(monkeypatch):
    monkeypatch.setattr(_ledger, "WORTH_S", 0.0)
    monkeypatch.setattr(_ledger, "BYTES_PER_S", float("inf"))
    monkeypatch.setattr("dlk.data.processor._code._started", lambda: float("inf"))
    CachedStep.done.clear()


def config(folder, tokenizer="", cache=True, out="out", a=None, b=None, c=None, **values):
    steps = {
        "cached_step#a": {"writes": "a", **(a or {})},
        "cached_step#b": {"reads": "a", "writes": "b", **(b or {})},
        "cached_step#c": {"reads": "sentence", "writes": "c", **(c or {})},
        "token_gather": {"gather_columns": ["label"], "token_vocab": "l.json"},
        "token2id": {"vocab": "l.json", "input_map": {"tokens": "label"}},
    }
    if tokenizer:
        steps["fast_tokenizer"] = {"tokenizer_path": str(tokenizer)}
    children = {f"@subprocessor@{name}": step for name, step in steps.items()}
    return {
        "@processor@default": {
            "processed_data_dir": str(Path(folder) / out),
            "cache_dir": str(Path(folder) / "cache"),
            "cache": cache,
            "num_workers": 0,
            "bad_rows": "reject",
            "chunk_size": 3,
            **values,
            **children,
        }
    }


ROWS = [{"sentence": "a" * (n % 4 + 1), "label": "xyz"[n % 3]} for n in range(12)]


def files(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    }


def done(step, split="train"):
    return [row for name, where, row in CachedStep.done if (name, where) == (step, split)]


def test_what_was_made_is_not_made_again(tmp_path):
    data = {"train": ROWS, "valid": ROWS[:4]}
    first = Process(config(tmp_path)).run(data)
    before = files(tmp_path / "out")
    assert done("a") == [0, 3, 6, 9]
    CachedStep.done.clear()
    again = Process(config(tmp_path)).run(data)
    assert CachedStep.done == []
    assert files(tmp_path / "out") == before
    assert again == first


def test_an_edited_step_redoes_what_reads_its_columns_alone(tmp_path):
    Process(config(tmp_path)).run({"train": ROWS})
    for edit, redone in (
        ({"a": {"times": 2}}, {"a", "b"}),
        ({"b": {"times": 2}}, {"b"}),
        ({"c": {"times": 2}}, {"c"}),
        ({"a": {"predict_data_set": []}}, set()),  # where it runs changes nothing here
        ({"keep": ["label"]}, set()),
        ({"shard_rows": 5}, set()),
        ({"bad_rows": "stop"}, set()),
        ({"out": "elsewhere"}, set()),
        ({"seed": 1}, {"a", "b", "c"}),  # any step may draw
    ):
        CachedStep.done.clear()
        Process(config(tmp_path, **edit)).run({"train": ROWS})
        assert {name for name, _, _ in CachedStep.done} == redone, edit


def test_a_changed_row_redoes_its_chunk_alone_and_added_rows_those_behind(tmp_path):
    Process(config(tmp_path)).run({"train": ROWS})
    CachedStep.done.clear()
    changed = [dict(row) for row in ROWS]
    changed[4]["sentence"] = "changed"
    Process(config(tmp_path)).run({"train": changed})
    assert done("a") == done("b") == done("c") == [3]
    CachedStep.done.clear()
    Process(config(tmp_path)).run({"train": [*ROWS, *ROWS[:2]]})
    assert done("a") == [12]
    CachedStep.done.clear()
    other = [{**row, "label": "other"} for row in ROWS]  # a column that these steps do not read
    Process(config(tmp_path)).run({"train": other})
    assert CachedStep.done == []


def test_a_changed_tokenizer_file_is_noticed_and_one_that_moved_is_not(tmp_path):
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        tiny_tokenizer(tmp_path / name / "t.json")
    data = {"train": ROWS}

    def cached(path):
        steps = Process(config(tmp_path, tokenizer=path)).explain(data).steps
        return next(step.cached["train"] for step in steps if step.name == "fast_tokenizer")

    here, there = (tmp_path / name / "t.json" for name in ("here", "there"))
    Process(config(tmp_path, tokenizer=here)).run(data)
    assert (cached(here), cached(there)) == (4, 4)
    plain = json.loads(there.read_text())
    words = plain["model"]["vocab"]
    words["a"], words["b"] = words["b"], words["a"]
    there.write_text(json.dumps(plain))
    assert (cached(here), cached(there)) == (4, 0)
    before = files(tmp_path / "out")
    Process(config(tmp_path, tokenizer=there)).run(data)
    assert files(tmp_path / "out") != before


def test_a_damaged_entry_is_made_again(tmp_path):
    Process(config(tmp_path)).run({"train": ROWS})
    before = files(tmp_path / "out")
    entries = [path for path in (tmp_path / "cache").glob("??/*") if path.is_file()]
    for path in entries[::3]:
        whole = path.read_bytes()
        path.write_bytes(whole[:-3] + b"bad")
    for path in entries[1::3]:
        path.write_bytes(b"")
    Process(config(tmp_path)).run({"train": ROWS})
    assert files(tmp_path / "out") == before
    CachedStep.done.clear()
    Process(config(tmp_path)).run({"train": ROWS})
    assert CachedStep.done == []


def test_the_cache_keeps_to_its_size_and_a_run_larger_than_it_is_right(tmp_path):
    many = [{**ROWS[n % 12], "sentence": f"{n} " + "word " * (n % 50)} for n in range(6000)]
    made = config(tmp_path, cache_mb=1, chunk_size=100)
    Process(made).run({"train": many})
    assert sum(path.stat().st_size for path in (tmp_path / "cache").rglob("*")) < 1.3e6
    before = files(tmp_path / "out")
    Process(config(tmp_path, cache=False, chunk_size=100)).run({"train": many})
    after = files(tmp_path / "out")
    assert {**after, "process.json": 0} == {**before, "process.json": 0}


@pytest.mark.parametrize("limit", ["cache", "none"])
def test_without_a_cache_nothing_is_kept(tmp_path, limit):
    Process(config(tmp_path, cache=limit == "cache")).run({"train": ROWS})
    assert (tmp_path / "cache").exists() == (limit == "cache")


def test_a_step_that_is_not_pure_is_done_each_time_and_so_is_what_reads_it(tmp_path, monkeypatch):
    monkeypatch.setattr(CachedStep, "is_pure", False)
    Process(config(tmp_path)).run({"train": ROWS})
    CachedStep.done.clear()
    Process(config(tmp_path)).run({"train": ROWS})
    assert done("a") == done("b") == [0, 3, 6, 9]


STEP = st.fixed_dictionaries(
    {}, optional={"times": st.integers(1, 3), "refuse": st.sampled_from([2, 6])}
)
EDITS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "a": STEP,
            "b": STEP,
            "c": st.fixed_dictionaries({"split_at": st.integers(0, 1)}),
            "chunk_size": st.sampled_from([3, 4, 100]),
            "shard_rows": st.sampled_from([2, 1000]),
            "seed": st.integers(0, 1),
            "rows": st.lists(st.sampled_from(ROWS), min_size=1, max_size=9),
        },
    ),
    min_size=2,
    max_size=4,
)


@settings(max_examples=10, deadline=None)
@given(EDITS)
def test_after_any_edits_a_cached_run_gives_what_a_fresh_one_does(edits):
    with tempfile.TemporaryDirectory() as folder:
        for edit in edits:
            values = dict(edit)
            data = {"train": values.pop("rows", ROWS), "valid": ROWS[:5]}
            told = []
            for cache in (True, False):
                try:
                    made = Process(config(folder, cache=cache, **values)).run(data)
                except DataError as error:  # all rows are bad
                    told.append(str(error))
                else:
                    told.append((files(Path(folder, "out")), made))
            for each in told:
                if not isinstance(each, str):
                    each[0].pop("process.json")
            assert told[0] == told[1]


LOCAL = '''
from dlk.config import Signature, cregister
from dlk.data.subprocessor.base import Subprocessor
from dlk.data.subprocessor.configs import SubprocessorConfig
from dlk.registry import register
from {helper} import MARK


@cregister("subprocessor", "local_step")
class LocalStepConfig(SubprocessorConfig):
    """Lengths."""

    def signature(self):
        return Signature(reads=("sentence",), writes=("length",))


@register("subprocessor", "local_step")
class LocalStep(Subprocessor):
    def transform(self, columns, ctx):
        print("did", len(columns["sentence"]))
        return {{"length": [len(text) * MARK for text in columns["sentence"]]}}
'''


def test_changed_code_is_noticed_also_in_a_file_that_the_step_imports(tmp_path):
    project = tmp_path / "project"
    project.mkdir()
    step, helper = project / "cached_local.py", project / "cached_helper.py"
    step.write_text(LOCAL.format(helper="cached_helper"))
    helper.write_text("MARK = 1\n")
    values = {"processed_data_dir": str(tmp_path / "out"), "@subprocessor@local_step": {}}
    program = f"""
from dlk.data.processor import _ledger
from dlk.preprocess import Process
from dlk.registry import register
_ledger.WORTH_S = 0.0
register.add_local([{str(project)!r}])
Process({{"@processor@default": {values!r}}}).run({{"train": {{"sentence": ["a", "bb"]}}}})
"""

    def did():
        for path in (step, helper):
            os.utime(path, (1e9, 1e9))
        done = subprocess.run(
            [sys.executable, "-B", "-c", program], capture_output=True, text=True, check=True
        )
        return "did" in done.stdout

    assert [did(), did()] == [True, False]
    helper.write_text("MARK = 2\n")
    assert did()
    step.write_text(step.read_text() + "\n# a remark\n")
    assert did()
