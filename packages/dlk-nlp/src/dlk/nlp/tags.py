"""Tag schemes: labelled spans of positions as one tag per position, and back.

BIO (also IOB2) begins a span with ``B-x`` and goes on with ``I-x``; BIOES ends it with ``E-x`` and
writes a span of one position as ``S-x``; IO has ``I-x`` alone, so neighbours of one label become
one span. ``O`` stands outside of any span.

Sources: Ramshaw and Marcus 1995, "Text Chunking using Transformation-Based Learning", §4 (BIO);
Ratinov and Roth 2009, "Design Challenges and Misconceptions in Named Entity Recognition", §5
(BILOU, which is BIOES in other letters).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

SCHEMES = ("BIO", "BIOES", "IO")
OUTSIDE = "O"

_LETTERS = {"BIO": "BI", "BIOES": "BIES", "IO": "I"}  # in the order in which `tag_set` lists them
_ALL_LETTERS = "BIES"


@dataclass(frozen=True, order=True)
class TagSpan:
    """The positions from `start` up to `end`, which is not part of it, and their label."""

    start: int
    end: int
    label: str


@dataclass(frozen=True)
class Transitions:
    """What a scheme allows: `allowed[i][j]` for tag i then j; what may stand first, and last."""

    allowed: list[list[bool]]
    start: list[bool]
    end: list[bool]


def split_tag(tag: str) -> tuple[str, str]:
    """Return prefix and label, cut at the first dash: ``"B-art-work"`` is ``("B", "art-work")``.

    A tag without a dash has the empty label: ``"O"`` is ``("O", "")``.
    """
    prefix, _, label = tag.partition("-")
    return prefix, label


def encode(spans: Iterable[TagSpan], length: int, scheme: str) -> list[str]:
    """Return `length` tags that say `spans`, which may come in any order.

    In IO two spans of one label that touch cannot be told from one; every other list of spans comes
    back from `decode`.

    Raises:
        ValueError: two spans overlap, one is empty, leaves the sequence or has no label, or there
            is no such scheme.
    """
    letters = _letters(scheme)
    tags = [OUTSIDE] * length
    before: TagSpan | None = None
    for span in sorted(spans):
        if not 0 <= span.start < span.end <= length:
            raise ValueError(f"{span} does not lie in a sequence of {length} positions")
        if not span.label:
            raise ValueError(f"{span} has no label")
        if before is not None and span.start < before.end:
            raise ValueError(
                f"{before} and {span} overlap: one tag for a position can say one of them only"
            )
        before = span
        first, last = "B", "I"
        if "B" not in letters:
            first = "I"
        if "E" in letters:
            first, last = ("S", "S") if span.end - span.start == 1 else ("B", "E")
        tags[span.start : span.end] = [f"I-{span.label}"] * (span.end - span.start)
        tags[span.end - 1] = f"{last}-{span.label}"
        tags[span.start] = f"{first}-{span.label}"
    return tags


def decode(tags: Sequence[str], scheme: str, *, strict: bool = False) -> list[TagSpan]:
    """Return the spans that `tags` say, in their order.

    Not strict: any sequence of tags with the prefixes B, I, E, S is read in good will, whatever the
    scheme, as conlleval and seqeval do by default: ``I-x`` after ``O`` or after another label
    begins a span. Strict: only what the scheme itself would have written is a span, as in seqeval's
    strict mode (IOB2, IOBES): ``I-x`` without its ``B-x`` says nothing, nor does a ``B-x`` in BIOES
    that never reaches its ``E-x``. IO has one reading.

    Raises:
        ValueError: a word is no tag (strict: no tag of the scheme).
    """
    letters = _letters(scheme) if strict else _ALL_LETTERS
    spans = []
    start, label = -1, ""  # of the open span; none is open where start < 0
    before = OUTSIDE  # the prefix of the position before
    for position, tag in enumerate((*tags, OUTSIDE)):
        prefix, name = split_tag(tag)
        if prefix != OUTSIDE and (len(prefix) != 1 or prefix not in letters):
            known = ", ".join(f"{letter}-…" for letter in letters)
            kind = f"{scheme} tag" if strict else "tag"
            raise ValueError(f"position {position}: {tag!r} is no {kind}; expected O, {known}")
        goes_on = start >= 0 and prefix in ("I", "E") and name == label and before in ("B", "I")
        if start >= 0 and not goes_on:
            if not strict or "E" not in letters or before in ("E", "S"):
                spans.append(TagSpan(start, position, label))
            start = -1
        may_begin = not strict or prefix in ("B", "S") or "B" not in letters
        if not goes_on and prefix != OUTSIDE and may_begin:
            start, label = position, name
        before = prefix
    return spans


def tag_set(labels: Iterable[str], scheme: str) -> list[str]:
    """Return all tags of `labels`: ``O``, then those of each label, labels sorted."""
    letters = _letters(scheme)
    return [OUTSIDE, *(f"{letter}-{label}" for label in sorted(set(labels)) for letter in letters)]


def transitions(tags: Sequence[str], scheme: str, *, never: Collection[str] = ()) -> Transitions:
    """Return what `scheme` allows between `tags`, by their places in the list.

    Args:
        tags: each a tag of the scheme, or one of `never`.
        scheme: one of `SCHEMES`.
        never: words in the list that are no tags (padding, unknown): nothing leads to them or from
            them.

    Raises:
        ValueError: a word is neither.
    """
    letters = _letters(scheme)
    parts: list[tuple[str, str] | None] = []
    for tag in tags:
        prefix, label = split_tag(tag)
        if tag in never:
            parts.append(None)
        elif tag == OUTSIDE or (len(prefix) == 1 and prefix in letters):
            parts.append((prefix, label))
        else:
            known = ", ".join(f"{letter}-…" for letter in letters)
            raise ValueError(f"{tag!r} is no tag of {scheme}; expected O, {known}")
    outside = (OUTSIDE, "")
    return Transitions(
        allowed=[[_may_follow(one, two, scheme) for two in parts] for one in parts],
        start=[_may_follow(outside, part, scheme) for part in parts],
        end=[_may_follow(part, outside, scheme) for part in parts],
    )


def _may_follow(one: tuple[str, str] | None, two: tuple[str, str] | None, scheme: str) -> bool:
    if one is None or two is None:
        return False
    if scheme == "IO":
        return True
    inside = two[0] in ("I", "E")  # goes on with a span that is open
    if scheme == "BIO":
        return not inside or (one[0] != OUTSIDE and one[1] == two[1])
    is_open = one[0] in ("B", "I")
    return one[1] == two[1] if is_open and inside else is_open == inside


def _letters(scheme: str) -> str:
    letters = _LETTERS.get(scheme)
    if letters is None:
        raise ValueError(f"there is no tag scheme {scheme!r}; expected one of {', '.join(SCHEMES)}")
    return letters
