"""CoNLL columns."""

from __future__ import annotations

import inspect
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlk.errors import DataError
from dlk.nlp.readers import read_conll
from dlk.nlp.tags import TagSpan, encode
from dlk.preprocess import Process

CONLL_2003 = """\
-DOCSTART- -X- -X- O

EU NNP B-NP B-ORG
rejects VBZ B-VP O
German JJ B-NP B-MISC
call NN I-NP O
. . O O

Peter NNP B-NP B-PER
Blackburn NNP I-NP I-PER

-DOCSTART- -X- -X- O

BRUSSELS NNP B-NP B-LOC
1996-08-22 CD I-NP O
"""


@pytest.fixture
def read(tmp_path):
    def made(text, **options):
        path = tmp_path / "some.conll"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return list(read_conll(path, **options))

    return made


def spans(row):
    return [
        (row["sentence"][each["start"] : each["end"]], *each["labels"])
        for each in row["entities_info"]
    ]


def test_conll_2003_is_read_by_default(read):
    rows = read(CONLL_2003)
    assert rows[0] == {
        "sentence": "EU rejects German call .",
        "pretokenized_words": ["EU", "rejects", "German", "call", "."],
        "pretokenized_word_offsets": [[0, 2], [3, 10], [11, 17], [18, 22], [23, 24]],
        "document": 0,
        "entities_info": [
            {"start": 0, "end": 2, "labels": ["ORG"]},
            {"start": 11, "end": 17, "labels": ["MISC"]},
        ],
    }
    assert [row["sentence"] for row in rows[1:]] == ["Peter Blackburn", "BRUSSELS 1996-08-22"]
    assert [row["document"] for row in rows] == [0, 0, 1]
    assert spans(rows[1]) == [("Peter Blackburn", "PER")]


def test_columns_can_be_chosen_and_kept(read):
    (row,) = read("1 a X B-p\n2 b Y I-p\n", word_column=1, columns={"pos": 2, "number": 0})
    assert (row["pos"], row["number"], row["sentence"]) == (["X", "Y"], ["1", "2"], "a b")
    (row,) = read("B-p\ta\n", word_column=1, tag_column=0, separator="\t")
    assert spans(row) == [("a", "p")]
    (row,) = read("a\nb\n", tag_column=None)
    assert "entities_info" not in row


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("B-x I-x O", ["a b"]),
        ("I-x I-x B-x", ["a b", "c"]),  # IOB1: B only where entities of one type touch
        ("I-x O I-x", ["a", "c"]),
        ("B-x E-x S-x", ["a b", "c"]),
        ("S-x B-x E-x", ["a", "b c"]),
        ("I-x I-y I-y", ["a", "b c"]),
        ("B-a-b I-a-b O", ["a b"]),  # a dash in the type
    ],
)
def test_every_scheme_of_tags_is_read(read, tags, expected):
    text = "\n".join(f"{word}\t{tag}" for word, tag in zip("abc", tags.split(), strict=True))
    (row,) = read(text)
    assert [text for text, _ in spans(row)] == expected


WORDS = st.text(min_size=1, max_size=5).filter(
    lambda word: (
        word == word.strip() and not set(word) & set(" \t\n\r\ufeff") and word.isprintable()
    )
)


@settings(deadline=None)
@given(data=st.data(), scheme=st.sampled_from(["BIO", "BIOES"]))
def test_what_was_tagged_is_found_at_its_characters(tmp_path_factory, data, scheme):
    words = data.draw(st.lists(WORDS, min_size=1, max_size=8))
    cuts = data.draw(st.lists(st.integers(0, len(words)), max_size=6, unique=True).map(sorted))
    wanted = [TagSpan(a, b, "x") for a, b in pairwise(cuts)]
    tags = encode(wanted, len(words), scheme)
    path = tmp_path_factory.getbasetemp() / "any.conll"
    lines = [f"{word}\t{tag}\n" for word, tag in zip(words, tags, strict=True)]
    path.write_text("".join(lines), encoding="utf-8", newline="\n")
    (row,) = read_conll(path, separator="\t")
    text = row["sentence"]
    assert row["pretokenized_words"] == words
    assert [text[start:end] for start, end in row["pretokenized_word_offsets"]] == words
    assert [t for t, _ in spans(row)] == [" ".join(words[s.start : s.end]) for s in wanted]


def test_a_word_keeps_the_spaces_and_line_ends_of_unicode(read):
    rows = read("10\u00a0000 O\r\na\u2028b O\r\n\r\n\r\nc O\r\n".encode("utf-8-sig"))
    assert [row["pretokenized_words"] for row in rows] == [["10\u00a0000", "a\u2028b"], ["c"]]


def test_lines_are_comments_only_where_that_is_said(read):
    text = "# id 1\n# O\nb O\n"
    with pytest.raises(DataError, match=r"some\.conll:1: .*'1' is no tag"):
        read("# id 1\n")
    with pytest.raises(DataError, match=r"some\.conll:2: expected 3 columns .*comments"):
        read(text)
    (row,) = read(text, comment="# id")
    assert row["pretokenized_words"] == ["#", "b"]
    assert read("# id 1\n\n", comment="# id") == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a O\nb\n", r"some\.conll:2: expected at least 2 columns, got 1: 'b'"),
        ("a O\n\nb O\nc Q-x\n", r"some\.conll:4: 'Q-x' is no tag"),
        ("a 1\n", r"some\.conll:1: '1' is no tag; .*tag_column"),
        ("a B-\n", r"some\.conll:1: the tag 'B-' names no type"),
        ("a O\n-DOCSTART- O\n", r"some\.conll:2: -DOCSTART- stands inside of a sentence"),
        (b"a O\n\xff O\n", r"some\.conll:2 is no UTF-8"),
    ],
)
def test_a_line_that_is_none_is_named(read, text, message):
    with pytest.raises(DataError, match=message):
        read(text, columns={"second": 1})


def test_a_word_with_a_space_is_not_cut_but_asks_for_the_separator(read):
    text = "EU\tB-ORG\n\nNew York\tB-LOC\n"
    with pytest.raises(DataError, match=r"some\.conll:3: expected 2 columns as in line 1, got 3"):
        read(text)
    assert [spans(row) for row in read(text, separator="\t")] == [
        [("EU", "ORG")],
        [("New York", "LOC")],
    ]


def test_an_empty_word_is_named(read):
    with pytest.raises(DataError, match=r"some\.conll:1: the word is empty"):
        read("\tO\n", separator="\t")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"cannot read .*none\.conll: No such file"):
        list(read_conll(tmp_path / "none.conll"))


def test_rows_are_made_as_the_file_is_read(tmp_path):
    (tmp_path / "long.conll").write_text("a O\n\n" * 3 + "b\n")
    rows = read_conll(tmp_path / "long.conll")
    assert inspect.isgenerator(rows)
    assert [next(rows)["sentence"] for _ in range(3)] == ["a", "a", "a"]
    with pytest.raises(DataError, match=r"long\.conll:7"):
        next(rows)


def test_the_rows_are_an_input_of_process(tmp_path, read):
    config = {
        "@processor@default": {
            "processed_data_dir": str(tmp_path / "processed"),
            "keep": ["tokens", "offsets"],
            "@subprocessor@pre_tokenize": {"method": "words"},
        }
    }
    done = Process(config).run({"train": read(CONLL_2003)})
    assert done.rows == {"train": 3}
    made = Process(config, stage="online").run(read(CONLL_2003)).columns
    assert made["tokens"] == [row["pretokenized_words"] for row in read(CONLL_2003)]
