"""Columns through the steps of a processor: what is needed, made and stored."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from dlk.config import Signature, children
from dlk.errors import ConfigError, nearest
from dlk.flow.finding import Finding, known_signature, listed, surveyed, title, unknown

__all__ = ["Raw", "Stored", "column_finding", "follow_processor", "is_slip"]

SPLITS = ("train", "valid", "test")
_READS = ("input_map", "gather_columns")
_NUMBERED = re.compile(r"(_[A-Za-z]|_?[0-9]+)$")
_OWN = ("_row", "_part")  # every stored record has them


@dataclass(frozen=True, slots=True)
class Raw:
    """What is known of the data that is to be processed.

    Attributes:
        columns: names of the columns, by split; None for a split whose columns cannot be told.
        splits: the splits that there are; None: not known.
        sources: the file that tells the columns of a split, for messages.
    """

    columns: Mapping[str, frozenset[str] | None] = field(default_factory=dict)
    splits: tuple[str, ...] | None = None
    sources: Mapping[str, str] = field(default_factory=dict)

    def of(self, split: str) -> frozenset[str] | None:
        """Return the columns of a split, None where they are not known."""
        return self.columns.get(split)


@dataclass(slots=True)
class Stored:
    """What a processor makes of the data.

    Attributes:
        columns: what is stored, with who makes it.
        passed: what steps make for one another alone, with who makes it.
        raw: the columns of the data, None where they are not known.
        needed: columns that the data must bring, as far as steps read them.
        late: stored columns that are not made when predicting or serving: the step that makes them
            in training, and the stage.
        files: files of the meta folder, with who makes them.
        numbers: for a file, the numbers that a config may ask for, where that is known.
        ids: for columns of ids, the file of the meta folder that they are ids of.
        counts: for such a file, how many ids it has, where another file tells it already.
        is_open: a component does not say what it writes, so there may be any column.
        has_all_files: false where a component does not say which files it makes.
        source: what stores them, for messages.
    """

    columns: dict[str, str] = field(default_factory=dict)
    passed: dict[str, str] = field(default_factory=dict)
    raw: frozenset[str] | None = None
    needed: dict[str, None] = field(default_factory=dict)
    late: dict[str, tuple[str, str]] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    numbers: dict[str, tuple[str, ...]] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    is_open: bool = False
    has_all_files: bool = True
    source: str = "process.jsonc"

    def names(self) -> list[str]:
        """Return the columns that are known to be stored."""
        return list(dict.fromkeys([*self.columns, *sorted(self.raw or ())]))

    def lacks(self, column: str) -> bool:
        """Return whether a column is surely not stored."""
        if self.is_open or column in self.columns or column in _OWN:
            return False
        if column in self.passed or self.raw is not None:
            return column not in (self.raw or ()) or column in self.passed
        return is_slip(column, [*self.columns, *self.passed])


@dataclass(frozen=True, slots=True)
class _Step:
    name: str
    config: Any
    signature: Signature | None

    def is_on(self, stage: str, split: str) -> bool:
        splits = getattr(self.config, f"{stage}_data_set", None)
        return split in splits if isinstance(splits, (list, tuple)) else True

    def reads(self, stage: str) -> tuple[str, ...]:
        if self.signature is None:
            return ()
        targets = self.signature.targets if stage == "train" else ()
        return tuple(dict.fromkeys((*self.signature.reads, *targets)))

    def writes(self, stage: str) -> tuple[str, ...]:
        """Return what the step writes in a stage; what it makes of the truth, in train alone."""
        if self.signature is None:
            return ()
        left_out = () if stage == "train" else self.signature.supervised
        own = (*left_out, "_part")
        return tuple(name for name in self.signature.writes if name and name not in own)


def is_slip(name: str, known: Sequence[str]) -> bool:
    """Return whether a name is nothing but a slip of the pen of one that is known.

    One character is wrong, of a long name two. Without data, only such a name is surely no column
    that the data brings.
    """
    allowed = 1 if len(name) < 8 else 2
    return any(_is_near(name, other, allowed) for other in known if other != name)


def _is_near(one: str, other: str, allowed: int) -> bool:
    if abs(len(one) - len(other)) > allowed or min(len(one), len(other)) < 4:
        return False
    if _NUMBERED.sub("", one) == _NUMBERED.sub("", other):
        return False  # input_ids_a and input_ids_b, text1 and text2
    return _distance(one, other) <= allowed


def _distance(one: str, other: str) -> int:
    """Return how many letters are wrong, missing or too many; two that are swapped count once."""
    last: list[int] = []
    before = list(range(len(other) + 1))
    for row, letter in enumerate(one, start=1):
        here = [row]
        for column, wanted in enumerate(other, start=1):
            cost = min(before[column - 1] + (letter != wanted), before[column] + 1, here[-1] + 1)
            swapped = row > 1 < column and letter == other[column - 2] and one[row - 2] == wanted
            here.append(min(cost, last[column - 2] + 1) if swapped else cost)
        last, before = before, here
    return before[-1]


def follow_processor(config: Any, raw: Raw) -> tuple[Stored, list[Finding]]:
    """Follow the columns through a processor, for every split and stage.

    Args:
        config: the processor's config object.
        raw: what is known of the data.
    """
    order = getattr(config, "order", None)
    if order is None:
        return _opaque(config, raw), []
    try:
        configs = children(config, "subprocessor")
    except ConfigError as error:  # two of one name
        message = error.problems[0].message
        return Stored(is_open=True, has_all_files=False), [Finding(config, message, "rule")]
    steps = [_Step(name, configs[name], known_signature(configs[name])) for name in order()]
    keep = tuple(getattr(config, "keep", ()))
    stored = _stored(steps, keep, raw)
    found = list(_training(config, steps, keep, raw, stored))
    found += _later(steps, stored)
    found += _meta(steps, stored)
    return stored, found


def _opaque(config: Any, raw: Raw) -> Stored:
    """Return what a processor without steps says of itself."""
    signature = known_signature(config)
    if signature is None:
        return Stored(is_open=True, has_all_files=False)
    made = signature.makes
    return Stored(
        columns=dict.fromkeys(signature.writes, title(config)),
        raw=raw.of("train"),
        needed=dict.fromkeys((*signature.reads, *signature.targets)),
        files=dict.fromkeys(signature.meta if made is None else made, title(config)),
        numbers=dict(signature.numbers),
        ids={name: file for name, file in signature.ids.items() if isinstance(file, str)},
        has_all_files=made is not None,
    )


def _stored(steps: Sequence[_Step], keep: Sequence[str], raw: Raw) -> Stored:
    """Return what is stored of the training split, as the processor does it."""
    first = next(iter(raw.splits or ("train",)), "train")
    on = [step for step in steps if step.is_on("train", first)]
    stored = Stored(raw=raw.of(first), is_open=any(step.signature is None for step in on))
    for place, step in enumerate(on):
        signature = step.signature
        if signature is None:
            stored.has_all_files = False
            continue
        wanted = {*keep, *(name for later in on[place + 1 :] for name in later.reads("train"))}
        for name in step.writes("train"):
            if name not in signature.passing:
                stored.columns[name] = step.name
                stored.passed.pop(name, None)
            elif name in wanted:
                stored.passed[name] = step.name
                stored.columns.pop(name, None)
            elif name not in stored.columns:
                stored.passed[name] = step.name
        told = surveyed(step.config, signature)
        for name, file in signature.ids.items():
            if isinstance(file, str):
                stored.ids[name] = file
                count = told.ids.get(name)
                stored.counts.update({file: count} if isinstance(count, int) else {})
        makes = signature.meta if signature.makes is None else signature.makes
        stored.files.update((file, step.name) for file in makes if file not in stored.files)
        stored.numbers.update(signature.numbers)
    stored.columns.update((name, stored.passed.pop(name)) for name in keep if name in stored.passed)
    for name in list(stored.passed):
        unwanted = not any(name in step.reads("train") for step in on)
        if unwanted and stored.raw is not None and name in stored.raw:
            del stored.passed[name]  # nobody asks the step for it, so the raw column stays
    return stored


def _training(
    config: Any, steps: Sequence[_Step], keep: Sequence[str], raw: Raw, stored: Stored
) -> Iterator[Finding]:
    """Yield what steps read of the splits of training, and nothing brings."""
    absent: dict[tuple[str, str], _Absent] = {}
    for split in raw.splits or SPLITS:
        on = [step for step in steps if step.is_on("train", split)]
        columns = raw.of(split)
        available = dict.fromkeys(sorted(columns or ()))
        written: dict[str, None] = {}
        is_open = False
        for step in on:
            for name in step.reads("train"):
                if name in available or name in written or is_open:
                    continue
                known = [*available, *written]
                if columns is not None:
                    found = absent.setdefault((step.name, name), _Absent(step, name, known, []))
                    found.splits.append(f"the {split} data ({raw.sources[split]})")
                elif is_slip(name, known):
                    yield _unread(step, name, known, "", steps)
                else:
                    stored.needed.setdefault(name)
            is_open = is_open or step.signature is None
            written.update(dict.fromkeys(step.writes("train")))
        yield from _kept(config, keep, columns, [*available, *written, *_OWN], is_open, stored)
        splitting = [s for s in on if s.signature and "_part" in s.signature.writes]
        for step in splitting[1:]:
            message = f"{splitting[0].name} splits rows into records already; one step may"
            yield Finding(step.config, message, "split-twice")
    for each in absent.values():
        yield _unread(each.step, each.name, each.known, f"and {each.lacking()}", steps)


class _Absent(NamedTuple):
    """A column that a step reads and that data known by its columns does not have.

    Attributes:
        step: who reads it.
        name: of the column.
        known: what there is in the first of the splits.
        splits: those that lack it, and their files.
    """

    step: _Step
    name: str
    known: Sequence[str]
    splits: list[str]

    def lacking(self) -> str:
        """Return the end of a message."""
        *others, last = self.splits
        return f"{', '.join(others)} and {last} do not have" if others else f"{last} does not have"


def _unread(
    step: _Step, name: str, known: Sequence[str], lacking: str, steps: Sequence[_Step]
) -> Finding:
    """Return the finding of a column that a step reads and that is not there."""
    message = f'reads the column "{name}", which no step before it writes {lacking}'.rstrip() + "."
    later = [other.name for other in steps if other is not step and name in other.writes("train")]
    if later:
        message = f'reads the column "{name}", which {later[0]} writes only after it.'
        return Finding(step.config, message, "unknown-column", name, _READS, (later[0],))
    return unknown(step.config, message, "unknown-column", name=name, known=known, fields=_READS)


def _kept(
    config: Any,
    keep: Sequence[str],
    columns: frozenset[str] | None,
    known: Sequence[str],
    is_open: bool,
    stored: Stored,
) -> Iterator[Finding]:
    for name in keep:
        if name in known or is_open:
            continue
        if columns is None and not is_slip(name, known):
            stored.needed.setdefault(name)
            continue
        message = f'keep names "{name}", which no step writes and the data does not have.'
        yield unknown(config, message, "unknown-column", name=name, known=known, fields=("keep",))


def _later(steps: Sequence[_Step], stored: Stored) -> Iterator[Finding]:
    """Yield what steps read when predicting or serving, and is made in training only."""
    brought = {*stored.needed, *(stored.raw or ())}
    for stage in ("predict", "online"):
        made: set[str] = set()
        makers: dict[str, _Step] = {}
        is_open = False
        for step in steps:
            for name in step.reads(stage) if step.is_on(stage, stage) else ():
                maker = makers.get(name)
                if is_open or name in made or name in brought or maker is None:
                    continue
                message = (
                    f'reads the column "{name}", which {maker.name} does not write in the stage '
                    f"{stage}: switch this step off there ({stage}_data_set), or that one on."
                )
                yield Finding(step.config, message, "not-in-stage", name, _READS)
            is_open = is_open or step.signature is None
            makers.update((name, step) for name in step.writes("train") if name not in makers)
            made.update(step.writes(stage) if step.is_on(stage, stage) else ())
        for name, who in stored.columns.items() if stage == "online" else ():
            if name not in made and name not in brought and not stored.is_open:
                stored.late[name] = (who, stage)  # a bundle predicts online as soon as it is made


def _meta(steps: Sequence[_Step], stored: Stored) -> Iterator[Finding]:
    """Yield files of the meta folder that a step needs and nobody makes, or two make."""
    makers: dict[str, str] = {}
    for step in steps:
        if step.signature is None or step.signature.makes is None:
            continue
        is_on = any(step.is_on("train", split) for split in SPLITS)
        for file in step.signature.meta if is_on else ():
            if file in step.signature.makes or file in stored.files or not stored.has_all_files:
                continue
            message = f"needs {file}, and no step makes it."
            yield unknown(
                step.config,
                message,
                "missing-meta",
                name=file,
                known=list(stored.files),
                fields=("vocab", "label_vocab"),
            )
        for file in step.signature.makes if is_on else ():
            other = makers.setdefault(file, step.name)
            # a tokenizer, whose numbers are its own file's, may be put there twice
            if other != step.name and step.signature.numbers:
                message = f"makes {file}, and so does {other}: one would replace the other's."
                yield Finding(step.config, message, "missing-meta", file)


def column_finding(config: Any, what: str, column: str, stored: Stored) -> Finding:
    """Return the finding of a column that is not stored, with what is.

    Args:
        config: the component that names the column.
        what: what names it, such as ``key_type_pairs``.
        column: the column.
        stored: what is stored.
    """
    fields = (what,)
    maker = stored.passed.get(column)
    if maker is not None:
        message = (
            f'{what} names "{column}", which {maker} makes for other steps alone: '
            f'write "keep": ["{column}"] in the processor to store it.'
        )
        return Finding(config, message, "unknown-column", column, fields)
    names = stored.names()
    close = nearest(column, names)
    hint = " Did you mean " + " or ".join(f'"{name}"' for name in close) + "?" if close else ""
    message = f'{what} names "{column}"; {stored.source} stores: {listed(names)}.{hint}'
    return Finding(config, message, "unknown-column", column, fields, tuple(close))
