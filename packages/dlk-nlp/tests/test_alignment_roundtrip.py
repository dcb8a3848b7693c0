"""Characters to pieces to tags to spans to characters, over any text and every kind of tokenizer.

Each entity of a row has a label of its own, so that a span read from the tags says which entity it
is. What a span should be is found by a plain search over the units, which shares no code with
`dlk.nlp.align`.
"""

from __future__ import annotations

import random
import unicodedata
from collections import Counter
from functools import cache
from itertools import groupby, pairwise
from pathlib import Path
from tempfile import mkdtemp

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlk.config import make
from dlk.context import Setup
from dlk.data.meta import Meta
from dlk.data.subprocessor.base import TransformContext
from dlk.nlp.align import merge_windows
from dlk.nlp.tags import decode
from dlk.registry import register
from dlk.testing.tokenizers import KINDS, trained_tokenizer

PUBLISHED = {
    name: path
    for name in ("all-MiniLM-L6-v2", "gpt2-tokenizer")
    if (path := Path.home() / ".cache" / "dlk" / "models" / name / "tokenizer.json").is_file()
}
LEVELS = ("seq_lab_relabel", "seq_lab_firstpiece_relabel")
WINDOWS = {
    "whole": {"truncation": {"max_length": None}},
    "cut": {"truncation": {"max_length": 9}},
    "cut_left": {"truncation": {"max_length": 9, "direction": "left"}},
    "windows": {"truncation": {"max_length": 10, "stride": 3}, "expand_examples": True},
    "touching": {"truncation": {"max_length": 8}, "expand_examples": True},
    "from_the_end": {
        "truncation": {"max_length": 12, "stride": 6, "direction": "left"},
        "expand_examples": True,
    },
}
SCHEMES = ("BIO", "BIOES", "IO")
LOST = (
    "entities cut by truncation",
    "entities cut by the edges of windows",
    "entities without any unit",
    "entities that are no whole units",
    "entities overlapping another",
)
FRAGMENTS = (
    *("the quick", "Hello", "world", "test", " ", "  ", "\n", "\t", ", ", ".", "-", "12", "$9"),
    *("café", "cafe\u0301", "E\u0301\u0323", "a\u0323\u0301\u0308", "Å", "A\u030a", "\u0301", "ö"),
    *("ﬁne", "oﬃce", "½", "№", "ﷺ", "ǆ", "İ", "ı", "ß", "ẞ", "ｆｕｌｌ", "①", "ﾊﾟ"),
    *("ㅎㅏㄴ", "한", "\u1112\u1161\u11ab", "\u11ab"),
    *("你好", "世界。", "今日は", "\u3000", "สวัสดี", "नमस्ते", "क्ष", "🇩🇪🇫🇷", "1️⃣"),
    *("שָׁלוֹם", "עולם", "مرحبا", "می\u200cخواهم", "\u202bab\u202c", "\u200f", "لا"),
    *("👩\u200d👩\u200d👧", "🏳️\u200d🌈", "😀", "👍🏽", "𝔘𝔫𝔦", "\u200b", "\u200d"),
    *("\ufeff", "\u00ad", "\x00", "\ufffd", "\x85", "\x1f", "\u2028", "\U000e0041", "\ue000"),
    *("´", "¨", "[SEP]", "[CLS]", "</s>", "<0x41>", "▁", "Ġ"),
)  # fmt: skip


@cache
def tokenizer_step(kind, window):
    path = PUBLISHED.get(kind)
    if path is None:
        path = Path(mkdtemp()) / "tokenizer.json"
        trained_tokenizer(kind).save(str(path))
    config = {"tokenizer_path": str(path), **WINDOWS[window]}
    return register.build(make("subprocessor", "fast_tokenizer", config), Setup(Meta.empty()))


@cache
def label_step(level, scheme, strict):
    options = {"scheme": scheme, "strict": strict}
    return register.build(make("subprocessor", level, options), Setup(Meta.empty()))


