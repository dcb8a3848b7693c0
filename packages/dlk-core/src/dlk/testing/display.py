"""Conformance of displays: ``class TestMine(DisplayConformance): …``."""

from __future__ import annotations

import copy
import json
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from typing import Any

from dlk.display.base import Display, Rendered
from dlk.testing._common import Conformance
from dlk.testing.postprocessor import Watched

HOSTILE = "<script>alert(1)</script>\"'&<!--</style></svg><img src=x onerror=alert(1)>"
STRANGE: tuple[object, ...] = (
    *(None, True, -1, 0, 10**30, 10**400, math.nan, math.inf, -math.inf, 0.5, "", "x", HOSTILE),
    *([], [None], [HOSTILE], {}, {"start": 0}, {HOSTILE: HOSTILE}, [[0, 1]], "\ud800\x00\u202e"),
)
"""What stands in a prediction that nobody checked."""

_VOID = frozenset(("area", "base", "br", "col", "hr", "img", "input", "link", "meta", "wbr"))
_FORBIDDEN = frozenset(
    ("script", "link", "iframe", "object", "embed", "base", "form", "img", "foreignobject", "use")
)
_ADDRESSES = frozenset(("src", "href", "xlink:href", "action", "data", "srcset", "poster"))


class Page(HTMLParser):
    """What a browser would see in a fragment: elements, their attributes, and text.

    Attributes:
        elements: name and attributes of each element, in order.
        text: all text outside of styles.
        mistakes: what is wrong with the fragment.
    """

    def __init__(self, body: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.mistakes: list[str] = []
        self._open: list[str] = []
        self.feed(body)
        self.close()
        self.mistakes += [f"<{name}> is not closed" for name in self._open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.elements.append((tag, values))
        if len(values) < len(attrs):
            self.mistakes.append(f"<{tag}> has an attribute twice")
        if tag in _FORBIDDEN:
            self.mistakes.append(f"<{tag}> is not allowed: no script, no resource from elsewhere")
        for name, value in values.items():
            if name.startswith("on"):
                self.mistakes.append(f"<{tag}> has a handler, {name}")
            if name in _ADDRESSES:
                self.mistakes.append(f"<{tag}> names a resource, {name}={value!r}")
            if name == "id":
                self.mistakes.append(f"<{tag}> has an id: two pictures on a page would clash")
            if name == "style" and ("url(" in value or "<" in value or "expression" in value):
                self.mistakes.append(f"<{tag}> has the style {value!r}")
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open[-1] != tag:
            self.mistakes.append(f"</{tag}> closes what is not open")
        else:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        if "style" in self._open:
            if re.search(r"url\(|@import|<", data):
                self.mistakes.append(f"the styles name a resource, or hold markup: {data[:80]!r}")
        else:
            self.text += data

    def handle_comment(self, data: str) -> None:
        self.mistakes.append(f"there is a comment: {data!r}")


class DisplayConformance(Conformance, ABC):
    """What every registered display keeps; a subclass names it and gives predictions."""

    @abstractmethod
    def predictions(self) -> list[dict[str, Any]]:
        """Return one or more predictions as a postprocessor gives them, plain JSON."""

    # What follows is not for overriding.

    def exercise(self, component: Display) -> None:
        """Draw everything once."""
        for prediction in self.predictions():
            component.render(prediction)

    def test_it_draws_what_postprocessors_give(self) -> None:
        """Each prediction gives a picture of the declared kind, as large as the config says."""
        display: Display = self.build()
        config = self.make()
        for prediction in self.predictions():
            rendered = display.render(prediction)
            kind = type(rendered).__name__
            assert isinstance(rendered, Rendered), (
                f"{self._name}: render gives a {kind}: leave it as it is and override draw"
            )
            assert rendered.kind == type(display).kind, (
                f"{self._name}: a picture of the kind {rendered.kind}, declared is {display.kind}"
            )
            assert rendered.body, f"{self._name}: draw gives no body"
            wanted, given = (config.render_width, config.render_height), rendered
            assert (given.width, given.height) == wanted, (
                f"{self._name}: the picture is {given.width} by {given.height}, the config says "
                f"{wanted[0]} by {wanted[1]}"
            )
            if rendered.kind == "image":
                assert rendered.body.startswith("data:image/"), (
                    f"{self._name}: the body of an image is a data: address"
                )
            if rendered.kind == "html":
                self._check(rendered.body)

    def test_drawing_is_pure(self) -> None:
        """The same prediction gives the same picture, from any thread, and is left as it was."""
        predictions = self.predictions() * 4
        kept = copy.deepcopy(predictions)
        display: Display = self.build()
        first = [display.render(prediction) for prediction in predictions]
        with ThreadPoolExecutor(4) as pool:
            again = list(pool.map(display.render, predictions))
        other: Display = self.build(seed=1)
        assert again == first == [other.render(prediction) for prediction in predictions], (
            f"{self._name}: a prediction is drawn in two ways: keep no state, draw no lots"
        )
        assert predictions == kept, f"{self._name}: drawing changes the prediction"

    def test_whatever_stands_in_a_prediction_is_drawn_and_escaped(self) -> None:
        """Markup in any value stays text, and a value of a wrong type is no error."""
        display: Display = self.build()
        for prediction in self.predictions():
            for path in _paths(prediction):
                for value in STRANGE:
                    changed = _with(prediction, path, value)
                    try:
                        body = display.draw(changed)
                        body.encode("utf-8")
                    except Exception as error:
                        where = ".".join(map(str, path)) or "the prediction"
                        raise AssertionError(
                            f"{self._name} cannot draw {value!r} as {where}: {error!r}"
                        ) from error
                    if display.kind == "html":
                        self._check(body)
        display.draw({})

    def test_it_reads_what_the_signature_declares(self) -> None:
        """Exactly the declared keys of a prediction, in one case or another."""
        display: Display = self.build()
        declared = set(self.make().signature().reads)
        asked: set[str] = set()
        for prediction in self.predictions():
            watched = Watched(prediction)
            display.draw(watched)
            asked |= watched.asked
        assert asked == declared, (
            f"{self._name}: signature().reads says {sorted(declared)}, draw reads {sorted(asked)}"
        )

    def test_it_can_be_read_without_being_seen(self) -> None:
        """The picture has a name, and so has each drawing in it."""
        display: Display = self.build()
        if display.kind != "html":
            return
        for prediction in self.predictions():
            page = Page(display.draw(prediction))
            _, outermost = page.elements[0]
            for attribute in ("role", "aria-label"):
                assert outermost.get(attribute), (
                    f"{self._name}: give the outermost element a role and an aria-label"
                )
            for name, attributes in page.elements:
                if name == "svg":
                    named = attributes.get("role") == "img" and attributes.get("aria-label")
                    hidden = attributes.get("aria-hidden") == "true"
                    assert named or hidden, (
                        f'{self._name}: an <svg> needs role="img" and an aria-label, '
                        'or aria-hidden="true" where the same stands beside it as text'
                    )

    def test_text_of_any_direction_is_kept_apart(self) -> None:
        """Text of a prediction stands in elements that find its direction by themselves."""
        display: Display = self.build()
        if display.kind != "html":
            return
        for prediction in self.predictions():
            page = Page(display.draw(prediction))
            directed = [n for n, a in page.elements if a.get("dir") == "auto" or n == "bdi"]
            assert directed, (
                f'{self._name}: put texts of the prediction into <bdi> or elements with dir="auto"'
            )

    def test_the_row_of_a_page_holds_what_was_filled_in(self) -> None:
        """`row` gives every column of `input` and `hold`."""
        display: Display = self.build()
        config = self.make()
        row = display.row(dict.fromkeys(config.input, "x"))
        assert row == {**config.hold, **dict.fromkeys(config.input, "x")}, (
            f"{self._name}: row gives {row}, not every column of `input` and `hold`"
        )

    def _check(self, body: str) -> None:
        mistakes = Page(body).mistakes
        assert not mistakes, f"{self._name}: {'; '.join(mistakes[:3])}"


def _paths(value: object, above: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the path of each value in a prediction, of at most two items of each list."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield (*above, key)
            yield from _paths(item, (*above, key))
    elif isinstance(value, list):
        for place, item in enumerate(value[:2]):
            yield (*above, place)
            yield from _paths(item, (*above, place))


def _with(prediction: Mapping[str, Any], path: tuple[str | int, ...], value: object) -> Any:
    """Return a copy of a prediction with one value changed."""
    changed: Any = json.loads(json.dumps(prediction))
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return changed
