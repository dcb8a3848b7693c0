"""Process: from a config and raw data to processed splits."""

from __future__ import annotations

import json
import subprocess
import sys

import pandas as pd
import pytest

from dlk.config import make
from dlk.context import Setup
from dlk.data.store import open_split
from dlk.errors import ConfigError, DataError
from dlk.preprocess import Process, Processed
from dlk.registry import register
from dlk.testing.data import tiny_tokenizer

TRAIN = [
    {"sentence": "a b c", "labels": "x"},
    {"sentence": "d", "labels": "y"},
    {"sentence": "", "labels": "x"},
]


@pytest.fixture
def config(tmp_path):
    tiny_tokenizer(tmp_path / "tokenizer.json")
    values = {
        "@processor@default": {
            "feed_order": ["fast_tokenizer", "label_gather", "label2id"],
            "processed_data_dir": "data",
            "@subprocessor@fast_tokenizer": {"tokenizer_path": "tokenizer.json"},
            "@subprocessor@token_gather#label_gather": {
                "token_vocab": "label_vocab.json", "gather_columns": ["labels"],
                "unk": None, "pad": None,
            },
            "@subprocessor@token2id-label#label2id": {},
        }
    }  # fmt: skip
    path = tmp_path / "process.jsonc"
    path.write_text("// how the data is prepared\n" + json.dumps(values))
    return path


def ids(folder, split):
    opened = open_split(folder / split)
    return [row["input_ids"] for row in opened.rows(range(len(opened)))]


def test_training_data_is_processed_beside_the_config(config, tmp_path):
    made = Process(config).run({"train": TRAIN, "valid": pd.DataFrame(TRAIN[:1])})
    assert made.dir == str(tmp_path / "data")
    assert (made.rows, made.records, made.rejects) == (
        {"train": 3, "valid": 1},
        {"train": 3, "valid": 1},
        {"train": 0, "valid": 0},
    )
    assert made.meta["label_vocab"] == {"size": 2}
    assert made.meta["tokenizer"]["size"] == 30
    assert ids(tmp_path / "data", "train") == [[2, 4, 5, 6, 3], [2, 7, 3], [2, 3]]
    rows = open_split(tmp_path / "data" / "train").rows(range(3), ["labels", "label_ids"])
    assert rows == [
        {"labels": "x", "label_ids": 0},
        {"labels": "y", "label_ids": 1},
        {"labels": "x", "label_ids": 0},
    ]


def test_the_result_tells_rows_rejects_and_numbers(config):
    data = {"train": [*TRAIN, {"sentence": None, "labels": "x"}]}
    made = Process(config, overrides=["processor.bad_rows=reject"]).run(data)
    text = str(made)
    assert "train            4 rows: 1 rejected (train/rejects.jsonl), 3 kept\n" in text
    assert "meta.label_vocab: size 2" in text


def test_rows_read_rejected_and_kept_are_told_apart_from_the_records_they_became():
    made = Processed("out", {"test": 3002}, {"test": 3410}, {"test": 2}, {"test": {}}, {})
    assert str(made).splitlines()[1] == (
        "  test         3,002 rows: 2 rejected (test/rejects.jsonl), 3,000 kept -> 3,410 records"
    )
    made = Processed("out", {"test": 3000}, {"test": 3410}, {"test": 0}, {"test": {}}, {})
    assert str(made).splitlines()[1] == "  test         3,000 rows -> 3,410 records"


def test_the_result_shows_what_steps_counted_as_a_table_of_splits():
    counts = {"train": {"tag: entities cut": 1234, "tag: lost": 1}, "valid": {"tag: lost": 2}}
    rows = {"train": 5, "valid": 5}
    made = Processed("out", rows, rows, {"train": 0, "valid": 0}, counts, {})
    assert str(made).splitlines()[3:] == [
        "                           train      valid",
        "    tag: entities cut      1,234          0",
        "    tag: lost                  1          2",
    ]
    nothing = Processed("out", {"train": 1}, {"train": 1}, {"train": 0}, {"train": {}}, {})
    assert len(str(nothing).splitlines()) == 2


def test_data_to_predict_needs_no_labels_no_tokenizer_file_and_leaves_the_rest(config, tmp_path):
    Process(config).run({"train": TRAIN})
    (tmp_path / "tokenizer.json").unlink()
    before = ids(tmp_path / "data", "train")
    for data in ([{"sentence": "b"}], {"predict": {"sentence": ["b"]}}, {"sentence": ["b"]}):
        made = Process(config, stage="predict").run(data)
        assert made.rows == {"predict": 1}
        assert ids(tmp_path / "data", "predict") == [[2, 5, 3]]
    assert ids(tmp_path / "data", "train") == before
    assert "label_ids" not in open_split(tmp_path / "data" / "predict").column_names


