"""The display `seq_lab`."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlk.config import make
from dlk.registry import register
from dlk.testing import DisplayConformance

TEXT = "Ada Lovelace wrote to Charles Babbage in London."
ENTITIES = [
    {"start": 0, "end": 12, "labels": ["PER"], "score": 0.98},
    {"start": 22, "end": 37, "labels": ["PER"], "score": 0.5},
    {"start": 41, "end": 47, "labels": ["LOC"], "score": None},
]


class TestSeqLab(DisplayConformance):
    component = ("display", "seq_lab")
    config: ClassVar = {"labels": ["PER", "LOC"], "title": "Names", "help": "Finds names."}

    def predictions(self):
        return [
            {"sentence": TEXT, "entities_info": ENTITIES},
            {"sentence": "מר כהן גר ב-Paris", "entities_info": [ENTITIES[0]]},
            {"sentence": "", "entities_info": []},
            {"sentence": "nothing known", "entities_info": None},
        ]


class Marks(HTMLParser):
    """The text of the picture without labels, and the text and the label of each box."""

    def __init__(self, body):
        super().__init__(convert_charrefs=True)
        self.text, self.boxes, self.open, self.label = "", [], [], None
        self.feed(
            re.sub(
                r"<style>.*?</style>|<figcaption.*?</figcaption>|<p class=.dlk-note.*?</p>",
                "",
                body,
            )
        )

    def handle_starttag(self, tag, attrs):
        if tag == "mark":
            self.open.append({"text": "", "label": None, "title": dict(attrs)["title"]})
            self.boxes.append(self.open[-1])
        if tag == "bdi":
            self.label = ""

    def handle_endtag(self, tag):
        if tag == "bdi":
            self.open[-1]["label"], self.label = self.label, None
        if tag == "mark":
            self.open.pop()

    def handle_data(self, data):
        if self.label is not None:
            self.label += data
            return
        self.text += data
        for box in self.open:
            box["text"] += data


def display(name="seq_lab", **config):
    return register.build(make("display", name, config))


def marks(text, entities, name="seq_lab", **config):
    return Marks(display(name, **config).draw({"sentence": text, "entities_info": entities}))


def entity(start, end, label="x", score=None):
    return {"start": start, "end": end, "labels": [label], "score": score}


def test_each_entity_is_a_box_around_its_words_with_label_and_score():
    found = marks(TEXT, ENTITIES)
    assert found.text == TEXT
    assert [(box["text"], box["label"]) for box in found.boxes] == [
        ("Ada Lovelace", "PER\u00a00.98"),
        ("Charles Babbage", "PER\u00a00.5"),
        ("London", "LOC"),
    ]
    assert found.boxes[0]["title"] == "PER, score 0.98"


def test_scores_can_be_left_out():
    assert [box["label"] for box in marks(TEXT, ENTITIES, show_score=False).boxes] == [
        "PER",
        "PER",
        "LOC",
    ]


def test_ignored_labels_are_not_drawn():
    entities = [entity(0, 3, "O"), entity(4, 6, "X"), entity(7, 9, "S")]
    assert [box["label"] for box in marks(TEXT, entities).boxes] == ["S"]
    assert [box["label"] for box in marks(TEXT, entities, ignore_labels=["S"]).boxes] == ["O", "X"]


def test_an_entity_inside_of_another_is_a_box_inside_of_its_box():
    found = marks("University of Paris", [entity(14, 19, "LOC"), entity(0, 19, "ORG")])
    assert [(box["text"], box["label"]) for box in found.boxes] == [
        ("University of Paris", "ORG"),
        ("Paris", "LOC"),
    ]


def test_an_entity_that_crosses_another_is_cut_and_named_once():
    found = marks("abcdefgh", [entity(0, 5, "one"), entity(3, 8, "two")])
    assert [(box["text"], box["label"]) for box in found.boxes] == [
        ("abcde", "one"),
        ("de", None),
        ("fgh", "two"),
    ]


def test_offsets_are_clipped_to_the_text_and_what_lies_outside_is_counted():
    body = display().draw(
        {"sentence": "abc", "entities_info": [entity(1, 99), entity(-5, 1), entity(7, 9)]}
    )
    assert [box["text"] for box in Marks(body).boxes] == ["a", "bc"]
    assert "Not drawn: 1 entity without a place in the text." in body


@pytest.mark.parametrize(
    ("text", "start", "end", "drawn"),
    [
        ("nai\u0308ve", 0, 3, "nai\u0308"),  # a combining mark
        ("x👩🏽\u200d🔬y", 1, 2, "👩🏽\u200d🔬"),  # skin tone, joiner, microscope
        ("🇫🇷🇩🇪", 1, 2, "🇫🇷"),  # a flag is a pair
        ("🇫🇷🇩🇪", 2, 3, "🇩🇪"),
        ("한\u1112\u1161\u11ab", 1, 2, "\u1112\u1161\u11ab"),  # letters of one syllable
        ("क्\u0937", 0, 1, "क्"),
        ("❤\ufe0f!", 0, 1, "❤\ufe0f"),  # a variation selector
    ],
)
def test_what_reads_as_one_character_is_not_cut(text, start, end, drawn):
    (box,) = marks(text, [entity(start, end)]).boxes
    assert box["text"] == drawn


def test_of_too_many_entities_the_best_are_drawn_and_the_rest_is_counted():
    entities = [entity(k, k + 1, score=k / 10) for k in range(5)] + [entity(5, 6)]
    body = display(max_entities=2).draw({"sentence": "abcdef", "entities_info": entities})
    assert [box["text"] for box in Marks(body).boxes] == ["d", "e"]
    assert "Drawn are 2 of 6 entities, those with the best scores." in body


def test_what_the_prediction_itself_leaves_out_is_said():
    prediction = {"sentence": "a b", "entities_info": [], "left_out": 7}
    assert "The prediction leaves 7 more out." in display().draw(prediction)
    assert "more out" not in display().draw({"sentence": "a b", "entities_info": []})


def test_an_answer_that_is_null_is_not_shown_as_no_entities():
    body = display().draw({"sentence": "a b", "entities_info": None})
    assert "The model gave no answer." in body
    assert "no answer" not in display().draw({"sentence": "a b", "entities_info": []})


def test_the_text_keeps_its_direction_and_only_labels_are_isolated():
    body = display().draw({"sentence": "שלום A/B", "entities_info": [entity(5, 6, "عربي")]})
    assert '<p class="dlk-text dlk-spans" dir="auto"' in body
    assert "<bdi" in body[body.index("<mark") :]
    assert "dir=" not in body[body.index("<mark") : body.index("</mark>")]


def test_a_label_has_the_same_colour_in_every_picture():
    first, second = (
        re.findall(r'<mark class="dlk-t" style="([^"]*?);--up', display().draw(prediction))
        for prediction in (
            {"sentence": "a b", "entities_info": [entity(0, 1, "PER"), entity(2, 3, "LOC")]},
            {"sentence": "a b", "entities_info": [entity(0, 1, "LOC"), entity(2, 3, "PER")]},
        )
    )
    assert first == second[::-1]
    assert first[0] != first[1]


def test_a_hundred_thousand_characters_are_drawn():
    text = "Ein e\u0301 Satz. " * 8000
    entities = [entity(k * 300, k * 300 + 9) for k in range(300)]
    assert marks(text, entities).text == text


SPAN = st.tuples(st.integers(-2, 14), st.integers(-2, 14), st.sampled_from(["a", "b"]))


@settings(deadline=None, max_examples=200)
@given(
    text=st.text(alphabet="ab \u0301\u200d👩🏽🇫🇷<&שا\n", max_size=12),
    spans=st.lists(SPAN, max_size=6),
)
def test_no_character_is_lost_and_each_entity_is_around_its_own(text, spans):
    entities = [entity(*span) for span in spans]
    found = marks(text, entities, "span_cls")
    assert found.text == text
    drawn = [(max(s, 0), min(e, len(text))) for s, e, _ in spans]
    whole = sum(box["label"] is not None for box in found.boxes)
    assert whole == sum(start < end for start, end in drawn)
