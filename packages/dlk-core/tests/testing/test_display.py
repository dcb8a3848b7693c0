"""Displays that are wrong on purpose fail the check that is meant for them."""

from __future__ import annotations

import itertools
import re
from html import escape

import pytest

from dlk.config import MapField, cregister
from dlk.display import Display, DisplayConfig
from dlk.registry import register
from dlk.testing import DisplayConformance

NAMES = (f"test_display_{number}" for number in itertools.count())


class Right(Display):
    """The label in a paragraph."""

    def draw(self, prediction):
        label = str(prediction.get("label")).encode("utf-8", "replace").decode()
        assert self.config.input_map
        return f'<figure role="group" aria-label="label"><p dir="auto">{escape(label)}</p></figure>'


def checks(*faults: type) -> DisplayConformance:
    name = next(NAMES)

    @cregister("display", name)
    class _Config(DisplayConfig):
        """A display for the tests of the kit."""

        input_map = MapField({"label": "label"}, help="key of a prediction: its label")

    register("display", name)(type(name, (*faults, Right), {}))

    class Checks(DisplayConformance):
        component = ("display", name)

        def predictions(self):
            return [{"label": "x", "score": 0.5}]

    return Checks()


class WritesMarkup:
    def draw(self, prediction):
        return f'<p role="group" aria-label="x" dir="auto">{prediction.get("label")}</p>'


class FailsOnOtherTypes:
    def draw(self, prediction):
        return super().draw({"label": prediction.get("label", "").upper()})


class LoadsFromElsewhere:
    def draw(self, prediction):
        return super().draw(prediction) + '<img src="https://example.org/x.png">'


class RunsScripts:
    def draw(self, prediction):
        return super().draw(prediction) + "<script>1</script>"


class LeavesElementsOpen:
    def draw(self, prediction):
        return super().draw(prediction) + "<p>"


class Counts:
    drawn = 0

    def draw(self, prediction):
        type(self).drawn += 1
        return super().draw({"label": self.drawn + len(prediction.get("label") or "")})


class ChangesThePrediction:
    def draw(self, prediction):
        prediction["drawn"] = True
        return super().draw(prediction)


class ReadsMore:
    def draw(self, prediction):
        prediction.get("score")
        return super().draw(prediction)


class HasNoName:
    def draw(self, prediction):
        return super().draw(prediction).replace('aria-label="label"', "")


class DrawsNamelessPictures:
    def draw(self, prediction):
        return super().draw(prediction) + "<svg></svg>"


class FixesTheDirection:
    def draw(self, prediction):
        return super().draw(prediction).replace('dir="auto"', "")


class ForgetsWhatIsHeld:
    def row(self, typed):
        return {}


TESTS = [name for name in dir(DisplayConformance) if name.startswith("test_")]


def test_a_right_display_passes_all_checks():
    mine = checks()
    for name in TESTS:
        getattr(mine, name)()


@pytest.mark.parametrize(
    ("fault", "test", "message"),
    [
        (WritesMarkup, "test_whatever_stands_in_a_prediction_is_drawn_and_escaped", "<script>"),
        (
            FailsOnOtherTypes,
            "test_whatever_stands_in_a_prediction_is_drawn_and_escaped",
            "cannot draw None as label",
        ),
        (LoadsFromElsewhere, "test_it_draws_what_postprocessors_give", "<img> is not allowed"),
        (RunsScripts, "test_it_draws_what_postprocessors_give", "<script> is not allowed"),
        (LeavesElementsOpen, "test_it_draws_what_postprocessors_give", "<p> is not closed"),
        (Counts, "test_drawing_is_pure", "drawn in two ways"),
        (ChangesThePrediction, "test_drawing_is_pure", "changes the prediction"),
        (ReadsMore, "test_it_reads_what_the_signature_declares", "draw reads"),
        (HasNoName, "test_it_can_be_read_without_being_seen", "aria-label"),
        (DrawsNamelessPictures, "test_it_can_be_read_without_being_seen", "an <svg> needs"),
        (FixesTheDirection, "test_text_of_any_direction_is_kept_apart", 'dir="auto"'),
        (ForgetsWhatIsHeld, "test_the_row_of_a_page_holds_what_was_filled_in", "row gives"),
    ],
    ids=lambda one: getattr(one, "__name__", None),
)
def test_a_wrong_display_fails(fault, test, message):
    with pytest.raises(AssertionError, match=re.escape(message)):
        getattr(checks(fault), test)()
