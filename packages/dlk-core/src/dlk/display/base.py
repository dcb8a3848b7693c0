"""What a display is: a pure function from one prediction to a picture for a page."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from dlk.errors import DataError, did_you_mean

if TYPE_CHECKING:
    from dlk.display.configs import DisplayConfig

__all__ = ["Display", "Rendered"]

Kind = Literal["html", "image", "text"]


@dataclass(frozen=True, slots=True)
class Rendered:
    """A picture of one prediction.

    Attributes:
        kind: ``html``: a fragment that stands alone, without script or external resource;
            ``image``: a ``data:`` address; ``text``: plain text.
        body: the picture.
        width: px that it is laid out for.
        height: px of the frame on the page; a taller picture scrolls.
    """

    kind: Kind
    body: str
    width: int
    height: int


class Display(ABC):
    """Base of displays; read-only once built, so threads may share one.

    Attributes:
        kind: of every picture this display draws.
        title: title of the page.
        help: what stands above the inputs.
        input: columns that a visitor fills in: {column: "text" or "image"}.
        output_head: heading above the picture; the picture itself shows it where it can.
    """

    kind: ClassVar[Kind] = "html"

    def __init__(self, config: DisplayConfig) -> None:
        self.config = config
        self.title = config.title
        self.help = config.help
        self.input: dict[str, str] = dict(config.input)
        self.hold: dict[str, object] = dict(config.hold)
        self.output_head = config.output_head
        self.width = config.render_width
        self.height = config.render_height
        self.color_scheme = config.color_scheme

    @abstractmethod
    def draw(self, prediction: Mapping[str, object]) -> str:
        """Return the body of the picture. Pure: the same prediction gives the same text.

        Args:
            prediction: as a postprocessor gives it. What is missing or of another type than
                expected is left out of the picture or said in it, and never an error: a
                prediction may come from another model, or from a file that somebody wrote.
        """

    def render(self, prediction: Mapping[str, object]) -> Rendered:
        """Return the picture of one prediction."""
        return Rendered(self.kind, self.draw(prediction), self.width, self.height)

    def row(self, typed: Mapping[str, object]) -> dict[str, object]:
        """Return the row to predict: what a visitor filled in, with the held columns.

        Raises:
            DataError: a column is missing, or is none of `input`.
        """
        for column in typed:
            if column not in self.input:
                raise DataError(
                    f'the page has no input "{column}". {did_you_mean(column, self.input)}'
                )
        missing = [column for column in self.input if column not in typed]
        if missing:
            raise DataError(f"nothing was given for {', '.join(missing)}")
        return {**self.hold, **{column: typed[column] for column in self.input}}
