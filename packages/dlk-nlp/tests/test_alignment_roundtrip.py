"""Characters to units to tags, spans or relations to characters, over any text and tokenizer.

What a span should be is found by a plain search over the units, which shares no code with
`dlk.nlp.align`. Whatever comes back differs from what was given by what was counted, no more.
"""

from __future__ import annotations

import random
import unicodedata
from collections import Counter
from dataclasses import dataclass
from functools import cache
from itertools import groupby, pairwise, product
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dlk.config import make
from dlk.context import Setup
from dlk.data.meta import Meta
from dlk.data.subprocessor.base import TransformContext
from dlk.data.vocabulary import Vocabulary
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


_places: list[Path] = []
"""Where what is kept between examples puts its files: `_place` says so before any test."""


@pytest.fixture(scope="module", autouse=True)
def _place(tmp_path_factory):
    _places[:] = [tmp_path_factory.mktemp("made")]


@cache
def tokenizer_step(kind, window):
    path = PUBLISHED.get(kind)
    if path is None:
        path = _places[0] / f"{kind}.json"
        trained_tokenizer(kind).save(str(path))
    config = {"tokenizer_path": str(path), **WINDOWS[window]}
    return register.build(make("subprocessor", "fast_tokenizer", config), Setup(Meta.empty()))


@cache
def label_step(level, scheme, strict):
    options = {"scheme": scheme, "strict": strict}
    return register.build(make("subprocessor", level, options), Setup(Meta.empty()))


def processed(rows, kind, window, *steps):
    """The records of rows, and what was counted."""
    numbers = list(range(len(rows)))
    ctx = TransformContext("train", "train", numbers, frozenset({"offsets", "word_ids"}))
    texts = [row["sentence"] for row in rows]
    made = tokenizer_step(kind, window).transform({"sentence": texts, "_row": numbers}, ctx)
    assert not ctx.bad, ctx.bad
    made.setdefault("_row", numbers)
    for column in rows[0]:
        made[column] = [rows[row][column] for row in made["_row"]]
    ctx = TransformContext("train", "train", made["_row"])
    for step in steps:
        made.update(step.transform(made, ctx))
    assert not ctx.bad, ctx.bad
    return made, ctx.counts


