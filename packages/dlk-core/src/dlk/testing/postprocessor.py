"""Conformance of postprocessors: ``class TestMine(PostProcessorConformance): …``."""

from __future__ import annotations

import copy
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from dlk.config import from_resolved, make, to_dict
from dlk.context import Setup
from dlk.data.meta import Meta
from dlk.postprocessor.base import PostProcessor
from dlk.registry import register

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


class PostProcessorConformance(ABC):
    """What every registered postprocessor keeps; a subclass names it and makes its batches.

    Attributes:
        name: the registered name.
        values: fields of its config.
    """

    name: ClassVar[str]
    values: ClassVar[Mapping[str, Any]] = {}

    def meta(self, folder: Path) -> Meta:  # noqa: ARG002 - for those that override it
        """Return the meta it is built with, written into an empty folder; by default none."""
        return Meta.empty()

    @abstractmethod
    def batch(self, count: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the reads and targets of `count` records, random and with a truth for each."""

    def row(self, number: int) -> dict[str, object]:
        """Return the raw columns of one row: by default a text for each declared column."""
        columns = self.config().signature().columns
        return {column: f"{column} {number}" for column in columns}

    # What follows is not for overriding.

    def config(self) -> Any:  # Any: the component's own config class
        return make("postprocessor", self.name, dict(self.values))

    def build(self, folder: Path) -> PostProcessor:
        made = register.build(self.config(), Setup(meta=self.meta(folder)))
        assert isinstance(made, PostProcessor)
        return made

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

    def test_config_survives_a_round_trip(self, tmp_path: Path) -> None:
        config = self.config()
        plain = json.loads(json.dumps(to_dict(config)))
        (again,) = from_resolved(plain, folder=str(tmp_path)).values()
        assert to_dict(again) == to_dict(config)

    def test_every_field_and_the_config_itself_are_documented(self) -> None:
        import attrs

        config_class = register.config("postprocessor", self.name)
        assert config_class.__doc__
        bare = [
            field.name
            for field in attrs.fields(config_class)
            if field.name != "submodule" and len(field.metadata.get("description") or "") < 8
        ]
        assert not bare, f"fields without help: {bare}"

    def test_decode_is_pure(self, tmp_path: Path) -> None:
        component = self.build(tmp_path)
        out, rows = self.records(6)
        kept_out = {name: tensor.clone() for name, tensor in out.items()}
        kept_rows = copy.deepcopy(rows)
        first = component.decode(out, rows)
        assert component.decode(out, rows) == first
        assert rows == kept_rows
        assert out.keys() == kept_out.keys()
        assert all(torch.equal(out[name], kept_out[name]) for name in out)

    def test_decode_is_safe_in_threads(self, tmp_path: Path) -> None:
        component = self.build(tmp_path)
        batches = [self.records(4, seed) for seed in range(8)]
        expected = [component.decode(*batch) for batch in batches]
        with ThreadPoolExecutor(4) as pool:
            results = list(pool.map(lambda batch: component.decode(*batch), batches * 4))
        assert results == expected * 4

    def test_one_result_per_row_in_order_whatever_its_neighbours(self, tmp_path: Path) -> None:
        component = self.build(tmp_path)
        numbers = [7, 7, 3, 9, 9, 9, 1]
        out, rows = self.records(len(numbers), numbers=numbers)
        results = component.decode(out, rows)
        order = list(dict.fromkeys(numbers))
        assert len(results) == len(order)
        for number, result in zip(order, results, strict=True):
            mine = [place for place, other in enumerate(numbers) if other == number]
            alone = component.decode(
                {name: tensor[mine] for name, tensor in out.items()}, [rows[m] for m in mine]
            )
            assert len(alone) == 1
            assert_alike(alone[0], result)

    def test_no_records_give_no_results(self, tmp_path: Path) -> None:
        component = self.build(tmp_path)
        out = {name: tensor[:0] for name, tensor in self.records(2)[0].items()}
        assert component.decode(out, []) == []

    def test_results_are_plain_json(self, tmp_path: Path) -> None:
        component = self.build(tmp_path)
        results = component.decode(*self.records(5, numbers=[0, 0, 1, 2, 3]))
        assert_plain(results)
        assert json.loads(json.dumps(results, allow_nan=False)) == results

    def test_outputs_that_are_not_numbers_still_give_plain_json(self, tmp_path: Path) -> None:
        component = self.build(tmp_path)
        out, rows = self.records(3)
        ruined = {
            name: torch.full_like(tensor, math.nan) if tensor.is_floating_point() else tensor
            for name, tensor in out.items()
        }
        results = component.decode(ruined, rows)
        assert len(results) == 3
        assert_plain(results)
        json.dumps(results, allow_nan=False)

    def test_decode_reads_what_the_signature_declares(self, tmp_path: Path) -> None:
        component = self.build(tmp_path)
        signature = self.config().signature()
        out, rows = self.records(3)
        watched_out = Watched({name: out[name] for name in signature.reads})
        watched_rows = [Watched(row) for row in rows]
        component.decode(watched_out, watched_rows)
        assert watched_out.asked == set(signature.reads)
        asked = {name for row in watched_rows for name in row.asked}
        assert asked - {"_row", "_part"} == set(signature.columns)

    def test_rows_without_their_columns_are_decoded(self, tmp_path: Path) -> None:
        component = self.build(tmp_path)
        out, rows = self.records(2)
        bare = [{"_row": row["_row"], "_part": row["_part"]} for row in rows]
        assert len(component.decode(out, bare)) == 2

    def test_metrics_read_the_declared_targets(self, tmp_path: Path) -> None:
        component = self.build(tmp_path)
        signature = self.config().signature()
        out, rows = self.records(4)
        watched = Watched(out)
        component.new_metrics().update(watched, rows, component.decode(out, rows))
        assert set(signature.targets) <= watched.asked
        assert watched.asked <= set(signature.targets) | set(signature.reads)

    def test_metrics_are_named_as_declared(self, tmp_path: Path) -> None:
        component = self.build(tmp_path)
        out, rows = self.records(8)
        metrics = component.new_metrics()
        metrics.update(out, rows, component.decode(out, rows))
        scores = metrics.compute()
        assert set(scores) == set(self.config().signature().metrics)
        assert all(type(score) is float for score in scores.values())
        assert_plain(metrics.table())

    def test_without_a_truth_nothing_is_measured(self, tmp_path: Path) -> None:
        component = self.build(tmp_path)
        signature = self.config().signature()
        out, rows = self.records(4)
        blind = {name: out[name] for name in signature.reads}
        metrics = component.new_metrics()
        metrics.update(blind, rows, component.decode(blind, rows))
        assert metrics.compute() == {}

    def test_metrics_split_and_merged_are_one_pass(self, tmp_path: Path) -> None:
        component = self.build(tmp_path)
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
            assert_alike(joined.compute(), whole.compute())
            assert_alike(joined.table(), whole.table())

    def test_new_metrics_share_nothing(self, tmp_path: Path) -> None:
        component = self.build(tmp_path)
        out, rows = self.records(4)
        component.new_metrics().update(out, rows, component.decode(out, rows))
        assert component.new_metrics().compute() == {}


def assert_plain(value: object) -> None:
    """Assert that the value is made of Python's own str, int, float, bool, None, list and dict."""
    if type(value) is dict:
        assert all(type(key) is str for key in value), f"a key of {value!r} is no text"
        for item in value.values():
            assert_plain(item)
    elif type(value) is list:
        for item in value:
            assert_plain(item)
    else:
        kind = type(value)
        assert value is None or kind in (str, int, float, bool), f"{value!r} is a {kind.__name__}"


def assert_alike(mine: object, theirs: object) -> None:
    """Assert that two plain values are equal, floats within 1e-6."""
    assert type(mine) is type(theirs), f"{mine!r} is not {theirs!r}"
    if isinstance(mine, dict) and isinstance(theirs, dict):
        assert list(mine) == list(theirs)
        for key in mine:
            assert_alike(mine[key], theirs[key])
    elif isinstance(mine, list) and isinstance(theirs, list):
        assert len(mine) == len(theirs)
        for one, other in zip(mine, theirs, strict=True):
            assert_alike(one, other)
    elif isinstance(mine, float) and isinstance(theirs, float):
        assert math.isclose(mine, theirs, rel_tol=SCORE_TOLERANCE, abs_tol=SCORE_TOLERANCE), (
            f"{mine!r} is not {theirs!r}"
        )
    else:
        assert mine == theirs
