"""Conformance of data components: what every subprocessor and every collate must do.

A package checks its own component by a class::

    class TestMyStep(SubprocessorConformance):
        component = ("subprocessor", "my_step")
        config = {"size": 3}
        columns = {"sentence": ["a text", "another"]}
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from dlk.context import Setup
from dlk.data.meta import Meta
from dlk.data.subprocessor.base import Columns, Subprocessor, TransformContext
from dlk.testing._common import Conformance

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

__all__ = ["DataCollateConformance", "SubprocessorConformance", "tiny_tokenizer"]


def tiny_tokenizer(path: str | os.PathLike[str], words: Iterable[str] = ()) -> str:
    """Write a tokenizer.json that splits at spaces and adds [CLS] and [SEP]; return its path.

    It knows the letters a to z beside `words`, and, like files of published models, has padding (to
    8) and truncation (at 4) stored in it, which a processor must switch off.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    known = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *(chr(ord("a") + number) for number in range(26))]
    vocabulary = {word: number for number, word in enumerate(dict.fromkeys([*known, *words]))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))  # noqa: S106 - a word, no secret
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    tokenizer.enable_padding(length=8, pad_id=0, pad_token="[PAD]")  # noqa: S106 - as above
    tokenizer.enable_truncation(4)
    tokenizer.save(os.fspath(path))
    return os.fspath(path)


class _WithFolder(Conformance):
    """Components whose configs may name files, and which may be built with a meta folder."""

    folder: Path

    @pytest.fixture(autouse=True)
    def _in_a_folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path
        self.config = self.values(tmp_path)

    def values(self, folder: Path) -> Mapping[str, Any]:
        """Return the config's values; override it where they name files, made in `folder`."""
        return self.config


