"""Splits on disk."""

from __future__ import annotations

import datetime as dt
import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlk.data.ragged import Pieces, Ragged
from dlk.data.store import SplitWriter, _array_of, is_split, open_split, to_table
from dlk.errors import DataError, RowError

COLUMNS = {
    "text": ["a", None, "ü"],
    "ids": [[1, 2], [], [70000]],
    "label": [0, 1, 0],
    "score": [0.5, 1.0, -2.0],
    "spans": [[{"start": 0, "labels": ["x"]}], [], [{"start": 4, "labels": []}]],
}


def write(folder, *chunks, **options):
    with SplitWriter(folder, **options) as writer:
        for chunk in chunks:
            writer.write(chunk)
    return open_split(folder)


def rows_of(*chunks):
    return [
        {name: values[number] for name, values in chunk.items()}
        for chunk in chunks
        for number in range(len(next(iter(chunk.values()))))
    ]


def test_what_was_written_is_read(tmp_path):
    split = write(tmp_path / "s", COLUMNS, COLUMNS)
    assert len(split) == 6
    assert split.column_names == tuple(COLUMNS)
    assert split.rows(range(6)) == rows_of(COLUMNS, COLUMNS)
    assert split.rows([5, 0], ["text"]) == [{"text": "ü"}, {"text": "a"}]
    assert is_split(tmp_path / "s")
    assert not is_split(tmp_path)


def test_hugging_face_datasets_opens_the_files(tmp_path):
    datasets = pytest.importorskip("datasets")
    write(tmp_path / "s", COLUMNS, {**COLUMNS, "label": [1.5, 2.5, 3.5]})
    found = [
        row
        for path in sorted((tmp_path / "s").glob("*.arrow"))
        for row in datasets.Dataset.from_file(str(path))
    ]
    assert [row["ids"] for row in found] == COLUMNS["ids"] * 2
    assert [row["label"] for row in found] == [0, 1, 0, 1.5, 2.5, 3.5]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([[0, 255]], "uint8"),
        ([[-1, 127]], "int8"),
        ([[0, 256]], "uint16"),
        ([[-129]], "int16"),
        ([[65536]], "int32"),
        ([[2**31]], "int64"),
        ([[[3]]], "list<item: uint8>"),
    ],
)
def test_integers_in_lists_are_stored_as_narrow_as_they_fit(tmp_path, values, kind):
    split = write(tmp_path / "s", {"ids": values})
    assert str(split.table.schema.field("ids").type) == f"list<item: {kind}>"
    assert split.ragged("ids").tolist() == values


def test_single_integers_keep_their_type(tmp_path):
    assert write(tmp_path / "s", {"label": [0, 1]}).table.schema.field("label").type == pa.int64()


CELLS = st.one_of(
    st.lists(st.integers(-(2**40), 2**40), max_size=3),
    st.lists(st.integers(0, 3), max_size=3),
    st.just([]),
)


@given(chunks=st.lists(st.lists(CELLS, min_size=1, max_size=3), min_size=1, max_size=4))
def test_a_later_chunk_widens_the_types_of_the_whole_split(tmp_path_factory, chunks):
    folder = tmp_path_factory.mktemp("store") / "s"
    split = write(folder, *({"ids": chunk} for chunk in chunks))
    expected = [row for chunk in chunks for row in chunk]
    assert [row["ids"] for row in split.rows(range(len(split)))] == expected
    if any(expected):
        assert split.ragged("ids").tolist() == expected


def test_integers_become_floats_nulls_anything_and_new_columns_null(tmp_path):
    split = write(
        tmp_path / "s",
        {"a": [1], "b": [None]},
        {"a": [0.5], "b": ["text"], "c": [[1]]},
        {"a": [2], "b": [None], "c": [None]},
    )
    assert split.rows(range(3)) == [
        {"a": 1.0, "b": None, "c": None},
        {"a": 0.5, "b": "text", "c": [1]},
        {"a": 2.0, "b": None, "c": None},
    ]


