"""Relations as arrows over their text."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dlk.display.base import Display
from dlk.display.html import escaped, figure, number, shown, text_of, toned, words
from dlk.nlp.display._arcs import Arc, Stretch, channels, free_channel, rounded, spread
from dlk.nlp.display._bidi import is_rtl
from dlk.nlp.display._columns import EM, width_of
from dlk.nlp.display._lines import Line, cut, place, wrap
from dlk.nlp.display._spans import Span, labels_of, left_out, listed, spans_of
from dlk.registry import register

if TYPE_CHECKING:
    from dlk.nlp.display.configs import SpanRelationDisplayConfig

# px, all of them.
MARGIN = 8.0
TRACK = 10.0
CHANNEL = 19.0
TEXT = 1.3 * EM
SMALL = 12.0  # size of labels
LABEL_ROW = 16.0
BETWEEN = 16.0  # lines
GROWTH = 2.0  # of a box around another
DEEPEST = 6  # boxes that grow
PER_ARROW = 9.0  # width of an entity for each arrow at it
LONGEST = 28  # characters of a label in the picture


@dataclass(frozen=True, slots=True)
class Relation:
    """A relation between two entities that are drawn."""

    source: Span
    target: Span
    label: str
    score: float | None
    number: int


@register("display", "span_relation")
class SpanRelationDisplay(Display):
    """A text as SVG: a box and a label for each entity, an arrow for each relation.

    Long texts wrap; an arrow from one line to another goes beside the lines. Texts from right to
    left begin at the right. Fonts are not known here: the widths of words are estimated, and the
    browser fits its letters to them, so arrows always meet their words. The same relations stand in
    a table beneath, for who reads rather than sees.
    """

    def __init__(self, config: SpanRelationDisplayConfig) -> None:
        super().__init__(config)
        self.keys = dict(config.input_map)
        self.ignored = tuple(config.ignore_labels)
        self.ignored_relations = tuple(config.ignore_relations)
        self.labels = tuple(config.labels)
        self.show_score = config.show_score
        self.most_entities, self.most_relations = config.max_entities, config.max_relations

    def draw(self, prediction: Mapping[str, object]) -> str:
        text = text_of(prediction.get(self.keys["sentence"]))
        entities = prediction.get(self.keys["entities_info"])
        drawn = spans_of(text, entities, ignored=self.ignored, most=self.most_entities)
        relations, notes = self._relations(prediction.get(self.keys["relations_info"]), drawn.spans)
        told = (
            f"Text with {_count(len(drawn.spans), 'entity', 'entities')} and "
            f"{_count(len(relations), 'relation', 'relations')}"
        )
        plane = _Plane(self, text, drawn.spans, relations)
        return figure(
            f'<p class="dlk-hidden" dir="auto">{escaped(text)}</p>'
            f"{plane.svg(told)}{_table(text, relations)}",
            head=self.output_head,
            label=told,
            notes=[
                *drawn.notes,
                *notes,
                *left_out(prediction.get(self.keys["left_out"])),
                *([] if text else ["The text is empty."]),
            ],
            style=_STYLE,
            width=self.width,
            scheme=self.color_scheme,
        )

    def said(self, label: str, score: float | None) -> str:
        """Return a label as it stands in the picture: cut, with its score where that is shown."""
        cut_label = label if len(label) <= LONGEST else label[: LONGEST - 1] + "…"
        return cut_label + (f" {shown(score, 2)}" if self.show_score and score is not None else "")

    def _relations(self, value: object, spans: Sequence[Span]) -> tuple[list[Relation], list[str]]:
        named = {span.number: span for span in spans}
        named_by: dict[object, Span] = {span.entity_id: span for span in spans}
        found: list[Relation] = []
        lost = 0
        for place_, item in enumerate(listed(value)):
            labels = None
            if isinstance(item, Mapping):
                labels = labels_of(item, self.ignored_relations)
                if labels is None:
                    continue
                ends = [item.get(side) for side in ("from", "to")]
                source, target = (
                    named_by.get(end, named.get(end) if isinstance(end, int) else None)
                    if isinstance(end, str | int)
                    else None
                    for end in ends
                )
                if source is not None and target is not None:
                    score = number(item.get("score"))
                    found.append(Relation(source, target, words(labels), score, place_))
                    continue
            lost += 1
        kept = found
        if len(found) > self.most_relations:
            kept = sorted(found, key=lambda r: (r.score is None, -(r.score or 0.0), r.number))
            kept = sorted(kept[: self.most_relations], key=lambda r: r.number)
        notes = []
        if lost:
            notes.append(f"Not drawn: {_count(lost, 'relation', 'relations')} without both ends.")
        if len(kept) < len(found):
            notes.append(
                f"Drawn are {len(kept)} of {len(found)} relations, those with the best scores."
            )
        return kept, notes


class _Plane:
    """Where everything of one picture lies."""

    def __init__(
        self,
        display: SpanRelationDisplay,
        text: str,
        spans: Sequence[Span],
        relations: Sequence[Relation],
    ) -> None:
        self.display, self.text, self.spans = display, text, spans
        self.rtl = is_rtl(text)
        self.depths = _depths(spans)
        self.ends = {span.number: 0 for span in spans}
        for relation in relations:
            self.ends[relation.source.number] += 1
            self.ends[relation.target.number] += 1
        self.tracks = 0
        for _ in range(3):  # more tracks leave less room for the text, and so make more lines
            width = max(display.width - 2 * MARGIN - 2 * EM, 8 * EM)
            self.gutter = self.tracks * TRACK + (TRACK if self.tracks else 0.0)
            room = max(width - self.gutter, 6 * EM)
            self.lines = wrap(cut(text, spans, self._need, room), room)
            self.right = MARGIN + self.gutter + room
            self.left = MARGIN if self.rtl else MARGIN + self.gutter
            place(
                self.lines,
                left=self.left,
                right=self.right - (self.gutter if self.rtl else 0.0),
                rtl=self.rtl,
            )
            self.first = self._first_lines()
            self.arcs = self._arcs(relations)
            tracks = self._tracks()
            if tracks == self.tracks:
                break
            self.tracks = tracks
        self.on_line = self._spans_by_line()
        self.width = self._width()
        self._attach()
        self._tops()

    def svg(self, told: str) -> str:
        """Return the whole drawing."""
        edges = frozenset(edge for span in self.spans for edge in (span.start, span.end))
        content = [self._boxes(number_, line) for number_, line in enumerate(self.lines)]
        for number_, line in enumerate(self.lines):
            y = self.base[number_]
            content += [
                _letters(run.text, run.x, run.width, y, rtl=run.rtl)
                for run in line.runs(self.text, edges)
            ]
        content += [self._arrow(arc) for arc in self.arcs]
        content += [self._arrow_label(arc) for arc in self.arcs]
        return (
            f'<svg class="dlk-plane" role="img" aria-label="{escaped(told)}" '
            f'width="{self.width:.0f}" height="{self.height:.0f}" '
            f'viewBox="0 0 {self.width:.0f} {self.height:.0f}" font-size="{EM:.0f}">'
            f"{''.join(content)}</svg>"
        )

    def _need(self, span: Span) -> float:
        label = self.display.said(span.label, span.score)
        return max(width_of(label, SMALL), PER_ARROW * (self.ends[span.number] + 1))

    def _first_lines(self) -> dict[int, tuple[int, float, float]]:
        """Return for each entity its first line, and its edges there."""
        found: dict[int, tuple[int, float, float]] = {}
        lines = iter(enumerate(self.lines))
        number_, line = next(lines)
        for span in self.spans:  # by start
            while line.pieces[-1].end <= span.start:
                number_, line = next(lines)
            boxes = line.boxes(span)
            # Of an entity that is torn apart, arrows meet the piece with its beginning.
            left, right = boxes[-1] if self.rtl else boxes[0]
            found[span.number] = number_, left, right
        return found

    def _spans_by_line(self) -> list[list[Span]]:
        """Return for each line the entities that have a box there."""
        begins = [line.pieces[0].start for line in self.lines if line.pieces]
        found: list[list[Span]] = [[] for _ in self.lines]
        for span in self.spans:
            for number_ in range(self.first[span.number][0], bisect_left(begins, span.end)):
                found[number_].append(span)
        return found

    def _arcs(self, relations: Sequence[Relation]) -> list[Arc]:
        return [
            Arc(
                relation.source.number,
                relation.target.number,
                self.first[relation.source.number][0],
                self.first[relation.target.number][0],
                label=self.display.said(relation.label, relation.score),
                tone=relation.label,
                told=_told(self.text, relation),
            )
            for relation in relations
        ]

    def _tracks(self) -> int:
        """Give the arrows between lines their tracks; return how many there are."""
        crossing = [arc for arc in self.arcs if arc.source_line != arc.target_line]
        stretches = []
        for arc in crossing:
            low, high = sorted((arc.source_line, arc.target_line))
            stretches.append(Stretch(100.0 * low, 100.0 * high))
        count = channels(stretches)
        for arc, stretch in zip(crossing, stretches, strict=True):
            arc.track = stretch.channel
        return count

    def _width(self) -> float:
        most = max(
            (p.x + p.width + p.after for line in self.lines for p in line.pieces), default=0.0
        )
        return max(float(self.display.width) - 2 * EM, most + MARGIN)

    def _gutter_x(self, arc: Arc) -> float:
        beside = TRACK * (arc.track + 1)
        return self.right - self.gutter + beside if self.rtl else self.left - beside

    def _attach(self) -> None:
        """Say where arrows meet their entities, and what they take up above the lines."""
        for span in self.spans:
            _, left, right = self.first[span.number]
            ends = sorted(
                (
                    (arc, at_source)
                    for arc in self.arcs
                    for at_source in (True, False)
                    if span.number == (arc.source if at_source else arc.target)
                ),
                key=lambda end: self._order(end[0], span.number, (left + right) / 2),
            )
            for (arc, at_source), x in zip(ends, spread(len(ends), left, right), strict=True):
                if at_source:
                    arc.source_x = x
                else:
                    arc.target_x = x
        for arc in self.arcs:
            ways = [(arc.source_line, arc.source_x, arc.target_x)]
            if arc.source_line != arc.target_line:
                beside = self._gutter_x(arc)
                ways = [
                    (arc.source_line, arc.source_x, beside),
                    (arc.target_line, arc.target_x, beside),
                ]
            arc.label_line, *way = max(ways, key=lambda way: abs(way[1] - way[2]))
            half = width_of(arc.label, SMALL) / 2 + 3
            middle = min(max(sum(way) / 2, half), max(self.width - half, half))
            arc.label_x = middle
            arc.fits = abs(way[0] - way[1]) > 2 * half + 8
            for line, one, other in ways:
                stretch = Stretch(min(one, other), max(one, other))
                if line == arc.label_line:
                    stretch.left = min(stretch.left, middle - half)
                    stretch.right = max(stretch.right, middle + half)
                arc.stretches[line] = stretch

    def _order(self, arc: Arc, me: int, middle: float) -> tuple[int, float, int]:
        """Order the arrows at an entity so that as few as possible cross each other there.

        Those that go left come first, the nearest first; then those that go right, the farthest
        first.
        """
        other = arc.target if arc.source == me else arc.source
        if arc.source_line != arc.target_line:
            away = -1e6 if not self.rtl else 1e6
        else:
            _, left, right = self.first[other]
            away = (left + right) / 2 - middle
        return (0, -away, arc.track) if away < 0 else (1, -away, -arc.track)

    def _tops(self) -> None:
        """Say how high everything lies: `base` is the base line of each line's letters."""
        self.base: list[float] = []
        self.tops: list[float] = []
        self.rows: dict[int, int] = {}
        y = 0.0
        for number_ in range(len(self.lines)):
            above = channels([a.stretches[number_] for a in self.arcs if number_ in a.stretches])
            here = [self.depths[span.number] for span in self.on_line[number_]]
            grown = GROWTH * min(max(here, default=-1) + 1, DEEPEST)
            rows = self._label_rows(number_)
            y += above * CHANNEL + (6 if above else 0) + grown
            self.tops.append(y)
            self.base.append(y + 0.78 * TEXT)
            y += TEXT + grown + LABEL_ROW * rows + BETWEEN
        self.height = y

    def _label_rows(self, number_: int) -> int:
        """Give the labels beneath a line their rows; return how many rows there are."""
        labels = []
        for span in sorted(self.on_line[number_], key=lambda span: self.depths[span.number]):
            line, left, right = self.first[span.number]
            if line == number_:
                half = width_of(self.display.said(span.label, span.score), SMALL) / 2
                stretch = Stretch((left + right) / 2 - half, (left + right) / 2 + half)
                labels.append(stretch)
                self.rows[span.number] = free_channel(stretch, labels[:-1])
        return 1 + max((stretch.channel for stretch in labels), default=-1)

    def _channel_y(self, arc: Arc, line: int) -> float:
        grown = self.tops[line] - GROWTH * DEEPEST / 2
        return grown - 10 - CHANNEL * arc.stretches[line].channel

    def _box_top(self, entity: int, line: int) -> float:
        return self.tops[line] - GROWTH * min(self.depths[entity], DEEPEST)

    def _boxes(self, number_: int, line: Line) -> str:
        parts = []
        for span in sorted(self.on_line[number_], key=lambda s: -self.depths[s.number]):
            boxes = line.boxes(span)
            if not boxes:
                continue
            depth = self.depths[span.number]
            grown = GROWTH * min(depth, DEEPEST)
            rects = "".join(
                f'<rect x="{left - grown / 2:.1f}" y="{self.tops[number_] - grown:.1f}" '
                f'width="{right - left + grown:.1f}" height="{TEXT + 2 * grown:.1f}" rx="4"/>'
                for left, right in boxes
            )
            said = ""
            line_number, left, right = self.first[span.number]
            if line_number == number_:
                label = self.display.said(span.label, span.score)
                width = width_of(label, SMALL)
                deepest = GROWTH * DEEPEST / 2
                y = self.tops[number_] + TEXT + deepest + LABEL_ROW * self.rows[span.number] + 9
                said = _letters(label, (left + right - width) / 2, width, y, kind="dlk-tag")
            told = f"{span.label or 'entity'}: {self.text[span.start : span.end]}"
            parts.append(
                f"<g {toned(span.label, self.display.labels, 'dlk-entity')}>"
                f"<title>{escaped(told)}</title>{rects}{said}</g>"
            )
        return "".join(parts)

    def _arrow(self, arc: Arc) -> str:
        start = arc.source_x, self._box_top(arc.source, arc.source_line)
        end = arc.target_x, self._box_top(arc.target, arc.target_line)
        leave, arrive = (self._channel_y(arc, ln) for ln in (arc.source_line, arc.target_line))
        points = [start, (start[0], leave)]
        if arc.source_line != arc.target_line:
            beside = self._gutter_x(arc)
            points += [(beside, leave), (beside, arrive)]
        points += [(end[0], arrive), (end[0], end[1] - 6)]
        head = f"M{end[0] - 4:.1f} {end[1] - 7:.1f}h8l-4 7z"
        return (
            f"<g {toned(arc.tone, self.display.labels, 'dlk-arrow')}>"
            f'<title>{escaped(arc.told)}</title><path d="{rounded(points, 7)}"/>'
            f'<path class="dlk-head" d="{head}"/></g>'
        )

    def _arrow_label(self, arc: Arc) -> str:
        width = width_of(arc.label, SMALL)
        y = self._channel_y(arc, arc.label_line) + 4
        left = arc.label_x - width / 2
        letters = _letters(arc.label, left, width, y, kind="dlk-on")
        behind = ""
        if arc.fits and arc.label:
            behind = (
                f'<rect class="dlk-behind" x="{left - 3:.1f}" y="{y - 9:.1f}" '
                f'width="{width + 6:.1f}" height="11"/>'
            )
        return (
            f"<g {toned(arc.tone, self.display.labels)}>"
            f"<title>{escaped(arc.told)}</title>{behind}{letters}</g>"
        )


