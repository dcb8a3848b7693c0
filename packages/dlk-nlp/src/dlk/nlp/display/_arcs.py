"""Ways for arrows between entities: above the lines, and beside them from line to line.

Each line has channels above it, one over the other. An arrow within a line rises to a channel, runs
along it, and comes down; an arrow between two lines runs along a channel of each, and down a track
beside the lines. On a channel, and on a track, no two arrows overlap; the shorter ones lie nearer
to the text, so that of two arrows inside of each other the outer one is above.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

__all__ = ["Arc", "Stretch", "channels", "free_channel", "rounded", "spread"]

_BESIDE = 5.0
"""Least distance of two arrows on one channel, px."""


@dataclass(slots=True)
class Stretch:
    """What an arrow takes up of a channel.

    Attributes:
        left: its left end, label included.
        right: its right end, label included.
        channel: from 0, the lowest, once it is known.
    """

    left: float
    right: float
    channel: int = 0


@dataclass(slots=True)
class Arc:
    """An arrow from one entity to another.

    Attributes:
        source: number of the entity it leaves.
        target: number of the entity it points to.
        source_line: line on which the source begins.
        target_line: line on which the target begins.
        label: what stands on it, cut to a length.
        tone: the whole label, for its colour.
        told: all of it as a sentence.
        source_x: where it leaves.
        target_x: where it arrives.
        label_line: the line above which its label stands.
        label_x: the middle of its label.
        fits: whether the label is shorter than the stretch it stands on.
        track: number of its track beside the lines.
        stretches: by line, what it takes up there.
    """

    source: int
    target: int
    source_line: int
    target_line: int
    label: str
    tone: str
    told: str
    source_x: float = 0.0
    target_x: float = 0.0
    label_line: int = 0
    label_x: float = 0.0
    fits: bool = True
    track: int = 0
    stretches: dict[int, Stretch] = field(default_factory=dict)


def channels(stretches: Sequence[Stretch]) -> int:
    """Give each stretch its channel, each above all shorter ones it overlaps; return how many."""
    placed: list[Stretch] = []
    for one in sorted(stretches, key=lambda s: (s.right - s.left, s.left)):
        below = [other.channel for other in placed if _overlap(one, other)]
        one.channel = 1 + max(below, default=-1)
        placed.append(one)
    return 1 + max((stretch.channel for stretch in placed), default=-1)


def free_channel(one: Stretch, placed: Sequence[Stretch]) -> int:
    """Give a stretch the lowest channel that is free there; return it."""
    taken = {other.channel for other in placed if _overlap(one, other)}
    one.channel = next(number for number in range(len(placed) + 1) if number not in taken)
    return one.channel


def spread(count: int, left: float, right: float) -> list[float]:
    """Return `count` places between two edges, as far apart as can be."""
    return [left + (right - left) * (number + 1) / (count + 1) for number in range(count)]


def rounded(points: Sequence[tuple[float, float]], radius: float) -> str:
    """Return an SVG path through points on horizontal and vertical lines, with round corners."""
    (x, y), *_ = points
    path = [f"M{x:.1f} {y:.1f}"]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        room = min(_length(before, corner) / 2, _length(corner, after) / 2, radius)
        enter, leave = _toward(corner, before, room), _toward(corner, after, room)
        path.append(
            f"L{enter[0]:.1f} {enter[1]:.1f}Q{corner[0]:.1f} {corner[1]:.1f} "
            f"{leave[0]:.1f} {leave[1]:.1f}"
        )
    x, y = points[-1]
    return "".join([*path, f"L{x:.1f} {y:.1f}"])


def _overlap(one: Stretch, other: Stretch) -> bool:
    return one.left < other.right + _BESIDE and other.left < one.right + _BESIDE


def _length(one: tuple[float, float], other: tuple[float, float]) -> float:
    return abs(one[0] - other[0]) + abs(one[1] - other[1])


def _toward(
    start: tuple[float, float], end: tuple[float, float], distance: float
) -> tuple[float, float]:
    length = _length(start, end)
    share = distance / length if length else 0.0
    return start[0] + (end[0] - start[0]) * share, start[1] + (end[1] - start[1]) * share