def test_a_key_that_is_null_alone_in_a_later_chunk_is_null(tmp_path):
    one = {"entities": [[{"start": 1}, {"start": 2}]] * 3}
    two = {"entities": [[{"start": 1, "id": None}, {"start": 300}]] * 2}
    split = write(tmp_path / "s", one, two)
    every = [entity for row in split.rows(range(5)) for entity in row["entities"]]
    assert [entity["start"] for entity in every] == [1, 2] * 3 + [1, 300] * 2
    assert {entity["id"] for entity in every} == {None}


def test_types_that_do_not_go_together_name_the_records(tmp_path):
    with pytest.raises(DataError, match="records 1 to 1 hold other types"):
        write(tmp_path / "s", {"a": [1]}, {"a": ["text"]})
    with pytest.raises(DataError, match='column "a" mixes types'):
        write(tmp_path / "t", {"a": [1, "text"]})
    with pytest.raises(DataError, match="differ in length"):
        write(tmp_path / "u", {"a": [1], "b": []})


@pytest.mark.parametrize("place", [0, 1, 5, 8])
def test_a_value_that_does_not_fit_names_its_row(tmp_path, place):
    values = [1] * 9
    values[place] = "text"
    with pytest.raises(
        RowError, match=f"row {place + 40}, column 'a': is of another type"
    ) as caught:
        write(tmp_path / "s", {"a": values, "_row": list(range(40, 49))})
    assert caught.value.value == values[place]


@pytest.mark.parametrize(
    ("values", "wrong"),
    [
        (["x", 1, 2.5, 3], 0),
        ([None, "any", ["who"], ["what", "any"]], 1),
        ([True, 1, 1], 0),
        ([{"a": 1}, [1], [2]], 0),
        ([[1], 2, [3], 4], 1),  # as many of both: those of the first are right
        ([1, 2, 2**70, 3], 2),
    ],
)
def test_a_value_of_another_kind_than_most_is_the_wrong_one(tmp_path, values, wrong):
    with pytest.raises(RowError, match=f"row {wrong}, column 'a': is of another type"):
        write(tmp_path / "s", {"a": values, "_row": list(range(len(values)))})


@pytest.mark.parametrize(
    ("values", "wrong", "why"),
    [
        ([["a"], "b", ["a", "b"]], 1, r"a list of texts, got a text: .* as a list, \['b'\]"),
        (["b", ["a"], ["a", "b"]], 0, "expected a list of texts, got a text"),
        ([["a"], 3, ["b"]], 1, "expected a list of texts, got a number"),
        ([["a"], ["b", 3]], 1, r"a text at \[1\], got a number \(3\): write all of them as texts"),
        ([["a", 3]], 0, r"expected a text at \[1\], got a number"),
        ([[["a"]], ["b"], ["c"]], 0, r"expected a text at \[0\], got a list"),
        ([[1], [True]], 1, r"expected a number at \[0\], got true or false"),
        (["a", "b", {"k": 1}], 2, "expected a text, got an object"),
        ([{"k": [1]}, {"k": 1}], 1, "expected a list of numbers at k, got a number"),
        ([[{"id": "e1"}], [{"id": "e1"}, {"id": 2}]], 1, r"text at \[1\].id, got a number \(2\)"),
        ([[{"id": "e1"}, {"id": 2}]], 0, r"text at \[1\].id, got a number"),
    ],
)
@pytest.mark.parametrize("is_later", [False, True])
def test_what_a_value_should_be_is_said_in_the_users_words(tmp_path, values, wrong, why, is_later):
    rows = list(range(len(values)))
    first = wrong if is_later else 0
    with SplitWriter(tmp_path / "s") as writer:
        writer.write({"a": values[:first], "_row": rows[:first]})
        with pytest.raises(RowError, match=f"row {wrong}, column 'a': .*{why}") as caught:
            writer.write({"a": values[first:], "_row": rows[first:]})
    assert not any(word in str(caught.value) for word in ("struct", "string", "int64", "bytes"))


