"""Following an experiment with core's components alone: data known or not, searches, strangers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dlk.cli import main
from dlk.preprocess import Process

PROCESS: dict[str, Any] = {
    "@processor@default": {
        "processed_data_dir": "processed",
        "@subprocessor@token_gather#learn_words": {"gather_columns": ["words"]},
        "@subprocessor@token2id#words": {
            "input_map": {"tokens": "words"},
            "output_map": {"token_ids": "input_ids"},
        },
        "@subprocessor@token_gather#learn_labels": {
            "gather_columns": ["label"],
            "token_vocab": "label_vocab.json",
            "pad": None,
            "unk": None,
        },
        "@subprocessor@token2id-label#labels": {"input_map": {"tokens": "label"}},
    }
}
FIT: dict[str, Any] = {
    "@fit": {
        "processed_data_dir": "processed",
        "@trainer@lightning": {"@callback@checkpoint": {"monitor": "val_loss", "mode": "min"}},
        "@datamodule@default": {
            "@dataset@default": {"key_type_pairs": {"input_ids": "long", "label_ids": "long"}},
            "@data_collate@default": {
                "key_padding_pairs": {"input_ids": 0},
                "gen_mask": {"input_ids": "attention_mask"},
            },
        },
        "@imodel@default": {
            "@model@basic": {
                "@embedding@random": {
                    "vocab_size": "@lambda @_G.meta.token_vocab.size",
                    "embedding_dim": 8,
                },
                "@decoder@linear": {
                    "input_size": 8,
                    "output_size": "@lambda @_G.meta.label_vocab.size",
                    "pool": "mean",
                },
            },
            "@loss@cross_entropy": {"pred_truth_pair": {"logits": "label_ids"}},
            "@postprocessor@identity": {"outputs": ["logits"]},
        },
    }
}
ROWS = [{"words": ["a", "b"], "label": "x"}, {"words": ["b"], "label": "y"}]


class Project:
    """Both configs in a folder that is the working directory."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.capsys = capsys
        self.process: dict[str, Any] = json.loads(json.dumps(PROCESS))["@processor@default"]
        self.fit: dict[str, Any] = json.loads(json.dumps(FIT))["@fit"]

    @property
    def steps(self) -> dict[str, Any]:
        return self.process

    @property
    def imodel(self) -> dict[str, Any]:
        part: dict[str, Any] = self.fit["@imodel@default"]
        return part

    @property
    def columns(self) -> dict[str, str]:
        part: dict[str, str] = self.fit["@datamodule@default"]["@dataset@default"]["key_type_pairs"]
        return part

    def lay_rows(self, *splits: str) -> None:
        (self.folder / "data").mkdir(exist_ok=True)
        for split in splits:
            lines = "".join(json.dumps(row) + "\n" for row in ROWS)
            (self.folder / "data" / f"{split}.jsonl").write_text(lines)

    def run_process(self, *splits: str) -> None:
        self.write()
        Process(str(self.folder / "process.jsonc")).run(dict.fromkeys(splits, ROWS))

    def write(self) -> None:
        for name, root, values in (
            ("process", "@processor@default", self.process),
            ("fit", "@fit", self.fit),
        ):
            (self.folder / f"{name}.jsonc").write_text(json.dumps({root: values}, indent=2))

    def said(self, *arguments: str) -> list[dict[str, Any]]:
        """Return the problems that the check tells, of both configs where none is named."""
        self.write()
        self.capsys.readouterr()
        main(["check", *(arguments or ("process.jsonc", "fit.jsonc")), "--format", "json"])
        return list(json.loads(self.capsys.readouterr().out)["problems"])

    def one(self, *arguments: str) -> dict[str, Any]:
        """Return the only problem."""
        found = self.said(*arguments)
        assert len(found) == 1, found
        return found[0]


@pytest.fixture
def project(tmp_path, monkeypatch, capsys) -> Iterator[Project]:
    monkeypatch.chdir(tmp_path)
    return Project(tmp_path, capsys)


# What is known of the data ------------------------------------------------------------------------


def test_a_sound_experiment_has_no_mistakes_with_data_processed_data_or_neither(project):
    assert project.said() == []
    project.lay_rows("train", "valid")
    assert project.said() == []
    project.run_process("train", "valid")
    assert project.said() == []
    assert project.said("fit.jsonc") == []


