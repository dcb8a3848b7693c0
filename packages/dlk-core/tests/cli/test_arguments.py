"""What ``--data`` names."""

from __future__ import annotations

import pytest

from dlk.cli._arguments import UsageError, find_splits, splits_of


def write(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text("{}\n")
    return folder


def splits(words, folder, stage="train"):
    return splits_of(words, config=str(folder / "process.jsonc"), stage=stage)


def test_a_split_may_have_several_paths_globs_and_equal_signs(tmp_path):
    words = ["train=a.jsonl", "valid=b/*.csv", "train=year=2024/c.parquet"]
    assert splits(words, tmp_path) == {
        "train": ["a.jsonl", "year=2024/c.parquet"],
        "valid": ["b/*.csv"],
    }


def test_a_folder_stands_for_the_splits_in_it(tmp_path):
    folder = write(tmp_path / "raw", "train.jsonl", "test.csv", "notes.txt")
    expected = {"train": [f"{folder}/train.jsonl"], "test": [f"{folder}/test.csv"]}
    assert splits([str(folder)], tmp_path) == expected
    assert splits([str(folder), "train=more.jsonl"], tmp_path)["train"] == [
        f"{folder}/train.jsonl",
        "more.jsonl",
    ]


def test_without_data_the_folder_beside_the_config_is_taken(tmp_path):
    write(tmp_path / "data", "train.parquet", "valid.parquet")
    assert set(splits([], tmp_path)) == {"train", "valid"}


def test_data_to_predict_needs_no_split(tmp_path):
    assert splits(["new.jsonl"], tmp_path, "predict") == {"predict": ["new.jsonl"]}
    assert splits(["predict=new.jsonl"], tmp_path, "predict") == {"predict": ["new.jsonl"]}


@pytest.mark.parametrize(
    ("words", "stage", "says"),
    [
        (["trian=a.jsonl"], "train", 'no split "trian" in stage train. Did you mean "train"'),
        (["train=a.jsonl"], "predict", 'no split "train" in stage predict'),
        (["train="], "train", "expected a path after ="),
        (["a.jsonl"], "train", r"expected SPLIT=PATH, such as train=a\.jsonl"),
        ([], "train", r"data is not there\. Name the files: --data train=FILE"),
    ],
)
def test_words_that_name_nothing_are_refused(tmp_path, words, stage, says):
    with pytest.raises(UsageError, match=says):
        splits(words, tmp_path, stage)


def test_two_files_of_one_split_are_ambiguous(tmp_path):
    folder = write(tmp_path / "raw", "train.jsonl", "train.csv")
    with pytest.raises(UsageError, match=r"which is train\? Found train\.jsonl and train\.csv"):
        find_splits(folder)


def test_the_answer_to_two_files_of_one_split_is_a_command_that_works(tmp_path):
    folder = write(
        tmp_path / "raw", "train.parquet", "train.jsonl", "test.csv", "test.json", "x.csv"
    )
    write(folder, "valid.csv")
    with pytest.raises(UsageError) as caught:
        splits([str(folder)], tmp_path)
    said = str(caught.value)
    assert "which is train? Found train.jsonl and train.parquet" in said
    assert "which is test? Found test.json and test.csv" in said
    words = [word for word in said.partition("such as ")[2].split() if word != "--data"]
    assert splits(words, tmp_path) == {
        "train": [f"{folder}/train.jsonl"],
        "valid": [f"{folder}/valid.csv"],
        "test": [f"{folder}/test.json"],
    }


def test_a_folder_without_splits_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"has no train\.\*, valid\.\*, test\.\*"):
        find_splits(write(tmp_path / "raw", "notes.txt"))
