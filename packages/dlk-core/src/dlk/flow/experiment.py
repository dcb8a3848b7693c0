"""An experiment, from the data's columns to the metrics that callbacks watch."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from dlk.config import child, children, from_resolved, ident, node_of, to_dict
from dlk.config.reading import Point
from dlk.config.tree import Path, Tree
from dlk.errors import ConfigError, DlkError, Problem, did_you_mean, nearest
from dlk.flow.columns import Raw, Stored, column_finding, follow_processor
from dlk.flow.files import Processed, missing_files, read_processed
from dlk.flow.finding import Finding, Places, known_signature, parts_of, title, unknown
from dlk.flow.metrics import missing_metric, monitored, reported
from dlk.flow.network import BATCH, Names, Tensor, follow_loss, follow_model, follow_postprocessor
from dlk.flow.sizes import Size, Sizes, entry_name

__all__ = ["REFERENCE", "Followed", "follow_fit", "follow_process", "references"]

REFERENCE = re.compile(r"(?:_G|~)\.meta\.(\w+)\.(\w+)")
_EVALUATED = ("valid", "test")
_EPOCH = ("start_epoch",)


@dataclass(slots=True)
class Followed:
    """What came of following a config.

    Attributes:
        problems: the mistakes, each once.
        needed: columns that the data must bring, as far as they are known.
        notes: what is no mistake and yet should be told.
    """

    problems: list[Problem] = field(default_factory=list)
    needed: dict[str, None] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def follow_process(point: Point, raw: Raw) -> tuple[Followed, Stored]:
    """Follow a process config: what its steps read, make and need.

    Args:
        point: the resolved config.
        raw: what is known of the data.
    """
    processor = point.root("processor")
    places = Places(point)
    stored, found = follow_processor(processor, raw)
    if point.tree.document.file:
        stored.source = os.path.basename(point.tree.document.file)
    found += missing_files(processor, places)
    followed = Followed([places.problem(each) for each in found], dict(stored.needed))
    processed = read_processed(str(getattr(processor, "processed_data_dir", "")))
    if processed is not None and processed.config:
        changed = _changed(processed.config, to_dict(processor))
        if changed:
            where = os.path.relpath(processed.folder)
            followed.notes.append(
                f"the data in {where} was processed otherwise ({', '.join(changed)}): process it "
                "again, and the numbers of _G.meta may be others"
            )
    return followed, stored


def _changed(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the steps, and fields that decide what is stored, in which two processors differ."""
    (before,), (after,) = then.values(), now.values()
    names = [n for n in {**before, **after} if n.startswith("@") or n in ("keep", "feed_order")]
    return [
        name.removeprefix("@subprocessor@")
        for name in names
        if not _is_same(before.get(name), after.get(name))
    ]