def test_the_columns_that_the_data_must_bring_are_told(project, capsys):
    project.columns["weight"] = "float"
    project.write()
    assert main(["check", "process.jsonc", "fit.jsonc"]) == 0
    assert "the data has to bring: words, label, weight" in capsys.readouterr().err


def test_without_data_any_other_column_may_be_one_of_the_data(project):
    project.columns["weight"] = "float"
    assert project.said() == []


def test_without_data_a_slip_of_the_pen_is_none(project):
    project.columns["labels_ids"] = "long"
    found = project.one()
    assert found["code"] == "unknown-column"
    assert found["suggestions"] == ["label_ids"]
    assert (
        'process.jsonc stores: input_ids, label_ids. Did you mean "label_ids"' in found["message"]
    )


def test_with_data_a_column_that_it_lacks_is_named_with_those_it_has(project):
    project.lay_rows("train", "valid")
    project.columns["weight"] = "float"
    found = project.one()
    assert found["path"] == "datamodule.dataset.key_type_pairs.weight"
    assert "stores: input_ids, label_ids, label, words." in found["message"]


def test_data_may_be_named(project):
    project.columns["weight"] = "float"
    project.lay_rows("valid")
    more = project.folder / "more.csv"
    named = ("process.jsonc", "fit.jsonc", "--data", "train=more.csv", "--data", "valid=more.csv")
    more.write_text("words,label,weight\na,x,1\n")
    assert project.said(*named) == []
    more.write_text("words,label,weights\na,x,1\n")
    found = project.one(*named)
    assert found["suggestions"] == ["weights"]


@pytest.mark.parametrize("name", ["train.json", "train.tsv", "train.parquet"])
def test_a_format_is_read_for_its_columns_or_left_open(project, name):
    project.steps["@subprocessor@token2id#more"] = {
        "input_map": {"tokens": "tags"},
        "output_map": {"token_ids": "tag_ids"},
    }
    text = {"train.json": json.dumps(ROWS), "train.tsv": "words\tlabel\n"}.get(name, "PAR1")
    (project.folder / name).write_text(text)
    found = project.said("process.jsonc", "--data", f"train={name}")
    assert [p["code"] for p in found] == ([] if name.endswith("parquet") else ["unknown-column"])


def test_a_split_without_a_column_is_named(project):
    project.lay_rows("train", "valid")
    (project.folder / "data" / "valid.jsonl").write_text('{"words": ["a"]}\n')
    found = project.one()
    assert found["message"].startswith(
        'reads the column "label", which no step before it writes and the valid data'
    )


def test_a_column_that_several_splits_lack_is_told_once(project):
    project.lay_rows("train", "valid", "test")
    project.steps["@subprocessor@token2id#words"]["input_map"] = {"tokens": "tokens"}
    found = project.one()
    files = (f"the {split} data (data/{split}.jsonl)" for split in ("train", "valid", "test"))
    train, valid, test = files
    assert f"and {train}, {valid} and {test} do not have. Known: label, words." in found["message"]


@pytest.mark.parametrize("name", ["cross_entropy", "mse"])
def test_a_loss_whose_pair_is_turned_round_is_told(project, name):
    imodel = project.fit["@imodel@default"]
    del imodel["@loss@cross_entropy"]
    imodel[f"@loss@{name}"] = {"pred_truth_pair": {"label_ids": "logits"}}
    found = project.one()
    assert found["code"] == "unknown-name"
    assert found["path"].startswith("imodel.loss.pred_truth_pair")
    assert found["message"].endswith("turn them round.")
    assert found["suggestions"] == ["logits"]


def test_fit_alone_is_held_to_the_processed_folder(project):
    project.run_process("train", "valid")
    project.columns["label_id"] = "long"
    found = project.one("fit.jsonc")
    assert 'names "label_id"; processed stores: ' in found["message"]
    assert found["suggestions"][0] == "label_ids"


def test_fit_alone_without_processed_data_may_name_any_column(project):
    project.columns["anything"] = "long"
    project.fit["@imodel@default"]["@postprocessor@identity"]["columns"] = ["uuid"]
    assert project.said("fit.jsonc") == []


