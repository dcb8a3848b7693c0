"""Entities from one tag per piece or word, with the probability of each."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dlk.errors import ConfigError, DlkError
from dlk.nlp import tags
from dlk.nlp.align import merge_windows
from dlk.nlp.metrics.entities import EntityMetrics
from dlk.nlp.postprocessor._text import TextPostProcessor, entities_form
from dlk.postprocessor._form import label_form
from dlk.postprocessor.base import Metrics, Outputs, Parts, Prediction, Row, pick
from dlk.registry import register

if TYPE_CHECKING:
    from dlk.context import Setup
    from dlk.nlp.postprocessor.configs import SeqLabConfig

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

LETTERS = {"BIO": "BI", "BIOES": "BIES", "IO": "I"}


class Units(NamedTuple):
    """Tagged units of a whole batch, one record or row after the other: (N,) each unless said.

    Attributes:
        group: which record it belongs to, and after merging which row.
        offsets: (N, 2), its place in the text.
        tag: number of its tag in the table.
        alone: probability of its tag.
        after: probability of its tag where the unit before has the tag it has.
    """

    group: Ints
    offsets: Ints
    tag: Ints
    alone: Floats
    after: Floats

    def take(self, chosen: Bools | Ints) -> Units:
        """Return those where a mask is true, or those of these numbers in their order."""
        return Units(
            self.group[chosen],
            self.offsets[chosen],
            self.tag[chosen],
            self.alone[chosen],
            self.after[chosen],
        )


class Found(NamedTuple):
    """An entity in a text."""

    start: int
    end: int
    label: str
    score: float


@register("postprocessor", "seq_lab")
class SeqLab(TextPostProcessor):
    """One prediction per row, after its copied columns, in a shape that can be fed back as data:

    ``{"entities_info": [{"start": 0, "end": 8, "labels": ["LOC"], "text": "New York",
    "score": 0.9}, …]}``, in the order of the text; [] for a text without any. Entities never
    overlap: where units share a character (the bytes of an emoji), the more probable one stays.

    `score` is the probability that the units of the entity have the tags they have: of a CRF its
    own, ``p(y_i) p(y_{i+1} | y_i) …``; of logits the product of the softmax in float32. Where a
    probability is not a number (a NaN logit), `entities_info` is null, and all that is true of the
    row counts as missed.

    With `aggregation_strategy` the pieces of a word decide on its type together, the first of them
    whether it begins an entity, and in BIOES the last whether it ends one; the probability of such
    a word is that of its type.

    Of a row in several parts (windows of a long text) each unit has the tag that the window with
    most context gives it (`dlk.nlp.align.merge_windows`), and entities are read from all of them.
    """

    def __init__(self, config: SeqLabConfig, setup: Setup) -> None:
        super().__init__(config, setup)
        words = setup.meta.vocabulary(config.label_vocab).words
        self.vocabulary_name = config.label_vocab
        self.use_crf = config.use_crf
        self.outputs = config.outputs()
        self.scheme = config.scheme
        self.strict = config.strict
        self.strategy = config.aggregation_strategy
        self.origin = dict(config.origin_input_map)
        self.ignore_labels = frozenset(config.ignore_labels)
        self.ignore_position = config.ignore_position
        self.ignore_char = tuple(config.ignore_char)
        self.table = TagTable(words, config.scheme, config.label_vocab)

    def decode(self, out: Outputs, rows: Sequence[Row]) -> list[Prediction]:
        parts = Parts(rows)
        units = self._units(out, rows, parts)
        lost = set(units.group[~(np.isfinite(units.alone) & np.isfinite(units.after))].tolist())
        own: list[Prediction] = [
            {"entities_info": None if place in lost else self._plain(entities, rows[first])}
            for place, (first, entities) in enumerate(
                zip(parts.first, self._entities(units, len(parts)), strict=True)
            )
        ]
        return self.frame(own, parts, out, rows)

    def prediction_schema(self) -> dict[str, Any]:  # Any: JSON
        kinds = [kind for kind in self.table.kinds if kind not in self.ignore_labels]
        has_text = bool(self.origin["sentence"])
        return self.framed_form(
            {"entities_info": entities_form(has_text=has_text)},
            definitions={"label": label_form(kinds, f"meta/{self.vocabulary_name}")},
        )

    def new_metrics(self) -> Metrics:
        return EntityMetrics(
            truth=self.origin["entities_info"],
            sentence=self.origin["sentence"],
            ignore_labels=self.ignore_labels,
            ignore_position=self.ignore_position,
            ignore_char=self.ignore_char,
        )

    def _units(self, out: Outputs, rows: Sequence[Row], parts: Parts) -> Units:
        """Return the tagged units by row: of what windows share, each once."""
        tensors = [pick(out, name, rows) for name in self.outputs]
        record, place, offsets = self._places(rows, tensors[0].shape[1])
        kept = offsets[:, 1] > offsets[:, 0]
        if self.use_crf:
            path, *shares = tensors
            tag = path.numpy()[record, place]
            alone, after = (share.float().numpy()[record, place] for share in shares)
            if len(tag) and tag.max() >= self.table.size:
                raise self._other_tags(f"predicted ids up to {tag.max()}")
            kept &= tag >= 0  # -1 where the chain has no unit
            return _merged(Units(record, offsets, tag, alone, after).take(kept), parts)
        (logits,) = tensors
        if logits.ndim != 3 or logits.shape[2] != self.table.size:
            raise self._other_tags(f"logits {tuple(logits.shape)}")
        probabilities = logits.float().softmax(-1)  # (B, U, C)
        if self.strategy != "none":
            words = self._words(rows, len(kept))
            pieces = np.flatnonzero(kept & (words >= 0))
            row, order = _order(record[pieces], offsets[pieces], parts)
            pieces = pieces[order]  # a word that a window cuts has all its pieces here
            scores = probabilities.numpy()[record[pieces], place[pieces]]  # (N, C)
            return self._voted(scores.astype(np.float64), row, words[pieces], offsets[pieces])
        best, ids = (values.numpy()[record, place] for values in probabilities.max(-1))
        return _merged(Units(record, offsets, ids, best, best).take(kept), parts)

    def _places(self, rows: Sequence[Row], width: int) -> tuple[Ints, Ints, Ints]:
        """Return of each unit the record, the position there, (N,) each, and offsets (N, 2)."""
        name = self.origin["unit_offsets"]
        each: list[Any] = [row.get(name) for row in rows]  # Any: a column of lists of pairs
        if any(offsets is None for offsets in each):
            raise DlkError(
                f'seq_lab needs the column "{name}", which says where units stand in the text; the '
                "steps that turn entities into labels write it, so one of them must run, in "
                "prediction and serving too"
            )
        lengths = np.array([len(offsets) for offsets in each], dtype=np.int64)
        if len(lengths) and lengths.max() > width:
            raise DlkError(
                f'the column "{name}" has {lengths.max()} units where the output '
                f'"{self.outputs[0]}" has {width}: both must speak of pieces, or both of words'
            )
        flat = np.array(list(chain.from_iterable(each)), dtype=np.int64).reshape(-1, 2)
        before = np.repeat(lengths.cumsum() - lengths, lengths)
        return np.repeat(np.arange(len(rows)), lengths), np.arange(len(flat)) - before, flat

    def _words(self, rows: Sequence[Row], count: int) -> Ints:
        """Return the number of each unit's word, (N,); -1 for none."""
        name = self.origin["word_ids"]
        each: list[Any] = [row.get(name) for row in rows]  # Any: a column of lists
        if any(words is None for words in each) or sum(map(len, each)) != count:
            raise DlkError(
                f'aggregation_strategy "{self.strategy}" needs the column "{name}" with one number '
                "for each unit, a piece: name it in the processor's keep"
            )
        return np.array([-1 if word is None else word for word in chain(*each)], dtype=np.int64)

    def _voted(self, scores: Floats, row: Ints, words: Ints, offsets: Ints) -> Units:
        """Return words as units, from the probabilities (N, C) of their pieces."""
        new = np.ones(len(words), dtype=np.bool_)
        new[1:] = (words[1:] != words[:-1]) | (row[1:] != row[:-1])
        first = np.flatnonzero(new)  # (W,)
        last = np.append(first, len(words))[1:] - 1  # (W,)
        kinds = scores @ self.table.of_kind  # (N, K)
        if self.strategy == "average" and len(first):
            kinds = np.add.reduceat(kinds, first) / (last - first + 1)[:, None]  # (W, K)
        elif self.strategy == "max":
            kinds = kinds[_surest(kinds.max(-1), new)]
        else:
            kinds = kinds[first]
        kind = kinds.argmax(-1)
        tag = self.table.tag(kind, scores[first], scores[last])
        score = kinds.max(-1, initial=0.0)
        places = np.stack([offsets[first, 0], offsets[last, 1]], axis=-1)
        return Units(row[first], places, tag, score, score)

    def _entities(self, units: Units, groups: int) -> list[list[Found]]:
        """Return the entities of each group: tags are read in stretches without an O."""
        found: list[list[Found]] = [[] for _ in range(groups)]
        inside = self.table.inside[units.tag]
        same = units.group[1:] == units.group[:-1]
        begins, ends = inside.copy(), inside.copy()
        begins[1:] &= ~(inside[:-1] & same)
        ends[:-1] &= ~(inside[1:] & same)
        for begin, end in zip(np.flatnonzero(begins), np.flatnonzero(ends) + 1, strict=True):
            words = [self.table.tags[tag] for tag in units.tag[begin:end].tolist()]
            entities = found[units.group[begin]]
            for span in tags.decode(words, self.scheme, strict=self.strict):
                if span.label in self.ignore_labels:
                    continue
                start, stop = begin + span.start, begin + span.end
                with np.errstate(invalid="ignore"):  # of a row that is lost
                    score = float(units.alone[start] * units.after[start + 1 : stop].prod())
                # the least and the most: normalisers may reorder what pieces hold
                low = int(units.offsets[start:stop, 0].min())
                high = int(units.offsets[start:stop, 1].max())
                one = Found(low, high, span.label, min(score, 1.0))
                if not entities or entities[-1].end <= one.start:
                    entities.append(one)
                elif one.score > entities[-1].score:  # they share a character: bytes of an emoji
                    entities[-1] = one
        return found

    def _plain(self, entities: Sequence[Found], row: Row) -> list[dict[str, object]]:
        sentence = row.get(self.origin["sentence"])
        plain: list[dict[str, object]] = []
        for start, end, label, score in entities:
            one: dict[str, object] = {"start": start, "end": end, "labels": [label]}
            if isinstance(sentence, str):
                one["text"] = sentence[start:end]
            plain.append({**one, "score": score})
        return plain

    def _other_tags(self, what: str) -> DlkError:
        return DlkError(
            f'seq_lab reads tags of "{self.vocabulary_name}", which has {self.table.size}, got '
            f"{what}: set the decoder's output_size to the vocabulary's size"
        )


