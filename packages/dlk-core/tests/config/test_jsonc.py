from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlk.config import jsonc
from dlk.errors import ConfigError

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
BLANKS = st.sampled_from(["", " ", "\n", "\t", "\r\n", "// x {\n", "# ] \n", '/* " \n */'])


def written(value: Any, blank: Any) -> str:
    """Write a value as JSONC, with blanks and comments wherever they may stand."""
    if isinstance(value, dict):
        parts = [f"{blank()}{json.dumps(k)}{blank()}:{written(v, blank)}" for k, v in value.items()]
        return (
            blank()
            + "{"
            + ",".join(parts)
            + (blank() + "," if parts else "")
            + blank()
            + "}"
            + blank()
        )
    if isinstance(value, list):
        parts = [written(v, blank) for v in value]
        return (
            blank()
            + "["
            + ",".join(parts)
            + (blank() + "," if parts else "")
            + blank()
            + "]"
            + blank()
        )
    return blank() + json.dumps(value) + blank()


@given(VALUES)
def test_plain_json_reads_as_json_does(value: Any) -> None:
    for text in (json.dumps(value), json.dumps(value, indent=3, ensure_ascii=False)):
        assert jsonc.parse(text).value == json.loads(text)


@given(value=VALUES, data=st.data())
def test_comments_and_trailing_commas_change_nothing(value: Any, data: st.DataObject) -> None:
    assert jsonc.parse(written(value, lambda: data.draw(BLANKS))).value == value


@given(value=VALUES, data=st.data())
def test_every_position_points_at_its_value_and_key(value: Any, data: st.DataObject) -> None:
    text = written(value, lambda: data.draw(BLANKS))
    document = jsonc.parse(text)
    lines = text.split("\n")

    def rest(at: jsonc.Position) -> str:
        return "\n".join([lines[at.line - 1][at.column - 1 :], *lines[at.line :]])

    def follow(path: tuple[str | int, ...]) -> Any:
        here = value
        for part in path:
            here = here[part]
        return here

    for path, at in document.values.items():
        part = follow(path)
        start = (
            "{" if isinstance(part, dict) else "[" if isinstance(part, list) else json.dumps(part)
        )
        assert rest(at).startswith(start)
    for path, at in document.keys.items():
        assert rest(at).startswith(json.dumps(path[-1]))


@pytest.mark.parametrize(
    ("text", "where", "message"),
    [
        ("", (1, 1), "the end of the file"),
        ("// only a comment", (1, 18), "the end of the file"),
        ('{"a": 1', (1, 1), "this { is never closed"),
        ('{\n  "a": [1, 2', (2, 8), "this [ is never closed"),
        ('{"a": "x', (1, 7), "never closed"),
        ('{"a": "x\ny"}', (1, 7), "never closed, or holds a control character"),
        ("[1, /* x", (1, 5), "comment is never closed"),
        ('{"a": 1,\n "a": 2}', (2, 2), 'the key "a" stands already in line 1'),
        ('{"a" 1}', (1, 6), "expected : after"),
        ('{"a": 1 "b": 2}', (1, 9), "expected , or }"),
        ("[1 2]", (1, 4), "expected , or ]"),
        ("[1,,2]", (1, 4), "expected a value, got ','"),
        ("{,}", (1, 2), "expected a key"),
        ("{a: 1}", (1, 2), "expected a key in double quotes"),
        ("[yes]", (1, 2), 'got yes; text stands in double quotes: "yes"'),
        ("['a']", (1, 2), "double quotes"),
        ("[NaN]", (1, 2), "got NaN"),
        ("[-Infinity]", (1, 2), "no number"),
        ("[01]", (1, 2), "no number"),
        ("[.5]", (1, 2), "no number"),
        ("[+1]", (1, 2), "no number"),
        ("[1.]", (1, 2), "no number"),
        ("[0x10]", (1, 2), "no number"),
        ("[1e999]", (1, 2), "too large"),
        ("[" + "9" * 5000 + "]", (1, 2), "5000 digits is too long"),
        ('["a\\x"]', (1, 4), "bad escape"),
        ('["\\ud800"]', (1, 2), "surrogate"),
        ("[1] 2", (1, 5), "end of the file after the first value"),
        ("\n\n[" * 300, (403, 1), "nested deeper than 200"),
    ],
)
def test_a_mistake_is_named_where_it_stands(
    text: str, where: tuple[int, int], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        jsonc.parse(text, "c.jsonc")
    (problem,) = caught.value.problems
    assert (problem.line, problem.column) == where
    assert message in problem.message
    assert str(problem).startswith(f"c.jsonc:{where[0]}:{where[1]}: ")


def test_a_byte_order_mark_counts_for_nothing(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_bytes(b'\xef\xbb\xbf{"a": 1}')
    document = jsonc.read(str(tmp_path / "c.json"))
    assert document.value == {"a": 1}
    assert document.values["a",] == jsonc.Position(1, 7)


def test_bad_utf8_is_named_by_the_column_of_characters(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_bytes('{\n"é": "'.encode() + b'\xff"}')
    with pytest.raises(ConfigError, match=r"c\.json:2:7: not UTF-8"):
        jsonc.read(str(tmp_path / "c.json"))


@pytest.mark.parametrize(
    ("name", "reason"), [("none.json", "no such file"), (".", "cannot be read")]
)
def test_a_file_that_cannot_be_read_is_an_error_of_the_config(
    tmp_path: Path, name: str, reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason):
        jsonc.read(str(tmp_path / name))


def test_2000_lines_are_read_in_well_under_a_second() -> None:
    text = json.dumps({f"key {n}": {"a": n, "b": [n, "text"]} for n in range(400)}, indent=1)
    assert text.count("\n") > 2000
    started = time.process_time()
    jsonc.parse(text)
    assert time.process_time() - started < 0.5