def _depths(spans: Sequence[Span]) -> dict[int, int]:
    """Return for each entity, by number, how many others lie inside of it or are overlapped."""
    depths: dict[int, int] = {}
    placed: list[Span] = []
    for span in sorted(spans, key=lambda s: (s.end - s.start, s.start, s.number)):
        inside = [
            depths[other.number]
            for other in placed
            if span.start < other.end and other.start < span.end
        ]
        depths[span.number] = 1 + max(inside, default=-1)
        placed.append(span)
    return depths


def _letters(
    text: str, x: float, width: float, y: float, *, rtl: bool | None = None, kind: str = "dlk-run"
) -> str:
    """Return text between two edges: around its middle, which no direction moves."""
    if not text:
        return ""
    direction = is_rtl(text) if rtl is None else rtl
    return (
        f'<text class="{kind}" x="{x + width / 2:.1f}" y="{y:.1f}" textLength="{width:.1f}" '
        f'lengthAdjust="spacingAndGlyphs" direction="{"rtl" if direction else "ltr"}">'
        f"{escaped(text)}</text>"
    )


def _told(text: str, relation: Relation) -> str:
    source, target = (
        words([text[span.start : span.end]]) for span in (relation.source, relation.target)
    )
    score = "" if relation.score is None else f" ({shown(relation.score)})"
    return f"{source} → {relation.label or 'relation'} → {target}{score}"


