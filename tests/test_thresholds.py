"""Thresholds that validation finds: training's test, `evaluate`, `Predict` and `Server` agree."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score

from dlk.data.meta import Meta
from dlk.predict import Predict
from dlk.server import Server
from dlk.train import RunResult, Train
from tests.small_tasks import SENTENCES, TXT_CLS, TXT_CLS_SETS, TXT_MATCH, Row, SmallTask

# names that mean something in a config, or elsewhere
STRANGE = ("@lambda x: 1", "_search", "a.b", "@user", "???", "")
PATH = "imodel.postprocessor.threshold"


def searching(task: SmallTask, **options: Any) -> SmallTask:
    """Return the task whose postprocessor has further options."""
    imodel = copy.deepcopy(task.imodel)
    (key,) = (key for key in imodel if key.startswith("@postprocessor"))
    imodel[key] |= options
    return replace(task, imodel=imodel)


def trained(
    task: SmallTask, folder: Path, train: Sequence[Row], valid: Sequence[Row], test: Sequence[Row]
) -> tuple[Path, RunResult]:
    """Train; return the bundle, moved away from all that made it, and the result."""
    task.process(folder, {"train": list(train), "valid": list(valid), "test": list(test)})
    (done,) = Train(task.fit_config(folder)).run().runs
    bundle = folder / "bundle"
    shutil.move(done.bundle, bundle)
    return bundle, done


def tagged(number: int, names: Sequence[str]) -> Row:
    """Return a row whose words decide its labels, more or less."""
    sentence = SENTENCES[number % len(SENTENCES)] + f" {number}"
    places = {len(sentence) % len(names), number % 3}
    return {"sentence": sentence, "labels": [names[place] for place in sorted(places)]}


def predicted(bundle: Path, rows: Sequence[Row]) -> list[Row]:
    """Return what `Predict` gives, which `Server` gives too, thresholds decided and all."""
    found, served = Predict(bundle).run(list(rows)), Server(bundle).fit(list(rows))
    assert isinstance(found, list)  # no file was asked for
    decided = [(answer.get("label"), answer.get("labels")) for answer in found]
    assert decided == [(answer.get("label"), answer.get("labels")) for answer in served]
    return found


def hot(rows: Sequence[Row]) -> Any:
    """Return the labels of rows, or of answers, as (rows, labels) of true and false."""
    return np.array([[name in row["labels"] for name in STRANGE] for row in rows])


@pytest.mark.parametrize("how", ["search", "search_macro", "search_each"])
def test_the_threshold_of_label_sets_is_one_everywhere(how: str, tmp_path: Path) -> None:
    rows = [tagged(number, STRANGE) for number in range(96)]
    parts = rows[:48], rows[48:72], rows[72:]
    bundle, done = trained(searching(TXT_CLS_SETS, threshold=how), tmp_path, *parts)
    found = done.found[PATH]
    words = Meta.load(bundle / "meta").vocabulary("label_vocab.json").words
    assert set(words) == set(STRANGE)
    least = dict(zip(words, found if how == "search_each" else [found] * len(words), strict=True))
    for prefix, some in (("val", parts[1]), ("test", parts[2])):
        answers = predicted(bundle, [{"sentence": row["sentence"]} for row in some])
        for answer in answers:
            scores = {one["label"]: np.float32(one["score"]) for one in answer["predicts"]}
            reached = {label for label in scores if scores[label] >= np.float32(least[label])}
            assert set(answer["labels"]) == reached
        micro = f1_score(hot(some), hot(answers), average="micro", zero_division=0)
        evaluated = Predict(bundle).evaluate(list(some)).metrics
        assert done.metrics[f"{prefix}_f1_micro"] == pytest.approx(micro)
        assert evaluated["f1_micro"] == pytest.approx(micro)
        assert evaluated["acc"] == done.metrics[f"{prefix}_acc"]
    reachable = {"search": "micro", "search_macro": "macro", "search_each": "macro"}[how]
    best = f"val_f1_{reachable}_best" + ("_each" if how == "search_each" else "")
    assert done.metrics[f"val_f1_{reachable}"] == pytest.approx(done.metrics[best])


def test_the_threshold_of_one_label_is_one_everywhere(tmp_path: Path) -> None:
    rows = [
        {"sentence": f"{SENTENCES[n % 8]} {n}", "labels": "rare" if n % 8 == 3 else "usual"}
        for n in range(96)
    ]
    task = searching(TXT_CLS, positive_label="rare", threshold="search")
    bundle, done = trained(task, tmp_path, rows[:48], rows[48:72], rows[72:])
    asked = [{"sentence": row["sentence"]} for row in rows[72:]]
    answers = predicted(bundle, asked)
    threshold = done.found[PATH]
    for answer in answers:
        scores = {each["label"]: each["score"] for each in answer["predicts"]}
        is_rare = bool(np.float32(scores["rare"]) >= np.float32(threshold))
        assert (answer["label"] == "rare") is is_rare
        assert answer["score"] == scores[answer["label"]]
    truth = [row["labels"] for row in rows[72:]]
    f1 = f1_score(truth, [a["label"] for a in answers], pos_label="rare", zero_division=0)
    assert done.metrics["test_f1"] == pytest.approx(f1)
    assert Predict(bundle).evaluate(rows[72:]).metrics["f1"] == pytest.approx(f1)
    assert done.metrics["val_f1"] == done.metrics["val_f1_best"]


@pytest.mark.parametrize("link", ["sigmoid", "identity"])
def test_the_threshold_of_matches_is_one_everywhere(link: str, tmp_path: Path) -> None:
    rows = [
        {
            "sentence_a": SENTENCES[n % 8],
            "sentence_b": f"{SENTENCES[n * 3 % 8]} {n}",
            "match": float(n % 8 in (1, 4)),
        }
        for n in range(96)
    ]
    task = searching(TXT_MATCH, threshold="search", link=link)
    bundle, done = trained(task, tmp_path, rows[:48], rows[48:72], rows[72:])
    asked = [{key: row[key] for key in ("sentence_a", "sentence_b")} for row in rows[72:]]
    answers = predicted(bundle, asked)
    threshold = np.float32(done.found[PATH])
    assert [a["label"] == "match" for a in answers] == [a["score"] >= threshold for a in answers]
    given = [a["label"] == "match" for a in answers]
    f1 = f1_score([row["match"] > 0 for row in rows[72:]], given, zero_division=0)
    assert done.metrics["test_f1"] == pytest.approx(f1)
    assert Predict(bundle).evaluate(rows[72:]).metrics["f1"] == pytest.approx(f1)
    assert done.metrics["val_f1"] == done.metrics["val_f1_best"]
