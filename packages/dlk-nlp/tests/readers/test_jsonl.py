"""Lines of JSON with offsets."""

from __future__ import annotations

import json

import pytest

from dlk.errors import DataError
from dlk.nlp.readers import read_jsonl


@pytest.fixture
def read(tmp_path):
    def made(*rows, **options):
        path = tmp_path / "some.jsonl"
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        path.write_text("\n".join(lines), encoding="utf-8-sig")
        return list(read_jsonl(path, **options))

    return made


def test_lists_and_objects_are_entities(read):
    (first, second) = read(
        {"text": "Ana", "entities": [[0, 3, "PER"]]},
        {"text": "Ana", "entities": [{"start": 0, "end": 3, "label": ["PER", "X"], "id": 7}]},
    )
    assert first == {
        "sentence": "Ana",
        "entities_info": [{"start": 0, "end": 3, "labels": ["PER"]}],
    }
    assert second["entities_info"] == [
        {"start": 0, "end": 3, "labels": ["PER", "X"], "entity_id": 7}
    ]


def test_relations_of_doccano_are_read(read):
    (row,) = read(
        {
            "id": 5,
            "text": "Ana Rio",
            "entities": [
                {"id": 1, "label": "PER", "start_offset": 0, "end_offset": 3},
                {"id": 2, "label": "LOC", "start_offset": 4, "end_offset": 7},
            ],
            "relations": [{"id": 9, "from_id": 1, "to_id": 2, "type": "in"}],
        },
        start="start_offset",
        end="end_offset",
        relations="relations",
        source="from_id",
        target="to_id",
    )
    assert [each["entity_id"] for each in row["entities_info"]] == [1, 2]
    assert row["relations_info"] == [{"from": 1, "to": 2, "labels": ["in"]}]
    assert row["id"] == 5


def test_keys_have_any_name_and_others_are_kept(read):
    (row,) = read({"t": "a", "spans": [], "meta": {"x": 1}}, text="t", entities="spans")
    assert row == {"sentence": "a", "entities_info": [], "meta": {"x": 1}}
    (row,) = read({"text": "a", "entities": None, "rels": None}, relations="rels")
    assert row == {"sentence": "a", "entities_info": [], "relations_info": []}
    (row,) = read({"text": "a", "label": "spam"}, entities=None)
    assert row == {"sentence": "a", "label": "spam"}
    (row,) = read(
        {"text": "ab", "entities": [{"a": 0, "b": 1, "c": "X", "d": "n"}]},
        start="a",
        end="b",
        label="c",
        id="d",
    )
    assert row["entities_info"] == [{"start": 0, "end": 1, "labels": ["X"], "entity_id": "n"}]
    (row,) = read(
        {"text": "a", "entities": [], "r": [{"from": 0, "to": 1, "name": "X"}]},
        relations="r",
        kind="name",
    )
    assert row["relations_info"] == [{"from": 0, "to": 1, "labels": ["X"]}]


def test_empty_lines_are_left_out(read):
    assert [row["sentence"] for row in read({"text": "a", "entities": []}, "", "  ")] == ["a"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{", r"some\.jsonl:1 is no JSON"),
        ("[]", r":1 should hold an object"),
        ({"texts": "a"}, r':1 has no "text". Did you mean "texts"'),
        ({"text": None, "entities": []}, r':1: expected a text as "text", got None'),
        ({"text": "a"}, r':1 has no "entities"'),
        ({"text": "a", "entities": {}}, r":1: expected a list"),
        ({"text": "a", "entities": [[0, 1]]}, r"entity 0: expected start, end and label"),
        ({"text": "a", "entities": [3]}, r"entity 0: expected an object, or"),
        ({"text": "a", "entities": [[0, 2, "X"]]}, r"expected 0 <= start < end <= 1"),
        ({"text": "a", "entities": [[0.0, 1, "X"]]}, r"got 0.0 and 1"),
        ({"text": "a", "entities": [[False, True, "X"]]}, r"got False and True"),
        ({"text": "a", "entities": [[0, 1, ""]]}, r"expected a type"),
        ({"text": "a", "entities": [{"start": 0, "end": 1}]}, r'entity 0 has no "label"'),
    ],
)
def test_a_line_that_is_no_row_is_named(read, row, message):
    with pytest.raises(DataError, match=message):
        read(row)


def test_a_relation_that_is_none_is_named(read):
    row = {"text": "a", "entities": [], "relations": [3]}
    with pytest.raises(DataError, match=r"relation 0: expected an object"):
        read(row, relations="relations")
    row["relations"] = [{"from": 1, "type": "x"}]
    with pytest.raises(DataError, match=r'relation 0 has no "to"'):
        read(row, relations="relations")
