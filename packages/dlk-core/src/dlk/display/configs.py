"""Options that the displays of all tasks share; imports no torch."""

from __future__ import annotations

from collections.abc import Iterable

from dlk.config import Base, DictField, IntField, StrField, cregister

KINDS = ("text", "image")


@cregister()
class DisplayConfig(Base):
    """A page with inputs to fill in, and beneath them a picture of the prediction."""

    title = StrField(value="", help="title of the page; empty: none")
    help = StrField(value="", help="a sentence or two above the inputs: what the page is for")
    input = DictField(
        value={"sentence": "text"},
        help="columns that a visitor fills in, each with what it is: {column: text or image}",
    )
    hold = DictField(
        value={}, help="columns that the visitor does not fill in: {column: its value in each row}"
    )
    output_head = StrField(value="", help="heading above the picture; empty: none")
    render_width = IntField(
        value=900, minimum=200, help="width in px that the picture is laid out for; it may shrink"
    )
    render_height = IntField(
        value=500, minimum=50, help="height in px of the frame on the page; taller pictures scroll"
    )
    color_scheme = StrField(
        value="auto",
        options=["auto", "light", "dark"],
        help="colours for a light or a dark page; auto: what the visitor's system prefers",
    )

    def rules(self) -> Iterable[tuple[str, str]]:
        if not self.input:
            yield "input", "a page needs at least one column to fill in"
        for column, kind in self.input.items():
            if kind not in KINDS:
                yield "input", f'"{column}" must be one of {", ".join(KINDS)}, got {kind!r}'
        both = ", ".join(sorted(set(self.input) & set(self.hold)))
        if both:
            yield "hold", f"{both} is filled in by the visitor already"
