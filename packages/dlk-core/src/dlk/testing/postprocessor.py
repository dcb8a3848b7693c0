"""Conformance of postprocessors: ``class TestMine(PostProcessorConformance): …``."""

from __future__ import annotations

import copy
import json
import math
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from dlk.context import Setup
from dlk.data.meta import Meta
from dlk.postprocessor.base import PostProcessor
from dlk.testing._common import Conformance

V = TypeVar("V")

# Rounding of float32 sums in another order: the contracts' tolerance between batches.
SCORE_TOLERANCE = 1e-6


class Watched(Mapping[str, V]):
    """A mapping that notes which names are looked up."""

    def __init__(self, values: Mapping[str, V]) -> None:
        self.values_ = values
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> V:
        self.asked.add(name)
        return self.values_[name]

    def __contains__(self, name: object) -> bool:
        self.asked.add(str(name))
        return name in self.values_

    def __iter__(self) -> Iterator[str]:
        self.asked.update(self.values_)
        return iter(self.values_)

    def __len__(self) -> int:
        return len(self.values_)


class PostProcessorConformance(Conformance, ABC):
    """What every registered postprocessor keeps; a subclass names it and makes its batches."""

    truth_columns: ClassVar[tuple[str, ...]] = ()
    """Raw columns that only the metrics read: the truth, where it is no output of the model."""
    needed_columns: ClassVar[tuple[str, ...]] = ()
    """Raw columns without which nothing can be decoded; others are only copied."""

    def meta(self, folder: Path) -> Meta:
        """Return the meta it is built with, written into an empty folder; by default none."""
        return Meta.empty()

    @abstractmethod
    def batch(self, count: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the reads and targets of `count` records, random and with a truth for each."""

    def row(self, number: int) -> dict[str, object]:
        """Return the raw columns of one row: by default a text for each declared column."""
        columns = self.make().signature().columns
        return {column: f"{column} {number}" for column in columns}

    # What follows is not for overriding.

    def setup_method(self) -> None:
        """Make the folder of the meta; pytest calls it before each test."""
        self._folder = tempfile.TemporaryDirectory(prefix="dlk-postprocessor-")

    def teardown_method(self) -> None:
        """Remove it."""
        self._folder.cleanup()

    def setup(self, *, pretrained: bool = True, seed: int = 0) -> Setup:
        """Return a setup with the meta."""
        return Setup(meta=self.meta(Path(self._folder.name)), pretrained=pretrained, seed=seed)

    def exercise(self, component: PostProcessor) -> None:
        """Decode and measure one batch."""
        out, rows = self.records(3)
        component.new_metrics().update(out, rows, component.decode(out, rows))

    def records(
        self, count: int, seed: int = 0, *, numbers: Sequence[int] | None = None
    ) -> tuple[dict[str, Tensor], list[dict[str, object]]]:
        """Return outputs and rows; `numbers` gives the row of each record, by default its own."""
        out = self.batch(count, torch.Generator().manual_seed(seed))
        rows: list[dict[str, object]] = []
        seen: dict[int, int] = {}
        for number in numbers if numbers is not None else range(count):
            part = seen[number] = seen.get(number, -1) + 1
            rows.append({"_row": number, "_part": part, **self.row(number)})
        return out, rows

    def test_decode_is_pure(self) -> None:
        """The same input gives the same result, and is left as it was."""
        component: PostProcessor = self.build()
        out, rows = self.records(6)
        kept_out = {name: tensor.clone() for name, tensor in out.items()}
        kept_rows = copy.deepcopy(rows)
        first = component.decode(out, rows)
        assert component.decode(out, rows) == first, (
            f"{self._name}: decode gives another result the second time: keep no state in it"
        )
        same = out.keys() == kept_out.keys() and all(
            torch.equal(out[name], kept_out[name]) for name in out
        )
        same = same and rows == kept_rows
        assert same, (
            f"{self._name}: decode changes its input: copy before writing into tensors or rows"
        )

    def test_decode_is_safe_in_threads(self) -> None:
        """A server calls it from many threads at once."""
        component: PostProcessor = self.build()
        batches = [self.records(4, seed) for seed in range(8)]
        expected = [component.decode(*batch) for batch in batches]
        with ThreadPoolExecutor(4) as pool:
            results = list(pool.map(lambda batch: component.decode(*batch), batches * 4))
        assert results == expected * 4, (
            f"{self._name}: decode gives other results in threads: keep no state in it"
        )

    def test_one_result_per_row_in_order_whatever_its_neighbours(self) -> None:
        """Several parts of one row give one result, equal to that of the row alone."""
        component: PostProcessor = self.build()
        numbers = [7, 7, 3, 9, 9, 9, 1]
        out, rows = self.records(len(numbers), numbers=numbers)
        results = component.decode(out, rows)
        order = list(dict.fromkeys(numbers))
        assert len(results) == len(order), (
            f"{self._name}: {len(results)} results for {len(order)} rows: give one for each "
            "distinct `_row`, see dlk.postprocessor.Parts"
        )
        for number, result in zip(order, results, strict=True):
            mine = [place for place, other in enumerate(numbers) if other == number]
            alone = component.decode(
                {name: tensor[mine] for name, tensor in out.items()}, [rows[m] for m in mine]
            )
            assert len(alone) == 1, f"{self._name}: {len(alone)} results for one row"
            assert_alike(alone[0], result, f"{self._name}: a row alone and among others")

    def test_no_records_give_no_results(self) -> None:
        """An empty batch is no error."""
        component: PostProcessor = self.build()
        out = {name: tensor[:0] for name, tensor in self.records(2)[0].items()}
        results = component.decode(out, [])
        assert results == [], f"{self._name}: no records give {results!r}: give an empty list"

    def test_results_are_plain_json(self) -> None:
        """Nothing of numpy or torch, no NaN: what json writes and reads back equal."""
        component: PostProcessor = self.build()
        results = component.decode(*self.records(5, numbers=[0, 0, 1, 2, 3]))
        self._plain(results)
        assert json.loads(json.dumps(results, allow_nan=False)) == results, (
            f"{self._name}: predictions change when they are written as JSON and read again"
        )

    def test_predictions_meet_the_schema_that_is_declared(self) -> None:
        """What a bundle tells its callers is true of rows alone, in parts, bare and not numbers."""
        component: PostProcessor = self.build()
        declared = component.prediction_schema()
        if declared is None:  # not said, which is the base class's answer
            return
        self._plain(declared)
        validator = _validator(declared, self._name)
        assert not validator.is_valid("a text"), (
            f"{self._name}: prediction_schema() lets a text pass, and predictions are objects: say "
            '"type": "object"'
        )
        kept = {"_row", "_part", *self.needed_columns}
        for seed, odd in enumerate((math.nan, math.inf, -math.inf, 0.0)):
            out, rows = self.records(7, seed, numbers=[7, 7, 3, 9, 9, 9, 1])
            ruined = {
                name: torch.full_like(tensor, odd) if tensor.is_floating_point() else tensor
                for name, tensor in out.items()
            }
            bare = [{name: value for name, value in row.items() if name in kept} for row in rows]
            for each in (
                *component.decode(out, rows),
                *component.decode(ruined, rows),
                *component.decode(out, bare),
            ):
                wrong = next(iter(validator.iter_errors(each)), None)
                assert wrong is None, (
                    f"{self._name}: a prediction does not meet prediction_schema(), at "
                    f"{wrong.json_path}: {wrong.message[:300]}"
                )
        assert component.prediction_schema() == declared, (
            f"{self._name}: prediction_schema() says something else the second time"
        )

    def test_outputs_that_are_not_numbers_still_give_plain_json(self) -> None:
        """A diverged model gives null, not NaN, and still one result per row."""
        component: PostProcessor = self.build()
        out, rows = self.records(3)
        ruined = {
            name: torch.full_like(tensor, math.nan) if tensor.is_floating_point() else tensor
            for name, tensor in out.items()
        }
        results = component.decode(ruined, rows)
        assert len(results) == 3, f"{self._name}: 3 rows that are no numbers give {len(results)}"
        self._plain(results)

    def test_half_precision_is_decoded_in_float32(self) -> None:
        """A model that computes in bfloat16 is scored as its outputs in float32 are."""
        component: PostProcessor = self.build()
        out, rows = self.records(5, numbers=[0, 0, 1, 2, 3])
        low = {
            name: tensor.bfloat16() if tensor.is_floating_point() else tensor
            for name, tensor in out.items()
        }
        high = {
            name: tensor.float() if tensor.is_floating_point() else tensor
            for name, tensor in low.items()
        }
        assert component.decode(low, rows) == component.decode(high, rows), (
            f"{self._name}: decode computes in the outputs' precision: lift them to float32 first"
        )

    def test_metrics_need_no_more_than_what_is_measured(self) -> None:
        """`measured` leaves out nothing of `decode` that the scores depend on."""
        component = self.build()
        out, rows = self.records(5)
        whole, lean = component.new_metrics(), component.new_metrics()
        whole.update(out, rows, component.decode(out, rows))
        lean.update(out, rows, component.measured(out, rows))
        assert lean.state() == whole.state(), (
            f"{self._name}: measured leaves out what the metrics read of decode"
        )

    def test_decode_reads_what_the_signature_declares(self) -> None:
        """Exactly the declared outputs and columns: only these are kept for it."""
        component: PostProcessor = self.build()
        signature = self.make().signature()
        out, rows = self.records(3)
        watched_out = Watched({name: out[name] for name in signature.reads})
        watched_rows = [Watched(row) for row in rows]
        component.decode(watched_out, watched_rows)
        assert watched_out.asked == set(signature.reads), (
            f"{self._name}: signature().reads says {sorted(signature.reads)}, "
            f"decode reads {sorted(watched_out.asked)}"
        )
        asked = {name for row in watched_rows for name in row.asked} - {"_row", "_part"}
        declared = set(signature.columns) - set(self.truth_columns)
        assert asked == declared, (
            f"{self._name}: signature().columns says {sorted(declared)}, "
            f"decode reads {sorted(asked)}"
        )

    def test_rows_without_their_columns_are_decoded(self) -> None:
        """A request may lack columns that are only copied."""
        component: PostProcessor = self.build()
        out, rows = self.records(2)
        kept = {"_row", "_part", *self.needed_columns}
        bare = [{name: value for name, value in row.items() if name in kept} for row in rows]
        assert len(component.decode(out, bare)) == 2, (
            f"{self._name}: rows without their further columns are not decoded"
        )

    def test_metrics_read_the_declared_targets(self) -> None:
        """What evaluation hands over is what the signature names."""
        component: PostProcessor = self.build()
        signature = self.make().signature()
        out, rows = self.records(4)
        watched = Watched(out)
        watched_rows = [Watched(row) for row in rows]
        component.new_metrics().update(watched, watched_rows, component.decode(out, rows))
        asked = {name for row in watched_rows for name in row.asked}
        idle = set(self.truth_columns) - asked
        assert not idle, f"{self._name}: the metrics do not read the column {sorted(idle)}"
        unused = set(signature.targets) - watched.asked
        assert not unused, f"{self._name}: signature().targets names {sorted(unused)} for nothing"
        extra = watched.asked - set(signature.targets) - set(signature.reads)
        assert not extra, f"{self._name}: the metrics read {sorted(extra)}: name it in targets"

    def test_metrics_are_named_as_declared(self) -> None:
        """A callback may monitor each declared name, and there is no other."""
        component: PostProcessor = self.build()
        out, rows = self.records(8)
        metrics = component.new_metrics()
        metrics.update(out, rows, component.decode(out, rows))
        scores = metrics.compute()
        declared = self.make().signature().metrics
        assert set(scores) == set(declared), (
            f"{self._name}: signature().metrics says {sorted(declared)}, "
            f"compute() gives {sorted(scores)}"
        )
        kinds = {name: type(score).__name__ for name, score in scores.items()}
        assert set(kinds.values()) <= {"float"}, (
            f"{self._name}: scores are floats, compute() gives {kinds}"
        )
        self._plain(metrics.table())

    def test_without_a_truth_nothing_is_measured(self) -> None:
        """Data without labels is decoded, and has no scores."""
        component: PostProcessor = self.build()
        out, rows = self.records(4)
        blind = {name: out[name] for name in self.make().signature().reads}
        for row in rows:
            for column in self.truth_columns:
                del row[column]
        metrics = component.new_metrics()
        metrics.update(blind, rows, component.decode(blind, rows))
        assert metrics.compute() == {}, f"{self._name}: without targets compute() must give {{}}"

    def test_metrics_split_and_merged_are_one_pass(self) -> None:
        """Parts of the data, counted apart and merged in any order, score as the whole does."""
        component: PostProcessor = self.build()
        numbers = [0, 0, 1, 2, 3, 3, 4, 5, 6, 7]  # windows of one row stay in one batch
        out, rows = self.records(len(numbers), numbers=numbers)
        whole = component.new_metrics()
        whole.update(out, rows, component.decode(out, rows))
        pieces = [range(3), range(3, 7), range(7, 10)]
        for order in ((0, 1, 2), (2, 0, 1)):
            joined = component.new_metrics()
            for piece in (list(pieces[k]) for k in order):
                some = {name: tensor[piece] for name, tensor in out.items()}
                some_rows = [rows[k] for k in piece]
                part = component.new_metrics()
                part.update(some, some_rows, component.decode(some, some_rows))
                joined.merge(json.loads(json.dumps(part.state(), allow_nan=False)))
            what = f"{self._name}: merged parts and one pass"
            assert_alike(joined.compute(), whole.compute(), what)
            assert_alike(joined.table(), whole.table(), what)

    def test_what_is_searched_for_is_found(self) -> None:
        """Each option gets a value that its config takes, and then nothing is left to search."""
        component: PostProcessor = self.build()
        out, rows = self.records(32)
        metrics = component.new_metrics()
        metrics.update(out, rows, component.decode(out, rows))
        found = component.found(metrics)
        said = component.config.signature().searched
        assert set(said) == set(component.searched), (
            f"{self._name}: signature() says that {sorted(said)} are searched, the component "
            f"{sorted(component.searched)}"
        )
        assert set(found) == set(component.searched), (
            f"{self._name}: searched says {sorted(component.searched)}, found() {sorted(found)}"
        )
        self._plain(found)
        settled: PostProcessor = self.build(config=self.make(**found))
        assert not settled.searched, (
            f"{self._name}: with what was found, it still searches for {settled.searched}"
        )

    def _plain(self, value: object) -> None:
        try:
            assert_plain(value)
        except AssertionError as error:
            raise AssertionError(f"{self._name}: {error}") from None

    def test_new_metrics_share_nothing(self) -> None:
        """Validation and test are counted apart."""
        component: PostProcessor = self.build()
        out, rows = self.records(4)
        component.new_metrics().update(out, rows, component.decode(out, rows))
        assert component.new_metrics().compute() == {}, (
            f"{self._name}: new_metrics() gives metrics that have counted already"
        )


def _validator(declared: Mapping[str, Any], name: str) -> Any:  # Any: jsonschema has no types
    """Return what holds predictions to a JSON Schema, once that is one."""
    try:
        from jsonschema import Draft202012Validator
        from jsonschema.exceptions import SchemaError
    except ModuleNotFoundError as error:
        raise AssertionError(
            f"{name} declares a prediction_schema(), and checking it needs jsonschema: "
            'pip install "dlk-core[testing]"'
        ) from error
    try:
        Draft202012Validator.check_schema(declared)
    except SchemaError as error:
        raise AssertionError(
            f"{name}: prediction_schema() is no JSON Schema, at {error.json_path}: {error.message}"
        ) from error
    return Draft202012Validator(declared)


def assert_plain(value: object) -> None:
    """Assert that the value is made of str, int, finite float, bool, None, list and dict."""
    if type(value) is dict:
        assert all(type(key) is str for key in value), f"a key of {value!r} is no text"
        for item in value.values():
            assert_plain(item)
    elif type(value) is list:
        for item in value:
            assert_plain(item)
    else:
        kind = type(value)
        assert value is None or kind in (str, int, float, bool), (
            f"{value!r} is a {kind.__name__}: results are plain JSON, see dlk.postprocessor.plain"
        )
        assert not isinstance(value, float) or math.isfinite(value), (
            f"{value!r} is no number of JSON: give None"
        )


def assert_alike(mine: object, theirs: object, what: str) -> None:
    """Assert that two plain values are equal, floats within 1e-6."""
    message = f"{what} differ: {mine!r} and {theirs!r}"
    assert type(mine) is type(theirs), message
    if isinstance(mine, dict) and isinstance(theirs, dict):
        assert list(mine) == list(theirs), message
        for key in mine:
            assert_alike(mine[key], theirs[key], what)
    elif isinstance(mine, list) and isinstance(theirs, list):
        assert len(mine) == len(theirs), message
        for one, other in zip(mine, theirs, strict=True):
            assert_alike(one, other, what)
    elif isinstance(mine, float) and isinstance(theirs, float):
        assert math.isclose(mine, theirs, rel_tol=SCORE_TOLERANCE, abs_tol=SCORE_TOLERANCE), message
    else:
        assert mine == theirs, message