class TagTable:
    """The tags of a vocabulary, and after them those that a vote may give.

    Words without a dash (``O``, and those for padding or unknown words) stand outside of entities.

    Attributes:
        size: how many words the vocabulary has.
        tags: all tags.
        kinds: what entities may be, sorted.
        inside: (tags,) bool, whether a tag is part of an entity.
        of_kind: (size, K), 1 where a word of the vocabulary is of a kind; the first kind is O.
    """

    def __init__(self, words: Sequence[str], scheme: str, file: str) -> None:
        letters = LETTERS[scheme]
        self.scheme = scheme
        self.size = len(words)
        own = [_tag(word, letters, f'{file}, scheme "{scheme}"') for word in words]
        pairs = [tags.split_tag(tag) for tag in own]
        kinds = ["", *sorted({label for _, label in pairs if label})]
        self.kinds = tuple(kinds[1:])
        number = {kind: place for place, kind in enumerate(kinds)}
        self.tags = [*own, *(f"{p}-{k}" if k else tags.OUTSIDE for k in kinds for p in letters)]
        self.inside = np.array([tag != tags.OUTSIDE for tag in self.tags], dtype=np.bool_)
        self.of_kind = np.eye(len(kinds))[[number[label] for _, label in pairs]]
        self._begins = self._those(pairs, "BS" if scheme != "IO" else "")
        self._ends = self._those(pairs, "ES")

    def _those(self, pairs: Sequence[tuple[str, str]], letters: str) -> Floats:
        """Return (size, K), `of_kind` with 1 for tags of these letters and -1 for others."""
        sign = [1.0 if prefix in letters and prefix else -1.0 for prefix, _ in pairs]
        signed: Floats = self.of_kind * np.array(sign)[:, None]
        return signed

    def tag(self, kind: Ints, first: Floats, last: Floats) -> Ints:
        """Return the tag of each word, (W,).

        Args:
            kind: (W,), what it is part of.
            first: (W, size) probabilities of its first piece, which tells whether it begins.
            last: (W, size), of its last piece, which tells whether it ends an entity.
        """
        rows = np.arange(len(kind))
        begins = (first @ self._begins)[rows, kind] > 0
        ends = (last @ self._ends)[rows, kind] > 0
        letters = LETTERS[self.scheme]
        if self.scheme == "BIOES":
            letter = np.where(begins, np.where(ends, 3, 0), np.where(ends, 2, 1))
        else:
            letter = np.where(begins, 0, len(letters) - 1)
        tag: Ints = self.size + kind * len(letters) + letter
        return tag


