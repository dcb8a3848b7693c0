"""Tags say the spans that seqeval reads in them, and no others."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities
from seqeval.scheme import IOB2, IOBES, Tokens

from dlk.nlp.tags import SCHEMES, TagSpan, decode, encode, split_tag, tag_set, transitions

LABELS = ("per", "art-work", "a")
LETTERS = {"BIO": "BI", "BIOES": "BIES", "IO": "I"}


def tag_lists(letters: str) -> st.SearchStrategy[list[str]]:
    tags = ["O", *(f"{letter}-{label}" for letter in letters for label in LABELS)]
    return st.lists(st.sampled_from(tags), max_size=12)


@st.composite
def span_lists(draw: st.DrawFn) -> tuple[list[TagSpan], int]:
    """Return spans that do not overlap, shuffled, and a length that holds them."""
    spans, position = [], 0
    part = st.tuples(st.integers(0, 2), st.integers(1, 3), st.sampled_from(LABELS))
    for gap, size, label in draw(st.lists(part, max_size=5)):
        spans.append(TagSpan(position + gap, position + gap + size, label))
        position += gap + size
    return draw(st.permutations(spans)), position + draw(st.integers(0, 2))


@settings(deadline=None)
@given(tags=tag_lists("BIES"), scheme=st.sampled_from(SCHEMES))
def test_reads_any_tags_as_seqeval_does_by_default(tags: list[str], scheme: str) -> None:
    expected = [TagSpan(start, end + 1, label) for label, start, end in get_entities(tags)]
    assert decode(tags, scheme) == expected


@settings(deadline=None)
@given(tags=tag_lists("BI"))
def test_reads_bio_strictly_as_seqeval_does(tags: list[str]) -> None:
    expected = [TagSpan(e.start, e.end, e.tag) for e in Tokens(tags, IOB2).entities]
    assert decode(tags, "BIO", strict=True) == expected


@settings(deadline=None)
@given(tags=tag_lists("BIES"))
def test_reads_bioes_strictly_as_seqeval_does(tags: list[str]) -> None:
    expected = [TagSpan(e.start, e.end, e.tag) for e in Tokens(tags, IOBES).entities]
    assert decode(tags, "BIOES", strict=True) == expected


@settings(deadline=None)
@given(tags=tag_lists("I"))
def test_io_has_one_reading(tags: list[str]) -> None:
    assert decode(tags, "IO", strict=True) == decode(tags, "IO")


@settings(deadline=None)
@given(case=span_lists(), scheme=st.sampled_from(["BIO", "BIOES"]), strict=st.booleans())
def test_spans_come_back_from_their_tags(
    case: tuple[list[TagSpan], int], scheme: str, strict: bool
) -> None:
    spans, length = case
    tags = encode(spans, length, scheme)
    assert len(tags) == length
    assert decode(tags, scheme, strict=strict) == sorted(spans)


@settings(deadline=None)
@given(case=span_lists())
def test_io_joins_neighbours_of_one_label_and_nothing_else(case: tuple[list[TagSpan], int]) -> None:
    spans, length = case
    joined: list[TagSpan] = []
    for span in sorted(spans):
        if joined and joined[-1].end == span.start and joined[-1].label == span.label:
            joined[-1] = TagSpan(joined[-1].start, span.end, span.label)
        else:
            joined.append(span)
    assert decode(encode(spans, length, "IO"), "IO", strict=True) == joined


def is_valid(tags: list[str], scheme: str) -> bool:
    """Return whether `scheme` would write these tags for the spans that they say."""
    return encode(decode(tags, scheme, strict=True), len(tags), scheme) == tags


@settings(deadline=None)
@given(scheme=st.sampled_from(["BIO", "BIOES"]), data=st.data())
def test_allowed_are_exactly_the_sequences_that_encode_can_write(
    scheme: str, data: st.DataObject
) -> None:
    tags = tag_set(LABELS, scheme)
    rules = transitions(tags, scheme)
    ids = data.draw(st.lists(st.integers(0, len(tags) - 1), min_size=1, max_size=5))
    allowed = rules.start[ids[0]] and rules.end[ids[-1]]
    allowed = allowed and all(rules.allowed[i][j] for i, j in pairwise(ids))
    assert allowed == is_valid([tags[i] for i in ids], scheme)


def test_io_allows_everything() -> None:
    rules = transitions(tag_set(LABELS, "IO"), "IO")
    assert all(map(all, rules.allowed))
    assert all(rules.start)
    assert all(rules.end)


def test_words_that_are_no_tags_are_reached_from_nowhere() -> None:
    rules = transitions(["O", "[UNK]", "I-x"], "IO", never=("[UNK]",))
    assert rules.allowed == [[True, False, True], [False, False, False], [True, False, True]]
    assert rules.start == rules.end == [True, False, True]


def test_a_tag_is_cut_at_its_first_dash() -> None:
    assert split_tag("B-art-work") == ("B", "art-work")
    assert split_tag("I--x") == ("I", "-x")
    assert split_tag("O") == ("O", "")


def test_tags_are_listed_by_label_after_the_outside() -> None:
    assert tag_set(["b", "a", "b"], "BIO") == ["O", "B-a", "I-a", "B-b", "I-b"]
    assert tag_set(["b"], "BIOES") == ["O", "B-b", "I-b", "E-b", "S-b"]
    assert tag_set(["b", "a"], "IO") == ["O", "I-a", "I-b"]
    assert tag_set([], "BIO") == ["O"]


@pytest.mark.parametrize(
    ("spans", "said"),
    [
        ([TagSpan(0, 2, "x"), TagSpan(1, 3, "y")], "overlap"),
        ([TagSpan(0, 3, "x"), TagSpan(1, 2, "y")], "overlap"),
        ([TagSpan(0, 1, "x"), TagSpan(0, 1, "x")], "overlap"),
        ([TagSpan(2, 5, "x")], "does not lie in a sequence of 4"),
        ([TagSpan(-1, 1, "x")], "does not lie"),
        ([TagSpan(1, 1, "x")], "does not lie"),
        ([TagSpan(1, 2, "")], "has no label"),
    ],
)
def test_spans_that_tags_cannot_say_are_refused(spans: list[TagSpan], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        encode(spans, 4, "BIO")


def test_words_that_are_no_tags_are_refused_and_named() -> None:
    with pytest.raises(ValueError, match=r"position 1: 'X' is no tag; expected O, B-…, I-…"):
        decode(["O", "X"], "BIO")
    with pytest.raises(ValueError, match=r"position 0: 'E-a' is no BIO tag"):
        decode(["E-a"], "BIO", strict=True)
    with pytest.raises(ValueError, match=r"'S-a' is no tag of BIO; expected O, B-…, I-…"):
        transitions(["O", "S-a"], "BIO")
    with pytest.raises(ValueError, match=r"no tag scheme 'IOB2'; expected one of BIO, BIOES, IO"):
        tag_set(["a"], "IOB2")