def records_of(made):
    """The records of each row."""
    grouped = groupby(range(len(made["_row"])), key=lambda place: made["_row"][place])
    return [(row, list(records)) for row, records in grouped]


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
    """Assert the laws of tags for rows of (text, spans).

    Each entity of a row has a label of its own, so that a span read from the tags says which entity
    it is.
    """
    rows = [
        {
            "sentence": text,
            "entities_info": [
                {"start": start, "end": end, "labels": [f"t{number}"]}
                for number, (start, end) in enumerate(dict.fromkeys(spans))
            ],
        }
        for text, spans in rows
    ]
    relabel = label_step(level, scheme, strict)
    made, counts = processed(rows, kind, window, relabel)
    found = Counter()
    for row, records in records_of(made):
        text, entities = rows[row]["sentence"], rows[row]["entities_info"]
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
    row, relabel = {"sentence": text, "entities_info": []}, label_step(level, "BIO", False)
    whole, _ = processed([row], kind, "whole", relabel)
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
        window, scheme, strict = runs[found["texts"] // size % len(runs)]
        counted = check(batch, kind, level, window, scheme, strict)
        found["texts"] += size
        if not strict:  # else of a text that is one word, hardly anything is said
            found += counted
    assert found["said"] > found["all"] / 5


# Spans and relations -----------------------------------------------------------------------------

TYPES, RELATIONS, UNKNOWN = ("A", "B-c", "ü"), ("r1", "r-2"), "never seen"
REASONS = {  # why something is not said: the counts that tell it
    "entities nowhere": LOST[:4],
    "entities unknown": ("entities of unknown type",),
    "entities refused": ("entities of a second type on the same units",),
    "entities twice": ("entities given twice",),
    "relations without end": ("relations of entities that are not there",),
    "relations nowhere": ("relations of lost entities", "relations across windows of a text"),
    "relations unknown": ("relations of unknown type",),
    "relations refused": ("relations on cells of another type",),
    "relations twice": ("relations given twice",),
}
SURE = 30.0  # logit


@dataclass(frozen=True)
class Setting:
    """How spans and relations are said."""

    window: str
    level: str
    strict: bool
    sym: bool
    separate: bool

    def pair(self, source, target, label):
        """The cells of a relation: matrix, and the units that begin and end its entities."""
        if self.separate and label == UNKNOWN:
            return []
        layer = 2 * RELATIONS.index(label) if self.separate else 0
        sides = enumerate(zip(source, target, strict=True), layer)
        return [(n, *(sorted(side) if self.sym else side)) for n, side in sides]


SETTINGS = [
    Setting(*options) for options in product(WINDOWS, ("piece", "word"), *[(False, True)] * 3)
]


@cache
def span_steps(setting):
    """Entities to cells, relations to cells, and scores of cells to both."""
    meta = Meta(_places[0] / f"meta-{SETTINGS.index(setting)}")
    for file, words in (("label_vocab.json", TYPES), ("relation_vocab.json", RELATIONS)):
        vocabulary = Vocabulary(unk="O")
        vocabulary.add({word: len(words) - place for place, word in enumerate(words)})
        meta.put_vocabulary(file, vocabulary)
    components = (
        ("subprocessor", "span_cls_relabel", {"level": setting.level, "strict": setting.strict}),
        (
            "subprocessor",
            "span_relation_relabel",
            {"sym": setting.sym, "label_seperate": setting.separate},
        ),
        (
            "postprocessor",
            "span_relation",
            {
                "label_vocab": "label_vocab.json",
                "sym": setting.sym,
                "relation_groups": len(RELATIONS) if setting.separate else 1,
                "max_entities_per_unit": 1000,
                "max_relations_per_unit": 1000,
            },
        ),
    )
    return [register.build(make(*component), Setup(meta)) for component in components]


def labelled(rng, known):
    return list({rng.choice((*known, *known, UNKNOWN)): None for _ in range(rng.choice((1, 1, 2)))})


def annotated(rng, text, spans):
    """A row with entities on spans, some of them nested or twice there, and relations."""
    spans = list(spans)
    for start, end in spans[:2]:
        if rng.random() < 0.5:
            inner = rng.randrange(start, end)
            spans.append((inner, rng.randint(inner + 1, end)))
    if spans and rng.random() < 0.2:
        spans.append(rng.choice(spans))
    rng.shuffle(spans)
    is_named = rng.random() < 0.5
    entities = [
        {
            "start": start,
            "end": end,
            "labels": labelled(rng, TYPES),
            **({"entity_id": f"e{number}"} if is_named else {}),
        }
        for number, (start, end) in enumerate(spans)
    ]
    names = [f"e{n}" if is_named else n for n in range(len(spans) + (rng.random() < 0.1))]
    relations = [
        {
            "from": rng.choice(names),
            "to": rng.choice(names),
            "labels": labelled(rng, RELATIONS),
        }
        for _ in range(rng.randrange(6))
        if names
    ]
    return {"sentence": text, "entities_info": entities, "relations_info": relations}


def place(text, units, start, end):
    """The cell that says a span, its characters, and whether the text is cut there.

    That is the smallest run of units that holds what units hold of the span, and shares no
    character with any other unit. The cell is None where no unit touches the span.
    """
    kept = [(low, high, number) for number, (low, high) in enumerate(units) if low < high]
    touching = [n for n, (low, high, _) in enumerate(kept) if low < end and start < high]
    if not touching:
        return None, (start, end), False
    first, last = touching[0], touching[-1]
    begin, stop = edges(kept)
    outside = unicodedata.normalize("NFKD", text[start:begin] + text[max(stop, start) : end])
    is_cut = not all(map(may_go, outside))
    while not is_cut:
        low, high = edges(kept[first : last + 1])
        around = [n for n, unit in enumerate(kept) if unit[0] < high and low < unit[1]]
        if (around[0], around[-1]) == (first, last):
            break
        first, last = around[0], around[-1]
    return (kept[first][2], kept[last][2]), edges(kept[first : last + 1]), is_cut


def may_go(char):
    """Whether a tokenizer may leave a character out without a cut of the text.

    White space, marks, control characters; what composes with a Hangul syllable; what BERT removes.
    """
    category = unicodedata.category(char)[0]
    return char.isspace() or category in "MC" or "\u1160" <= char <= "\u11ff" or char == "\ufffd"


def edges(units):
    return min(low for low, *_ in units), max(high for _, high, *_ in units)


class Said:
    """What the records of a row say of its entities and relations.

    Attributes:
        spans: of each record, the label of each cell; None where the loss ignores it.
        pairs: the same of relations.
        places: of each entity, its cell in each record; None where it has none.
    """

    def __init__(self, row, units, setting, found):
        self.row, self.units, self.setting, self.found = row, units, setting, found
        self.spans = [{} for _ in units]
        self.pairs = [{} for _ in units]
        entities = row["entities_info"]
        self.places = []
        given = set()
        for entity in entities:
            placed = list(self.placed(entity["start"], entity["end"], strict=setting.strict))
            for known, (cell, is_kept) in zip(self.spans, placed, strict=True):
                if cell and not is_kept:
                    known.setdefault(cell)
            self.places.append([cell if is_kept else None for cell, is_kept in placed])
            held = [(record, [cell]) for record, cell in enumerate(self.places[-1]) if cell]
            for label in entity["labels"]:
                self.put("entities", self.spans, held, label, given)
        names = {entity.get("entity_id", place): place for place, entity in enumerate(entities)}
        for relation in row["relations_info"]:
            ends = [names.get(relation[end]) for end in ("from", "to")]
            for label in relation["labels"]:
                self.relate(*ends, label, given)

    def placed(self, start, end, *, strict):
        """The cell of an entity in each record, and whether the record says it whole."""
        for units in self.units:
            cell, (low, high), is_cut = place(self.row["sentence"], units, start, end)
            is_cut |= self.goes_on(cell, units, start, end)
            yield cell, not (is_cut or (strict and (low < start or end < high)))

    def goes_on(self, cell, units, start, end):
        """Whether a unit of any record holds more of what a record says of a span.

        One over an edge of the cell, or one of the span's characters beyond the record.
        """
        if cell is None:
            return False
        begin, stop = edges([unit for unit in units if unit[0] < unit[1]])
        cut = edges([unit for unit in units[cell[0] : cell[1] + 1] if unit[0] < unit[1]])
        beyond = [*range(start, begin), *range(stop, end)]
        return any(
            any(low < edge < high for edge in cut) or any(low <= place < high for place in beyond)
            for each in self.units
            for low, high in each
        )

    def relate(self, source, target, label, given):
        """Say a relation where a record says both of its ends."""
        if source is None or target is None:
            self.found["relations"] += 1
            self.found["relations without end"] += 1
            return
        ends = enumerate(zip(self.places[source], self.places[target], strict=True))
        held = [(n, self.setting.pair(*cells, label)) for n, cells in ends if all(cells)]
        self.put("relations", self.pairs, held, label, given)

    def put(self, what, known, held, label, given):
        """Write a label into cells, and count it by what becomes of it."""
        is_new = is_refused = False
        for record, cells in held:
            mine = known[record]
            if label == UNKNOWN:
                mine.update((cell, None) for cell in cells if cell not in mine)
            elif any(mine.get(cell) not in (None, label) for cell in cells):
                is_refused = True
            else:
                is_new |= (what, record, *cells, label) not in given
                given.add((what, record, *cells, label))
                mine.update(dict.fromkeys(cells, label))
        self.found[what] += 1
        if not held:
            self.found[f"{what} nowhere"] += 1
        elif label == UNKNOWN:
            self.found[f"{what} unknown"] += 1
        elif is_refused:
            self.found[f"{what} refused"] += 1
        else:
            self.found[f"{what} said" if is_new else f"{what} twice"] += 1

    def check_cells(self, span_cells, relation_cells):
        """What the steps wrote is what is said."""
        types = {None: -100, **{label: n for n, label in enumerate(TYPES, 1)}}
        for known, cells in zip(self.spans, span_cells, strict=True):
            assert {(i, j): number for i, j, number in cells} == {
                cell: types[label] for cell, label in known.items()
            }
        types = {None: -100, **{label: n for n, label in enumerate(RELATIONS, 1)}}
        for known, cells in zip(self.pairs, relation_cells, strict=True):
            assert {tuple(cell): number for *cell, number in cells} == {
                cell: min(types[label], 1) if self.setting.separate else types[label]
                for cell, label in known.items()
            }

    def held(self, start, end):
        """The cell of each record that is exactly a span; None where there is none."""
        placed = [place(self.row["sentence"], units, start, end) for units in self.units]
        return [
            cell if span == (start, end) and not is_cut else None for cell, span, is_cut in placed
        ]

    def check_entities(self, entities):
        """The spans that are said come back; all windows that hold one agree on its label.

        Returns:
            Of each that came back its cell in each record.
        """
        got = {(e["start"], e["end"]): e["labels"] for e in entities}
        assert len(got) == len(entities)
        expected = {}
        for known, units in zip(self.spans, self.units, strict=True):
            for (first, last), label in known.items():
                span = edges([unit for unit in units[first : last + 1] if unit[0] < unit[1]])
                if label:
                    held = zip(self.spans, self.held(*span), strict=True)
                    assert {mine.get(cell) for mine, cell in held if cell} == {label}
                    expected[span] = [label]
        assert got == expected
        return [self.held(*span) for span in got]

    def check_relations(self, cells, relations):
        """Two entities have the relations that their heads and tails say.

        Windows agree on relations that are given, but one may lack what is told apart by others:
        heads of one relation and tails of another say one that nobody gave.

        Args:
            cells: of each entity its cell in each record.
            relations: what was found, the ends as places of that list.
        """
        got = {(r["from"], r["to"], *r["labels"]) for r in relations}
        assert len(got) == len(relations)
        for source, target in product(range(len(cells)), repeat=2):
            if self.setting.sym and source > target:
                continue
            for label in RELATIONS:
                says = [
                    {known.get(cell) for cell in self.setting.pair(*ends, label)} == {label}
                    for known, *ends in zip(self.pairs, cells[source], cells[target], strict=True)
                    if all(ends)
                ]
                relation = source, target, label
                assert relation not in got or any(says)
                assert relation in got or not says or not all(says)
                self.found["relations of some windows only"] += len(set(says)) > 1
                got.discard(relation)
        assert not got


def check_spans(rows, kind, setting):
    """Assert the laws of spans and relations for rows."""
    *steps, post = span_steps(setting)
    made, counts = processed(rows, kind, setting.window, *steps)
    found = Counter()
    groups = records_of(made)
    said = []
    for row, records in groups:
        said.append(Said(rows[row], [made["unit_offsets"][r] for r in records], setting, found))
        columns = ("span_cells", "relation_cells")
        said[-1].check_cells(*([made[column][r] for r in records] for column in columns))
    for name, reasons in REASONS.items():
        assert sum(counts.get(reason, 0) for reason in reasons) == found[name], name
    for what in ("entities", "relations"):
        lost = sum(found[name] for name in REASONS if name.startswith(what))
        assert counts.get(what, 0) == found[what] == found[f"{what} said"] + lost
    known = {"entities snapped to whole units", "entities", "relations"}
    assert set(counts) <= known.union(*REASONS.values())
    out = {
        "entity_logits": scores(made, "span_cells", 1 + len(TYPES))[:, 0],
        "relation_logits": scores(
            made,
            "relation_cells",
            2 if setting.separate else 1 + len(RELATIONS),
            layers=2 * len(RELATIONS) if setting.separate else 2,
        ),
    }
    columns = ("_row", "sentence", "unit_offsets", "entities_info", "relations_info")
    parts = [
        {"_part": part, **{column: made[column][record] for column in columns}}
        for _, records in groups
        for part, record in enumerate(records)
    ]
    decoded, given = post.decode(out, parts), post.relations_of_truth(out, parts)
    for one, prediction, relations in zip(said, decoded, given, strict=True):
        cells = one.check_entities(prediction["entities_info"])
        one.check_relations(cells, prediction["relations_info"])
        entities = one.row["entities_info"]
        names = {entity.get("entity_id", n): n for n, entity in enumerate(entities)}
        ends = [{**r, "from": names[r["from"]], "to": names[r["to"]]} for r in relations]
        placed = [one.placed(entity["start"], entity["end"], strict=False) for entity in entities]
        cells = [[cell if is_kept else None for cell, is_kept in each] for each in placed]
        one.check_relations(cells, ends)
    return found


def scores(made, column, classes, *, layers=1):
    """Scores that say the cells, and are undecided where the loss ignores them: (B, M, L, L, C)."""
    size = max(map(len, made["unit_offsets"]))
    logits = torch.zeros(len(made[column]), layers, size, size, classes)
    logits[..., 0] = SURE
    for record, cells in enumerate(made[column]):
        for *cell, number in cells:
            logits[(record, *[0] * (layers == 1), *cell, 0)] = 0.0
            if number > 0:
                logits[(record, *[0] * (layers == 1), *cell, number)] = SURE
    return logits


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, deadline=None)
@given(
    batch=st.lists(rows(), min_size=1, max_size=3),
    setting=st.sampled_from(SETTINGS),
    seed=st.integers(0, 1000),
)
def test_every_span_and_relation_comes_back_or_is_counted(kind, batch, setting, seed):
    rng = random.Random(seed)
    check_spans([annotated(rng, *each) for each in batch], kind, setting)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*KINDS, *PUBLISHED])
def test_a_hundred_thousand_texts_give_their_spans_and_relations_or_count_them(kind):
    rng = random.Random(kind)
    found = Counter()
    size = 25
    while found["texts"] < 100_000 // len(KINDS):
        batch = [annotated(rng, *drawn(rng)) for _ in range(size)]
        setting = SETTINGS[found["texts"] // size % len(SETTINGS)]
        found += check_spans(batch, kind, setting)
        found["texts"] += size
    for what in ("entities", "relations"):
        assert found[f"{what} said"] > found[what] / 6
        assert all(found[name] for name in REASONS if name.startswith(what))
