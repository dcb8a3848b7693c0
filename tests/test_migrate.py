"""The twelve examples of dlk 0.1, as `fixtures/configs_0_1` has them, become configs of ours."""

from __future__ import annotations

import functools
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from dlk.cli._terminal import Terminal
from dlk.cli.command.check import check
from dlk.config import jsonc
from dlk.config.schema import make_schema
from dlk.errors import ConfigError, Problem
from dlk.migrate.rules import migrate
from dlk.migrate.table import NOT_YET
from dlk.migrate.text import parse, write

ROOT = Path(__file__).resolve().parent.parent
OLD = ROOT / "tests" / "fixtures" / "configs_0_1"
EXAMPLES = (
    "001_first_example",
    "text_cls",
    "text_match",
    "text_reg",
    "image_cls",
    "image_caption",
    "sequence_labeling",
    "span_cls",
    "span_relation_extraction",
    "summary",
    "adv_exp",
    "grid_search_exp",
)
PAIRS = [
    (example, process, fit)
    for example in EXAMPLES
    for process, fit in (
        [
            *(("process_pieces", f"fit_bert_firstpiece{e}") for e in ("", "_crf", "_lstm")),
            ("process_pieces", "fit_bert_firstpiece_lstm_crf"),
            ("process_words", "fit_norm_char_lstm_crf"),
        ]
        if example == "sequence_labeling"
        else [("process", "fit")]
    )
]
NEEDED = ("bert/tokenizer.json", "glove/tokenizer.json", "bart/tokenizer.json", "vit/config.json",
          "gpt2/tokenizer.json", "glove/glove.6B.100d.txt", "glove/chars.30d.txt")  # fmt: skip


def mistakes(folder: Path, *names: tuple[str, str]) -> list[Problem]:
    """Migrate the configs into a folder that has their files, and return what `dlk check` says."""
    for file in NEEDED:
        (folder / "local_data" / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / "local_data" / file).touch()
    written = []
    for example, name in names:
        old = OLD / example / f"{name}.jsonc"
        done = migrate(old.read_text(encoding="utf-8"), str(old))
        (folder / done.target).write_text(done.text, encoding="utf-8")
        written.append((str(folder / done.target), ()))
    try:
        check(written, Terminal(quiet=True))
    except ConfigError as error:
        return list(error.problems)
    return []


def is_absent(problem: Problem) -> bool:
    """Whether a mistake is about a component that we have not brought over, or a user's own."""
    absent = {name for _, name in NOT_YET if name} | {"my"}
    return any(f'"{name}"' in problem.message for name in absent)


def test_the_twelve_are_there() -> None:
    assert sorted(path.name for path in OLD.iterdir() if path.is_dir()) == sorted(EXAMPLES)


@pytest.mark.parametrize(("example", "process", "fit"), PAIRS, ids=lambda name: name)
def test_dlk_check_accepts_both_configs_together(
    example: str, process: str, fit: str, tmp_path: Path
) -> None:
    left = mistakes(tmp_path, (example, process), (example, fit))
    assert [str(problem) for problem in left if not is_absent(problem)] == []
    if example not in WITH_ABSENT:
        assert left == []


WITH_ABSENT = {
    "001_first_example",  # its own processor, model and datamodule
    "image_cls",
    "image_caption",
    "summary",
    "span_relation_extraction",  # a scheduler
}


@pytest.mark.parametrize(("example", "process", "fit"), PAIRS, ids=lambda name: name)
def test_nothing_is_lost_but_what_is_absent(example: str, process: str, fit: str) -> None:
    for name in (process, fit):
        old = OLD / example / f"{name}.jsonc"
        notes = migrate(old.read_text(encoding="utf-8"), str(old)).notes
        lost = [str(note) for note in notes if note.kind == "lost"]
        assert lost == [] or example in {*WITH_ABSENT, "adv_exp"}
        assert all(note.line for note in notes)


def test_a_relation_example_is_whole_but_for_its_scheduler(tmp_path: Path) -> None:
    copy = tmp_path / "old"
    shutil.copytree(OLD / "span_relation_extraction", copy)
    text = (copy / "fit.jsonc").read_text(encoding="utf-8")
    scheduler = '"@scheduler@cosine_restart": {"interval": "epoch", "first_restart_step": 2}'
    assert scheduler in text
    text = text.replace(scheduler, '"@scheduler@constant": {}')
    done = migrate(text, "fit.jsonc")
    (tmp_path / "fit.jsonc").write_text(done.text, encoding="utf-8")
    left = mistakes(tmp_path, ("span_relation_extraction", "process"))
    assert left == []
    check([(str(tmp_path / "process.jsonc"), ()), (str(tmp_path / "fit.jsonc"), ())], Terminal())


NAMES: dict[str, dict[str, dict[str, Any]]] = json.loads(
    (ROOT / "tests" / "fixtures" / "names_of_0_1.json").read_text(encoding="utf-8")
)


@functools.cache
def schema(kind: str) -> Any:
    return Draft202012Validator(make_schema(kind).value)


@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, name) for kind, names in NAMES.items() for name in names],
    ids=lambda part: part,
)
def test_every_field_of_every_old_component_is_known(kind: str, name: str) -> None:
    old = {"_base": name, **NAMES[kind][name]}
    done = migrate(json.dumps(old), f"{kind}@old.jsonc")
    lost = [str(note) for note in done.notes if note.kind == "lost"]
    if (kind, name) in NOT_YET or (kind, "") in NOT_YET:
        assert len(lost) == 1
    else:
        assert lost == []
        assert list(schema(kind).iter_errors(jsonc.parse(done.text).value)) == []


def test_ids_of_single_texts_are_left_out_and_of_pairs_kept() -> None:
    def fit(example: str) -> Any:
        old = (OLD / example / "fit.jsonc").read_text(encoding="utf-8")
        return jsonc.parse(migrate(old, "old.jsonc").text).value["@fit"]

    single, pair = fit("text_cls"), fit("text_match")
    dataset, embedding = "@dataset@default", "@embedding@bert_like"
    assert "type_ids" not in single["@datamodule@default"][dataset]["key_type_pairs"]
    model = single["@imodel@default"]["@model@basic"]
    assert model[embedding]["input_map"] == {"type_ids": ""}
    assert "type_ids" in pair["@datamodule@default"][dataset]["key_type_pairs"]
    assert "input_map" not in pair["@imodel@default"]["@model@basic"][embedding]


def test_regression_is_trained_and_predicted_by_one_link() -> None:
    old = (OLD / "text_reg" / "fit.jsonc").read_text(encoding="utf-8")
    fit = jsonc.parse(migrate(old, "old.jsonc").text).value["@fit"]["@imodel@default"]
    assert fit["@model@basic"]["@decoder@regression"] == {
        "input_size": 768,
        "pool": "first",
        "link": "sigmoid",
    }
    assert fit["@postprocessor@txt_reg"] == {}


def test_old_comments_are_in_the_new_file() -> None:
    old = (OLD / "span_cls" / "process.jsonc").read_text(encoding="utf-8")
    assert "// id 0 is none" in migrate(old, "old.jsonc").text


@pytest.mark.parametrize(
    "file",
    sorted(p for p in ROOT.glob("examples/*/**/*.jsonc") if not p.name.startswith(".")),
    ids=lambda file: str(file.relative_to(ROOT)),
)
def test_configs_of_ours_are_written_as_they_were_read(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert jsonc.parse(write(parse(text, str(file)))).value == jsonc.parse(text).value
    assert write(parse(text, str(file))) == text
