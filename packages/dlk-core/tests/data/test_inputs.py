"""Any input as chunks of columns."""

from __future__ import annotations

import datetime as dt
import json
import math
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import ipc

from dlk.data.inputs import open_input
from dlk.errors import DataError

COLUMNS = {"text": ["a", "b", "c"], "label": [0, 1, 0], "ids": [[1], [], [2, 3]]}
RECORDS = [{name: values[row] for name, values in COLUMNS.items()} for row in range(3)]


def read(data, size=2):
    """Return the columns of all chunks together, and the sizes of the chunks."""
    source = open_input(data, name="train")
    chunks = list(source.chunks(size))
    assert repr(list(source.chunks(size))) == repr(chunks), "a source is read again and again"
    names = list(dict.fromkeys(name for chunk in chunks for name in chunk)) or list(
        source.column_names
    )
    joined = {name: [value for chunk in chunks for value in chunk[name]] for name in names}
    sizes = [len(next(iter(chunk.values()))) for chunk in chunks]
    assert source.num_rows in {None, sum(sizes)}
    return joined, sizes


def in_memory():
    yield "dict", COLUMNS
    yield (
        "dict of arrays",
        {
            **COLUMNS,
            "label": np.array([0, 1, 0]),
            "text": pd.Series(list("abc"), index=[0.0, 9.5, 1.5]),
        },
    )
    yield "records", RECORDS
    yield "frame", pd.DataFrame(COLUMNS)
    yield "frame with another index", pd.DataFrame(COLUMNS, index=[5, 5, 2])
    yield "table", pa.table(COLUMNS)


@pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data in in_memory()])
def test_inputs_in_memory_give_plain_columns_in_chunks(data):
    joined, sizes = read(data)
    assert joined == COLUMNS
    assert sizes == [2, 1]
    assert {type(value) for value in joined["label"]} == {int}
    assert {type(value) for row in joined["ids"] for value in row} == {int}


def test_datasets_of_hugging_face_are_read_whatever_their_format():
    datasets = pytest.importorskip("datasets")
    made = datasets.Dataset.from_dict(COLUMNS)
    assert read(made) == read(made.with_format("numpy")) == (COLUMNS, [2, 1])


def files(folder):
    (folder / "rows.json").write_text(json.dumps(RECORDS))
    (folder / "columns.json").write_text(json.dumps(COLUMNS))
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, RECORDS)) + "\n\n")
    table = pa.table(COLUMNS)
    pyarrow.parquet.write_table(table, folder / "t.parquet")
    with ipc.new_stream(str(folder / "stream.arrow"), table.schema) as writer:
        writer.write_table(table)
    with ipc.new_file(str(folder / "file.arrow"), table.schema) as writer:
        writer.write_table(table)


@pytest.mark.parametrize(
    "name", ["rows.json", "columns.json", "rows.jsonl", "t.parquet", "stream.arrow", "file.arrow"]
)
def test_files_give_what_was_written(tmp_path, name):
    files(tmp_path)
    assert read(str(tmp_path / name)) == (COLUMNS, [2, 1])
    assert read(tmp_path / name)[0] == COLUMNS


@pytest.mark.parametrize(("name", "separator"), [("t.csv", ","), ("t.tsv", "\t")])
def test_separated_values_keep_empty_texts_and_line_breaks(tmp_path, name, separator):
    path = tmp_path / name
    path.write_text(
        f'text{separator}score\n"two\nlines"{separator}0.5\nNA{separator}\n""{separator}2\n'
    )
    joined, _ = read(path)
    assert joined == {"text": ["two\nlines", "NA", ""], "score": [0.5, None, 2.0]}


