"""The table of quality: paired over seeds, resumable, and honest about what is missing."""

from __future__ import annotations

import json
import math
import subprocess
from pathlib import Path

import pytest
import torch
from scipy import stats

from benchmarks import quality
from benchmarks.plain_text import rate
from benchmarks.quality import JOBS, T_975, Job, Result, interval, main, read, table
from benchmarks.text_cls_multi_baseline import best_threshold, f1s
from dlk.config import make
from dlk.metrics import LabelSetCounts, ThresholdSearch
from dlk.registry import register


def never(seed: int) -> dict[str, float]:
    raise AssertionError(f"seed {seed} is run in this process")


def job(name: str) -> Job:
    return Job(name, never, never, ("f1", "accuracy"), target=0.9)


def result(name: str, system: str, seed: int, f1: float) -> Result:
    return Result(name, system, seed, {"f1": f1, "accuracy": f1 / 2, "seconds": 10.0})


def test_the_interval_is_student_s() -> None:
    values = [0.1, 0.4, 0.2, 0.6]
    mean, half = interval(values)
    low, high = stats.t.interval(0.95, 3, loc=mean, scale=stats.sem(values))
    assert (mean - half, mean + half) == pytest.approx((low, high), abs=1e-4)
    assert list(T_975) == pytest.approx(stats.t.ppf(0.975, range(1, 31)), abs=1e-3)
    assert math.isnan(interval([0.5])[1])


def test_a_line_is_over_all_parts_of_a_group_and_differences_over_pairs() -> None:
    results = [
        result("a@0", "dlk", 1, 0.9),
        result("a@0", "plain", 1, 0.8),
        result("a@1", "dlk", 1, 0.7),
        result("a@1", "plain", 1, 0.7),
        result("a@1", "dlk", 2, 0.2),  # without its partner: in the mean, in no difference
        result("other", "dlk", 1, 0.0),
    ]
    head, _, f1, accuracy = table([job("a@0"), job("a@1"), job("b")], results).splitlines()
    assert head.startswith("| job | measure | runs |")
    mean, half = interval([0.1, 0.0])
    assert f1 == (f"| a | f1 | 3/2 | 0.6000 | 0.7500 | {mean:+.4f} ± {half:.4f} | 0.9 |")
    assert accuracy.split("|")[3:8] == [" 3/2 ", " 0.3000 ", " 0.3750 ", " +0.0250 ± 0.3176 ", "  "]


def test_one_system_alone_has_no_difference() -> None:
    (*_, line, _) = table([job("b")], [result("b", "dlk", 1, 0.5)]).splitlines()
    assert line == "| b | f1 | 1/0 | 0.5000 |  |  | 0.9 |"


def test_what_is_there_is_not_run_again_and_a_failure_leaves_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "results.jsonl"
    asked: list[tuple[str, str, int]] = []

    def ran(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        name, system, seed = command[-3:]
        asked.append((name, system, int(seed)))
        if system == "plain" and seed == "2":
            return subprocess.CompletedProcess(command, 1, "", "no memory left")
        line = json.dumps({"f1": 0.5, "accuracy": 0.25, "seconds": 1.0})
        return subprocess.CompletedProcess(command, 0, f"noise\n{line}\n", "")

    monkeypatch.setattr(quality, "JOBS", (job("a"), job("b@0")))
    monkeypatch.setattr(quality, "commit_of_tree", lambda: "0123abc+")
    monkeypatch.setattr(subprocess, "run", ran)
    arguments = ["--jobs", "b", "--out", str(out)]
    assert main([*arguments, "--seeds", "1"]) == 0
    assert asked == [("b@0", "dlk", 1), ("b@0", "plain", 1)]
    assert main([*arguments, "--seeds", "1", "2"]) == 0
    assert asked[2:] == [("b@0", "dlk", 2), ("b@0", "plain", 2)]
    assert {each.key for each in read(out)} == {*asked} - {("b@0", "plain", 2)}
    assert {each.commit for each in read(out)} == {"0123abc+"}
    printed = capsys.readouterr()
    assert "no memory left" in printed.err
    assert "| b | f1 | 2/1 |" in printed.out
    assert main([*arguments, "--table"]) == 0
    assert len(asked) == 4


def test_the_page_of_results_shows_what_was_measured() -> None:
    results = read(quality.ROOT / "benchmarks" / "quality.jsonl")
    page = (quality.ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    assert table(JOBS, results) in page
    names = {each.name for each in JOBS}
    assert {each.job for each in results} <= names
    assert all(each.commit and "+" not in each.commit for each in results)


def test_names_of_jobs_are_unique_and_parts_of_a_group_agree() -> None:
    names = [each.name for each in JOBS]
    assert len(names) == len(set(names))
    groups = {each.group: (each.measures, each.target) for each in JOBS}
    assert all(groups[each.group] == (each.measures, each.target) for each in JOBS)


def test_the_plain_script_searches_its_threshold_as_dlk_does() -> None:
    generator = torch.Generator().manual_seed(3)
    probabilities = torch.rand(300, 5, generator=generator)
    truth = probabilities + torch.rand(300, 5, generator=generator) > 1.3
    search = ThresholdSearch(5)
    search.update(probabilities.numpy(), truth.numpy())
    score, threshold = best_threshold(probabilities, truth)
    assert (threshold, score) == pytest.approx(search.micro(), abs=1e-6)
    counts = LabelSetCounts(5)
    counts.update((probabilities >= threshold).numpy(), truth.numpy())
    scores = counts.compute()
    assert f1s(probabilities >= threshold, truth) == pytest.approx(
        (scores["f1_micro"], scores["f1_macro"]), abs=1e-6
    )


@pytest.mark.parametrize("total", [1, 10, 70, 157])
def test_plain_scripts_learn_by_the_rates_of_the_examples(total: int) -> None:
    scheduler = register.build(make("scheduler", "linear_warmup", {"num_warmup_steps": 0.1}))
    for step in range(total):
        assert rate(step, total, warmup=0.1) == pytest.approx(scheduler.factor(step, total))