def _tag(word: str, letters: str, source: str) -> str:
    prefix, label = tags.split_tag(word)
    if not label:
        return tags.OUTSIDE
    if len(prefix) != 1 or prefix not in letters:
        known = ", ".join(f"{letter}-…" for letter in letters)
        raise ConfigError(f"seq_lab.label_vocab: {source}: expected O, {known}, found {word!r}")
    return word


def _surest(score: Floats, new: Bools) -> Ints:
    """Return the place of the highest score in each stretch that begins where `new` is true."""
    stretch = new.cumsum() - 1
    order = np.lexsort((-score, stretch))  # stable: of equal scores the first
    found: Ints = order[np.flatnonzero(new)]
    return found


def _merged(units: Units, parts: Parts) -> Units:
    """Return the units by row instead of by record: of what windows share, each unit once."""
    row, order = _order(units.group, units.offsets, parts)
    return units.take(order)._replace(group=row)


def _order(record: Ints, offsets: Ints, parts: Parts) -> tuple[Ints, Ints]:
    """Return the row of each unit that stays, and which they are, in the order of the text.

    Args:
        record: (N,) which record each unit is of; rises.
        offsets: (N, 2), their places in the text.
        parts: which records are one row.
    """
    row = np.array(parts.place, dtype=np.int64)[record]
    if len(parts.first) == len(parts.place):
        return row, np.arange(len(row))
    records = np.arange(len(parts.place) + 1)
    bounds = np.searchsorted(record, records).tolist()  # units of record r: bounds[r:r + 2]
    members: list[list[int]] = [[] for _ in parts.first]
    for number, place in enumerate(parts.place):
        members[place].append(number)
    order: list[int] = []
    for mine in members:
        starts = [bounds[number] for number in mine]
        windows = [offsets[bounds[n] : bounds[n + 1]].tolist() for n in mine]
        order += [starts[window] + unit for window, unit in merge_windows(windows)]
    chosen = np.array(order, dtype=np.int64)
    return row[chosen], chosen
