"""JSON with comments that is changed and written again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlk.config import jsonc
from dlk.errors import ConfigError
from dlk.migrate.text import Node, has_positions, node_of, parse, write

COMMENTED = """// above the file
{
    // above a key
    "a": 1e-4,  // behind a value
    "b": [1, 2, {"c": null}],
    /* over
       two lines */
    "d": {
        "e": "text // no comment",
        // at the end of an object
    },
    "f": [],
    # hash
    "g": {},
}
// below the file
"""


def test_what_is_laid_out_as_our_examples_comes_back_as_it_was() -> None:
    text = COMMENTED.replace("       two lines", "    two lines")
    assert write(parse(text, "a.jsonc")) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a":1}', '{"a": 1}\n'),
        ('{"a":1 // why\n}', '{\n    "a": 1,  // why\n}\n'),
        ('{"a" /* x */ : /* y */ 1}', '{\n    /* x */\n    /* y */\n    "a": 1,\n}\n'),
        ('{"a": 1, // one\n "b": 2}', '{\n    "a": 1,  // one\n    "b": 2,\n}\n'),
        ('{"a": [ // first\n1]}', '{\n    "a": [\n        // first\n        1,\n    ],\n}\n'),
        ("[1.50, 1E3]", "[1.50, 1E3]\n"),
    ],
)
def test_comments_stay_with_what_they_are_about(text: str, expected: str) -> None:
    assert write(parse(text, "a.jsonc")) == expected


def test_every_comment_is_kept() -> None:
    text = '/*0*/{/*1*/"a"/*2*/:/*3*/[/*4*/1/*5*/,/*6*/2/*7*/]/*8*/,/*9*/}/*10*/'
    written = write(parse(text, "a.jsonc"))
    assert [f"/*{k}*/" in written for k in range(11)] == [True] * 11
    assert jsonc.parse(written).value == {"a": [1, 2]}


def test_places_are_those_of_the_text() -> None:
    document = parse(COMMENTED, "a.jsonc")
    inner = document.node.find("d")
    assert inner is not None
    places = [(e.key, e.line, e.column) for e in (*document.node.items(), *inner.node.items())]
    assert places[:3] == [("a", 4, 5), ("b", 5, 5), ("d", 8, 5)]
    assert places[-1] == ("e", 9, 9)
    assert has_positions(document)


def test_a_long_line_is_broken_and_a_changed_value_keeps_its_comment() -> None:
    document = parse('{"a": 1, // why\n "b": {"c": 2}}', "a.jsonc")
    document.node.put("a", ["x" * 60, "y" * 60])
    entry = document.node.find("b")
    assert entry is not None
    entry.node.put("d", True, comment="new")
    assert write(document) == (
        '{\n    "a": [\n        "' + "x" * 60 + '",\n        "' + "y" * 60 + '",\n    ],  // why\n'
        '    "b": {\n        "c": 2,\n        // new\n        "d": true,\n    },\n}\n'
    )


def test_hjson_is_read_without_its_comments() -> None:
    document = parse("{\n  # why\n  name: some text\n  size: 3\n}\n", "a.hjson")
    assert document.node.value == {"name": "some text", "size": 3}
    assert not has_positions(document)


def test_what_is_neither_is_refused_with_its_place() -> None:
    with pytest.raises(ConfigError, match=r"a.jsonc:1:8"):
        parse('{"a": [}', "a.jsonc")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8).filter(lambda t: not any("\ud800" <= c <= "\udfff" for c in t)),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.text("ab@#_/*", max_size=4), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@given(value=st.dictionaries(st.text("abc", max_size=3), JSON, max_size=4))
def test_any_value_is_written_and_read_again(value: dict[str, object]) -> None:
    import json

    for text in (json.dumps(value), json.dumps(value, indent=3, ensure_ascii=False)):
        document = parse(text, "a.jsonc")
        assert document.node.value == value
        assert jsonc.parse(write(document)).value == value
        assert write(parse(write(document), "b.jsonc")) == write(document)


def test_a_tree_of_a_value_is_that_value() -> None:
    value = {"a": [1, {"b": None}], "c": "d"}
    assert node_of(value).value == value
    assert isinstance(node_of(value), Node)