def processed(rows, kind, level, window, scheme, strict):
    """The records of rows of (text, entities), and what was counted."""
    tokenizer, relabel = tokenizer_step(kind, window), label_step(level, scheme, strict)
    texts = [text for text, _ in rows]
    numbers = list(range(len(rows)))
    wanted = frozenset({"offsets", "word_ids"})
    ctx = TransformContext("train", "train", numbers, wanted)
    made = tokenizer.transform({"sentence": texts, "_row": numbers}, ctx)
    assert not ctx.bad, ctx.bad
    made.setdefault("_row", numbers)
    made["sentence"] = [texts[row] for row in made["_row"]]
    made["entities_info"] = [rows[row][1] for row in made["_row"]]
    ctx = TransformContext("train", "train", made["_row"])
    made.update(relabel.transform(made, ctx))
    assert not ctx.bad, ctx.bad
    return made, ctx.counts


def cover(units, start, end):
    """The characters of the smallest run of units that holds what units hold of a span."""
    touching = [place for place, (low, high) in enumerate(units) if low < end and start < high]
    if not touching:
        return None
    run = units[touching[0] : touching[-1] + 1]
    return min(low for low, _ in run), max(high for _, high in run)


def is_silent(char):
    """Whether a normaliser may remove the character, or compose it with the one before."""
    return all(
        c.isspace()
        or unicodedata.category(c)[0] in "MC"
        or unicodedata.name(c, "").startswith("HANGUL J")
        for c in unicodedata.normalize("NFKD", char)
    )


def check(rows, kind, level, window, scheme, strict):
    """Assert the laws for rows of (text, spans)."""
    rows = [
        (
            text,
            [
                {"start": start, "end": end, "labels": [f"t{number}"]}
                for number, (start, end) in enumerate(dict.fromkeys(spans))
            ],
        )
        for text, spans in rows
    ]
    made, counts = processed(rows, kind, level, window, scheme, strict)
    found = Counter()
    for row, records in groupby(range(len(made["_row"])), key=lambda place: made["_row"][place]):
        text, entities = rows[row]
        records = list(records)
        exact: dict[str, bool] = {}  # by the label of each entity that tags say
        for record in records:
            kept = [
                (tuple(unit), label)
                for unit, label, mask in zip(
                    made["unit_offsets"][record],
                    made["labels"][record],
                    made["unit_mask"][record],
                    strict=True,
                )
                if mask
            ]
            units = [unit for unit, _ in kept]
            assert all(0 <= start < end <= len(text) for start, end in units)
            # what is ignored ends a span, as O does
            tags = ["O" if label == "X" else label for _, label in kept]
            for span in decode(tags, scheme, strict=True):
                low = min(start for start, _ in units[span.start : span.end])
                high = max(end for _, end in units[span.start : span.end])
                entity = entities[int(span.label[1:])]
                start, end = entity["start"], entity["end"]
                assert (low, high) == cover(units, start, end)
                if strict:
                    assert start <= low
                    assert high <= end
                for place in [*range(start, min(low, end)), *range(max(high, start), end)]:
                    # what the span lacks is held by no unit, here or in another record, but
                    # perhaps a mark at the edge of a record
                    assert is_silent(text[place]) or not any(a <= place < b for a, b in units)
                exact[span.label] = exact.get(span.label, False) or (low, high) == (start, end)
            unkept = [
                label
                for label, mask in zip(
                    made["labels"][record], made["unit_mask"][record], strict=True
                )
                if not mask
            ]
            assert set(unkept) <= {"X"}
        found["said"] += len(exact)
        found["snapped"] += sum(not is_exact for is_exact in exact.values())
        found["all"] += len(entities)
        check_merged(text, made, records, kind, level, window)
    assert counts.get("entities", 0) == found["all"]
    assert found["all"] == found["said"] + sum(counts.get(reason, 0) for reason in LOST)
    assert counts.get("entities snapped to whole units", 0) == found["snapped"]
    assert set(counts) <= {"entities", "entities snapped to whole units", *LOST}
    if window == "whole":
        assert not counts.get(LOST[0])
        assert not counts.get(LOST[1])
    if not strict:
        assert not counts.get("entities that are no whole units")
    return found


