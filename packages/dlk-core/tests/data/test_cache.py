"""Results on disk by key: whole or absent, checked, bounded, shared."""

from __future__ import annotations

import os
import threading
import warnings

import pyarrow as pa
import pytest

from dlk.data.cache import Cache
from dlk.errors import CacheWarning

KEY, OTHER = "ab" + "0" * 62, "ab" + "1" * 62
TABLE = pa.table({"ids": [[1, 2], [], [3]], "text": ["a", None, "ü"]})
INFO = {"counts": {"cut": 2}, "bad": [[1, "text", "\ud800", "why"]]}


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "kept", limit=1 << 20)


def test_what_was_put_is_got_and_nothing_else(cache):
    assert cache.get(KEY) is None
    assert not cache.has(KEY)
    cache.put(KEY, TABLE, INFO)
    found = cache.get(KEY)
    assert found is not None
    assert found.table.equals(TABLE)
    assert found.info == INFO
    assert cache.has(KEY)
    assert cache.get(OTHER) is None


def test_nothing_is_made_before_something_is_kept(cache):
    cache.get(KEY)
    cache.trim()
    assert cache.size() == 0
    assert not cache.folder.exists()


def test_every_changed_or_missing_byte_is_noticed_and_the_entry_removed(cache):
    cache.put(KEY, TABLE, INFO)
    path = cache.path(KEY)
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert cache.get(KEY) is None
        assert not path.exists()
    for length in (0, 5, 40, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert cache.get(KEY) is None
    path.write_bytes(whole)
    assert cache.get(KEY) is not None


def test_an_entry_under_another_key_is_none(cache):
    cache.put(KEY, TABLE, INFO)
    os.replace(cache.path(KEY), cache.path(OTHER))
    assert cache.get(OTHER) is None


def test_what_was_not_used_for_longest_goes_first(cache):
    keys = [f"{number:02d}" + "0" * 62 for number in range(6)]
    for age, key in enumerate(reversed(keys)):
        cache.put(key, TABLE, {})
        os.utime(cache.path(key), (1000 + age, 1000 + age))
    assert cache.get(keys[5]) is not None  # the oldest, and now the youngest
    one = cache.path(keys[0]).stat().st_size
    cache.limit = 3 * one
    cache.trim()
    assert [key for key in keys if cache.has(key)] == [keys[0], keys[1], keys[5]]
    assert cache.size() <= cache.limit


def test_what_killed_writers_left_is_swept_once_it_is_old(cache):
    cache.put(KEY, TABLE, {})
    young, old = (cache.path(KEY).with_name(f".{name}.part") for name in ("young", "old"))
    for path in (young, old):
        path.write_bytes(b"half")
    os.utime(old, (1000, 1000))
    cache.trim()
    assert young.exists()
    assert not old.exists()
    assert cache.has(KEY)


def test_a_disk_that_refuses_is_told_once_and_stops_nothing(tmp_path):
    (tmp_path / "file").write_text("no folder")
    cache = Cache(tmp_path / "file", limit=1)
    with pytest.warns(CacheWarning, match=r"not kept in .*file: .*cache_dir") as told:
        cache.put(KEY, TABLE, {})
    assert len(told) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cache.put(KEY, TABLE, {})
    assert cache.get(KEY) is None


def test_a_half_written_entry_is_removed_where_the_disk_is_full(cache, monkeypatch):
    cache.put(OTHER, TABLE, {})

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.warns(CacheWarning, match="No space left"):
        cache.put(KEY, TABLE, {})
    assert [path.name for path in cache.path(KEY).parent.iterdir()] == [OTHER[2:]]


def test_many_writers_and_readers_of_one_entry_see_it_whole_or_not_at_all(cache):
    wrong: list[object] = []

    def use(number):
        mine = Cache(cache.folder, limit=cache.limit)
        for turn in range(20):
            if (turn + number) % 3 == 0:
                mine.put(KEY, TABLE, INFO)
            if turn % 7 == 0:
                mine.limit = 0
                mine.trim()
            found = mine.get(KEY)
            if found is not None and not found.table.equals(TABLE):
                wrong.append(found)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_the_folder_says_that_it_is_a_cache_and_none_of_the_project(cache):
    cache.put(KEY, TABLE, {})
    assert "*" in (cache.folder / ".gitignore").read_text().splitlines()
    signature = "Signature: 8a477f597d28d172789f06886806bc55"
    assert (cache.folder / "CACHEDIR.TAG").read_text().startswith(signature)
