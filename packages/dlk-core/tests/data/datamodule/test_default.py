"""The data module over a processed folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from typing import ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dlk.config import make
from dlk.context import Setup
from dlk.data.meta import Meta
from dlk.data.store import SplitWriter
from dlk.errors import ConfigError, DataError
from dlk.registry import register
from dlk.testing import DataModuleConformance

VALUES = {
    "train_batch_size": 4,
    "predict_batch_size": 3,
    "@dataset@default": {
        "key_type_pairs": {"input_ids": "long", "chars": "long", "score": "float", "label": "long"}
    },
    "@data_collate@default": {
        "key_padding_pairs": {"input_ids": 1},
        "key_padding_pairs_2d": {"chars": 0},
        "gen_mask": {"input_ids": "attention_mask"},
    },
}


def columns(size, *, first=0):
    numbers = range(first, first + size)
    return {
        "text": [f"text {n}" for n in numbers],
        "input_ids": [[(n * 7 + k) % 300 for k in range(n % 5 + 1)] for n in numbers],
        "chars": [[[n, k] for k in range(n % 3)] for n in numbers],
        "score": [n / 3 for n in numbers],
        "label": [n % 2 for n in numbers],
        "_row": list(numbers),
    }


def module(seed=0, **values):
    return register.build(
        make("datamodule", "default", {**VALUES, **values}), Setup(Meta.empty(), seed=seed)
    )


class TestConformance(DataModuleConformance):
    component = ("datamodule", "default")
    config: ClassVar = VALUES
    columns: ClassVar = columns(11)


class TestConformanceInOrder(DataModuleConformance):
    component = ("datamodule", "default")
    config: ClassVar = {**VALUES, "shuffle": False, "num_workers": 1, "pin_memory": False}
    columns: ClassVar = columns(5)


@pytest.fixture(scope="module")
def processed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processed")
    for split, size in (("train", 21), ("valid", 7), ("predict", 5)):
        with SplitWriter(folder / split) as writer:
            data = columns(size)
            if split == "predict":
                del data["label"], data["score"]
            for start in range(0, size, 6):
                writer.write({name: values[start : start + 6] for name, values in data.items()})
    return folder


@pytest.fixture
def opened(processed):
    def made(**values):
        data = module(**values)
        data.open(processed)
        return data

    return made


def numbers(loader):
    return [batch["_index"].tolist() for batch in loader]


def equal(left, right):
    return left.keys() == right.keys() and all(
        left[name].dtype == right[name].dtype and torch.equal(left[name], right[name])
        for name in left
    )


def test_a_batch_has_tensors_of_declared_types_and_a_bool_mask(opened):
    batch = next(iter(opened().loader("train")))
    assert {name: tensor.dtype for name, tensor in batch.items()} == {
        "input_ids": torch.int64,
        "attention_mask": torch.bool,
        "chars": torch.int64,
        "score": torch.float32,
        "label": torch.int64,
        "_index": torch.int64,
    }
    assert batch["input_ids"].shape == batch["attention_mask"].shape
    assert (batch["input_ids"][~batch["attention_mask"]] == 1).all()


@given(order=st.lists(st.integers(0, 6), min_size=1, max_size=7, unique=True))
def test_a_request_gives_the_bits_of_the_loader_for_the_same_rows(processed, order):
    data = module()
    data.open(processed)
    loader = data.loader("valid")
    offline = loader.collate_fn(loader.dataset.__getitems__(order))
    online = data.batch({name: [values[n] for n in order] for name, values in columns(7).items()})
    assert equal({**offline, "_index": online["_index"]}, online)
    assert offline["_index"].tolist() == order


def test_a_request_without_truth_gives_the_other_tensors(opened):
    data = opened()
    given_columns = {
        name: values for name, values in columns(3).items() if name not in {"label", "score"}
    }
    batch = data.batch(given_columns)
    assert batch.keys() == {"input_ids", "attention_mask", "chars", "_index"}
    assert equal(batch, {name: data.batch(columns(3))[name] for name in batch})


def test_training_batches_hold_each_record_once_and_follow_the_epoch(opened):
    data = opened(seed=5)
    loader = data.loader("train")
    first = numbers(loader)
    assert sorted(record for batch in first for record in batch) == list(range(21))
    assert len(loader) == len(first) == 6
    assert numbers(loader) == first
    data.set_epoch(1)
    second = numbers(loader)
    assert second != first
    data.set_epoch(0)
    assert numbers(loader) == first
    assert numbers(opened(seed=6).loader("train")) != first


def test_options_of_training_reach_the_batches(opened):
    assert numbers(opened(shuffle=False, train_batch_size=8).loader("train")) == [
        list(range(8)), list(range(8, 16)), list(range(16, 21)),
    ]  # fmt: skip
    assert len(numbers(opened(drop_last=True).loader("train"))) == 5
    plain, windowed = opened(window=0).loader("train"), opened(window=6).loader("train")

    def padding(loader):
        return sum(int((~batch["attention_mask"]).sum()) for batch in loader)

    assert padding(windowed) < padding(plain)


def test_evaluation_goes_in_row_order(opened):
    data = opened()
    assert numbers(data.loader("valid")) == [[0, 1, 2], [3, 4, 5], [6]]
    assert numbers(data.loader("predict")) == [[0, 1, 2], [3, 4]]
    shares = [numbers(data.loader("valid", rank=rank, world_size=2)) for rank in range(2)]
    assert shares == [[[0, 1, 2], [6]], [[3, 4, 5]]]


def test_evaluation_never_splits_a_row(tmp_path):
    with SplitWriter(tmp_path / "valid") as writer:
        writer.write({**columns(6), "_row": [0, 0, 1, 1, 1, 2], "_part": [0, 1, 0, 1, 2, 0]})
    data = module()
    data.open(tmp_path)
    assert numbers(data.loader("valid")) == [[0, 1], [2, 3, 4], [5]]


def test_windows_of_lengths_are_the_default_for_training_and_row_order_otherwise():
    made = make("datamodule", "default", VALUES)
    assert (made.shuffle, made.window, made.predict_window) == (True, 20, 0)


def test_evaluation_by_length_gives_the_rows_of_a_batch_as_row_order_does(opened, processed):
    loader = opened(predict_window=9).loader("valid")
    batches = list(loader)
    found = [number for batch in batches for number in batch["_index"].tolist()]
    sizes = [len(values) for values in columns(7)["input_ids"]]
    assert [sizes[number] for number in found] == sorted(sizes, reverse=True)
    assert sorted(found) == list(range(7))
    plain = opened().loader("valid")
    for batch in batches:
        again = plain.collate_fn(plain.dataset.__getitems__(batch["_index"].tolist()))
        assert equal(batch, again)


def test_evaluation_by_length_of_data_without_lists_goes_in_row_order(tmp_path):
    with SplitWriter(tmp_path / "valid") as writer:
        writer.write({"label": [0, 1, 0, 1], "_row": [0, 1, 2, 3]})
    data = module(**{
        "predict_window": 5,
        "@dataset@default": {"key_type_pairs": {"label": "long"}},
        "@data_collate@default": {},
    })  # fmt: skip
    data.open(tmp_path)
    assert numbers(data.loader("valid")) == [[0, 1, 2], [3]]


def test_a_budget_of_tokens_decides_how_many_records_a_batch_holds(opened):
    data = opened(max_tokens=9, train_batch_size=1)
    loader = data.loader("train")
    for epoch in range(3):
        data.set_epoch(epoch)
        batches = list(loader)
        assert len(batches) == len(loader)
        assert sorted(n for batch in batches for n in batch["_index"].tolist()) == list(range(21))
        for batch in batches:
            records = batch["_index"].tolist()
            longest = max(n % 5 + 1 for n in records)  # of input_ids, which have a mask
            assert len(records) * longest <= 9 or len(records) == 1
    assert max(len(batch["_index"]) for batch in batches) > 2


def test_what_has_a_mask_decides_which_records_are_alike_and_nothing_beside_it(tmp_path):
    """A model goes through pieces; words, tags and entities of the same text are in no order."""
    lengths = [1 + number * 7 % 23 for number in range(64)]
    with SplitWriter(tmp_path / "train") as writer:
        writer.write({
            "input_ids": [[1] * length for length in lengths],
            "tags": [[1] * (40 - length) for length in lengths],
            "_row": list(range(64)),
        })  # fmt: skip

    def padded(masks, **values):
        data = module(**{
            "train_batch_size": 8,
            "@dataset@default": {"key_type_pairs": {"input_ids": "long", "tags": "long"}},
            "@data_collate@default": {"gen_mask": masks, "key_padding_pairs": {"tags": -100}},
            **values,
        })  # fmt: skip
        data.open(tmp_path)
        return sum(batch["input_ids"].numel() for batch in data.loader("train"))

    best = sum(8 * max(some) for some in zip(*[iter(sorted(lengths))] * 8, strict=True))
    assert padded({"input_ids": "mask"}) == best
    assert padded({}) > 1.3 * best  # all lists together
    assert padded({"input_ids": "mask"}, max_tokens=64) <= best


def test_columns_that_run_side_by_side_count_once_as_tokens(tmp_path):
    with SplitWriter(tmp_path / "train") as writer:
        ids = [[1] * 4] * 6
        writer.write({"input_ids": ids, "tags": ids, "other": [[1]] * 6, "_row": list(range(6))})

    def sizes(*names):
        types = {"key_type_pairs": dict.fromkeys(names, "long")}
        data = module(**{"@dataset@default": types, "@data_collate@default": {}, "max_tokens": 8})
        data.open(tmp_path)
        return sorted(len(batch["_index"]) for batch in data.loader("train"))

    assert sizes("input_ids") == sizes("input_ids", "tags") == [2, 2, 2]
    assert sizes("input_ids", "other") == [1] * 6


def test_a_budget_needs_lists_and_a_window(opened):
    plain = {"key_type_pairs": {"label": "long"}}
    with pytest.raises(DataError, match="no column of the training data holds lists"):
        opened(**{
            "max_tokens": 9, "@dataset@default": plain, "@data_collate@default": {}
        }).loader("train")  # fmt: skip
    with pytest.raises(ConfigError, match="set window to 1 or more"):
        opened(max_tokens=9, window=0)
    assert len(numbers(opened(max_tokens=99, window=0, shuffle=False).loader("train"))) == 2


@pytest.mark.parametrize("done", [0, 1, 4])
def test_a_place_in_a_budget_goes_on_with_the_next_batch_to_the_bit(opened, done):
    batches = list(opened(max_tokens=9).loader("train"))
    loader = opened(max_tokens=9).loader("train")
    iterator = iter(loader)
    for _ in range(done):
        next(iterator)
    state = json.loads(json.dumps(loader.state_dict()))
    resumed = opened(max_tokens=9).loader("train")
    resumed.load_state_dict(state)
    rest = list(resumed)
    assert len(rest) == len(batches) - done
    assert all(map(equal, rest, batches[done:]))


def test_a_budget_plans_as_many_steps_as_the_trainer_makes(toy):
    toy.edit({"@datamodule@default/max_tokens": 40, "@datamodule@default/window": 2})
    done = toy.train("trainer.max_epochs=3", "trainer.log_every_n_steps=1")
    lines = [line for line in toy.metrics() if "train_loss" in line]
    steps = len(lines)
    by_epoch = [sum(line["epoch"] == epoch for line in lines) for epoch in range(3)]
    assert by_epoch == [steps // 3] * 3
    rates = [line["lr"] for line in lines]
    decay = rates[-2] - rates[-1]
    assert decay > 0, "the schedule goes down to the last step"
    assert rates[-1] == pytest.approx(decay, rel=0.01), "and would be at 0 with the next"
    assert done.metrics


def test_a_split_that_is_not_there_has_no_loader(opened):
    data = opened()
    assert data.loader("test") is None
    assert data.split("test") is None
    assert len(data.split("train")) == 21
    with pytest.raises(ValueError, match="splits are train"):
        data.loader("dev")


def test_data_to_predict_may_lack_the_truth_and_training_data_may_not(opened):
    batch = next(iter(opened().loader("predict")))
    assert batch.keys() == {"input_ids", "attention_mask", "chars", "_index"}
    wrong = {"key_type_pairs": {**VALUES["@dataset@default"]["key_type_pairs"], "labels": "long"}}
    with pytest.raises(DataError, match='no column "labels"'):
        opened(**{"@dataset@default": wrong}).loader("train")


@pytest.mark.parametrize("done", range(7))
def test_a_saved_place_goes_on_with_the_next_batch_to_the_bit(opened, done):
    data = opened()
    loader = data.loader("train")
    data.set_epoch(2)
    batches = list(loader)
    iterator = iter(loader)
    for _ in range(done):
        next(iterator)
    state = loader.state_dict()
    assert json.loads(json.dumps(state)) == state
    resumed = opened().loader("train")
    resumed.load_state_dict(state)
    if done < 6:
        resumed.set_epoch(2)
        rest = list(resumed)
        assert len(rest) == 6 - done
        assert all(map(equal, rest, batches[done:]))
    else:
        resumed.set_epoch(3)
        data.set_epoch(3)
        assert all(map(equal, list(resumed), list(loader)))
    assert loader.state_dict() == (state if done < 6 else state | {"epoch": 4, "start": 0})


def test_a_place_counts_the_batches_given_not_those_prepared_ahead(opened):
    data = opened(num_workers=1)
    loader = data.loader("train")
    iterator = iter(loader)
    next(iterator)
    assert loader.state_dict()["start"] == 1
    rest = list(iterator)
    assert len(rest) == 5
    assert all(map(equal, rest, list(opened().loader("train"))[1:]))


def test_workers_and_pinning_follow_the_config(opened):
    assert opened().loader("train").num_workers == 0
    assert opened(num_workers=-1).num_workers == os.cpu_count()
    assert opened().pin_memory is torch.cuda.is_available()
    assert opened(pin_memory=True).loader("train").pin_memory is True
    assert opened(pin_memory=False).loader("train").pin_memory is False
    # workers stay for all epochs, and where there are none there is nothing to keep
    assert opened(num_workers=1).loader("train").persistent_workers is True
    assert opened().loader("train").persistent_workers is False


@pytest.mark.parametrize("split", ["train", "valid"])
def test_going_through_a_loader_draws_nothing_that_a_model_draws_from(opened, split):
    loader = opened().loader(split)
    before = torch.random.get_rng_state()
    list(loader)
    next(iter(loader))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_rank_and_world_size_go_together(opened):
    with pytest.raises(ValueError, match="go together"):
        opened().loader("train", rank=1)


def test_a_folder_without_processed_data_says_what_to_do(tmp_path):
    with pytest.raises(DataError, match="dlk process"):
        module().open(tmp_path)


def test_collate_and_dataset_must_name_the_same_columns():
    with pytest.raises(
        ConfigError,
        match=r'names "inputs_ids", which the dataset does not have. Did you mean "input_ids"',
    ):
        module(**{"@data_collate@default": {"gen_mask": {"inputs_ids": "m"}}})
    with pytest.raises(ConfigError, match='makes the mask "score", which is a column'):
        module(
            **{
                "@data_collate@default": {
                    "gen_mask": {"input_ids": "score"},
                    "key_padding_pairs_2d": {"chars": 0},
                }
            }
        )


def test_the_signature_says_what_a_batch_holds(opened):
    signature = make("datamodule", "default", VALUES).signature()
    assert signature.reads == ("input_ids", "chars", "score", "label")
    assert set(signature.writes) == set(next(iter(opened().loader("train"))))


def test_a_request_imports_neither_lightning_datasets_nor_arrow():
    code = f"""
