"""The display `span_relation`."""

from __future__ import annotations

import itertools
import re
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlk.config import make
from dlk.registry import register
from dlk.testing import DisplayConformance

TEXT = "Ada met Charles in London"
ENTITIES = [
    {"start": 0, "end": 3, "labels": ["PER"], "entity_id": "ada", "score": 0.9},
    {"start": 8, "end": 15, "labels": ["PER"], "entity_id": "charles", "score": 0.9},
    {"start": 19, "end": 25, "labels": ["LOC"], "entity_id": "london", "score": 0.9},
]
RELATIONS = [
    {"from": "ada", "to": "charles", "labels": ["met"], "score": 0.8},
    {"from": "charles", "to": "london", "labels": ["in"], "score": 0.7},
    {"from": "ada", "to": "london", "labels": ["in"], "score": None},
]


class TestSpanRelation(DisplayConformance):
    component = ("display", "span_relation")
    config: ClassVar = {"show_score": True}

    def predictions(self):
        return [
            {"sentence": TEXT, "entities_info": ENTITIES, "relations_info": RELATIONS},
            {
                "sentence": "דוד גר ב-Paris " * 8,
                "entities_info": [
                    {"start": 0, "end": 3, "labels": ["PER"]},
                    {"start": 9, "end": 14, "labels": ["LOC"]},
                    {"start": 105, "end": 115, "labels": []},
                ],
                "relations_info": [
                    {"from": 0, "to": 1, "labels": ["חי"]},
                    {"from": 2, "to": 0, "labels": []},
                    {"from": 1, "to": 1, "labels": ["self"]},
                ],
            },
            {"sentence": "", "entities_info": None, "relations_info": None},
        ]


def draw(text, entities, relations, **config):
    prediction = {"sentence": text, "entities_info": entities, "relations_info": relations}
    return register.build(make("display", "span_relation", config)).draw(prediction)


def entity(start, end, label="x", **more):
    return {"start": start, "end": end, "labels": [label], **more}


def relation(source, target, label="r", **more):
    return {"from": source, "to": target, "labels": [label], **more}


def boxes(body):
    """{what an entity is called: (left, top, right)} of its first rectangle."""
    return {
        title: (float(x), float(y), float(x) + float(width))
        for title, x, y, width in re.findall(
            r'dlk-entity"[^>]*><title>(.*?)</title><rect x="([-\d.]+)" y="([-\d.]+)" '
            r'width="([-\d.]+)"',
            body,
        )
    }


def arrows(body):
    """(points of the way, tip of the head) of each arrow, by what it tells."""
    found = []
    for title, way, tip_x, tip_y in re.findall(
        r'dlk-arrow"[^>]*><title>(.*?)</title><path d="([^"]*)"/>'
        r'<path class="dlk-head" d="M([-\d.]+) ([-\d.]+)h8l-4 7z"',
        body,
    ):
        numbers = [float(n) for n in re.findall(r"-?\d+(?:\.\d+)?", way)]
        points = list(zip(numbers[::2], numbers[1::2], strict=True))
        found.append((title, points, (float(tip_x) + 4, float(tip_y) + 7)))
    return found


def letters(body):
    """(text, left, right, base line, direction) of each piece of the sentence."""
    return [
        (text, float(x) - float(width) / 2, float(x) + float(width) / 2, float(y), way)
        for x, y, width, way, text in re.findall(
            r'<text class="dlk-run" x="([\d.-]+)" y="([\d.-]+)" textLength="([\d.-]+)" '
            r'lengthAdjust="spacingAndGlyphs" direction="(\w+)">(.*?)</text>',
            body,
        )
    ]


def test_an_arrow_leaves_its_source_and_points_at_its_target():
    body = draw(TEXT, ENTITIES, RELATIONS)
    named = boxes(body)
    found = arrows(body)
    assert [title for title, _, _ in found] == [
        "Ada → met → Charles (0.8)",
        "Charles → in → London (0.7)",
        "Ada → in → London",
    ]
    for title, points, tip in found:
        source, target = title.split(" → ")[0], title.split(" → ")[2].split(" (")[0]
        left, top, right = named[next(name for name in named if name.endswith(source))]
        assert left < points[0][0] < right
        assert points[0][1] == top
        left, top, right = named[next(name for name in named if name.endswith(target))]
        assert left < tip[0] < right
        assert tip[1] == pytest.approx(top, abs=0.11)
        assert min(y for _, y in points) < top


def test_relations_may_name_entities_by_their_place():
    plain = [{k: v for k, v in e.items() if k != "entity_id"} for e in ENTITIES]
    body = draw(TEXT, plain, [relation(2, 0, "of")])
    assert [title for title, _, _ in arrows(body)] == ["London → of → Ada"]


def test_relations_without_both_ends_are_counted():
    relations = [relation("ada", "nobody"), relation(None, 7), {"labels": ["x"]}, "no dict"]
    body = draw(TEXT, ENTITIES, [*relations, RELATIONS[0]])
    assert len(arrows(body)) == 1
    assert "Not drawn: 4 relations without both ends." in body