def _table(text: str, relations: Sequence[Relation]) -> str:
    if not relations:
        return ""
    rows = []
    for relation in relations:
        cells = (
            words([text[relation.source.start : relation.source.end]]),
            relation.label or "–",
            words([text[relation.target.start : relation.target.end]]),
        )
        texts = "".join(f'<td dir="auto">{escaped(cell)}</td>' for cell in cells)
        rows.append(f"<tr>{texts}<td>{escaped(shown(relation.score))}</td></tr>")
    heads = "".join(f'<th scope="col">{head}</th>' for head in ("From", "Relation", "To", "Score"))
    summary = _count(len(relations), "relation", "relations")
    return (
        f'<details class="dlk-list"><summary>{summary} as a table</summary>'
        f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table></details>"
    )


def _count(number_: int, one: str, many: str) -> str:
    return f"{number_} {one if number_ == 1 else many}"


_STYLE = (
    ".dlk-hidden{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}"
    ".dlk-plane{display:block;max-width:100%;height:auto}"
    ".dlk-plane text{text-anchor:middle;white-space:pre}"
    ".dlk-run{fill:var(--text);font-family:ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,"
    "monospace}"
    ".dlk-entity rect{fill:var(--fill);stroke:var(--line)}"
    ".dlk-tag,.dlk-on{fill:var(--ink);font:600 12px ui-monospace,'DejaVu Sans Mono',Menlo,"
    "Consolas,monospace}"
    ".dlk-behind{fill:var(--page)}.dlk-on{paint-order:stroke;stroke:var(--page);stroke-width:5px;stroke-linejoin:round}"
    ".dlk-arrow path{fill:none;stroke:var(--line);stroke-width:1.5}"
    ".dlk-arrow .dlk-head{fill:var(--line);stroke:none}"
    ".dlk-list{margin-top:.8em;font-size:13px}.dlk-list td,.dlk-list th{padding:.15em .8em .15em 0;"
    "text-align:start;font-weight:400}.dlk-list th{color:var(--quiet)}"
)
