"""What tests across the packages share: a small task, and one run of it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from dlk.preprocess import Process
from dlk.train import RunResult, Train

FIXTURES = Path(__file__).parent / "fixtures"
SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Task:
    """A folder with configs, rows in `data/`, and a tokenizer."""

    folder: Path

    @property
    def process(self) -> Path:
        return self.folder / "process.jsonc"

    @property
    def fit(self) -> Path:
        return self.folder / "fit.jsonc"

    def data(self, split: str) -> str:
        return str(self.folder / "data" / f"{split}.jsonl")

    def run(self, *overrides: str) -> RunResult:
        """Process and train; the result of the one run."""
        Process(self.process).run({split: self.data(split) for split in SPLITS})
        (done,) = Train(self.fit, overrides=overrides).run().runs
        return done


def make_task(folder: Path) -> Task:
    """Return the small task in a folder of its own."""
    shutil.copytree(FIXTURES / "text_cls", folder, dirs_exist_ok=True)
    shutil.copytree(FIXTURES / "trec", folder / "data")
    shutil.move(folder / "data" / "tokenizer.json", folder)
    return Task(folder)


@pytest.fixture
def task(tmp_path: Path) -> Task:
    """The small task, nothing run yet."""
    return make_task(tmp_path / "task")


@dataclass(frozen=True)
class Trained:
    """The small task after its run."""

    task: Task
    result: RunResult

    @property
    def bundle(self) -> Path:
        return Path(self.result.bundle)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """The small task, processed and trained once for all tests; nobody changes its folder."""
    task = make_task(tmp_path_factory.mktemp("trained") / "task")
    return Trained(task, task.run())