def test_a_relation_to_an_entity_that_is_ignored_is_counted_too():
    body = draw(TEXT, ENTITIES, RELATIONS, ignore_labels=["LOC"])
    assert len(arrows(body)) == 1
    assert "Not drawn: 2 relations without both ends." in body


def test_ignored_relations_are_not_drawn():
    assert len(arrows(draw(TEXT, ENTITIES, RELATIONS, ignore_relations=["in"]))) == 1
    assert not arrows(draw(TEXT, ENTITIES, [relation("ada", "london", "O")]))


def test_of_too_many_relations_the_best_are_drawn_and_the_rest_is_counted():
    body = draw(TEXT, ENTITIES, RELATIONS, max_relations=1)
    assert [title for title, _, _ in arrows(body)] == ["Ada → met → Charles (0.8)"]
    assert "Drawn are 1 of 3 relations, those with the best scores." in body


def test_scores_stand_in_the_picture_where_they_are_asked_for():
    assert ">met</text>" in draw(TEXT, ENTITIES, RELATIONS)
    assert ">met 0.8</text>" in draw(TEXT, ENTITIES, RELATIONS, show_score=True)


def test_the_relations_are_in_a_table_too():
    body = draw(TEXT, ENTITIES, RELATIONS)
    cells = re.findall(r"<td[^>]*>(.*?)</td>", body)
    assert cells[:4] == ["Ada", "met", "Charles", "0.8"]
    assert cells[-1] == "–"


def test_a_text_from_right_to_left_begins_at_the_right():
    text = "דוד גר ב-Paris היום"
    body = draw(text, [entity(0, 3, "PER"), entity(9, 14, "LOC")], [relation(0, 1)])
    found = {piece: (left, right, way) for piece, left, right, _, way in letters(body)}
    assert found["דוד"][0] > found["Paris"][1] > found["Paris"][0] > found["היום"][1]
    assert found["דוד"][2] == "rtl"
    assert found["Paris"][2] == "ltr"
    named = boxes(body)
    assert named["LOC: Paris"][0] < found["Paris"][0] < found["Paris"][1] < named["LOC: Paris"][2]
    (arrow,) = arrows(body)
    assert named["PER: דוד"][0] < arrow[1][0][0] < named["PER: דוד"][2]
    assert named["LOC: Paris"][0] < arrow[2][0] < named["LOC: Paris"][2]


@pytest.mark.parametrize(
    ("text", "shown"),  # words from left to right on the screen, as UAX #9 puts them
    [
        ("בשנת 1948 12 היום", "היום 12 1948 בשנת"),
        ("הוא גר ב New York City היום", "היום New York City ב גר הוא"),
        ("iPhone 12 חדש", "iPhone 12 חדש"),
        ("the שלום עולם 12 end", "the 12 עולם שלום end"),
        ("אב ג 12 x 7 y", "x 7 y 12 ג אב"),
        ("مرحبا ١٢ ab", "ab ١٢ مرحبا"),
    ],
)
def test_words_stand_in_the_order_of_unicode_s_algorithm(text, shown):
    entities = [entity(m.start(), m.end(), str(m.start())) for m in re.finditer(r"\S+", text)]
    found = sorted(letters(draw(text, entities, [])), key=lambda piece: piece[1])
    assert [piece for piece, *_ in found] == shown.split()


def ends_at(body, word):
    """The labels of the arrows at an entity, by where they meet it, from left to right."""
    met = []
    for title, points, tip in arrows(body):
        source, label, target = title.split(" → ")
        met += [(points[0][0], label)] * (source == word) + [(tip[0], label)] * (target == word)
    assert len({x for x, _ in met}) == len(met)
    return [label for _, label in sorted(met)]


def crossings(body):
    """How often an arrow that goes up or down meets one that goes along a line."""
    ways = [[*points, tip] for _, points, tip in arrows(body)]
    return sum(
        left < x < right and min(high, low) < y < max(high, low)
        for one, other in itertools.permutations(ways, 2)
        for (x, high), (also_x, low) in itertools.pairwise(one)
        if x == also_x
        for (left, y), (right, _) in level(other)
    )


@pytest.mark.parametrize(
    ("words", "order"),
    [
        (["ada", "bob", "cyd", "dee", "eve"], ["1", "0", "4", "3"]),
        (["אדא", "בוב", "סיד", "דיי", "איב"], ["3", "4", "0", "1"]),  # the first is at the right
    ],
)
@pytest.mark.parametrize("leaves", [set(), {0, 1, 3, 4}, {1, 4}, {0, 3}])
def test_arrows_meet_an_entity_in_an_order_in_which_none_crosses_another(words, order, leaves):
    """Of those to one side the nearest is the outermost; both sides lie apart."""
    entities = [entity(4 * place, 4 * place + 3) for place in range(5)]
    relations = [
        relation(*((2, place) if place in leaves else (place, 2)), str(place))
        for place in (4, 0, 3, 1)
    ]
    body = draw(" ".join(words), entities, relations)
    assert ends_at(body, words[2]) == order
    assert crossings(body) == 0