def check_merged(text, made, records, kind, level, window):
    """The windows of a text, merged, are the units of the whole text."""
    if not WINDOWS[window].get("expand_examples"):
        return
    parts = [made["unit_offsets"][record] for record in records]
    merged = [tuple(parts[number][unit]) for number, unit in merge_windows(parts)]
    whole, _ = processed([(text, [])], kind, level, "whole", "BIO", False)
    kept = [tuple(unit) for unit in whole["unit_offsets"][0] if unit[0] < unit[1]]
    held = [  # a word may hold white space, and a window may cut it there
        {place for start, end in units for place in range(start, end) if not text[place].isspace()}
        for units in (merged, kept)
    ]
    assert held[0] == held[1]
    if level == LEVELS[1]:  # no word is there in part
        assert set(merged) <= set(kept)
    if all(shares_two(*pair) for pair in pairwise(parts)):
        assert merged == kept


def shares_two(left, right):
    """Whether two windows share the beginnings of at least two units, and no unit falls back."""
    starts = [[start for start, end in part if start < end] for part in (left, right)]
    if not all(starts) or any(each != sorted(each) for each in starts):
        return False
    return len({start for start in starts[1] if start <= starts[0][-1]}) > 1


@st.composite
def rows(draw):
    pieces = st.one_of(
        st.sampled_from(FRAGMENTS), st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
    )
    text = "".join(draw(st.lists(pieces, max_size=12)))
    form = draw(st.sampled_from(["", "NFC", "NFD", "NFKD"]))
    text = unicodedata.normalize(form, text) if form else text
    spans = []
    for _ in range(draw(st.integers(0, 4))) if text else ():
        start = draw(st.integers(0, len(text) - 1))
        spans.append((start, draw(st.integers(start + 1, min(len(text), start + 12)))))
    return text, spans


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, deadline=None)
@given(
    batch=st.lists(rows(), min_size=1, max_size=3),
    window=st.sampled_from(sorted(WINDOWS)),
    scheme=st.sampled_from(SCHEMES),
    strict=st.booleans(),
)
def test_every_entity_comes_back_or_is_counted(kind, level, batch, window, scheme, strict):
    check(batch, kind, level, window, scheme, strict)


def drawn(rng):
    """A text and spans; as `rows`, without Hypothesis, which draws too slowly for very many."""
    parts = []
    for _ in range(rng.randrange(14)):
        if rng.random() < 0.75:
            parts.append(rng.choice(FRAGMENTS))
        else:
            plane = rng.choice((0x7F, 0x24F, 0xFFF, 0xD7FF, 0x1FFFF))
            codes = (rng.randrange(plane) for _ in range(rng.randrange(1, 4)))
            parts.append("".join(chr(c) for c in codes if not 0xD800 <= c < 0xE000))
    text = "".join(parts)
    form = rng.choice(("", "", "NFC", "NFD", "NFKD"))
    text = unicodedata.normalize(form, text) if form else text
    spans = []
    for _ in range(rng.randrange(5)) if text else ():
        start = rng.randrange(len(text))
        spans.append((start, min(len(text), start + rng.randint(1, 12))))
    return text, spans


@pytest.mark.slow
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("kind", [*KINDS, *PUBLISHED])
def test_a_hundred_thousand_texts_come_back_or_are_counted(kind, level):
    rng = random.Random(f"{kind} {level}")
    found = Counter()
    size, runs = 50, [(w, s, strict) for w in WINDOWS for s in SCHEMES for strict in (True, False)]
    while found["texts"] < 100_000 // (len(KINDS) * len(LEVELS)) + 1:
        batch = [drawn(rng) for _ in range(size)]
        found += check(batch, kind, level, *runs[found["texts"] // size % len(runs)])
        found["texts"] += size
    assert found["said"] > found["all"] / 5
