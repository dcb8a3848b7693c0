"""The plugins of `examples/` pass their own tests and do what their pages say."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dlk.plugin import Hooks
from tests.installed import Installed

if TYPE_CHECKING:
    from tests.conftest import Task, Trained

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
PLUGINS = sorted(path.name for path in EXAMPLES.glob("plugin_*"))
DLK = ("-m", "dlk.cli")


@pytest.fixture
def installed(tmp_path: Path) -> Installed:
    return Installed(tmp_path / "site")


def test_each_hook_has_its_example() -> None:
    shown = "".join(
        file.read_text(encoding="utf-8") for file in EXAMPLES.glob("plugin_*/src/*/plugin.py")
    )
    hooks = {name for name in vars(Hooks) if name.startswith("dlk_")} - {"dlk_components"}
    assert hooks == set(re.findall(r"^def (dlk_\w+)", shown, re.MULTILINE))


@pytest.mark.parametrize("name", PLUGINS)
def test_it_passes_its_own_tests_and_is_found(name: str, installed: Installed) -> None:
    installed.add(EXAMPLES / name)
    quiet = ("-q", "-p", "no:cacheprovider", "-o", "addopts=", "--import-mode=importlib")
    own = installed.run("-m", "pytest", *quiet, "tests", cwd=EXAMPLES / name)
    assert own.returncode == 0, own.stdout
    done = installed.run(*DLK, "plugins", "--json", cwd=EXAMPLES)
    distribution = name.replace("plugin_", "dlk-").replace("_", "-")
    (row,) = [row for row in json.loads(done.stdout) if row["distribution"] == distribution]
    assert (row["state"], row["error"]) == ("loaded", "")
    assert row["hooks"]


def test_the_log_tells_of_all_that_was_done(installed: Installed, task: Task) -> None:
    installed.add(EXAMPLES / "plugin_run_log")
    log = task.folder / "runs.jsonl"
    done = installed.run(
        *DLK, "-q", "run", "process.jsonc", "fit.jsonc", "--set", "trainer.max_epochs=1",
        cwd=task.folder, DLK_RUN_LOG=str(log),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    bundle = done.stdout.strip()
    done = installed.run(
        *DLK, "evaluate", bundle, task.data("test"), cwd=task.folder, DLK_RUN_LOG=str(log)
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    assert [line["event"] for line in lines] == [
        *("process begins", "process ended", "run begins", "run ended"),
        *("evaluate begins", "evaluate ended"),
    ]
    assert lines[0]["splits"] == ["train", "valid", "test"]
    assert lines[3]["bundle"] == lines[4]["bundle"] == bundle
    assert {f"test_{name}" for name in lines[5]["metrics"]} <= set(lines[3]["metrics"])


def test_a_log_that_cannot_be_written_ends_nothing(installed: Installed, trained: Trained) -> None:
    installed.add(EXAMPLES / "plugin_run_log")
    rows = trained.task.data("test")
    done = installed.run(
        *DLK, "predict", trained.result.bundle, rows, cwd=EXAMPLES, DLK_RUN_LOG="/no/such/folder"
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 12
    assert "dlk_before_predict of plugin run-log (dlk-run-log 1.0.0) failed: File" in done.stderr
    assert "the run goes on without it" in done.stderr


def test_what_is_redacted_never_reaches_the_model(
    installed: Installed, trained: Trained, tmp_path: Path
) -> None:
    installed.add(EXAMPLES / "plugin_redact")
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({"sentence": "Who is ann@mail.org at 020 7946 0958 ?"}) + "\n")
    done = installed.run(*DLK, "predict", trained.result.bundle, str(file), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (answer,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert answer["sentence"] == "Who is [email] at [number] ?"
    assert answer["redacted"] is True


def test_a_veto_is_short_and_leaves_no_folder(installed: Installed, task: Task) -> None:
    installed.add(EXAMPLES / "plugin_guard")
    done = installed.run(
        *DLK, "-q", "process", "process.jsonc", cwd=task.folder, DLK_GUARD_GIB="1e9"
    )
    assert done.returncode == 1
    assert re.fullmatch(r"error: .* GiB free, 1e\+09 are wanted .*\n", done.stderr)
    assert not (task.folder / "processed").exists()