def test_a_test_split_can_be_added_later(config, tmp_path):
    Process(config).run({"train": TRAIN})
    Process(config).run({"test": TRAIN[1:2]})
    assert ids(tmp_path / "data", "test") == [[2, 7, 3]]
    assert len(ids(tmp_path / "data", "train")) == 3


def test_a_new_training_split_replaces_everything(config, tmp_path):
    Process(config).run({"train": TRAIN, "valid": TRAIN})
    made = Process(config).run({"train": [{"sentence": "z", "labels": "q"}]})
    assert made.meta["label_vocab"] == {"size": 1}
    assert not (tmp_path / "data" / "valid").exists()


def test_predicting_before_learning_says_what_to_do(config):
    with pytest.raises(DataError, match="process the training data first"):
        Process(config, stage="predict").run(TRAIN)
    with pytest.raises(ConfigError, match="label_gather learns it on the training split"):
        Process(config).run({"test": TRAIN})


def test_a_request_gives_columns_and_errors(config):
    Process(config).run({"train": TRAIN})
    online = Process(config, stage="online").run([{"sentence": "a"}, {"sentence": None}])
    assert online.columns == {"sentence": ["a"], "_row": [0], "input_ids": [[2, 4, 3]]}
    assert list(online.errors) == [1]


def test_an_unknown_label_in_validation_names_row_and_nearest(config):
    with pytest.raises(
        DataError, match=r"valid: row 1, column 'labels': 'xx' is not in the vocabulary"
    ):
        Process(config).run(
            {"train": TRAIN, "valid": [TRAIN[0], {"sentence": "a", "labels": "xx"}]}
        )


@pytest.mark.parametrize("form", ["path", "text", "dict", "object"])
def test_configs_come_as_path_dict_or_object(config, tmp_path, form):
    dictionary = json.loads(config.read_text().partition("\n")[2])
    values = dictionary["@processor@default"]
    values["processed_data_dir"] = str(tmp_path / "data")
    values["@subprocessor@fast_tokenizer"]["tokenizer_path"] = str(tmp_path / "tokenizer.json")
    given = {
        "path": config,
        "text": str(config),
        "dict": dictionary,
        "object": make("processor", "default", values),
    }
    Process(given[form]).run({"train": TRAIN})
    assert len(ids(tmp_path / "data", "train")) == 3


def test_wrong_use_is_told():
    with pytest.raises(ValueError, match="stage is one of"):
        Process({}, stage="training")
    with pytest.raises(ValueError, match="object is final"):
        Process(make("processor", "default", {}), overrides=["processor.seed=1"])
    with pytest.raises(DataError, match="stage train takes"):
        Process(make("processor", "default", {})).run([{"a": 1}])


def test_from_rows_to_a_batch(config, tmp_path):
    Process(config).run({"train": TRAIN, "valid": TRAIN})
    values = {
        "@dataset@default": {"key_type_pairs": {"input_ids": "long", "label_ids": "long"}},
        "@data_collate@default": {"gen_mask": {"input_ids": "attention_mask"}},
    }
    data = register.build(make("datamodule", "default", values), Setup.empty())
    data.open(tmp_path / "data")
    (batch,) = data.loader("valid")
    assert batch["input_ids"].tolist() == [[2, 4, 5, 6, 3], [2, 7, 3, 0, 0], [2, 3, 0, 0, 0]]
    assert batch["attention_mask"].sum(1).tolist() == [5, 3, 2]
    assert batch["label_ids"].tolist() == [0, 1, 0]
    online = Process(config, stage="online").run([{"sentence": row["sentence"]} for row in TRAIN])
    assert data.batch(online.columns)["input_ids"].equal(batch["input_ids"])


def test_serving_imports_neither_torch_arrow_pandas_nor_datasets(config):
    Process(config).run({"train": TRAIN})
    code = f"""
import sys
from dlk.preprocess import Process
Process({str(config)!r}, stage="online").run([{{"sentence": "a"}}])
heavy = ("torch", "lightning", "datasets", "pyarrow", "pandas", "numpy", "transformers")
print([m for m in heavy if m in sys.modules])
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
