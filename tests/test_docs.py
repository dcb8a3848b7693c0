"""What the pages of `docs/tasks` show is real: configs, rows, predictions, metrics, commands."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest

from dlk.cli import main
from dlk.config import load
from dlk.config._intc import fields_of
from dlk.nlp.postprocessor.configs import BEST_METRICS, THRESHOLD_METRICS
from dlk.registry import register
from scripts.docs_configs import PAGES, ROOT, renewed, shown
from tests.example_copies import copy_of

TASKS = {
    "sequence_labeling": "seq_lab",
    "span_cls": "span_cls",
    "span_relation_extraction": "span_relation",
    "text_cls": "txt_cls",
    "text_match": "txt_match",
    "text_reg": "txt_reg",
}
SECTIONS = ("Rows", "process.jsonc", "fit.jsonc", "Predictions", "Metrics", "Serving", "Display")


def page(task: str) -> str:
    return (PAGES / f"{task}.md").read_text(encoding="utf-8")


def section(task: str, heading: str) -> str:
    return page(task).split(f"\n## {heading}\n")[1].split("\n## ")[0]


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def fit_of(task: str) -> Any:
    """The fit config that the page shows, numbers of the data made up."""
    (file,) = [file for file, _ in shown(section(task, "fit.jsonc")) if "/modules/" not in file]

    def numbers(tree: Any) -> Any:
        names = re.findall(r"_G\.meta\.(\w+)\.(\w+)", repr(tree.root))
        meta: dict[str, dict[str, int]] = {}
        for entry, name in names:
            meta.setdefault(entry, {})[name] = 0 if name.endswith("_id") else 1_000_000
        return {"meta": meta}

    return load(str(ROOT / file), global_values=numbers).one().root("fit")


def postprocessor_of(task: str) -> Any:
    from dlk.config import child

    return child(child(fit_of(task), "imodel"), "postprocessor")


def test_every_task_has_its_page() -> None:
    assert {path.stem for path in PAGES.glob("*.md")} == set(TASKS)


@pytest.mark.parametrize("task", TASKS)
def test_a_page_tells_everything_about_its_task(task: str) -> None:
    headings = re.findall(r"^## (.*)$", page(task), re.MULTILINE)
    assert headings == [*SECTIONS, "Pitfalls"]


@pytest.mark.parametrize("task", TASKS)
def test_configs_are_those_of_the_examples(task: str) -> None:
    text = page(task)
    files = [file for file, _ in shown(text)]
    assert len(files) == text.count("```jsonc")
    assert len(files) >= 2
    assert renewed(text) == text, "run: python -m scripts.docs_configs"


@pytest.mark.parametrize("task", TASKS)
def test_configs_pass_dlk_check(
    task: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [Path(file) for file, _ in shown(page(task)) if "/modules/" not in file]
    folder = copy_of(task, tmp_path)
    for file in files:
        assert main(["check", str(folder / file.name)]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("task", TASKS)
def test_rows_and_predictions_are_of_one_shape(task: str) -> None:
    (shown_row,) = blocks(section(task, "Rows"), "json")
    (shown_prediction,) = blocks(section(task, "Predictions"), "json")
    row, prediction = json.loads(shown_row), json.loads(shown_prediction)
    texts = [name for name in row if name.startswith("sentence")]
    assert [name for name in prediction if name.startswith("sentence")] == texts
    own = set(postprocessor_of(task).own_keys()) - {"left_out"}
    assert own <= set(prediction)
    for entity in (*row.get("entities_info", ()), *prediction.get("entities_info", ())):
        inside = row["sentence"][entity["start"] : entity["end"]]
        assert inside == inside.strip()
        assert entity.get("text", inside) == inside


@pytest.mark.parametrize("task", TASKS)
def test_metrics_that_are_named_are_measured(task: str) -> None:
    known = set(postprocessor_of(task).signature().metrics) | {"precision", "recall", "f1"}
    named = set(re.findall(r"`([a-z0-9]+(?:_[a-z0-9]+)*)`", section(task, "Metrics")))
    named -= {"val_", "test_", "multi_label"}
    if task == "text_cls":  # of other options than the example's
        known |= {*BEST_METRICS, *THRESHOLD_METRICS}
    assert named
    assert named <= known


@pytest.mark.parametrize("task", TASKS)
def test_the_display_that_is_shown_draws_the_prediction(task: str) -> None:
    (prediction,) = blocks(section(task, "Predictions"), "json")
    (python,) = blocks(section(task, "Display"), "python")
    names: dict[str, Any] = {"prediction": json.loads(prediction)}
    exec(compile(python, f"{task}.md", "exec"), names)
    assert names["html"].startswith("<figure")
    assert f'"{TASKS[task]}"' in python
    for picture in re.findall(r"\]\((\.\./images/\S+)\)", page(task)):
        assert 0 < (PAGES / picture).resolve().stat().st_size < 60_000


@pytest.mark.parametrize("task", TASKS)
def test_serving_is_python_and_its_row_has_the_columns(task: str) -> None:
    (python,) = blocks(section(task, "Serving"), "python")
    calls = [node for node in ast.walk(ast.parse(python)) if isinstance(node, ast.Dict)]
    (shown_row,) = blocks(section(task, "Rows"), "json")
    texts = {name for name in json.loads(shown_row) if name.startswith("sentence")}
    for call in calls:
        assert set(ast.literal_eval(call)) == texts
    logs = Path(fit_of(task).log_dir).relative_to(ROOT)
    assert f"{logs}/0/bundle" in python
    assert f"{logs}/0/bundle" in section(task, "Serving").split("```bash")[1]


@pytest.mark.parametrize("task", TASKS)
def test_links_and_examples_exist(task: str) -> None:
    for link in re.findall(r"\]\(([^)#:]+)\)", page(task)):
        assert (PAGES / link).exists(), link
    for example in re.findall(r"`make example-(\S+)`", page(task)):
        assert (ROOT / "examples" / example / "main.py").is_file(), example


@pytest.mark.parametrize("task", TASKS)
def test_options_that_are_named_exist(task: str) -> None:
    fields: set[str] = set()
    for entry in register.entries():
        if entry.origin != "local":  # another test's project
            fields |= set(fields_of(register.config(entry.component.type, entry.component.name)))
    named = set(re.findall(r'`"([a-z_]+)": (?:true|false|\d|"|\[|\{)', page(task)))
    columns = {"labels", "values", "error"}
    assert named - columns <= fields, named - columns - fields