@pytest.mark.parametrize(
    ("words", "order"),
    [
        (["ada", "bob", "cyd", "word"], ["left", "near", "far", "right"]),
        (["אדא", "בוב", "סיד", "מילה"], ["right", "far", "near", "left"]),
    ],
)
def test_arrows_to_other_lines_leave_on_the_side_of_their_tracks(words, order):
    """Those within the line lie outside of them, and the one to the next line before the rest."""
    *three, word = words
    text = " ".join([*three, *[word] * 300])
    last = 12 + 5 * 299
    ends = [(0, 3), (4, 7), (8, 11), (12 + 5 * 60, 16 + 5 * 60), (last, last + 4)]
    entities = [entity(*end) for end in ends]
    targets = {"far": 4, "right": 2, "near": 3, "left": 0}
    relations = [relation(1, target, label) for label, target in targets.items()]
    body = draw(text, entities, relations)
    assert len({points[0][1] for _, points, _ in arrows(body)}) == 1
    assert ends_at(body, words[1]) == order
    assert crossings(body) == 0


def test_long_texts_wrap_and_arrows_go_from_line_to_line():
    text = "word " * 200
    body = draw(text, [entity(0, 4, "A"), entity(900, 904, "B")], [relation(1, 0)])
    lines = {y for *_, y, _ in letters(body)}
    assert len(lines) > 5
    ((_, points, tip),) = arrows(body)
    assert points[0][1] > tip[1]
    assert min(x for x, _ in points) < min(left for _, left, *_ in letters(body))
    assert all(right <= 900 for _, _, right, _, _ in letters(body))


def test_a_word_longer_than_a_line_is_cut_and_no_cluster_with_it():
    text = "e\u0301" * 500
    found = letters(draw(text, [], []))
    assert len({y for *_, y, _ in found}) > 3
    assert "".join(piece for piece, *_ in found) == text
    assert not any(piece.startswith("\u0301") for piece, *_ in found)
    assert all(right <= 900 for _, _, right, _, _ in found)


def test_words_move_apart_for_the_labels_beneath_them():
    labels = ["organisation", "administration", "representation"]
    body = draw("a b c", [entity(2 * k, 2 * k + 1, label) for k, label in enumerate(labels)], [])
    tags = re.findall(r'dlk-tag" x="([\d.]+)" y="([\d.]+)" textLength="([\d.]+)"', body)
    assert len({y for _, y, _ in tags}) == 1
    edges = sorted((float(x) - float(w) / 2, float(x) + float(w) / 2) for x, _, w in tags)
    assert edges[0][0] >= 0
    assert all(one[1] < other[0] for one, other in itertools.pairwise(edges))


def test_chinese_wraps_between_its_signs():
    text = "居里夫人出生于华沙，" * 30
    found = letters(draw(text, [entity(0, 4), entity(7, 9)], [relation(0, 1)]))
    assert len({y for *_, y, _ in found}) > 3
    assert not any(piece.startswith("，") for piece, left, *_ in found if left < 20)


WORDS = ["Ada", "שלום", "مرحبا", "12", "日本", "e\u0301", "👩🏽\u200d🔬", "-", "(x)", "\n"]


@st.composite
def pictures(draw_):
    words = draw_(st.lists(st.sampled_from(WORDS), min_size=1, max_size=60))
    text = " ".join(words)
    offset = st.integers(0, len(text))
    spans = draw_(st.lists(st.tuples(offset, offset), max_size=8))
    entities = [entity(min(span), max(span), f"l{k}") for k, span in enumerate(spans)]
    place = st.integers(0, 8)
    relations = [relation(*ends) for ends in draw_(st.lists(st.tuples(place, place), max_size=30))]
    return text, entities, relations


@settings(deadline=None, max_examples=150)
@given(pictures())
def test_every_word_is_drawn_once_and_no_two_arrows_run_along_the_same_way(picture):
    text, entities, relations = picture
    body = draw(text, entities, relations, render_width=400)
    drawn = sorted(c for piece, *_ in letters(body) for c in piece if not c.isspace())
    assert drawn == sorted(c for c in text if not c.isspace())
    ways = [points for _, points, _ in arrows(body)]
    for one, other in itertools.combinations(ways, 2):
        for (a, b), (c, d) in itertools.product(level(one), level(other)):
            assert a[1] != c[1] or b[0] <= c[0] or d[0] <= a[0], (one, other)


def level(points):
    """The stretches of a way that go along a line, each from left to right."""
    pairs = itertools.pairwise(points)
    return [tuple(sorted(pair)) for pair in pairs if pair[0][1] == pair[1][1]]