def test_sizes_are_held_to_what_process_learnt(project):
    project.run_process("train", "valid")
    decoder = project.imodel["@model@basic"]["@decoder@linear"]
    decoder["output_size"] = 1
    found = project.one("fit.jsonc")
    assert found["code"] == "sizes-disagree"
    assert (
        '"logits" scores 1 classes (linear), and "label_ids" tells 2 classes apart'
        in (found["message"])
    )
    decoder["output_size"] = 7  # more than there are is allowed
    assert project.said("fit.jsonc") == []
    project.imodel["@model@basic"]["@embedding@random"]["vocab_size"] = 3
    found = project.one("fit.jsonc")
    assert 'random has room for 3 ids, and "input_ids" holds 4 ids' in found["message"]


def test_a_size_of_another_vocabulary_is_told_before_data_is_there(project):
    embedding = project.imodel["@model@basic"]["@embedding@random"]
    embedding["vocab_size"] = "@lambda @_G.meta.label_vocab.size"
    found = project.one()
    assert found["code"] == "sizes-disagree"
    assert "room for the ids of label_vocab" in found["message"]
    assert "holds the ids of token_vocab" in found["message"]


def test_a_size_that_is_computed_may_be_any(project):
    embedding = project.imodel["@model@basic"]["@embedding@random"]
    embedding["vocab_size"] = "@_G.meta.label_vocab.size @lambda n: n * 2 + 1"
    assert project.said() == []


def test_a_number_that_a_vocabulary_lacks_is_told(project):
    embedding = project.imodel["@model@basic"]["@embedding@random"]
    embedding["padding_idx"] = "@lambda @_G.meta.label_vocab.pad_id"
    found = project.one()
    assert (found["code"], found["suggestions"]) == ("missing-meta", [])
    assert found["message"] == "_G.meta.label_vocab has no pad_id. Known: size."


def test_a_loss_weight_for_each_class(project):
    project.imodel["@model@basic"]["@decoder@linear"]["output_size"] = 3
    project.imodel["@loss@cross_entropy"]["weight"] = [1.0, 2.0]
    found = project.one()
    assert found["path"].endswith("loss.weight")
    assert found["message"] == 'cross_entropy weighs 2 classes, and "logits" scores 3.'


def test_two_steps_of_one_name_are_told_where_they_stand(project):
    project.steps["@subprocessor@token_gather#words"] = {"gather_columns": ["words"]}
    found = project.one("process.jsonc")
    assert found["message"] == 'two subprocessor are called "words"; give them an #alias each'
    assert found["file"] == "process.jsonc"


def test_processed_data_of_other_steps_is_noted(project, capsys):
    project.run_process("train", "valid")
    capsys.readouterr()
    assert main(["check", "process.jsonc", "fit.jsonc"]) == 0
    assert "processed otherwise" not in capsys.readouterr().err
    project.steps["@subprocessor@token_gather#learn_words"]["min_freq"] = 2
    project.process["keep"] = ["words"]
    project.write()
    assert main(["check", "process.jsonc", "fit.jsonc"]) == 0
    said = capsys.readouterr().err
    assert "the data in processed was processed otherwise (keep, token_gather#learn_words)" in said


# Metrics ------------------------------------------------------------------------------------------


def test_where_there_is_no_validation_data_nothing_is_watched_on_it(project):
    project.lay_rows("train")
    found = project.one()
    assert found["message"].startswith("nothing is validated here, so nothing computes")
    assert found["path"] == "trainer.callback.monitor"
    project.fit["@trainer@lightning"]["@callback@checkpoint"]["monitor"] = "train_loss_epoch"
    assert project.said() == []


def test_splits_that_were_processed_before_count_too(project):
    project.run_process("train", "valid")
    project.lay_rows("train")
    assert project.said() == []


# Averages of weights ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trainer", "average", "field", "said"),
    [
        ({"max_steps": 5}, {"start_step": 6}, "start_step", "the run ends with step 5"),
        ({"max_steps": 5}, {"every_n_train_steps": 9}, "every_n_train_steps", "ends with step 5"),
        ({"max_epochs": 3}, {"start_epoch": 3}, "start_epoch", "the run ends with epoch 3"),
        ({}, {"start_epoch": 10}, "start_epoch", "the run ends with epoch 10"),
    ],
)
def test_an_average_of_weights_that_begins_after_the_end_is_told(
    project, trainer, average, field, said
):
    project.fit["@trainer@lightning"] |= {**trainer, "@callback@weight_average": average}
    for arguments in ((), ("fit.jsonc",)):
        found = project.one(*arguments)
        assert found["code"] == "never-begins"
        assert found["path"] == f"trainer.callback@weight_average.{field}"
        assert said in found["message"]


