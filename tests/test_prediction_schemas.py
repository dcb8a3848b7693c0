"""Bundles of every task say what their predictions look like, and answers to odd rows are that."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from dlk.bundle import Bundle
from dlk.cli import main
from dlk.server import Server
from tests.small_tasks import (
    SEQ_LAB,
    SEQ_LAB_CRF,
    SPAN_CLS,
    SPAN_RELATION,
    TXT_CLS,
    TXT_CLS_SETS,
    TXT_MATCH_BI,
    TXT_REG,
    SmallTask,
)

ODD = ("", " ", "😀", "a" * 300, "é́ \u200f x", "\n", "Who is Anna in New York ?" * 20)
SHOWN = {
    "txt_cls": "label one of ",
    "txt_cls_sets": "labels array or null of one of ",
    "txt_reg": "value number or null",
    "txt_match_bi": "label one of no, match, null score number or null",
    "seq_lab": "entities_info[].start integer (0..)",
    "seq_lab_crf": "entities_info[].score number (0..1)",
    "span_cls": "left_out integer (1..), or missing",
    "span_relation": "relations_info[].from integer (0..)",
}


def test_every_kind_of_answer_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check(TXT_CLS, tmp_path, capsys)


@pytest.mark.slow
@pytest.mark.parametrize(
    "task",
    [TXT_CLS_SETS, TXT_REG, TXT_MATCH_BI, SEQ_LAB, SEQ_LAB_CRF, SPAN_CLS, SPAN_RELATION],
    ids=lambda task: task.name,
)
def test_every_kind_of_answer_is_told_of_every_task(
    task: SmallTask, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check(task, tmp_path, capsys)


def check(task: SmallTask, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = task.train(folder)
    bundle = Bundle(path)
    assert bundle.manifest["prediction"]["from"] == "declared"
    validator = Draft202012Validator(bundle.prediction)
    validator.check_schema(bundle.prediction)
    for each in bundle.golden():
        validator.validate(each["prediction"])
    server = Server(path)
    texts = [name for name, kind in kinds(bundle).items() if kind == "string"]
    assert texts
    rows = [{**bundle.golden()[0]["input"], **dict.fromkeys(texts, odd)} for odd in ODD]
    for one in server.fit(rows):
        if set(one) != {"error"}:
            validator.validate(json.loads(json.dumps(one, allow_nan=False)))
    capsys.readouterr()
    assert main(["bundle", "inspect", str(path)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "prediction (declared)" in said
    assert SHOWN[task.name] in said


def kinds(bundle: Bundle) -> dict[str, str]:
    return {str(each["name"]): str(each["type"]) for each in bundle.inputs}