def test_columns_beside_the_one_that_is_wrong_are_fine(tmp_path):
    columns = {
        "a": [1, "x", 3],
        "when": [dt.date(2020, 1, 1), dt.datetime(2020, 1, 1, tzinfo=dt.UTC), None],
        "b": [1, 2.5, None],
        "c": ["text", None, b"bytes"],  # Arrow takes both as bytes
        "_row": [0, 1, 2],
    }
    with SplitWriter(tmp_path / "s") as writer:
        assert [(bad.row, bad.column) for bad in writer.unfit(columns)] == [(1, "a")]


@pytest.mark.parametrize(
    ("one", "two", "wrong"),
    [
        ([1, 2], ["a", 3, None, "b"], [2, 5]),
        (["a", "b"], ["c", 1, 2.5, "d"], [3, 4]),
        ([1.5], [True, 2, "x"], [1, 3]),
        ([[1]], [[2], [2.5], ["a"], 7], [3, 4]),
        ([[{"id": 1}]], [[{"id": 2, "x": None}], [{"id": "T1"}]], [2]),
        ([0.5], [2**60, 2], [1]),
    ],
)
def test_rows_of_another_type_than_the_chunks_before_are_told_all_at_once(
    tmp_path, one, two, wrong
):
    rows = list(range(len(one) + len(two)))
    with SplitWriter(tmp_path / "s") as writer:
        writer.write({"a": one, "_row": rows[: len(one)]})
        later = {"a": two, "_row": rows[len(one) :]}
        with pytest.raises(RowError, match=f"row {wrong[0]}, column 'a': is of another type"):
            writer.write(later)
        found = writer.unfit(later)
        assert [error.row for error in found] == wrong
        assert [error.value for error in found] == [(one + two)[row] for row in wrong]
        kept = [row for row in later["_row"] if row not in wrong]
        writer.write({"a": [(one + two)[row] for row in kept], "_row": kept})
    split = open_split(tmp_path / "s")
    assert [row["_row"] for row in split.rows(range(len(split)))] == rows[: len(one)] + kept


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ([1, 2], [1.5]),
        ([1.5], [1, 2]),
        ([None, None], ["a"]),
        ([[1]], [[0.5], []]),
        ([1], [None]),
        ([1], [2**40]),
    ],
)
def test_types_that_widen_go_together_over_chunks(tmp_path, one, two):
    split = write(tmp_path / "s", {"a": one}, {"a": two})
    assert [row["a"] for row in split.rows(range(len(split)))] == one + two


def test_a_number_that_a_later_type_cannot_hold_names_its_column(tmp_path):
    with pytest.raises(DataError, match=r'column "a": .*1152921504606846977.*kept as texts'):
        write(tmp_path / "s", {"a": [2**60 + 1]}, {"a": [0.5]})
    with pytest.raises(DataError, match=r"^row 7, column 'a': .*1152921504606846977.*as texts"):
        write(tmp_path / "t", {"a": [1, 2**60 + 1], "_row": [6, 7]}, {"a": [0.5], "_row": [8]})


SHARED = [None, "text", "é", 7, 2**40, [1, 2], [70000], [], {"k": [1]}, [{"a": "x"}, {"a": None}]]


@given(
    kind=st.sampled_from([[0, 1, 2], [0, 3, 4], [0, 5, 6, 7], [0, 8], [0, 7, 9]]),
    runs=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 5)), max_size=6),
)
def test_a_value_that_neighbours_share_is_stored_as_if_each_had_its_own(kind, runs):
    values = [SHARED[kind[place % len(kind)]] for place, n in runs for _ in range(n)]
    assert _array_of(values).equals(pa.array(values))