@pytest.mark.parametrize(
    ("trainer", "average"),
    [
        ({"max_steps": 5}, {"start_step": 5, "every_n_train_steps": 5}),
        ({"max_epochs": 3}, {"start_epoch": 2}),
        ({"max_epochs": -1}, {"start_epoch": 90}),
        ({"max_epochs": None, "max_time": "00:01:00:00"}, {"start_epoch": 90, "start_step": 90}),
        ({"max_steps": 5, "fast_dev_run": True}, {"start_step": 90}),
        ({}, {"start_step": 90}),  # who knows how many rows there are
    ],
)
def test_an_average_that_begins_or_may_begin_is_no_mistake(project, trainer, average):
    project.fit["@trainer@lightning"] |= {**trainer, "@callback@weight_average": average}
    assert project.said() == []


@pytest.mark.parametrize(
    ("trainer", "data", "last"),
    [
        ({}, {}, 10),  # two rows are a batch of one epoch of ten
        ({"accumulate_grad_batches": 2}, {"train_batch_size": 1}, 10),
        ({}, {"train_batch_size": 1}, 20),
        ({"max_steps": 7}, {"train_batch_size": 1}, 7),
        ({"limit_train_batches": 1}, {"train_batch_size": 1}, 10),
        ({"limit_train_batches": 0.5}, {"train_batch_size": 1}, 10),
    ],
)
def test_where_the_rows_are_known_so_is_the_last_step(project, trainer, data, last):
    project.run_process("train", "valid")
    average = {"start_step": last}
    project.fit["@trainer@lightning"] |= {**trainer, "@callback@weight_average": average}
    project.fit["@datamodule@default"] |= data
    assert project.said("fit.jsonc") == []
    average["start_step"] = last + 1
    assert f"the run ends with step {last}" in project.one("fit.jsonc")["message"]
    if "max_steps" not in trainer:
        assert project.said() == []  # the rows may become others
        project.fit["@datamodule@default"]["max_tokens"] = 4
        assert project.said("fit.jsonc") == []


# Searches -----------------------------------------------------------------------------------------


def test_a_mistake_in_every_point_is_told_once(project):
    project.fit["_search"] = {"imodel.optimizer.lr": [0.1, 0.2, 0.3]}
    project.imodel["@loss@cross_entropy"]["pred_truth_pair"] = {"logit": "label_ids"}
    found = project.one()
    assert "where the search takes" not in found["message"]


def test_a_mistake_in_some_points_names_the_first(project):
    project.fit["_search"] = {"imodel.model.decoder.input_size": [8, 16, 32]}
    found = project.said()
    assert ["8" in p["message"].split("takes")[-1] for p in found] == [False, False]
    assert "(where the search takes imodel.model.decoder.input_size=16)" in found[0]["message"]
    assert found[0]["line"] > 0


def test_of_a_large_search_some_points_from_everywhere_are_checked(project, capsys):
    project.fit["_search"] = {
        "imodel.optimizer.lr": [k / 1000 for k in range(1, 1001)],
        "imodel.model.decoder.dropout": [k / 100 for k in range(100)],
    }
    project.write()
    assert main(["check", "process.jsonc", "fit.jsonc"]) == 0
    assert "fit.jsonc: ok, 100000 runs (100 of them were checked)" in capsys.readouterr().out


# Strangers ----------------------------------------------------------------------------------------

STRANGER = """
from dlk.config import IntField, cregister
from dlk.config._intc import IntcBase
from dlk.config.base import Base, MapField, Signature
from dlk.registry import register


@cregister("{type}", "stranger")
class StrangerConfig({base}):
    size = IntField(4, help="some size")
{body}

@register("{type}", "stranger")
class Stranger:
    pass
"""


def stranger(project: Project, type_name: str, *, base: str = "Base", body: str = "") -> None:
    (project.folder / ".intc.json").write_text('{"src": ["parts"]}')
    (project.folder / "parts").mkdir()
    text = STRANGER.format(type=type_name, base=base, body=body)
    (project.folder / "parts" / f"strange_{type_name}.py").write_text(text)


