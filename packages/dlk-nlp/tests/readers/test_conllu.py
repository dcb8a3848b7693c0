"""CoNLL-U."""

from __future__ import annotations

import pytest

from dlk.errors import DataError
from dlk.nlp.readers import read_conllu

TAB = "\t"
ENGLISH = """\
# newdoc id = weblog
# sent_id = en-1
# text = They can't buy   books.
1	They	they	PRON	PRP	Case=Nom|Number=Plur	4	nsubj	4:nsubj	_
2-3	can't	_	_	_	_	_	_	_	_
2	can	can	AUX	MD	_	4	aux	4:aux	_
3	't	not	PART	RB	_	4	advmod	4:advmod	_
4	buy	buy	VERB	VB	_	0	root	0:root	SpacesAfter=\\s\\s\\s
4.1	buy	buy	VERB	VB	_	_	_	0:root	_
5	books	book	NOUN	NNS	_	4	obj	4:obj	SpaceAfter=No
6	.	.	PUNCT	.	_	4	punct	4:punct	_

# text = vu du quai
1	vu	voir	VERB	_	_	0	root	_	_
2-3	du	_	_	_	_	_	_	_	_
2	de	de	ADP	_	_	4	case	_	_
3	le	le	DET	_	_	4	det	_	_
4	quai	quai	NOUN	_	_	1	obl	_	_
"""


def line(number, form="a", *, head="_", relation="_", pos="X", misc="_"):
    return TAB.join([str(number), form, "_", pos, "_", "_", str(head), relation, "_", misc])


@pytest.fixture
def read(tmp_path):
    def made(*lines, **options):
        path = tmp_path / "some.conllu"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return list(read_conllu(path, **options))

    return made


def words(row):
    text = row["sentence"]
    return [
        (each["entity_id"], text[each["start"] : each["end"]], *each["labels"])
        for each in row["entities_info"]
    ]


def relations(row):
    return [(each["from"], *each["labels"], each["to"]) for each in row["relations_info"]]


def test_words_stand_where_the_text_has_them(read):
    row, _ = read(ENGLISH)
    assert row["uuid"] == "en-1"
    assert row["sentence"] == "They can't buy   books."
    assert row["pretokenized_words"] == ["They", "can", "'t", "buy", "books", "."]
    places = [row["sentence"][start:end] for start, end in row["pretokenized_word_offsets"]]
    assert places == row["pretokenized_words"]
    assert words(row)[:3] == [("1", "They", "PRON"), ("2", "can", "AUX"), ("3", "'t", "PART")]


def test_dependencies_go_from_the_dependent_to_its_head_and_the_root_has_none(read):
    row, _ = read(ENGLISH)
    assert relations(row) == [
        ("1", "nsubj", "4"),
        ("2", "aux", "4"),
        ("3", "advmod", "4"),
        ("5", "obj", "4"),
        ("6", "punct", "4"),
    ]


def test_words_that_do_not_spell_their_token_are_one_word(read):
    _, row = read(ENGLISH)
    assert words(row) == [("1", "vu", "VERB"), ("2-3", "du", "ADP+DET"), ("4", "quai", "NOUN")]
    assert row["pretokenized_words"] == ["vu", "du", "quai"]
    assert relations(row) == [("2-3", "case", "4"), ("2-3", "det", "4"), ("4", "obl", "1")]
    assert row["uuid"] == "13"  # no sent_id: the line where the sentence begins


def test_relations_inside_a_token_vanish_with_its_words(read):
    rows = read(
        line("1-2", "au"),
        line(1, "à", head=2, relation="case"),
        line(2, "le", head=3, relation="det"),
        line(3, "b", head=0, relation="root"),
    )
    assert relations(rows[0]) == [("1-2", "det", "3")]


def test_a_token_spelt_in_other_case_is_split_as_it_is_written(read):
    (row,) = read(line("1-2", "CanNot"), line(1, "can"), line(2, "not"), line(3, "x"))
    assert row["pretokenized_words"] == ["Can", "Not", "x"]
    assert row["sentence"] == "CanNot x"


def test_without_a_text_the_words_say_where_spaces_are(read):
    (row,) = read(line(1, "a", misc="SpaceAfter=No"), line(2, "-b", misc="X=1"), line(3, "c d"))
    assert row["sentence"] == "a-b c d"
    assert row["pretokenized_words"] == ["a", "-b", "c d"]
    assert row["pretokenized_word_offsets"] == [[0, 1], [1, 3], [4, 7]]


def test_annotations_can_be_left_out(read):
    row, _ = read(ENGLISH, annotations=False)
    assert sorted(row) == [
        "pretokenized_word_offsets",
        "pretokenized_words",
        "sentence",
        "uuid",
    ]


def test_words_without_a_head_have_no_relation(read):
    (row,) = read(line(1), line(2, head=1))
    assert row["relations_info"] == []


def test_a_block_of_comments_is_no_sentence(read):
    assert read("# global.columns = ID FORM", "", line(1)) == read("", "", line(1))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["1\ta"], r"some\.conllu:1: expected 10 columns between tabs, got 2"),
        ([line(1), line(3)], r":2: expected word 2, got 3"),
        ([line("x")], r":1: expected the number of a word, got 'x'"),
        ([line(1, "")], r":1: the word is empty"),
        ([line(1, head=7, relation="obj")], r":1: the head '7' is no word"),
        (["# text = b", line(1)], r":2: the word 'a' is not what follows in the text, 'b'"),
        (["# text = a b", line(1)], r":2: the words end before the text does: ' b'"),
        ([line("1-2", "ab"), line(1)], r":2: the words of 1-2 are not all there"),
        ([line("1-3", "ab"), line("1-2"), line(1)], r":2: the words 1-2 overlap others"),
        ([line("2-1", "ab")], r":1: expected word 1, got 2-1"),
        ([line("1-0", "ab")], r":1: the words 1-0 overlap others"),
    ],
)
def test_a_line_that_is_none_is_named(read, lines, message):
    with pytest.raises(DataError, match=message):
        read(*lines)