def test_a_value_that_all_windows_of_a_text_share_is_read_once(tmp_path, monkeypatch):
    sizes = []
    real = pa.array
    monkeypatch.setattr(
        pa, "array", lambda values, *a: sizes.append(len(values)) or real(values, *a)
    )
    shared = [{"start": n, "labels": ["x"]} for n in range(3)]
    table = to_table({"e": [shared] * 500 + [[]] * 500, "text": ["long"] * 1000}, {})
    assert [size for size in sizes if size != 1000] == [2, 1]
    assert table.column("e").to_pylist() == [shared] * 500 + [[]] * 500


def test_a_new_file_begins_after_so_many_rows(tmp_path):
    split = write(tmp_path / "s", *({"a": [number]} for number in range(5)), file_rows=2)
    assert len(list((tmp_path / "s").glob("*.arrow"))) == 3
    assert [row["a"] for row in split.rows(range(5))] == list(range(5))
    assert split.ragged("a").tolist() == list(range(5))


def test_an_empty_chunk_moves_no_row(tmp_path):
    split = write(tmp_path / "s", {"a": [1]}, {"a": []}, {"a": [2]})
    assert [row["a"] for row in split.rows([1, 0])] == [2, 1]


def test_an_empty_split_can_be_opened(tmp_path):
    split = write(tmp_path / "s")
    assert (len(split), split.column_names, split.rows([])) == (0, (), [])


def test_one_chunk_of_numbers_stays_in_the_mapped_file(tmp_path):
    split = write(tmp_path / "s", {"ids": [[1, 2], [3]]})
    before = pa.total_allocated_bytes()
    values = split.ragged("ids").values
    assert pa.total_allocated_bytes() == before
    assert np.shares_memory(values, split.table.column("ids").chunk(0).values.to_numpy())
    assert split.ragged("ids") is split.ragged("ids")


def test_a_column_larger_than_memory_allows_stays_in_the_mapped_files(tmp_path, monkeypatch):
    split = write(tmp_path / "s", {"ids": [[1], [2, 3]]}, {"ids": [[4], []]}, file_rows=2)
    joined = split.numbers("ids")
    monkeypatch.setattr("dlk.data.store.IN_MEMORY_BYTES", 0)
    mapped = split.numbers("ids")
    assert (type(joined), type(mapped)) == (Ragged, Pieces)
    order = [3, 1, 0, 1, 2]
    assert (
        mapped.take(order).tolist() == joined.take(order).tolist() == [[], [2, 3], [1], [2, 3], [4]]
    )
    chunk = split.table.column("ids").chunk(0).values.to_numpy()
    assert np.shares_memory(mapped._parts[0].values, chunk)
    with pytest.raises(DataError, match="expected numbers"):
        write(tmp_path / "t", {"a": ["x"]}, {"a": ["y"]}).numbers("a")


@pytest.mark.parametrize("name", ["valid", "test", "predict"])
def test_what_is_evaluated_stays_in_the_mapped_files(name, tmp_path, monkeypatch):
    chunks = [{"ids": [[4 * n + i] * i for i in range(4)], "one": [n] * 4} for n in range(3)]
    split = write(tmp_path / "s", *chunks)
    for column in ("ids", "one"):
        assert isinstance(split.numbers(column), Ragged)  # shuffled, as far as is known
    monkeypatch.setattr(split, "info", {**split.info, "split": name})
    for column in ("ids", "one"):
        mapped, joined = split.numbers(column), split.ragged(column)
        assert isinstance(mapped, Pieces)
        for rows in ([4, 5, 6, 7], [2, 3, 4], [11, 0, 4], [6], []):  # of one chunk, and of several
            assert mapped.take(rows).tolist() == joined.take(rows).tolist()
            assert mapped.take(rows).dtype == joined.take(rows).dtype