class SubprocessorConformance(_WithFolder):
    """Laws of a subprocessor. Set `component`, `config` and `columns`.

    Attributes:
        columns: good rows, at least two, with each column that the step reads.
        bad: rows each of which is bad, in the same columns; empty: no value can be bad.
    """

    columns: ClassVar[Mapping[str, Sequence[Any]]]
    bad: ClassVar[Mapping[str, Sequence[Any]]] = {}
    # The processor reads on which data the step runs.
    unread = ("train_data_set", "predict_data_set", "online_data_set")

    def prepare(self, meta: Meta) -> None:
        """Put what the step needs into the meta folder; nothing by default."""

    def setup(self, *, pretrained: bool = True, seed: int = 0) -> Setup:
        """Return a setup with a meta folder that `prepare` filled."""
        meta = Meta(self.folder / "meta")
        meta.save()
        self.prepare(meta)
        return Setup(meta=meta, pretrained=pretrained, seed=seed)

    @pytest.fixture
    def step(self) -> Subprocessor:
        """The step, after it learnt and stored what it does."""
        made: Subprocessor = self.build()
        self.teach(made)
        return made

    def teach(self, step: Subprocessor) -> None:
        """Let a step store and learn what it does."""
        if step.stores:
            step.store(step.setup.meta)
        if step.learns:
            columns: Columns = {name: list(self.columns[name]) for name in step.learns_from}
            step.fit([columns], step.setup.meta)

    def exercise(self, component: Subprocessor) -> None:
        """Learn, and transform the example."""
        self.teach(component)
        self.run(component, self.given(component, self.columns))

    def given(
        self, step: Subprocessor, rows: Mapping[str, Sequence[Any]], first: int = 0
    ) -> Columns:
        """Return the columns that the step reads (the truth too), and `_row` from `first`."""
        columns = {name: list(copy.deepcopy(rows[name])) for name in (*step.reads, *step.targets)}
        size = len(next(iter(rows.values())))
        return {**columns, "_row": list(range(first, first + size))}

    def context(
        self, step: Subprocessor, columns: Columns, *, stage: str = "train"
    ) -> TransformContext:
        """Return a context in which every column is wanted."""
        return TransformContext(
            stage,
            stage,
            columns["_row"],
            frozenset((*step.writes, *step.output_map.values())),
            seed=7,
        )

    def run(self, step: Subprocessor, columns: Columns) -> dict[str, list[Any]]:
        """Transform good rows; give plain lists."""
        ctx = self.context(step, columns)
        made = step.transform(columns, ctx)
        self._none_bad(ctx)
        return {name: list(values) for name, values in made.items()}

    def _none_bad(self, ctx: TransformContext) -> None:
        assert not ctx.bad, (
            f"{self._name} refuses good rows of `columns`: {ctx.bad}: mend the step, or move them "
            "to `bad` of the test class"
        )

    def test_reads_and_writes_what_its_signature_says(self, step: Subprocessor) -> None:
        """The columns of the signature are enough, and are what comes back, of one length."""
        lacking = {*step.reads, *step.targets} - set(self.columns)
        assert not lacking, (
            f"{self._name} reads {sorted(lacking)}: give `columns` of the test class every column "
            "that the step reads"
        )
        columns = self.given(step, self.columns)
        made = self.run(step, columns)
        extra = {"_row"} if "_part" in made else set()
        assert set(made) == set(step.writes) | extra, (
            f"{self._name} makes the columns {sorted(made)}, its signature() says "
            f"{sorted(set(step.writes) | extra)}: make them agree"
        )
        size = len(made["_row"]) if "_part" in made else len(columns["_row"])
        lengths = {name: len(values) for name, values in made.items()}
        assert set(lengths.values()) <= {size}, (
            f"{self._name} makes columns of other lengths than {size}: {lengths}: give one value "
            "for each row, or `_row` and `_part` where a row becomes several records"
        )

    def test_what_it_makes_for_other_steps_it_makes_where_it_is_wanted(
        self, step: Subprocessor
    ) -> None:
        """Columns that its signature calls `passing` are left out where nobody reads them."""
        columns = self.given(step, self.columns)
        ctx = TransformContext("train", "train", columns["_row"])
        made = set(step.passing).intersection(step.transform(columns, ctx))
        assert not made, (
            f"{self._name} makes {sorted(made)} though nobody reads them: ask ctx.wants before "
            "making a column that its signature calls passing"
        )

    def test_changes_nothing_it_is_given(self, step: Subprocessor) -> None:
        """The columns stay as they were, lists inside them included."""
        columns = self.given(step, self.columns)
        before = copy.deepcopy(columns)
        self.run(step, columns)
        assert columns == before, (
            f"{self._name} changes the columns it is given: make new lists, also inside of rows"
        )

    def test_a_row_does_not_depend_on_its_neighbours(self, step: Subprocessor) -> None:
        """Rows one by one give what they give together."""
        columns = self.given(step, self.columns, first=40)
        together = self.run(step, columns)
        alone: dict[str, list[Any]] = {name: [] for name in together}
        for position in range(len(columns["_row"])):
            one: Columns = {name: [values[position]] for name, values in columns.items()}
            for name, values in self.run(step, one).items():
                alone[name] += values
        assert alone == together, (
            f"{self._name}: rows one by one give {alone}, together {together}: a row may depend "
            "on nothing but itself and what was learnt"
        )

    def test_rows_in_another_order_give_the_same(self, step: Subprocessor) -> None:
        """Turning the rows around turns the records of the rows around."""
        columns = self.given(step, self.columns)
        turned = {name: values[::-1] for name, values in columns.items()}
        rows = columns["_row"]
        found = _by_row(self.run(step, turned), rows[::-1])
        expected = _by_row(self.run(step, columns), rows)
        assert found == expected, (
            f"{self._name}: rows in another order give {found} instead of {expected}: keep no "
            "state from one row to the next"
        )

    def test_without_the_truth_it_makes_the_same_but_what_is_made_of_it(
        self, step: Subprocessor
    ) -> None:
        """In the stages predict and online no target is there, and nothing else changes."""
        columns = self.given(step, self.columns)
        made = self.run(step, columns)
        blind = {name: values for name, values in columns.items() if name not in step.targets}
        for stage in ("predict", "online") if step.targets else ():
            ctx = self.context(step, blind, stage=stage)
            found = step.transform(blind, ctx)
            self._none_bad(ctx)
            for name in found:
                assert list(found[name]) == made[name], (
                    f'{self._name}: in the stage {stage}, where no truth is given, "{name}" is '
                    "another than in training: nothing that a model reads may be made of targets"
                )
            assert set(found) < set(made), (
                f"{self._name} makes nothing of its targets {sorted(step.targets)}: take them out "
                "of its signature()"
            )
            supervised = step.config.signature().supervised
            assert set(made) - set(found) == set(supervised), (
                f"{self._name} makes {sorted(set(made) - set(found))} of its targets, its "
                f"signature() says {sorted(supervised)}: name them in supervised"
            )

    def test_what_it_counts_does_not_depend_on_neighbours(self, step: Subprocessor) -> None:
        """The counts of rows one by one add up to those of all rows together."""
        columns = self.given(step, self.columns)
        together = self.context(step, columns)
        step.transform(columns, together)
        alone: dict[str, int] = {}
        for position in range(len(columns["_row"])):
            one: Columns = {name: [values[position]] for name, values in columns.items()}
            ctx = self.context(step, one)
            step.transform(one, ctx)
            for name, number in ctx.counts.items():
                alone[name] = alone.get(name, 0) + number
        assert alone == together.counts, (
            f"{self._name} counts {alone} for rows one by one and {together.counts} for all: call "
            "ctx.count for each row alike"
        )

    def test_many_threads_get_what_one_gets(self, step: Subprocessor) -> None:
        """The step can be used from several threads at once."""
        columns = self.given(step, self.columns)
        expected = self.run(step, columns)
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda _: self.run(step, copy.deepcopy(columns)), range(16)))
        assert all(each == expected for each in found), (
            f"{self._name} gives other results in threads: keep no state in transform"
        )

    def test_no_rows_give_no_records(self, step: Subprocessor) -> None:
        """An empty request is no special case."""
        made = self.run(step, self.given(step, {name: [] for name in self.columns}))
        assert all(values == [] for values in made.values()), (
            f"{self._name} makes {made} of no rows: give empty columns"
        )

    def test_bad_rows_are_reported_by_their_input_row(self, step: Subprocessor) -> None:
        """Each bad row is reported, and no good one."""
        from dlk.errors import RowError

        for position in range(len(next(iter(self.bad.values()), []))):
            names = (*step.reads, *step.targets)
            rows = {name: [self.columns[name][0], self.bad[name][position]] for name in names}
            columns = self.given(step, rows, first=100)
            ctx = self.context(step, columns)
            try:
                step.transform(columns, ctx)
            except RowError as error:
                ctx.bad[error.row] = error
            value = {name: rows[name][1] for name in names}
            assert list(ctx.bad) == [101], (
                f"{self._name}: of the input rows 100 (good) and 101 (bad, {value}) it reports "
                f"{list(ctx.bad)}: call ctx.bad_row(position in the chunk, …) for bad "
                "rows alone"
            )
            assert ctx.bad[101].column in names, (
                f'{self._name} reports the bad row by the column "{ctx.bad[101].column}", expected '
                f"one that it reads: {', '.join(names)}"
            )


