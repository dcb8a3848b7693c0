"""BRAT's standoff files."""

from __future__ import annotations

import pytest

from dlk.errors import DataError
from dlk.nlp.readers import read_brat

TEXT = "Ana 👩‍👧 founded\nAcme Corp. in New\nYork and Rio.\n"
ANN = """\
T1	Person 0 3	Ana
T2	Org 16 25	Acme Corp
T3	City 30 38	New York
T4	City 30 33;39 42	New and
T5	City 43 46	Rio
R1	Founded Arg1:T1 Arg2:T2	
R2	In Arg1:T2 Arg2:T4	
A1	Sure T1
M1	Maybe T2
N1	Reference T3 Wikipedia:645042	New York City
#1	AnnotatorNotes T1	a note
E1	Founded:T2
*	Equiv T3 T5
R3	In Arg1:T2 Arg2:E1
"""  # noqa: W291 - BRAT ends relations with a tab


@pytest.fixture
def document(tmp_path):
    def made(ann=ANN, text=TEXT, name="a"):
        (tmp_path / f"{name}.txt").write_bytes(text.encode())
        (tmp_path / f"{name}.ann").write_bytes(ann.encode())
        return tmp_path / f"{name}.ann"

    return made


def test_entities_and_relations_keep_their_names_and_places(document):
    (row,) = read_brat(document())
    assert (row["uuid"], row["sentence"]) == ("a", TEXT)
    assert [
        (each["entity_id"], TEXT[each["start"] : each["end"]], *each["labels"])
        for each in row["entities_info"]
    ] == [
        ("T1", "Ana", "Person"),
        ("T2", "Acme Corp", "Org"),
        ("T3", "New\nYork", "City"),
        ("T5", "Rio", "City"),
    ]
    assert row["relations_info"] == [{"from": "T1", "to": "T2", "labels": ["Founded"]}]


def test_what_is_left_out_is_told(document):
    (row,) = read_brat(document())
    assert row["skipped"] == [
        "T4: several parts",
        "E1: event",
        "*: Equiv T3 T5",
        "R2: T4 is left out",
        "R3: E1 is left out",
    ]


def test_an_entity_in_parts_can_be_taken_as_a_whole(document):
    (row,) = read_brat(document(), join_parts=True)
    whole = next(each for each in row["entities_info"] if each["entity_id"] == "T4")
    assert TEXT[whole["start"] : whole["end"]] == "New\nYork and"
    assert {"from": "T2", "to": "T4", "labels": ["In"]} in row["relations_info"]


def test_a_folder_is_read_in_the_order_of_names(document, tmp_path):
    for name in "bca":
        document("T1\tX 0 1\ta\n", "a", name)
    assert [row["uuid"] for row in read_brat(tmp_path)] == ["a", "b", "c"]
    assert [row["uuid"] for row in read_brat(tmp_path / "b.txt")] == ["b"]


def test_line_ends_and_a_mark_in_front_count_as_characters(document):
    (row,) = read_brat(document("T1\tX 4 5\tb\r\n", "\ufeffa\r\nb"))
    assert row["sentence"][4:5] == "b"


def test_a_relation_may_stand_before_its_entities(document):
    (row,) = read_brat(document("R1\tX Arg1:T1 Arg2:T1\nT1\tY 0 1\ta\n", "a"))
    assert row["relations_info"] == [{"from": "T1", "to": "T1", "labels": ["X"]}]


@pytest.mark.parametrize(
    ("ann", "message"),
    [
        ("T1\tX 0 1\tb\n", r"a\.ann:1: T1 says 'b', and at 0 1 stands 'a': .*characters"),
        ("T1\tX 0 9\ta\n", r"a\.ann:1: expected 0 <= start < end <= 1"),
        ("T1\tX 1 1\t\n", r"got 1 and 1"),
        ("\nT1\tX 0\ta\n", r"a\.ann:2: expected a type, start and end"),
        ("T1\tX zero 1\ta\n", r"a\.ann:1: expected a type, start and end"),
        ("R1\tX Arg1:T1\n", r"a\.ann:1: expected a type, Arg1:T… and Arg2:T…"),
        ("T1\tX 0 1\ta\nR1\tX Arg1:T1 Arg2:T11\n", r':2: there is no T11. Did you mean "T1"'),
        ("Q1\tX\n", r"a\.ann:1: expected T, R, E"),
        (
            "T1\tX 0 1\ta\n\nT1\tY 0 1\ta\n",
            r"a\.ann:3: two entities are called T1, .*'T1\\tX 0 1\\ta' in line 1, "
            r"'T1\\tY 0 1\\ta' here",
        ),
        ("T1\tX 0 1;0 1\ta a\nT1\tY 0 1\ta\n", r"a\.ann:2: two entities are called T1"),
    ],
)
def test_a_line_that_is_no_annotation_is_named(document, ann, message):
    with pytest.raises(DataError, match=message):
        list(read_brat(document(ann, "a")))


@pytest.mark.parametrize("text", ["Zoë in Rome", "👩 in Rome"])
def test_offsets_that_count_bytes_or_halves_of_characters_are_told(document, text):
    start = text.index("Rome")
    (row,) = read_brat(document(f"T1\tCity {start} {start + 4}\tRome\n", text))
    assert row["entities_info"][0]["start"] == start
    for encoding, size in (("utf-8", 1), ("utf-16-le", 2)):
        other = len(text[:start].encode(encoding)) // size
        if other != start:
            with pytest.raises(DataError, match=r"says 'Rome', and .*offsets count characters"):
                list(read_brat(document(f"T1\tCity {other} {len(text)}\tRome\n", text)))


def test_files_that_are_missing_or_something_else_are_named(document, tmp_path):
    document("", "a")
    (tmp_path / "a.ann").unlink()
    with pytest.raises(DataError, match=r"cannot read .*a\.ann"):
        list(read_brat(tmp_path))
    with pytest.raises(DataError, match=r'cannot read .*aa\.txt.*Did you mean "a\.txt"'):
        list(read_brat(tmp_path / "aa.ann"))
    with pytest.raises(DataError, match=r"expected a \.txt or \.ann file"):
        list(read_brat(tmp_path / "a.json"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"holds no \.txt file"):
        list(read_brat(tmp_path / "empty"))
    (tmp_path / "a.txt").write_bytes(b"\xff")
    with pytest.raises(DataError, match=r"a\.txt is no UTF-8"):
        list(read_brat(tmp_path / "a.txt"))
