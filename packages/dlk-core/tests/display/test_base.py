"""What all displays share."""

from __future__ import annotations

import pytest

from dlk.config import cregister, make
from dlk.display import Display, DisplayConfig
from dlk.errors import ConfigError, DataError
from dlk.registry import register


@cregister("display", "echo")
class _Config(DisplayConfig):
    """A display for these tests."""


@register("display", "echo")
class _Echo(Display):
    kind = "text"

    def draw(self, prediction):
        return str(prediction.get("label"))


def echo(**config):
    return register.build(make("display", "echo", config))


def test_a_picture_says_what_it_is_and_how_large():
    rendered = echo(render_width=300, render_height=80).render({"label": "x"})
    assert (rendered.kind, rendered.body) == ("text", "x")
    assert (rendered.width, rendered.height) == (300, 80)


def test_a_row_is_what_was_filled_in_and_what_is_held():
    display = echo(input={"image": "image"}, hold={"target": ""})
    assert display.row({"image": "cat.png"}) == {"image": "cat.png", "target": ""}


def test_a_row_needs_every_input_and_no_other():
    with pytest.raises(DataError, match="nothing was given for sentence"):
        echo().row({})
    with pytest.raises(DataError, match=r'no input "sentense"\. Did you mean "sentence"'):
        echo().row({"sentense": "x"})


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"input": {"sentence": "sound"}}, 'input: "sentence" must be one of text, image'),
        ({"hold": {"sentence": "x"}}, "hold: sentence is filled in by the visitor already"),
        ({"render_width": 10}, "render_width"),
    ],
)
def test_a_page_that_cannot_be_is_refused(config, message):
    with pytest.raises(ConfigError, match=message):
        echo(**config)