def test_line_breaks_inside_of_quotes_may_lie_anywhere_in_a_large_file(tmp_path):
    texts = [f"{number}\n{'x' * 60}" for number in range(40_000)]
    texts[0] = "y" * 42 + texts[0]  # so that a block of 1 MiB ends inside of quotes
    (tmp_path / "t.csv").write_text("text\n" + "".join(f'"{text}"\n' for text in texts))
    assert read(str(tmp_path / "t.csv"), size=4096)[0] == {"text": texts}


@pytest.mark.parametrize("name", ["rows.json", "rows.jsonl"])
def test_a_byte_order_mark_is_no_part_of_the_data(tmp_path, name):
    files(tmp_path)
    path = tmp_path / name
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read(path)[0] == COLUMNS


@pytest.mark.parametrize(
    ("name", "text"),
    [("t.json", '{"text": ["café"]}'), ("t.jsonl", '{"text": "café"}'), ("t.csv", "text\ncafé")],
)
def test_a_file_in_another_encoding_is_refused_by_name(tmp_path, name, text):
    (tmp_path / name).write_bytes(f"{text}\n".encode("latin-1"))
    with pytest.raises(DataError, match=rf"train: cannot read .*{name}: .*(utf-8|UTF8)"):
        read(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "rows_before"), [("t.csv", 1), ("t.csv", 250_000), ("t.jsonl", 1), ("t.jsonl", 5000)]
)
def test_the_line_that_is_no_utf8_is_named_with_what_to_do(tmp_path, name, rows_before):
    line = "text" if name == "t.csv" else '{"text": "cafe"}'
    foreign = line.replace("e", "\xe9").encode("latin-1")
    (tmp_path / name).write_bytes(f"{line}\n".encode() * rows_before + foreign + b"\n")
    reason = rf"line {rows_before + 1} is no utf-8 text \(byte 0xe9\): save the file as UTF-8"
    with pytest.raises(DataError, match=reason):
        read(tmp_path / name)


def foreign_table():
    """Arrow does not look whether its texts are some."""
    bytes_of = pa.array([b"a", b"b", b"caf\xe9"])
    texts = pa.Array.from_buffers(pa.string(), len(bytes_of), bytes_of.buffers())
    return pa.table({"label": ["x", "y", "z"], "text": texts})


@pytest.mark.parametrize("kind", ["table", "dataset", "t.parquet", "t.arrow"])
def test_the_row_of_an_arrow_text_that_is_no_utf8_is_named(tmp_path, kind):
    data = table = foreign_table()
    if kind == "dataset":
        data = pytest.importorskip("datasets").Dataset(table)
    elif kind == "t.parquet":
        data = str(tmp_path / kind)
        pyarrow.parquet.write_table(table, data, row_group_size=2)
    elif kind == "t.arrow":
        data = str(tmp_path / kind)
        with ipc.new_stream(data, table.schema) as writer:
            writer.write_table(table, max_chunksize=2)
    with pytest.raises(DataError, match=r'row 2, column "text": b.caf.xe9. is no UTF-8 text: wri'):
        read(data)


def test_a_column_name_that_is_no_unicode_is_refused():
    with pytest.raises(DataError, match=r"train: the column name .*half of a surrogate pair"):
        read([{"a\ud800": 1}])


def test_columns_of_one_name_are_refused_instead_of_losing_one(tmp_path):
    (tmp_path / "t.csv").write_text("text,label,text\na,x,b\n")
    twice = pa.table([pa.array([1]), pa.array([2])], names=["text", "text"])
    pyarrow.parquet.write_table(twice, tmp_path / "t.parquet")
    frame = pd.DataFrame([["a", "b"]], columns=["text", "text"])
    for twice_named in (tmp_path / "t.csv", tmp_path / "t.parquet", twice, frame):
        with pytest.raises(DataError, match="two columns have the same name: text"):
            read(twice_named)


def test_globs_and_lists_of_files_are_read_in_order(tmp_path):
    for number, letter in enumerate("abc"):
        (tmp_path / f"{letter}.jsonl").write_text(json.dumps({"n": number}) + "\n")
    assert read(str(tmp_path / "*.jsonl"))[0] == {"n": [0, 1, 2]}
    assert read([str(tmp_path / "c.jsonl"), tmp_path / "a.jsonl"])[0] == {"n": [2, 0]}