def _by_row(
    made: Mapping[str, Sequence[Any]], rows: Sequence[int]
) -> dict[int, list[dict[str, Any]]]:
    found: dict[int, list[dict[str, Any]]] = {row: [] for row in sorted(rows)}
    names = [name for name in made if name != "_row"]
    for position, row in enumerate(made.get("_row", rows) if names else []):
        found[row].append({name: made[name][position] for name in names})
    return found


class DataCollateConformance(Conformance):
    """Laws of a collate. Set `component`, `config` and `columns`.

    Attributes:
        columns: at least three rows of numbers, or of lists of them, by column.
        made: names of what it makes beside them that is no mask.
    """

    columns: ClassVar[Mapping[str, Sequence[Any]]]
    made: ClassVar[frozenset[str]] = frozenset()

    @pytest.fixture
    def collate(self) -> Any:
        """The collate."""
        return self.build()

    def exercise(self, component: Any) -> None:
        """Join the example's rows."""
        self.join(component, range(self.size()))

    def join(self, collate: Any, order: Sequence[int]) -> dict[str, Tensor]:
        """Return the batch of some rows."""
        import numpy as np

        from dlk.data.ragged import Ragged

        items = {
            name: Ragged.from_lists(rows, depth=collate.depths.get(name)).take(order)
            for name, rows in self.columns.items()
        }
        made: dict[str, Tensor] = collate(
            {**items, "_index": Ragged(np.asarray(order, dtype=np.int64))}
        )
        return made

    def size(self) -> int:
        """Return the number of rows of the example."""
        return len(next(iter(self.columns.values())))

    def test_gives_tensors_with_rows_first_and_their_numbers(self, collate: Any) -> None:
        """Every value is a tensor of all rows; `_index` is int64 and in the order given."""
        import torch

        order = list(range(self.size()))[::-1]
        batch = self.join(collate, order)
        kinds = {name: type(value).__name__ for name, value in batch.items()}
        assert set(kinds.values()) == {"Tensor"}, (
            f"{self._name}: a batch holds tensors only, got {kinds}"
        )
        index = batch["_index"]
        assert index.dtype == torch.int64, f"{self._name}: `_index` is {index.dtype}, not int64"
        assert index.tolist() == order, (
            f"{self._name}: rows {order} come as {index.tolist()}: keep the order that is given"
        )
        sizes = {name: len(tensor) for name, tensor in batch.items()}
        assert set(sizes.values()) == {self.size()}, (
            f"{self._name}: {self.size()} rows give tensors of {sizes} rows: axis 0 is the rows"
        )
        lacking = set(self.columns) - set(batch)
        assert not lacking, f"{self._name} leaves out {sorted(lacking)}: give every column"

    def test_the_same_rows_give_the_same_bits(self, collate: Any) -> None:
        """Nothing is drawn, and nothing is kept from one batch to the next."""
        import torch

        order = list(range(self.size()))
        first = self.join(collate, order)
        self.join(collate, order[:1])
        second = self.join(collate, order)
        same = list(first) == list(second)
        same = same and all(torch.equal(first[name], second[name]) for name in first)
        assert same, (
            f"{self._name}: the same rows give another batch the second time: draw no lots and "
            "keep nothing from one batch to the next"
        )

    def test_neighbours_only_add_padding(self, collate: Any) -> None:
        """A row alone is the corner of the same row in a batch."""
        import torch

        batch = self.join(collate, range(self.size()))
        for row in range(self.size()):
            for name, alone in self.join(collate, [row]).items():
                corner = batch[name][row]
                for axis, length in enumerate(alone.shape[1:]):
                    corner = corner.narrow(axis, 0, length)
                assert torch.equal(corner, alone[0]), (
                    f'{self._name}: "{name}" of row {row} is {alone[0].tolist()} alone and '
                    f"{corner.tolist()} in a batch: neighbours may only add padding behind"
                )

    def test_masks_are_bool(self, collate: Any) -> None:
        """What the config's signature writes beyond its columns, and `made`, is a bool mask."""
        import torch

        batch = self.join(collate, range(self.size()))
        for name in set(batch) - set(self.columns) - {"_index"} - self.made:
            assert batch[name].dtype == torch.bool, (
                f'{self._name} makes "{name}" as {batch[name].dtype}: a mask is bool, true where '
                "kept; name what is no mask in `made` of the test class"
            )