CODE = """
import json, sys
from dlk.cli import main
main(["check", "process.jsonc", "fit.jsonc", "--format", "json"])
"""


def said_elsewhere(project: Project) -> list[dict[str, Any]]:
    """Return the problems, from a process of its own: a stranger stays registered."""
    project.write()
    run = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    return list(json.loads(run.stdout)["problems"])


@pytest.mark.parametrize(
    ("base", "body"),
    [
        ("IntcBase", ""),
        ("Base", ""),
        ("Base", "    def signature(self):\n        raise ValueError('not yet')\n"),
        ("Base", "    def signature(self):\n        return None\n"),
    ],
    ids=["no_signature", "none_of_its_own", "one_that_fails", "none_at_all"],
)
def test_a_stranger_that_does_not_say_what_it_writes_may_write_anything(project, base, body):
    stranger(project, "decoder", base=base, body=body)
    project.lay_rows("train", "valid")
    project.imodel["@model@basic"] = {
        "@embedding@random": {"vocab_size": 10, "embedding_dim": 8},
        "@decoder@stranger": {},
    }
    project.imodel["@loss@cross_entropy"]["pred_truth_pair"] = {"scores": "label_ids"}
    project.imodel["@postprocessor@identity"]["outputs"] = ["scores"]
    assert said_elsewhere(project) == []


def test_a_step_that_does_not_say_what_it_writes_may_write_any_column(project):
    stranger(project, "subprocessor", base="IntcBase")
    project.lay_rows("train", "valid")
    project.steps["@subprocessor@stranger"] = {}
    project.steps["@subprocessor@token2id#tags"] = {
        "vocab": "token_vocab.json",
        "input_map": {"tokens": "tags"},
        "output_map": {"token_ids": "more_ids"},
    }
    project.columns.update({"tag_ids": "long", "more_ids": "long"})
    project.imodel["@model@basic"]["@embedding@random"]["vocab_size"] = "@lambda @_G.meta.tags.size"
    assert said_elsewhere(project) == []


def test_a_loss_of_which_nothing_is_known_is_left_alone(project):
    stranger(project, "loss", base="IntcBase")
    del project.imodel["@loss@cross_entropy"]
    project.imodel["@loss@stranger"] = {}
    assert said_elsewhere(project) == []


def test_a_stranger_with_maps_is_followed_by_them(project):
    maps = '    input_map = MapField({"x": "embedings"}, help="read")\n'
    maps += '    output_map = MapField({"logits": "logits"}, help="written")\n'
    stranger(project, "decoder", body=maps)
    project.imodel["@model@basic"]["@decoder@stranger"] = {}
    del project.imodel["@model@basic"]["@decoder@linear"]
    (found,) = said_elsewhere(project)
    assert found["code"] == "unknown-name"
    assert 'stranger reads "embedings", which is not there' in found["message"]


# A plugin that is missing -------------------------------------------------------------------------

WITHOUT_NLP = """
import importlib.metadata as metadata
every = metadata.distributions
metadata.distributions = lambda: (d for d in every() if d.name != "dlk-nlp")
"""


@pytest.mark.parametrize(
    ("file", "where", "key"),
    [
        ("process", (), "@subprocessor@pre_tokenize"),
        ("fit", ("@imodel@default", "@model@basic"), "@decoder@linear_crf"),
        ("fit", ("@imodel@default",), "@postprocessor@txt_cls"),
        ("fit", ("@datamodule@default",), "@data_collate@span"),
    ],
)
def test_a_component_of_a_package_that_is_missing_says_what_to_install(project, file, where, key):
    part = getattr(project, file)
    for step in where:
        part = part[step]
    if file == "fit":  # there is room for one
        for other in [k for k in part if k.startswith(f"@{key.split('@')[1]}@")]:
            del part[other]
    part[key] = {}
    project.write()
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT_NLP + CODE], capture_output=True, text=True, check=True
    )
    (found,) = json.loads(run.stdout)["problems"]
    name = key.split("@")[2]
    assert (
        f'"{name}" is part of dlk-nlp, which is not installed: pip install dlk-nlp'
        in (found["message"])
    )
    assert found["file"] == f"{file}.jsonc", found
    lines = (project.folder / f"{file}.jsonc").read_text().splitlines()
    assert key in lines[found["line"] - 1]
    assert (found["file"], found["code"]) == (f"{file}.jsonc", "unusable-component")