import sys
from dlk.config import make
from dlk.registry import register
made = register.build(make("datamodule", "default", {VALUES!r}))
made.batch({{"input_ids": [[1, 2]]}})
heavy = ("lightning", "datasets", "pyarrow", "pandas", "transformers")
print([m for m in heavy if m in sys.modules])
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_a_batch_of_many_rows_takes_as_much_python_as_one_of_few(tmp_path):
    """Calls of Python and C functions, and lines: none for each row."""
    size = 4096
    draw = np.random.default_rng(0).integers
    rows = [list(range(int(length))) for length in draw(1, 9, size)]
    with SplitWriter(tmp_path / "train") as writer:
        for start in range(0, size, 512):
            part = rows[start : start + 512]
            writer.write(
                {
                    "input_ids": part,
                    "position_ids": part,
                    "label_ids": part,
                    "label": [len(row) % 2 for row in part],
                    "_row": list(range(start, start + len(part))),
                }
            )
    names = ("input_ids", "position_ids", "label_ids", "label")
    made = module(
        **{
            "@dataset@default": {"key_type_pairs": dict.fromkeys(names, "long")},
            "@data_collate@default": {
                "key_padding_pairs": {"input_ids": 0, "position_ids": 0, "label_ids": -100},
                "gen_mask": {"input_ids": "attention_mask"},
            },
        }
    )
    made.open(tmp_path)
    loader = made.loader("train")

    def work(count):
        numbers = list(range(7, 7 + count))
        loader.collate_fn(loader.dataset.__getitems__(numbers))  # what a first batch sets up
        seen: Counter[str] = Counter()

        def line(frame, event, argument):
            seen[event] += 1
            return line

        was = sys.gettrace(), sys.getprofile()
        sys.setprofile(lambda frame, event, argument: seen.update([f"profile {event}"]))
        sys.settrace(line)
        try:
            batch = loader.collate_fn(loader.dataset.__getitems__(numbers))
        finally:
            sys.settrace(was[0])
            sys.setprofile(was[1])
        assert len(batch["attention_mask"]) == count
        return seen

    few, many = work(32), work(3200)
    assert few["line"] > 20
    assert few["profile c_call"] > 20
    assert few == many
