"""Options of the text displays; imports no torch."""

from __future__ import annotations

from collections.abc import Iterable

from dlk.config import (
    BoolField,
    DictField,
    FloatField,
    IntField,
    ListField,
    MapField,
    StrField,
    cregister,
)
from dlk.display.configs import DisplayConfig


@cregister()
class SpanDisplayConfig(DisplayConfig):
    """What pictures of entities in a text have in common."""

    output_head = StrField(value="Entities", help="heading above the picture; empty: none")
    input_map = MapField(
        {"sentence": "sentence", "entities_info": "entities_info", "left_out": "left_out"},
        help="keys of a prediction: its text, the entities in it, and how many more there were",
    )
    ignore_labels = ListField(
        value=["O", "X"], help="labels of entities that are not drawn, such as the one for nothing"
    )
    labels = ListField(
        value=[],
        help="all labels in an order that stays: their colours are then as far apart as can be; "
        "a label that is not named here gets a colour by its text",
    )
    show_score = BoolField(value=True, help="write the score of an entity behind its label")
    max_entities = IntField(
        value=300,
        minimum=1,
        help="entities drawn, those with the best scores; the rest is counted beneath",
    )


@cregister("display", "seq_lab")
class SeqLabDisplayConfig(SpanDisplayConfig):
    """A text with its entities highlighted."""


@cregister("display", "span_cls")
class SpanClsDisplayConfig(SpanDisplayConfig):
    """A text with its entities highlighted; entities inside of others are boxes inside of boxes."""


@cregister("display", "span_relation")
class SpanRelationDisplayConfig(SpanDisplayConfig):
    """A text with its entities, and arrows above it for the relations between them."""

    output_head = StrField(value="Relations", help="heading above the picture; empty: none")
    input_map = MapField(
        {
            "sentence": "sentence",
            "entities_info": "entities_info",
            "relations_info": "relations_info",
            "left_out": "left_out",
        },
        help="keys of a prediction: its text, the entities in it, relations between them, and how "
        "many more there were",
    )
    show_score = BoolField(
        value=False, help="write the scores of entities and relations behind their labels"
    )
    ignore_relations = ListField(
        value=["O"], help="labels of relations that are not drawn, such as the one for nothing"
    )
    max_relations = IntField(
        value=100,
        minimum=1,
        help="relations drawn, those with the best scores; the rest is counted beneath",
    )


@cregister()
class BarsDisplayConfig(DisplayConfig):
    """What bar charts of labels have in common."""

    labels = ListField(
        value=[],
        help="all labels in an order that stays: their colours are then as far apart as can be",
    )
    top_k = IntField(
        value=10, minimum=0, help="how many labels have a bar, the most probable; 0: all of them"
    )


@cregister("display", "txt_cls")
class TxtClsDisplayConfig(BarsDisplayConfig):
    """A text, and a bar for the probability of each label."""

    output_head = StrField(value="Text class", help="heading above the picture; empty: none")
    input_map = MapField(
        {
            "sentence": "sentence",
            "sentence_a": "sentence_a",
            "sentence_b": "sentence_b",
            "label": "label",
            "labels": "labels",
            "score": "score",
            "predicts": "predicts",
        },
        help="keys of a prediction: its text or two, the label (or labels) given, its score, and "
        "the list of labels with their scores",
    )


def _scale(minimum: float, maximum: float) -> Iterable[tuple[str, str]]:
    if not minimum < maximum:
        yield "maximum", f"must be above minimum, {minimum}, got {maximum}"


@cregister("display", "txt_reg")
class TxtRegDisplayConfig(DisplayConfig):
    """A text, and where its value stands on a scale."""

    output_head = StrField(value="Score", help="heading above the picture; empty: none")
    render_height = IntField(
        value=300, minimum=50, help="height in px of the frame on the page; taller pictures scroll"
    )
    render_width = IntField(
        value=500, minimum=200, help="width in px that the picture is laid out for; it may shrink"
    )
    input_map = MapField(
        {
            "sentence": "sentence",
            "sentence_a": "sentence_a",
            "sentence_b": "sentence_b",
            "value": "value",
        },
        help="keys of a prediction: its text or two, and its value",
    )
    minimum = FloatField(value=0.0, help="least value, at the left end of the scale")
    maximum = FloatField(value=1.0, help="greatest value, at the right end of the scale")

    def rules(self) -> Iterable[tuple[str, str]]:
        yield from super().rules()
        yield from _scale(self.minimum, self.maximum)


@cregister("display", "txt_match")
class TxtMatchDisplayConfig(BarsDisplayConfig):
    """Two texts side by side; beneath them a bar for each label, or one value on a scale."""

    output_head = StrField(value="Match", help="heading above the picture; empty: none")
    input = DictField(
        value={"sentence_a": "text", "sentence_b": "text"},
        help="columns that a visitor fills in, each with what it is: {column: text or image}",
    )
    input_map = MapField(
        {
            "sentence_a": "sentence_a",
            "sentence_b": "sentence_b",
            "label": "label",
            "labels": "labels",
            "score": "score",
            "value": "value",
            "predicts": "predicts",
        },
        help="keys of a prediction: its two texts, the label (or labels) given, its score, the "
        "value of a regression, and the list of labels with their scores",
    )
    minimum = FloatField(value=0.0, help="least value, at the left end of the scale")
    maximum = FloatField(value=1.0, help="greatest value, at the right end of the scale")

    def rules(self) -> Iterable[tuple[str, str]]:
        yield from super().rules()
        yield from _scale(self.minimum, self.maximum)