def test_a_column_that_is_missing_or_no_numbers_is_a_data_error(tmp_path):
    split = write(tmp_path / "s", COLUMNS)
    with pytest.raises(DataError, match='Did you mean "label"'):
        split.ragged("labels")
    with pytest.raises(DataError, match='column "text": expected numbers'):
        split.ragged("text")
    with pytest.raises(DataError, match="no column"):
        split.rows([0], ["nope"])
    with pytest.raises(IndexError, match="0 to 2"):
        split.rows([3])


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            ["0.5", "1", "much", "2"],
            r"row 12 \(uuid u2\), column \"a\": .* 'much' here; texts.*token2id",
        ),
        (
            ["0.5", "1"],
            r"row 10 \(uuid u0\), column \"a\": .* '0\.5' here; numbers .* without quotes",
        ),
        ([["1"], ["2", "x"]], r"row 11 \(uuid u1\), column \"a\": .* 'x' here"),
        (
            [1, None, 2],
            r"row 11 \(uuid u1\), column \"a\": .*null at item 1 of 3.* None here; leave",
        ),
        ([[1], None], r"row 11 \(uuid u1\), column \"a\": expected lists.* None here"),
        ([{"b": 1}], r"row 10 \(uuid u0\), column \"a\": .* \{'b': 1\} here"),
        (["x" * 999], r"'x{79}… here"),
    ],
)
def test_the_row_that_holds_no_numbers_is_named(tmp_path, values, said):
    size = len(values)
    columns = {
        "a": values, "_row": list(range(10, 10 + size)), "uuid": [f"u{n}" for n in range(size)],
    }  # fmt: skip
    split = write(tmp_path / "valid", columns)
    for read in (split.ragged, split.numbers):
        with pytest.raises(DataError, match=f"valid: .*{said}"):
            read("a")


def test_damage_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match="no processed split"):
        open_split(tmp_path)
    write(tmp_path / "s", COLUMNS)
    info = tmp_path / "s" / "split.json"
    plain = json.loads(info.read_text())
    info.write_text(json.dumps({**plain, "records": 2}))
    with pytest.raises(DataError, match="2 records, the files hold 3"):
        open_split(tmp_path / "s")
    info.write_text(json.dumps({**plain, "schema": "x"}))
    with pytest.raises(DataError, match="schema"):
        open_split(tmp_path / "s")
    info.write_text(json.dumps({**plain, "files": ["../s/data-00000.arrow"]}))
    with pytest.raises(DataError, match="outside of its folder"):
        open_split(tmp_path / "s")
    info.write_text("{")
    with pytest.raises(DataError, match="damaged"):
        open_split(tmp_path / "s")
    info.write_text(json.dumps(plain))
    (tmp_path / "s" / "data-00000.arrow").write_bytes(b"rubbish")
    with pytest.raises(DataError, match="damaged"):
        open_split(tmp_path / "s")


def test_what_is_said_at_the_end_is_kept(tmp_path):
    with SplitWriter(tmp_path / "s") as writer:
        writer.write({"a": [1]})
        writer.info["rows"] = 7
    assert writer.records == 1
    assert open_split(tmp_path / "s").info["rows"] == 7


def test_a_block_that_raises_leaves_no_split(tmp_path):
    def fail():
        with SplitWriter(tmp_path / "s") as writer:
            writer.write({"a": [1]})
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert not is_split(tmp_path / "s")


CHUNKS = st.lists(
    st.lists(st.lists(st.lists(st.integers(-300, 70000), max_size=3), max_size=3), min_size=1),
    min_size=1,
    max_size=3,
)


@given(CHUNKS)
def test_ragged_columns_are_stored_as_lists_of_the_same_numbers(tmp_path_factory, chunks):
    folder = tmp_path_factory.mktemp("stored")
    listed = write(folder / "lists", *({"ids": chunk} for chunk in chunks))
    ragged = write(
        folder / "ragged",
        *({"ids": Ragged.from_lists(chunk, dtype=np.int64, depth=2)} for chunk in chunks),
    )
    assert ragged.rows(range(len(ragged))) == listed.rows(range(len(listed)))
    numbers = [number for chunk in chunks for row in chunk for each in row for number in each]
    if numbers:
        assert ragged.table.schema == listed.table.schema
