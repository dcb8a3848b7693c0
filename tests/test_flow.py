"""`dlk check` on whole experiments: what is planted is found, and nothing else."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tokenizers import Tokenizer

from dlk.cli import main
from dlk.config import make
from tests.example_copies import FIXTURES, PAIRS, copy_of, edited, place_of


def problems_of(capsys: Any, *configs: Path, options: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    capsys.readouterr()
    code = main(["check", *map(str, configs), "--format", "json", *options])
    said = json.loads(capsys.readouterr().out)
    assert code == (2 if said["problems"] else 0)
    return list(said["problems"])


class Mistake(NamedTuple):
    """One edit of an example, and what is to be said of it.

    Attributes:
        pair: the example and its configs.
        file: the file that is edited, ``process`` or ``fit`` or a name.
        old: what stands there.
        new: what is put in its place.
        at: text of the file, | before the place that is shown.
        code: of the mistake.
        says: part of the message.
        suggests: the first suggestion; empty: any.
        where: the file that is shown, if it is another.
    """

    pair: tuple[str, str, str]
    file: str
    old: str
    new: str
    at: str
    code: str
    says: str
    suggests: str = ""
    where: str = ""


CLS, MULTI, BI, CROSS, REG, CRF, FIRST, LSTM, LSTM_CRF, WORDS, SPAN, RELATION = PAIRS[1:]

COLUMNS = (
    Mistake(
        CLS,
        "process",
        '["labels"]',
        '["lables"]',
        '[|"lables"]',
        "unknown-column",
        'reads the column "lables", which no step before it writes and the train data',
        "labels",
    ),
    Mistake(
        CLS,
        "fit",
        '"label_ids": "long"}',
        '"labels_ids": "long"}',
        '|"labels_ids": "long"',
        "unknown-column",
        'key_type_pairs names "labels_ids"; process.jsonc stores: input_ids',
        "label_ids",
    ),
    Mistake(
        CLS,
        "process",
        '"truncation": {"max_length": 64},',
        '"truncation": {"max_length": 64}, "input_map": {"sentence": "sentense"},',
        '"sentence": |"sentense"',
        "unknown-column",
        'reads the column "sentense"',
        "sentence",
    ),
    Mistake(
        CLS,
        "process",
        '"@subprocessor@token2id-label": {"vocab": "label_vocab.json"},',
        "",
        "",
        "unknown-column",
        'key_type_pairs names "label_ids"',
        "labels",
        "fit",
    ),
    Mistake(
        REG,
        "fit",
        '"columns": ["domain"]',
        '"columns": ["domains"]',
        '[|"domains"]',
        "unknown-column",
        'columns names "domains"; process.jsonc stores: ',
        "domain",
    ),
    Mistake(
        SPAN,
        "fit",
        '"span_cells": "long"',
        '"spans_cells": "long", "span_cells": "long"',
        '|"spans_cells"',
        "unknown-column",
        'key_type_pairs names "spans_cells"',
        "span_cells",
    ),
    Mistake(
        WORDS,
        "process",
        '"input_map": {"tokens": "norm_tokens"}',
        '"input_map": {"tokens": "normed_tokens"}',
        '|"normed_tokens"',
        "unknown-column",
        'reads the column "normed_tokens"',
        "norm_tokens",
    ),
    Mistake(
        RELATION,
        "fit",
        '"char_ids": "long"',
        '"tokens": "long", "char_ids": "long"',
        '|"tokens"',
        "unknown-column",
        'which pre_tokenize makes for other steps alone: write "keep"',
        "",
    ),
    Mistake(
        CRF,
        "process",
        '"pretokenized_words": "words"',
        '"pretokenized_words": "word"',
        ': |"word",',
        "unknown-column",
        'reads the column "word"',
        "words",
    ),
    Mistake(
        CLS,
        "process",
        '"processed_data_dir": "processed",',
        '"processed_data_dir": "processed", "keep": ["ofsets"],',
        '[|"ofsets"]',
        "unknown-column",
        'keep names "ofsets"',
        "offsets",
    ),
)

NAMES = (
    Mistake(
        CLS,
        "fit",
        '{"logits": "label_ids"}',
        '{"logit": "label_ids"}',
        '{|"logit"',
        "unknown-name",
        'cross_entropy reads "logit", which the model does not write',
        "logits",
    ),
    Mistake(
        CLS,
        "fit",
        '{"logits": "label_ids"}',
        '{"logits": "labels"}',
        '"logits": |"labels"',
        "unknown-name",
        'cross_entropy compares with "labels", which is not in the batch',
        "label_ids",
    ),
    Mistake(
        RELATION,
        "fit",
        '{"entity_logits": "entity_ids"}',
        '{"entity_logit": "entity_ids"}',
        '|"entity_logit"',
        "unknown-name",
        'reads "entity_logit"',
        "entity_logits",
    ),
    Mistake(
        RELATION,
        "fit",
        '{"relation_logits": "relation_ids"}',
        '{"relation_logits": "relations_ids"}',
        '|"relations_ids"',
        "unknown-name",
        'compares with "relations_ids"',
        "relation_ids",
    ),
    Mistake(
        CLS,
        "fit",
        '"gen_mask": {"input_ids": "attention_mask"}',
        '"gen_mask": {"input_ids": "input_mask"}',
        '"input_map": |{"type_ids": ""}',
        "unknown-name",
        'bert_like reads "attention_mask", which is not there',
        "",
    ),
    Mistake(
        CLS,
        "fit",
        '"input_map": {"type_ids": ""}',
        '"input_map": {"type_ids": "token_types"}',
        '|"token_types"',
        "unknown-name",
        'bert_like reads "token_types"',
        "",
    ),
    Mistake(
        CLS,
        "fit",
        '"pool": "mean",',
        '"pool": "mean", "input_map": {"embedding": "embeding"},',
        '|"embeding"',
        "unknown-name",
        'linear reads "embeding"',
        "embedding",
    ),
    Mistake(
        BI,
        "fit",
        '"pool": "mean"',
        '"pool": "mean", "input_map": {"embedding": "vectors"}',
        '|"vectors"',
        "unknown-name",
        'bi_encoder reads "vectors", which none of its parts writes',
        "",
    ),
    Mistake(
        BI,
        "fit",
        '"match": "match", "id_a": "id_a"',
        '"match": "matches", "id_a": "id_a"',
        '|"matches"',
        "unknown-name",
        'info_nce compares with "matches"',
        "match",
    ),
    Mistake(
        LSTM,
        "modules/encoder@lstm_256.jsonc",
        '"output_size": 256',
        '"output_map": {"embedding": "states"}, "input_map": {"embedding": "state"}, '
        '"output_size": 256',
        '|"state"',
        "unknown-name",
        'lstm reads "state", which is not there',
        "",
    ),
    Mistake(
        RELATION,
        "fit",
        '"output_map": {"logits": "entity_logits"}',
        '"output_map": {"logits": "entities_logits"}',
        "",
        "unknown-name",
        'span_relation reads "entity_logits", which the model does not write',
        "entities_logits",
        "fit",
    ),
    Mistake(
        CRF,
        "fit",
        '{"loss": "loss"}',
        '{"loss": "losses"}',
        '|"losses"',
        "unknown-name",
        'identity reads "losses", which the model does not write',
        "loss",
    ),
    Mistake(
        CLS,
        "fit",
        '{"label_vocab": "label_vocab.json"}',
        '{"label_vocab": "label_vocab.json", "predict_extend_return": {"v": "embeddings"}}',
        '|"embeddings"',
        "unknown-name",
        'txt_cls reads "embeddings"',
        "embedding",
    ),
    Mistake(
        CRF,
        "modules/datamodule@pieces.jsonc",
        ', "label_ids": "long"}',
        "}",
        "",
        "unknown-name",
        'identity reads "loss", which the model does not write. linear_crf writes '
        'it only where "label_ids" is',
        "",
        "fit",
    ),
)

METRICS = (
    Mistake(
        CLS,
        "fit",
        '"monitor": "val_acc"',
        '"monitor": "val_accuracy"',
        '|"val_accuracy"',
        "unknown-metric",
        'nothing computes "val_accuracy"',
        "val_acc",
    ),
    Mistake(
        MULTI,
        "fit",
        '"val_f1_micro_best"',
        '"f1_micro_best"',
        '|"f1_micro_best"',
        "unknown-metric",
        'nothing computes "f1_micro_best"',
        "val_f1_micro_best",
    ),
    Mistake(
        CRF,
        "modules/trainer@tweets.jsonc",
        '"val_f1"',
        '"val_acc"',
        '|"val_acc"',
        "unknown-metric",
        'nothing computes "val_acc"',
        "",
    ),
    Mistake(
        CLS,
        "fit",
        '"seed": 1,',
        '"seed": 1, "hp_metrics": "test_accuracy",',
        '|"test_accuracy"',
        "unknown-metric",
        'nothing computes "test_accuracy"',
        "test_acc",
    ),
    Mistake(
        CLS,
        "fit",
        '"max_epochs": 4,',
        '"max_epochs": 4, "limit_val_batches": 0,',
        '|"val_acc"',
        "unknown-metric",
        'nothing is validated here, so nothing computes "val_acc"',
        "",
    ),
    Mistake(
        MULTI,
        "fit",
        '"max_epochs": 8,',
        '"max_epochs": 8, "limit_val_batches": 0,',
        '"threshold": |"search"',
        "no-validation",
        "to be searched for on validation data",
        "",
    ),
)

SIZES = (
    Mistake(
        CLS,
        "fit",
        '"input_size": "@lambda @$$.@embedding.embedding_dim"',
        '"input_size": 256',
        '"input_size": |256',
        "sizes-disagree",
        'linear takes "embedding" of width 256, and bert_like gives it 384',
        "384",
    ),
    Mistake(
        CLS,
        "fit",
        '"embedding_dim": 384',
        '"embedding_dim": 256',
        '"embedding_dim": |256',
        "sizes-disagree",
        'bert_like says that "embedding" is 256 wide, and it is 384',
        "384",
    ),
    Mistake(
        RELATION,
        "fit",
        '"output_size": 400',
        '"output_size": 300',
        "",
        "sizes-disagree",
        'biaffine takes "embedding" of width 400, and lstm gives it 300',
        "300",
        "fit",
    ),
    Mistake(
        RELATION,
        "fit",
        '"embedding_dim": 200',
        '"embedding_dim": 220',
        "|220",
        "sizes-disagree",
        'combine_word_char_cnn says that "embedding" is 220 wide, and it is 200',
        "200",
    ),
    Mistake(
        LSTM,
        "fit",
        '"@lambda @$$.@encoder.output_size"',
        "128",
        '"input_size": |128',
        "sizes-disagree",
        'linear takes "embedding" of width 128, and lstm gives it 256',
        "256",
    ),
    Mistake(
        BI,
        "fit",
        '"pool": "mean"',
        '"pool": "mean", "input_size": 300, "output_size": 64',
        "|300",
        "sizes-disagree",
        'bi_encoder takes "embedding" of width 300',
        "384",
    ),
    Mistake(
        RELATION,
        "fit",
        '"output_size": "@lambda @_G.meta.relation_vocab.size"',
        '"output_size": "@lambda @_G.meta.entity_vocab.size"',
        '{|"relation_logits": "relation_ids"',
        "sizes-disagree",
        '"relation_logits" scores the classes of entity_vocab',
        "",
    ),
    Mistake(
        CLS,
        "fit",
        '{"pred_truth_pair": {"logits": "label_ids"}}',
        '{"pred_truth_pair": {"logits": "label_ids"}, "weight": [1.0, 2.0]}',
        "",
        "",
        "",
        "",
        "-",
    ),
    Mistake(
        CLS,
        "fit",
        '"output_size": "@lambda @_G.meta.label_vocab.size"',
        '"output_size": 6',
        "",
        "",
        "",
        "",
        "-",
    ),
)

FILES = (
    Mistake(
        CLS,
        "process",
        '"data/minilm/tokenizer.json"',
        '"data/minilm/tokeniser.json"',
        '|"data/minilm/tokeniser.json"',
        "missing-file",
        "needs the file or folder",
        "data/minilm/tokenizer.json",
    ),
    Mistake(
        CLS,
        "fit",
        '"data/minilm"',
        '"data/minlm"',
        '|"data/minlm"',
        "missing-file",
        "bert_like needs the file or folder",
        "data/minilm",
    ),
    Mistake(
        WORDS,
        "process",
        '"data/glove/glove_6B_50d_emb.npy"',
        '"data/glov/glove_6B_50d_emb.npy"',
        '|"data/glov/',
        "missing-file",
        "glov is not there either",
        "",
    ),
    Mistake(
        CLS,
        "fit",
        '{"label_vocab": "label_vocab.json"}',
        '{"label_vocab": "labels_vocab.json"}',
        '|"labels_vocab.json"',
        "missing-meta",
        "txt_cls needs labels_vocab.json",
        "label_vocab.json",
    ),
    Mistake(
        CLS,
        "process",
        '-label": {"vocab": "label_vocab.json"}',
        '-label": {"vocab": "labels.json"}',
        '|"labels.json"',
        "missing-meta",
        "needs labels.json, and no step makes it",
        "",
    ),
    Mistake(
        CRF,
        "fit",
        '"label_vocab": "label_vocab.json",',
        '"label_vocab": "tag_vocab.json",',
        '|"tag_vocab.json"',
        "missing-meta",
        "linear_crf needs tag_vocab.json",
        "",
    ),
    Mistake(
        CLS,
        "fit",
        "@_G.meta.label_vocab.size",
        "@_G.meta.labels_vocab.size",
        '|"@lambda @_G.meta.labels_vocab.size"',
        "missing-meta",
        "nothing makes _G.meta.labels_vocab",
        "label_vocab",
    ),
    Mistake(
        WORDS,
        "modules/embedding@words_and_chars.jsonc",
        '"token_embedding.npy"',
        '"token_embeddings.npy"',
        '|"token_embeddings.npy"',
        "missing-meta",
        "static needs token_embeddings.npy",
        "token_embedding.npy",
    ),
    Mistake(
        CLS,
        "fit",
        '"processed_data_dir": "processed"',
        '"processed_data_dir": "procesed"',
        '|"procesed"',
        "folders-differ",
        "name different folders",
        "processed",
    ),
    Mistake(
        MULTI,
        "fit",
        '"processed/multi"',
        '"processed"',
        '"processed_data_dir": |"processed"',
        "folders-differ",
        "process_multi.jsonc writes",
        "",
    ),
    Mistake(
        CRF,
        "process",
        '"processed/pieces"',
        '"processed/piece"',
        "",
        "folders-differ",
        "process_pieces.jsonc writes",
        "processed/piece",
        "fit",
    ),
)

STAGES = (
    Mistake(
        CLS,
        "process",
        '"tokenizer_path": "data/minilm/tokenizer.json",',
        '"tokenizer_path": "data/minilm/tokenizer.json", "online_data_set": [],',
        "",
        "not-in-stage",
        'bert_like reads "input_ids" to predict',
        "",
        "fit",
    ),
    Mistake(
        RELATION,
        "process",
        '"@subprocessor@pre_tokenize": {"method": "bert", "max_length": 256}',
        '"@subprocessor@pre_tokenize": {"method": "bert", "predict_data_set": []}',
        "",
        "not-in-stage",
        "which pre_tokenize does not write in the stage predict",
        "",
        "process",
    ),
    Mistake(
        RELATION,
        "process",
        '"@subprocessor@span_relation_relabel": {',
        '"@subprocessor@token2id#more": {"input_map": {"tokens": "entity_units"}, '
        '"output_map": {"token_ids": "more_ids"}}, "@subprocessor@span_relation_relabel": {',
        '|"entity_units"',
        "not-in-stage",
        "which span_cls_relabel does not write in the stage predict",
        "",
    ),
)

MISTAKES = (*COLUMNS, *NAMES, *METRICS, *SIZES, *FILES, *STAGES)


def named(mistake: Mistake) -> str:
    example = mistake.pair[0]
    shown = "".join(c if c.isalnum() or c in "._" else "-" for c in mistake.new[:40])
    return f"{example}-{mistake.code}-{mistake.file}-{shown}"


def files_of(mistake: Mistake, folder: Path) -> dict[str, Path]:
    _, process, fit = mistake.pair
    return {"process": folder / process, "fit": folder / fit}


@pytest.mark.parametrize("rows", [True, False], ids=["rows", "no_rows"])
@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_an_example_has_no_mistake(pair, rows, tmp_path, capsys):
    example, process, fit = pair
    folder = copy_of(example, tmp_path, rows=rows)
    assert problems_of(capsys, folder / process, folder / fit) == []
    assert problems_of(capsys, folder / fit) == []
    assert problems_of(capsys, folder / process) == []


@pytest.mark.parametrize("mistake", MISTAKES, ids=named)
def test_a_planted_mistake_is_found_where_it_is(mistake, tmp_path, capsys):
    folder = copy_of(mistake.pair[0], tmp_path)
    files = files_of(mistake, folder)
    edited_file = files.get(mistake.file, folder / mistake.file)
    edited(edited_file, mistake.old, mistake.new)
    found = problems_of(capsys, *files.values())
    if mistake.where == "-":
        assert found == []  # only the data can tell
        return
    fits = [p for p in found if p["code"] == mistake.code and mistake.says in p["message"]]
    assert fits, found
    shown = files.get(mistake.where, edited_file)
    assert {Path(p["file"]).resolve() for p in fits} == {shown.resolve()}
    assert all(p["line"] and p["column"] for p in fits)
    if mistake.code == "missing-meta":
        # a container that hands the files of its parts on is not told too
        assert [p["code"] for p in found].count("missing-meta") == 1
    if mistake.at:
        assert (fits[0]["line"], fits[0]["column"]) == place_of(shown, mistake.at)
    if mistake.suggests:
        assert fits[0]["suggestions"][0] == mistake.suggests


@pytest.mark.parametrize("pair", [PAIRS[0], PAIRS[-1]], ids="-".join)
def test_checking_imports_nothing_heavy_and_takes_little_time(pair, tmp_path):
    example, process, fit = pair
    folder = copy_of(example, tmp_path)
    code = (
        "import sys, time; from dlk.cli import main; "
        f"assert main(['check', {process!r}, {fit!r}]) == 0; "
        "heavy = {'torch', 'numpy', 'pandas', 'pyarrow', 'transformers', 'lightning', 'datasets'}; "
        "print(sorted(heavy & set(sys.modules)), time.process_time() < 2.0)"
    )
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "[] True"


@pytest.mark.parametrize(
    ("task", "rows"), [("text_cls", "trec"), ("sequence_labeling", "tweets")], ids="-".join
)
def test_the_configs_of_tests_have_no_mistake(task, rows, tmp_path, capsys):
    for name in ("process", "fit"):
        shutil.copyfile(FIXTURES / task / f"{name}.jsonc", tmp_path / f"{name}.jsonc")
    (tmp_path / "data" / "minilm").mkdir(parents=True)
    for split in ("train", "valid", "test"):
        shutil.copyfile(FIXTURES / rows / f"{split}.jsonl", tmp_path / "data" / f"{split}.jsonl")
    for place in (tmp_path, tmp_path / "data" / "minilm"):
        shutil.copyfile(FIXTURES / rows / "tokenizer.json", place / "tokenizer.json")
    both = (tmp_path / "process.jsonc", tmp_path / "fit.jsonc")
    assert problems_of(capsys, *both) == []


def test_all_configs_of_a_folder_are_paired_by_the_data_they_name(tmp_path, capsys):
    folder = copy_of("sequence_labeling", tmp_path)
    assert problems_of(capsys, *sorted(folder.glob("*.jsonc"))) == []
    edited(folder / "fit_words.jsonc", '"processed/words"', '"processed/word"')
    (found,) = problems_of(capsys, *sorted(folder.glob("*.jsonc")))
    assert (found["code"], Path(found["file"]).name) == ("folders-differ", "fit_words.jsonc")
    assert found["suggestions"] == ["processed/pieces", "processed/words"]


def test_many_mistakes_are_told_at_once_in_the_order_of_the_text(tmp_path, capsys):
    folder = copy_of("text_cls", tmp_path)
    process, fit = folder / "process.jsonc", folder / "fit.jsonc"
    edited(process, '["labels"]', '["label"]')
    edited(fit, '"monitor": "val_acc"', '"monitor": "val_accuracy"')
    edited(fit, '"input_ids": "long", "label_ids"', '"inputs_ids": "long", "label_ids"')
    edited(fit, '"input_size": "@lambda @$$.@embedding.embedding_dim"', '"input_size": 256')
    edited(fit, '{"logits": "label_ids"}', '{"logit": "label_ids"}')
    edited(fit, '"data/minilm"', '"data/minlm"')
    found = problems_of(capsys, process, fit)
    assert [(Path(p["file"]).name, p["code"]) for p in found] == [
        ("process.jsonc", "unknown-column"),
        ("fit.jsonc", "unknown-metric"),
        ("fit.jsonc", "unknown-column"),
        ("fit.jsonc", "rule"),  # the collate names what the dataset does not have
        ("fit.jsonc", "missing-file"),
        ("fit.jsonc", "unknown-name"),
        ("fit.jsonc", "sizes-disagree"),
        ("fit.jsonc", "unknown-name"),
    ]
    lines = [p["line"] for p in found if p["file"].endswith("fit.jsonc")]
    assert lines == sorted(lines)


def test_processed_data_makes_no_sound_example_wrong(tmp_path, capsys):
    folder = copy_of("text_cls", tmp_path)
    process, fit = folder / "process.jsonc", folder / "fit.jsonc"
    assert main(["process", str(process)]) == 0
    assert problems_of(capsys, process, fit) == []
    assert problems_of(capsys, fit) == []
    edited(fit, '"output_size": "@lambda @_G.meta.label_vocab.size"', '"output_size": 4')
    found = problems_of(capsys, fit)
    assert {p["code"] for p in found} == {"sizes-disagree"}
    assert 'txt_cls reads "logits" of width 1 (label_vocab.json)' in found[-1]["message"]


def test_a_config_whose_module_file_is_wrong_is_not_called_sound(tmp_path, monkeypatch, capsys):
    folder = copy_of("sequence_labeling", tmp_path)
    monkeypatch.chdir(folder)
    edited(folder / "modules" / "trainer@tweets.jsonc", '"val_f1"', '"val_f2"')
    assert main(["check", "process_pieces.jsonc", "fit_crf.jsonc"]) == 2
    said = capsys.readouterr()
    assert said.out == "process_pieces.jsonc: ok\n"
    assert "trainer@tweets.jsonc:7:" in said.err


def test_a_tokenizer_with_more_ids_than_the_model_is_told_without_processed_data(tmp_path, capsys):
    folder = copy_of("text_cls", tmp_path)
    both = (folder / "process.jsonc", folder / "fit.jsonc")
    (folder / "data" / "minilm" / "config.json").write_text('{"hidden_size": 384, "vocab_size": 9}')
    (found,) = problems_of(capsys, *both)
    assert found["code"] == "sizes-disagree"
    assert found["path"].endswith("embedding.pretrained_model_path")
    assert 'bert_like has room for 9 ids, and "input_ids" holds ' in found["message"]
    (folder / "data" / "minilm" / "config.json").write_text("no JSON")
    assert problems_of(capsys, *both) == []
    (folder / "data" / "minilm" / "tokenizer.json").write_text("{}")
    assert problems_of(capsys, *both) == []


@pytest.mark.parametrize("rows", ["trec", "tweets", "pairs", "ratings"])
def test_the_ids_of_a_tokenizer_are_counted_as_its_library_does(rows):
    path = str(FIXTURES / rows / "tokenizer.json")
    config = make("subprocessor", "fast_tokenizer", tokenizer_path=path)
    assert config.surveyed().ids == {"input_ids": Tokenizer.from_file(path).get_vocab_size()}


def test_a_mask_of_a_column_that_training_alone_makes_is_told_too(tmp_path, capsys):
    folder = copy_of("text_cls", tmp_path)
    old = '"truncation": {"max_length": 64}'
    edited(folder / "process.jsonc", old, f'{old}, "online_data_set": []')
    found = problems_of(capsys, folder / "process.jsonc", folder / "fit.jsonc")
    assert [p["message"].split(",")[0] for p in found] == [
        'bert_like reads "input_ids" to predict',
        'bert_like reads "attention_mask" to predict',
    ]
