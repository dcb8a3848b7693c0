"""The typed dataset."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest

from dlk.config import make
from dlk.data.store import SplitWriter, open_split
from dlk.errors import ConfigError, DataError
from dlk.registry import register
from dlk.testing import DatasetConformance

COLUMNS = {
    "ids": [[1, 2], [], [70000]],
    "label": [0, 1, 2],
    "score": [0.1, 1.0, -2.5],
    "flag": [True, False, True],
    "text": ["a", "b", "c"],
}
TYPES = {"ids": "long", "label": "int", "score": "float", "flag": "bool"}


def dataset(**types):
    return register.build(make("dataset", "default", {"key_type_pairs": types}))


class TestConformance(DatasetConformance):
    component = ("dataset", "default")
    config: ClassVar = {"key_type_pairs": TYPES}
    columns: ClassVar = COLUMNS


@pytest.fixture
def split(tmp_path):
    with SplitWriter(tmp_path / "s") as writer:
        writer.write(COLUMNS)
    return open_split(tmp_path / "s")


def test_a_batch_has_the_declared_types_and_the_records_numbers(split):
    records = dataset(**TYPES).open(split, depths={}, partial=False)
    assert len(records) == 3
    items = records.__getitems__([2, 0])
    found = {name: column.dtype for name, column in items.items()}
    assert found == {
        "ids": np.int64,
        "label": np.int32,
        "score": np.float32,
        "flag": np.bool_,
        "_index": np.int64,
    }
    assert items["ids"].tolist() == [[70000], [1, 2]]
    assert items["_index"].tolist() == [2, 0]
    assert records[1]["label"].tolist() == [1]


def test_a_request_gives_the_bits_that_the_store_gives(split):
    made = dataset(**TYPES)
    stored = made.open(split, depths={}, partial=False).__getitems__([0, 1, 2])
    asked = made.items(COLUMNS, depths={})
    assert stored.keys() == asked.keys()
    for name, column in stored.items():
        assert column.dtype == asked[name].dtype
        assert np.array_equal(column.values, asked[name].values)
        assert column.tolist() == asked[name].tolist()


def test_columns_that_a_request_lacks_are_left_out():
    items = dataset(ids="long", label="long").items({"ids": [[1]], "text": ["a"]}, depths={})
    assert items.keys() == {"ids", "_index"}


def test_a_missing_column_is_an_error_unless_the_truth_is_unknown(split):
    with pytest.raises(DataError, match=r'no column "labels".*Did you mean "label"'):
        dataset(labels="long").open(split, depths={}, partial=False)
    assert dataset(labels="long").open(split, depths={}, partial=True).columns == {}


@pytest.mark.parametrize(
    ("types", "columns", "message"),
    [
        ({"a": "long"}, {"a": [0.5]}, "numbers with fractions"),
        ({"a": "bool"}, {"a": [0.5]}, "numbers with fractions"),
        ({"a": "int"}, {"a": [2**31]}, 'its type is "long"'),
        ({"a": "long"}, {"a": ["x"]}, "expected numbers, found 'x'"),
        ({"a": "long"}, {"a": [[1], None]}, "expected lists"),
    ],
)
def test_values_that_the_type_would_change_are_refused(tmp_path, types, columns, message):
    with pytest.raises(DataError, match=message):
        dataset(**types).items(columns, depths={})
    with SplitWriter(tmp_path / "s") as writer:
        writer.write(columns)
    stored = message.replace("found 'x'", "found").replace("expected lists", "null")
    with pytest.raises(DataError, match=stored):
        dataset(**types).open(open_split(tmp_path / "s"), depths={}, partial=False)


def test_the_row_of_a_request_that_holds_no_numbers_is_named():
    made = dataset(ids="long")
    with pytest.raises(DataError, match="row 7, column \"ids\": expected numbers, found 'x'"):
        made.items({"ids": [[1], [2, "x"]], "_row": [4, 7]}, depths={"ids": 1})
    with pytest.raises(DataError, match=r'^column "ids": expected lists nested 1 deep'):
        made.items({"ids": [[1], 2]}, depths={"ids": 1})


def test_rows_that_nest_otherwise_than_declared_are_refused(split):
    with pytest.raises(
        DataError, match='"ids" holds lists nested 1 deep, and data_collate pads lists nested 2'
    ):
        dataset(ids="long").open(split, depths={"ids": 2}, partial=False)
    with pytest.raises(DataError, match='column "label"'):
        dataset(label="long").items({"label": [1]}, depths={"label": 1})


def test_single_labels_where_each_row_needs_a_list_are_named_with_what_to_do(tmp_path):
    with SplitWriter(tmp_path / "valid") as writer:
        writer.info["split"] = "valid"
        writer.write({"label_ids": [0, 1]})
    with pytest.raises(
        DataError, match=r'^valid: column "label_ids" holds single values.*a list.* such as \["a"\]'
    ):
        dataset(label_ids="long").open(
            open_split(tmp_path / "valid"), depths={"label_ids": 1}, partial=False
        )


@pytest.mark.parametrize(
    ("types", "message"),
    [
        ({}, "at least one column"),
        ({"a": "double"}, "expected one of long"),
        ({"_index": "long"}, "always in a batch"),
    ],
)
def test_options_that_do_not_fit_are_config_errors(types, message):
    with pytest.raises(ConfigError, match=message):
        dataset(**types)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39])
@pytest.mark.parametrize("nested", [False, True])
def test_what_is_no_number_is_never_learnt_from(tmp_path, value, nested):
    values = [[1.0], [0.5, value], [2.0]] if nested else [1.0, value, 2.0]
    columns = {"score": values, "_row": [4, 7, 9]}
    for split in ("train", "valid"):
        with SplitWriter(tmp_path / split) as writer:
            writer.info["split"] = split
            writer.write(columns)
    one = dataset(score="float")
    with pytest.raises(DataError, match=r"train: row 7, column 'score': expected finite numbers"):
        one.open(open_split(tmp_path / "train"), depths={}, partial=False)
    # elsewhere it stands for a truth that is not known
    assert len(one.open(open_split(tmp_path / "valid"), depths={}, partial=False)) == 3