def test_a_key_that_comes_late_is_none_before_and_a_missing_one_none_there(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_text('{"a": 1}\n{"a": 2}\n{"b": 3}\n')
    chunks = list(open_input(str(path)).chunks(2))
    assert chunks == [{"a": [1, 2]}, {"b": [3], "a": [None]}]
    assert read([{"a": 1}, {"b": 2}])[0] == {"a": [1, None], "b": [None, 2]}


def test_a_missing_text_of_pandas_is_none_and_a_missing_number_stays():
    frame = pd.DataFrame({"text": ["a", None, np.nan], "score": [0.5, np.nan, 1.0]})
    joined, _ = read(frame, size=3)
    assert joined["text"] == ["a", None, None]
    assert math.isnan(joined["score"][1])
    assert read(pd.DataFrame({"n": pd.array([1, None], dtype="Int64")}))[0] == {"n": [1, None]}
    assert read(pd.DataFrame({"t": pd.Series([None, None], dtype="str")}))[0] == {"t": [None, None]}


def test_numpy_values_inside_lists_and_dicts_become_plain():
    rows = [
        {
            "x": np.float32(0.5),
            "y": [np.int64(1)],
            "z": {"k": np.array([1, 2])},
            "w": np.bool_(True),
        }
    ]
    joined, _ = read(rows)
    assert joined == {"x": [0.5], "y": [[1]], "z": [{"k": [1, 2]}], "w": [True]}
    assert type(joined["w"][0]) is bool
    assert type(joined["x"][0]) is float


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"a": [1, 2], "b": [1]}, r"differ in length: a 2, b 1"),
        ({"a": "text"}, 'column "a" should be a list, got str'),
        ({"a": 3}, 'column "a" should be a list, got int'),
        ([{"a": 1}, 2], "one per row, found int"),
        ([["a"]], "one per row, found list"),
        ({1: [1]}, "names must be texts"),
        ({"_row": [1]}, '"_row" is taken'),
        (3, "cannot read int"),
        ("nowhere/*.jsonl", 'no file fits "nowhere/'),
        ("nowhere.jsonl", "there is no file"),
    ],
)
def test_what_cannot_be_read_says_why(data, message):
    with pytest.raises(DataError, match=message):
        open_input(data, name="train")


