"""Spearman's correlation over blocks: exact, the same bits in any order, in bounded memory."""

from __future__ import annotations

import json
import tempfile
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dlk.metrics import RankCorrelation
from dlk.metrics import ranks as ranks_module

# few distinct numbers tie often; the others hardly ever
TIED = st.sampled_from([-2.0, -0.0, 0.0, 0.5, 3.0])
ANY = st.floats(-(2.0**90), 2.0**90, width=32)
ROWS = st.lists(st.tuples(TIED | ANY, TIED | ANY), min_size=2, max_size=60)


def counted(rows, *, batch=64, cap=0) -> RankCorrelation:
    result = RankCorrelation(cap)
    for start in range(0, len(rows), batch):
        part = rows[start : start + batch]
        result.update(part[:, 0], part[:, 1], np.arange(start, start + len(part)))
    return result


def spearman(of: RankCorrelation) -> float:
    return of.compute()["spearman"]


@pytest.fixture(params=[1, 7, 64])
def small_blocks(request, monkeypatch):
    monkeypatch.setattr(ranks_module, "BLOCK", request.param)


@settings(deadline=None)
@given(rows=ROWS, block=st.sampled_from([1, 5, 16, 1000]), batch=st.integers(1, 20))
def test_it_is_scipys_for_any_blocks_and_ties(rows, block, batch):
    table = np.array(rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranks_module, "BLOCK", block)
        found = spearman(counted(table, batch=batch))
    if (table == table[0]).all(axis=0).any():
        assert found == 0.0
    else:
        # 1e-9: scipy rounds means and products of at most 60 ranks
        assert found == pytest.approx(stats.spearmanr(table[:, 0], table[:, 1])[0], abs=1e-9)


@settings(deadline=None)
@given(rows=ROWS, cut=st.integers(0, 60), cap=st.integers(0, 40), data=st.data())
def test_any_order_split_and_merging_gives_the_same_bits(rows, cut, cap, data):
    order = np.array(data.draw(st.permutations(range(len(rows)))))
    table = np.array(rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranks_module, "BLOCK", 8)
        whole = counted(table, cap=cap)
        parts = [RankCorrelation(cap), RankCorrelation(cap)]
        for part, numbers in zip(parts, (order[:cut], order[cut:]), strict=True):
            for number in numbers:
                part.update(table[[number], 0], table[[number], 1], [number])
        joined = RankCorrelation(cap)
        for part in reversed(parts):
            joined.merge(json.loads(json.dumps(part.state(), allow_nan=False)))
        assert joined.compute() == whole.compute()


def test_many_blocks_on_disk_are_as_exact_as_scipy():
    rng = np.random.default_rng(0)
    target = rng.integers(0, 40, 60_000) / 8
    prediction = target + rng.normal(size=target.size).astype(np.float32)
    rows = np.stack([prediction.astype(np.float32), target], axis=1)
    found = counted(rows, batch=500)
    assert len(found._blocks) == 1
    expected = stats.spearmanr(rows[:, 0], rows[:, 1]).statistic
    assert spearman(found) == pytest.approx(expected, abs=1e-12)


def test_counting_goes_on_after_it_was_asked(small_blocks):
    rows = np.random.default_rng(1).normal(size=(200, 2))
    found = RankCorrelation(50)
    for start in range(0, 200, 10):
        some = slice(start, start + 10)
        found.update(rows[some, 0], rows[some, 1], np.arange(200)[some])
        found.compute()
        found.state()
    assert found.compute() == counted(rows, cap=50).compute()
    assert len(found.state()["keys"]) == 50


@pytest.mark.parametrize("cap", [0, 30_000])
def test_its_memory_does_not_follow_the_rows(cap):
    def peak(rows: int) -> int:
        found = RankCorrelation(cap)
        rng = np.random.default_rng(2)
        tracemalloc.start()
        try:
            for start in range(0, rows, 1000):
                pair = rng.normal(size=(2, 1000))
                found.update(pair[0], pair[1], np.arange(start, start + 1000))
            assert -1 < spearman(found) < 1
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(2000)
    few, many = peak(66_000), peak(200_000)
    assert few < 5e6
    # 1 byte a row: more blocks to remember; the values themselves would take 16
    assert many - few < 135_000


class Refusing:
    """A file on a disk that is full after so many bytes."""

    def __init__(self, file, room: int) -> None:
        self.file, self.room = file, room

    def write(self, data) -> int:
        if not self.room:
            raise OSError(28, "No space left on device")
        some = bytes(data[: min(self.room, 100)])
        self.room -= len(some)
        return self.file.write(some)

    def __getattr__(self, name):
        return getattr(self.file, name)


@pytest.mark.parametrize("room", [0, 1000, 2500])
def test_a_full_disk_loses_nothing(room, monkeypatch):
    monkeypatch.setattr(ranks_module, "BLOCK", 50)
    rows = np.random.default_rng(3).normal(size=(500, 2))
    whole = counted(rows, batch=10)
    make = tempfile.TemporaryFile
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **given: Refusing(make(**given), room))
    assert counted(rows, batch=10).state() == whole.state()
    assert counted(rows, batch=10, cap=90).compute() == counted(rows, batch=50, cap=90).compute()


def test_without_a_folder_for_temporary_files_it_counts_in_memory(monkeypatch):
    def refuse(**given):
        raise FileNotFoundError("no usable temporary directory found")

    monkeypatch.setattr(ranks_module, "BLOCK", 50)
    rows = np.random.default_rng(4).normal(size=(300, 2))
    whole = counted(rows)
    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    assert counted(rows).compute() == whole.compute()


def test_the_file_goes_with_the_counts(monkeypatch):
    monkeypatch.setattr(ranks_module, "BLOCK", 50)
    made = []
    make = tempfile.TemporaryFile
    monkeypatch.setattr(
        tempfile, "TemporaryFile", lambda **given: made.append(make(**given)) or made[-1]
    )
    found = counted(np.random.default_rng(5).normal(size=(300, 2)))
    spearman(found)
    assert [file.closed for file in made] == [False]
    del found
    assert made[0].closed