def _is_same(one: Any, other: Any) -> bool:
    """Return whether two values are the same, files of one name included, wherever they lie."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_is_same(one[key], other[key]) for key in one)
    if isinstance(one, str) and isinstance(other, str) and os.path.isabs(one):
        return os.path.basename(one) == os.path.basename(other)
    return bool(one == other)


def follow_fit(
    point: Point,
    stored: Stored | None,
    raw: Raw,
    *,
    made_up: Mapping[int, str],
    written: Tree | None = None,
) -> Followed:
    """Follow a fit config: its columns, batches, outputs, losses, metrics and files.

    Args:
        point: the resolved config.
        stored: what the process config given beside it stores; None: what the processed folder
            tells, where it is there.
        raw: what is known of the data.
        made_up: numbers that stand for sizes which only the data can tell, with their entries.
        written: the tree in which references still stand.
    """
    fit = point.root("fit")
    processed = read_processed(str(getattr(fit, "processed_data_dir", "")))
    splits = raw.splits
    rows: int | None = None
    if stored is None:
        rows = processed.records.get("train") if processed is not None else None
        stored = _of_folder(processed)
        splits = tuple(processed.columns) if processed is not None and processed.columns else None
    elif processed is not None and processed.columns:
        if splits is not None:
            splits = tuple(dict.fromkeys((*splits, *processed.columns)))
        if stored.raw is None and "train" in processed.columns:
            # what is stored beside what the steps make came from the data
            there = frozenset(processed.columns["train"])
            stored.raw = there.difference(stored.columns, stored.passed)
    places = Places(point)
    walk = _Fit(fit, places, stored, _sizes(stored, processed, made_up), splits, rows)
    problems = [places.problem(each) for each in walk.findings()]
    if written is not None and made_up:
        problems += _unknown_references(written, stored)
    return Followed(problems, walk.needed)


def _of_folder(processed: Processed | None) -> Stored:
    """Return what a processed folder holds; anything may be in one that is not there."""
    if processed is None or not processed.columns:
        return Stored(is_open=True, has_all_files=False)
    made = Stored()
    if processed.config:
        try:
            (config,) = from_resolved(processed.config, folder=processed.folder).values()
            made, _ = follow_processor(config, Raw())
        except (DlkError, ValueError):  # of another version, or of components that are gone
            made = Stored()
    columns = next(iter(processed.columns.values()))
    return Stored(
        columns=dict.fromkeys(columns, "the processed data"),
        raw=frozenset(),
        late={name: late for name, late in made.late.items() if name in columns},
        files=dict.fromkeys(processed.files or (), "the processed data"),
        ids=made.ids,
        has_all_files=processed.files is not None,
        source=os.path.relpath(processed.folder),
    )


def _sizes(stored: Stored, processed: Processed | None, made_up: Mapping[int, str]) -> Sizes:
    entries = frozenset(entry_name(file) for file in stored.ids.values())
    learnt = {entry_name(file): count for file, count in stored.counts.items()}
    if processed is not None and not made_up:
        learnt |= processed.sizes
    return Sizes(learnt, made_up, entries)


def references(tree: Tree) -> Iterator[tuple[Path, str, str]]:
    """Yield the place, entry and name of every number of `_G.meta` that a config refers to."""
    for path, text in _texts(tree.root, ()):
        for match in REFERENCE.finditer(text):
            yield path, match[1], match[2]


def _texts(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(value, str):
        if "meta." in value:
            yield path, value
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from _texts(part, (*path, key))
    elif isinstance(value, list):
        for number, part in enumerate(value):
            yield from _texts(part, (*path, number))


def _unknown_references(tree: Tree, stored: Stored) -> Iterator[Problem]:
    """Yield references to numbers that the process config makes nothing of."""
    if not stored.has_all_files:
        return
    entries = {entry_name(file): file for file in stored.files}
    for path, entry, name in references(tree):
        if entry not in entries:
            message = f'nothing makes _G.meta.{entry}: {stored.source} has no step for "{entry}".'
            hint = did_you_mean(entry, entries)
            yield _reference(tree, path, f"{message} {hint}", nearest(entry, entries))
            continue
        known = stored.numbers.get(entries[entry])
        if known is not None and name not in known:
            message = f"_G.meta.{entry} has no {name}. {did_you_mean(name, known)}"
            yield _reference(tree, path, message, nearest(name, known))


def _reference(tree: Tree, path: Path, message: str, close: list[str]) -> Problem:
    problem = tree.problem(path, message.rstrip())
    return replace(problem, code="missing-meta", suggestions=tuple(close))


class _Fit:
    """One walk through a fit config."""

    def __init__(
        self,
        fit: Any,
        places: Places,
        stored: Stored,
        sizes: Sizes,
        splits: tuple[str, ...] | None,
        rows: int | None,
    ) -> None:
        self.fit = fit
        self.places = places
        self.stored = stored
        self.sizes = sizes
        self.splits = splits
        self.rows = rows  # of the training data, where they are stored already
        self.needed: dict[str, None] = {}

    def findings(self) -> Iterator[Finding]:
        """Yield all that is wrong, in the order of the flow."""
        fit = self.fit
        datamodule, imodel = _child(fit, "datamodule"), _child(fit, "imodel")
        yield from missing_files(fit, self.places)
        batch = Names(is_open=True)
        if datamodule is not None:
            yield from self._columns(datamodule)
            batch = self._batch(datamodule)
        if imodel is not None:
            yield from self._network(imodel, datamodule, batch)
            yield from self._files(imodel)
        yield from self._metrics(_child(fit, "trainer"), imodel)
        yield from self._averages(_child(fit, "trainer"), datamodule)

    # Columns --------------------------------------------------------------------------------------

    def _columns(self, datamodule: Any) -> Iterator[Finding]:
        """Yield columns that the datamodule names and that are not stored."""
        signature = known_signature(datamodule)
        if signature is None:
            return
        for column in signature.reads:
            if not self.stored.lacks(column):
                self._note_needed(column)
                continue
            owner, what = _who_names(datamodule, column)
            yield column_finding(owner, what, column, self.stored)

    def _note_needed(self, column: str) -> None:
        stored = self.stored
        if stored.raw is None and not stored.is_open and column not in stored.columns:
            self.needed.setdefault(column)

    def _batch(self, datamodule: Any) -> Names:
        signature = known_signature(datamodule)
        if signature is None:
            return Names(is_open=True)
        tensors: dict[str, Tensor] = {}
        for name in signature.writes:
            value = signature.ids.get(name)
            column = value if isinstance(value, str) else name
            file = self.stored.ids.get(column)
            # of windows and matrices too: what a collate makes of a column holds the same ids
            width = signature.gives.get(name)
            tensors[name] = Tensor(BATCH, self.sizes.of(width), self.sizes.of(file))
        return Names(tensors)

    # Model, loss, postprocessor -------------------------------------------------------------------

    def _network(self, imodel: Any, datamodule: Any, batch: Names) -> Iterator[Finding]:
        yield from self._multi_hot(datamodule)
        model, loss = _child(imodel, "model"), _child(imodel, "loss")
        postprocessor = _child(imodel, "postprocessor")
        out = Names(is_open=True)
        if model is not None:
            out, found = follow_model(model, batch, self.sizes)
            yield from found
            yield from self._late(model, datamodule)
        if loss is not None:
            yield from follow_loss(loss, out, self.sizes)
        if postprocessor is not None:
            yield from follow_postprocessor(postprocessor, out, self.sizes)
            yield from self._raw_columns(postprocessor)

    def _multi_hot(self, datamodule: Any) -> Iterator[Finding]:
        """Yield rows of 0 and 1 with fewer places than there are ids."""
        signature = known_signature(datamodule) if datamodule is not None else None
        for name, value in (signature.ids if signature is not None else {}).items():
            room, there = self.sizes.of(value), self.sizes.of(self.stored.ids.get(name))
            if isinstance(value, int) and self.sizes.is_less(room, there):
                owner, what = _who_names(datamodule, name, "key_multi_hot")
                message = (
                    f'{what} has {_size(room)} places for "{name}", which holds ids of '
                    f"{_size(there)}."
                )
                yield Finding(owner, message, "sizes-disagree", name, (what,))

    def _late(self, model: Any, datamodule: Any) -> Iterator[Finding]:
        """Yield what the model reads of columns that are made in training only."""
        signature = known_signature(model)
        if signature is None or datamodule is None:
            return
        masks = _masks(datamodule)
        for name in signature.reads:
            column = masks.get(name, name)
            if column not in self.stored.late or name in signature.targets:
                continue
            step, stage = self.stored.late[column]
            owner = _reader(model, name)
            message = (
                f'{title(owner)} reads "{name}" to predict, and {step} makes the column "{column}" '
                f"in training only: let the step run in the stage {stage} ({stage}_data_set)."
            )
            yield Finding(owner, message, "not-in-stage", name, ("input_map",))

    def _raw_columns(self, postprocessor: Any) -> Iterator[Finding]:
        signature = known_signature(postprocessor)
        for column in signature.columns if signature is not None else ():
            if self.stored.lacks(column):
                what = _field_that_names(postprocessor, column) or "origin_input_map"
                yield column_finding(postprocessor, what, column, self.stored)

    # Files and metrics ----------------------------------------------------------------------------

    def _files(self, imodel: Any) -> Iterator[Finding]:
        """Yield files of the meta folder that a part needs and nobody makes."""
        if not self.stored.has_all_files:
            return
        for config in parts_of(imodel):
            signature = known_signature(config)
            below = [known_signature(part) for part in node_of(config).children.values()]
            told = {file for part in below if part is not None for file in part.meta}
            for file in signature.meta if signature is not None else ():
                if file in self.stored.files or file in told:
                    continue
                message = f"{title(config)} needs {file}, which nothing in {self.stored.source}"
                yield unknown(
                    config,
                    f"{message} makes.",
                    "missing-meta",
                    name=file,
                    known=list(self.stored.files),
                    fields=("label_vocab", "embedding_meta"),
                )

    def _metrics(self, trainer: Any, imodel: Any) -> Iterator[Finding]:
        """Yield metrics that are watched and not computed, and options that need validation."""
        signature = known_signature(imodel) if imodel is not None else None
        limit = getattr(trainer, "limit_val_batches", None)
        validates = limit is None or limit != 0
        has_valid = self.splits is None or "valid" in self.splits
        yield from self._searched(imodel, validates=validates and has_valid)
        if signature is None:
            return
        known = monitored(signature.metrics, validates=validates and has_valid)
        for callback in children(trainer, "callback").values() if trainer is not None else ():
            monitor = getattr(callback, "monitor", None)
            if not isinstance(monitor, str) or not monitor:
                continue
            for message, close in missing_metric(monitor, known, validates=validates and has_valid):
                yield Finding(callback, message, "unknown-metric", monitor, ("monitor",), close)
        name = getattr(self.fit, "hp_metrics", None)
        if isinstance(name, str):
            splits = _EVALUATED if self.splits is None else self.splits
            for message, close in missing_metric(name, reported(signature.metrics, splits)):
                yield Finding(self.fit, message, "unknown-metric", name, ("hp_metrics",), close)

    def _averages(self, trainer: Any, datamodule: Any) -> Iterator[Finding]:
        """Yield averages of weights that would begin after the last step, where that is known."""
        if trainer is None or getattr(trainer, "fast_dev_run", False):
            return
        epochs, steps = _last_epoch(trainer), _last_step(trainer, datamodule, self.rows)
        for callback in children(trainer, "callback").values():
            if ident(callback) != ("callback", "weight_average"):
                continue
            first = max(callback.start_step, callback.every_n_train_steps or 0)
            if steps is not None and first > steps:
                name = "start_step" if callback.start_step == first else "every_n_train_steps"
                message = f"no average is made: the run ends with step {steps}"
                yield Finding(callback, message, "never-begins", first, (name,))
            if epochs is not None and callback.start_epoch >= epochs:
                message = f"no average is made: the run ends with epoch {epochs}"
                yield Finding(callback, message, "never-begins", callback.start_epoch, _EPOCH)

    def _searched(self, imodel: Any, *, validates: bool) -> Iterator[Finding]:
        postprocessor = _child(imodel, "postprocessor") if imodel is not None else None
        signature = known_signature(postprocessor) if postprocessor is not None else None
        if signature is None or validates:
            return
        for name in signature.searched:
            message = (
                "to be searched for on validation data, and none is evaluated here: give a value"
            )
            yield Finding(postprocessor, message, "no-validation", None, (name,))


def _last_epoch(trainer: Any) -> int | None:
    """Return how many epochs there are at most; None where that is not known."""
    epochs = getattr(trainer, "max_epochs", None)
    return epochs if type(epochs) is int and epochs > 0 else None


def _last_step(trainer: Any, datamodule: Any, rows: int | None) -> int | None:
    """Return how many optimizer steps there are at most; None where that is not known."""
    steps = getattr(trainer, "max_steps", -1)
    known = [steps] if type(steps) is int and steps > 0 else []
    batches = _batches(trainer, datamodule, rows)
    epochs, joined = _last_epoch(trainer), getattr(trainer, "accumulate_grad_batches", 1)
    if batches is not None and epochs is not None and type(joined) is int:
        known.append(epochs * -(-batches // joined))
    return min(known, default=None)


def _batches(trainer: Any, datamodule: Any, rows: int | None) -> int | None:
    """Return the batches of an epoch, where each holds the same number of records."""
    if datamodule is None or ident(datamodule) != ("datamodule", "default"):
        return None
    if rows is None or datamodule.max_tokens or getattr(trainer, "overfit_batches", 0):
        return None
    size = datamodule.train_batch_size
    batches: int = rows // size if datamodule.drop_last else -(-rows // size)
    limit = getattr(trainer, "limit_train_batches", None)
    if type(limit) is int:
        return min(batches, limit)
    return int(batches * limit) if type(limit) is float else batches


def _child(config: Any, type_name: str) -> Any:
    try:
        return child(config, type_name) if config is not None else None
    except ConfigError:  # several: whoever builds them says so
        return None


def _size(size: Size | None) -> str:
    return str(size) if size is not None else "some"


def _who_names(config: Any, name: str, field_name: str = "") -> tuple[Any, str]:
    """Return the part below that names a column in a field of its own, and that field."""
    parts = list(parts_of(config))
    for part in [*parts[1:], parts[0]]:
        found = _field_that_names(part, name, field_name)
        if found:
            return part, found
    return config, title(config)


def _field_that_names(config: Any, name: str, field_name: str = "") -> str:
    """Return the field of a component that holds a name, as a key, a value or an item."""
    for key, value in node_of(config).values.items():
        if key.startswith(("@", "_")) or (field_name and key != field_name):
            continue
        if value == name or name in _all_texts(value):
            return str(key)
    return ""


def _all_texts(value: Any) -> Iterable[str]:
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield str(key)
            yield from _all_texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from _all_texts(part)
    elif isinstance(value, str):
        yield value


def _masks(datamodule: Any) -> dict[str, str]:
    """Return the column of each mask that a collate makes."""
    collate = _child(datamodule, "data_collate")
    made = getattr(collate, "gen_mask", {}) if collate is not None else {}
    return {mask: column for column, mask in made.items() if isinstance(mask, str)}


def _reader(model: Any, name: str) -> Any:
    """Return the innermost part of a model that reads a name, with or without a side's ending."""
    found = model
    for part in parts_of(model):
        signature = known_signature(part)
        if signature is not None and any(
            name == read or name.startswith(f"{read}_") for read in signature.reads
        ):
            found = part
    return found