def test_a_missing_file_names_one_beside_it(tmp_path):
    (tmp_path / "train.jsonl").write_text("")
    with pytest.raises(DataError, match=r'Did you mean "train.jsonl"'):
        open_input(str(tmp_path / "trian.jsonl"))
    with pytest.raises(DataError, match="is a folder"):
        open_input(str(tmp_path))
    (tmp_path / "x.xlsx").write_text("")
    with pytest.raises(DataError, match="cannot tell the format"):
        open_input(str(tmp_path / "x.xlsx"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", "{", r"cannot read .*a\.json"),
        ("a.json", "3", "list of objects"),
        ("a.jsonl", '{"a": 1}\n{', r"a\.jsonl:2 is no JSON"),
        ("a.jsonl", "[1]", r"a\.jsonl:1 should hold an object"),
        ("a.jsonl", '{"a": 1}\n{"a": ' + "[" * 99_999, r"a\.jsonl:2 cannot be read: .* too deeply"),
        ("a.json", "[" * 99_999, r"cannot read .*a\.json: .* too deeply"),
        ("a.csv", "a,b\n1,2\n3\n", r"cannot read .*a\.csv"),
        ("a.parquet", "x", r"cannot read .*a\.parquet"),
        ("a.arrow", "x", r"cannot read .*a\.arrow"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=message):
        list(open_input(str(tmp_path / name), name="train").chunks(10))


def test_a_streaming_dataset_is_refused():
    datasets = pytest.importorskip("datasets")
    stream = datasets.Dataset.from_dict(COLUMNS).to_iterable_dataset()
    with pytest.raises(DataError, match="cannot be read twice"):
        open_input(stream)


def test_reading_imports_neither_pandas_nor_datasets():
    import subprocess

    code = (
        "import sys; from dlk.data.inputs import open_input\n"
        "list(open_input({'a': [1]}).chunks(2)); list(open_input([{'a': 1}]).chunks(2))\n"
        "heavy = ('pandas', 'datasets', 'torch', 'pyarrow', 'numpy')\n"
        "print([m for m in heavy if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


BLOCK = 1 << 20  # of a csv file, Arrow reads so many bytes before it decides on types


def csv_of(path, values):
    path.write_text("v,t\n" + "".join(f"{value},x\n" for value in values))
    return str(path)


@pytest.mark.parametrize(
    ("usual", "last", "expected"),
    [
        ("1234567", "1.5", [1234567.0, 1.5]),
        ("1234567", "abc", ["1234567", "abc"]),
        ("1.25000", "abc", ["1.25000", "abc"]),
        ("true", "maybe", ["true", "maybe"]),
        ("2026-01-01", "soon", ["2026-01-01", "soon"]),
        ("", "7", [None, 7]),
        ("", "7.5", [None, 7.5]),
        ("", "true", [None, True]),
        ("NA", "false", [None, False]),
        ("", "2026-01-01", [None, dt.date(2026, 1, 1)]),
        ("", "10:30:00", [None, dt.time(10, 30)]),
        ("", 'say ""so""', ["", 'say ""so""']),
        ("1234567", "9007199254740993.5", [1234567.0, 9007199254740993.5]),
        ("1.5", "9007199254740993", ["1.5", "9007199254740993"]),
        ("9007199254740993", "1.5", ["9007199254740993", "1.5"]),
        ("1234567", "18446744073709551617", ["1234567", "18446744073709551617"]),
        ("1.5", "9007199254740992", [1.5, 9007199254740992.0]),  # 2**53 is exact
        ("1.5", "1e300", [1.5, 1e300]),
        ("1234567", "9007199254740993", [1234567, 9007199254740993]),
    ],
)
@pytest.mark.parametrize("is_long", [False, True])
def test_the_type_of_a_csv_column_is_that_of_all_its_values(
    tmp_path, usual, last, expected, is_long
):
    path = csv_of(
        tmp_path / "a.csv", [*[usual] * (BLOCK // (len(usual) + 3) + 9 if is_long else 2), last]
    )
    columns = [chunk["v"] for chunk in open_input(path).chunks(1 << 16)]
    values = [value for column in columns for value in column]
    assert [values[0], values[-1]] == expected
    assert {type(value) for value in values} == {type(value) for value in expected}


def test_csv_files_of_one_input_agree_on_types(tmp_path):
    paths = [csv_of(tmp_path / "a.csv", [1, 2]), csv_of(tmp_path / "b.csv", ["x"])]
    for order in (paths, paths[::-1]):
        chunks = open_input(order).chunks(9)
        assert sorted(value for chunk in chunks for value in chunk["v"]) == ["1", "2", "x"]
    paths[1] = csv_of(tmp_path / "b.csv", [0.5])
    assert [chunk["v"] for chunk in open_input(paths).chunks(9)] == [[1.0, 2.0], [0.5]]
    (tmp_path / "c.csv").write_text("t\ny\n")
    assert [chunk["v"] for chunk in open_input([*paths, str(tmp_path / "c.csv")]).chunks(9)] == [
        [1.0, 2.0], [0.5], [None],
    ]  # fmt: skip


def test_a_whole_number_keeps_its_digits_beside_a_file_of_fractions(tmp_path):
    paths = [csv_of(tmp_path / "a.csv", [2**53 + 1]), csv_of(tmp_path / "b.csv", [0.5])]
    paths.append(str(tmp_path / "c.csv"))
    (tmp_path / "c.csv").write_text("t\nx\n")
    for order in (paths, paths[::-1]):
        values = [value for chunk in open_input(order).chunks(9) for value in chunk.get("v", [])]
        assert {"9007199254740993", "0.5"} == {value for value in values if value is not None}


@pytest.mark.parametrize(("value", "expected"), [("true", True), ("7", 7), ("abc", "abc")])
def test_an_empty_csv_column_takes_the_type_of_other_files(tmp_path, value, expected):
    (tmp_path / "empty.csv").write_text("v,t\n")
    paths = [str(tmp_path / "empty.csv"), csv_of(tmp_path / "a.csv", ["", ""])]
    paths.append(csv_of(tmp_path / "b.csv", [value]))
    nothing = "" if value == "abc" else None
    for order in (paths, paths[::-1]):
        columns = [chunk["v"] for chunk in open_input(order).chunks(9)]
        assert [expected] in columns
        assert [nothing, nothing] in columns


def test_a_row_knows_its_file(tmp_path):
    for name, rows in (("a", 3), ("b", 0), ("c", 2)):
        lines = [json.dumps({"text": f"{name}{n}"}) for n in range(rows)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    source = open_input(str(tmp_path / "*.jsonl"))
    assert len(list(source.chunks(2))) == 3
    a, c = tmp_path / "a.jsonl", tmp_path / "c.jsonl"
    assert [source.place(row) for row in (0, 2, 3)] == [
        f"{a}, its row 0", f"{a}, its row 2", f"{c}, its row 0",
    ]  # fmt: skip
    assert open_input(str(a)).place(1) == str(a)
    assert open_input([{"text": "a"}]).place(0) == ""


# Files that components read -----------------------------------------------------------------------


@pytest.fixture
def lines_reader():
    """A reader of files that end in .lines."""
    from dlk.config import cregister
    from dlk.data.reader import Reader, ReaderConfig
    from dlk.registry import register

    if ("reader", "lines") not in register:

        @cregister("reader", "lines")
        class LinesConfig(ReaderConfig):
            """Lines of text."""

        @register("reader", "lines")
        class Lines(Reader):
            def read(self, path):
                with open(path, encoding="utf-8") as lines:
                    for number, line in enumerate(lines):
                        yield {"sentence": line.rstrip()} | ({"odd": number} if number % 2 else {})


def test_a_reader_is_found_by_the_ending_of_its_files(tmp_path, lines_reader):
    (tmp_path / "a.LINES").write_text("a\nb\nc\n")
    (tmp_path / "b.jsonl").write_text('{"sentence": "d"}\n')
    source = open_input([tmp_path / "a.LINES", tmp_path / "b.jsonl"])
    assert source.column_names == ("sentence", "odd")
    assert list(source.chunks(2)) == [
        {"sentence": ["a", "b"], "odd": [None, 1]},
        {"sentence": ["c"], "odd": [None]},
        {"sentence": ["d"], "odd": [None]},
    ]
    assert source.place(2) == f"{tmp_path / 'a.LINES'}, its row 2"


def test_an_unknown_ending_lists_those_that_are_known(tmp_path, lines_reader, monkeypatch):
    from dlk._known import KNOWN

    path = tmp_path / "a.dat"
    path.write_text("x")
    with pytest.raises(DataError, match=r"expected one of \.json, \.jsonl.*\.arrow, .*\.lines"):
        open_input(path)
    monkeypatch.setitem(KNOWN, ("reader", "dat"), "dlk-other")
    with pytest.raises(DataError, match=r"part of dlk-other, .*pip install dlk-other"):
        open_input(path)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.lines").write_text("x")
    with pytest.raises(DataError, match=r"is a folder; give a glob such as .*\*\.lines"):
        open_input(tmp_path / "in")


@pytest.mark.parametrize(
    "lines",
    [
        ['{"a": 1}, {"a": 2}', '{"a": [{}', "{}]}"],  # as many values as lines, were they joined
        ['{"a": 1}, 0, {"a": 2}', '{"a": 3}'],
        ['{"a": [1', "2]}"],
        ['{"a": 1}', '{"a": 2'],
        ['{"a": 1}', "[2]"],
    ],
)
def test_each_line_is_one_object_however_many_are_parsed_at_once(tmp_path, lines):
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(["", *lines, ""]))
    wrong = 1 if lines[0] != '{"a": 1}' else 2
    with pytest.raises(DataError, match=rf"rows\.jsonl:{wrong + 1} (is no JSON|should hold)"):
        open_input(path)


def test_rows_without_any_column_are_refused_where_nobody_could_count_them(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n{}\n{}\n{"a": 2}\n')
    assert list(open_input(path).chunks(4)) == [{"a": [1, None, None, 2]}]
    with pytest.raises(DataError, match=r"rows\.jsonl: rows after its first 1 have no column"):
        list(open_input(path).chunks(1))
    with pytest.raises(DataError, match="the first 2 rows have no column"):
        open_input(lambda: iter([{}, {}]))


VALUES = st.integers() | st.floats(allow_nan=False) | st.text(max_size=4) | st.none()


@given(
    st.lists(
        st.fixed_dictionaries({"k": VALUES}, optional={"a": VALUES, "b": st.lists(VALUES)}),
        min_size=1,
        max_size=6,
    ),
    st.integers(1, 4),
)
def test_lines_of_json_come_as_they_were_written_in_any_chunks(rows, size):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rows.jsonl")
        path.write_text("\n\n".join(json.dumps(row) for row in rows))
        chunks = list(open_input(path).chunks(size))
    told = [
        {name: values[place] for name, values in chunk.items()}
        for chunk in chunks
        for place in range(len(chunk["k"]))
    ]
    assert [repr(row["k"]) for row in told] == [repr(row["k"]) for row in rows]
    for read_row, row in zip(told, rows, strict=True):
        assert {name: row.get(name) for name in read_row} == read_row
        assert row.keys() <= read_row.keys()


def test_a_function_gives_rows_that_are_never_all_in_memory():
    given_up_to = []

    def rows():
        for number in range(10_000):
            given_up_to.append(number)
            yield {"text": f"t{number}", **({"late": number} if number > 6000 else {})}

    source = open_input(rows)
    assert source.column_names == ("text",)
    assert max(given_up_to) < 5000
    first = next(source.chunks(10))
    assert first == {"text": [f"t{number}" for number in range(10)]}
    for _ in range(2):
        chunks = list(source.chunks(3000))
        assert [len(chunk["text"]) for chunk in chunks] == [3000, 3000, 3000, 1000]
        assert chunks[2]["late"][:2] == [None, 6001]
    assert source.num_rows == 10_000


def test_an_iterator_that_runs_dry_is_refused_and_a_function_that_gives_one_too():
    rows = ({"a": n} for n in range(3))
    with pytest.raises(DataError, match=r"generator can be gone through once.*the function that"):
        open_input(rows)
    source = open_input(lambda: rows)  # the look at its columns took all of it
    with pytest.raises(DataError, match="the function gave 3 rows at first and 0 now"):
        list(source.chunks(2))
    again = ({"a": n} for n in range(9))
    once = open_input(lambda: iter([{"a": n} for n in range(next(again)["a"] + 1)]))
    list(once.chunks(2))  # the look at its columns was the first time
    with pytest.raises(DataError, match="the function gave 2 rows at first and 3 now"):
        list(once.chunks(2))
    with pytest.raises(DataError, match="train: row 1: expected a dict, got str"):
        open_input(lambda: [{"a": 1}, "b"], name="train")
