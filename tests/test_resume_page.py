"""What `docs/resume.md` shows and says is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dlk._resuming import _FREE, LENGTH
from dlk.config import make
from dlk.config.jsonc import parse

PAGE = Path(__file__).parent.parent / "docs" / "resume.md"


@pytest.fixture(scope="module")
def text() -> str:
    return PAGE.read_text(encoding="utf-8")


def test_the_options_shown_are_those_of_the_callback(text: str) -> None:
    (shown,) = re.findall(r"```jsonc\n(.*?)```", text, re.DOTALL)
    trainer = parse(shown).value["@trainer@lightning"]
    config = make("callback", "resume", trainer["@callback@resume"])
    assert config.every_n_train_steps == 500
    default = make("callback", "resume")
    assert f"within {default.pause:.0f} s of" in text
    assert f"each {default.train_time_interval / 60:.0f} minutes" in text


def test_the_transcript_is_what_the_command_says(text: str) -> None:
    """The words themselves are held by the tests of core."""
    (shown,) = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    *commands, said = shown.splitlines()
    assert commands == ["$ dlk train fit.jsonc", "^C", "$ dlk train fit.jsonc --resume"]
    assert re.fullmatch(r"run 0: goes on from step \d+", said)


def test_what_may_differ_is_named(text: str) -> None:
    said = text.split("What may differ in the config:")[1].split("\n## ")[0]
    for path in (
        "log_dir",
        "processed_data_dir",
        "datamodule.num_workers",
        "datamodule.pin_memory",
        "trainer.enable_progress_bar",
        "trainer.enable_model_summary",
        "trainer.profiler",
    ):
        assert _FREE.fullmatch(path)
        assert path.rpartition(".")[2] in said
    assert all(name in said for name in LENGTH if name.startswith("max"))


def test_links_lead_somewhere(text: str) -> None:
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (PAGE.parent / link).exists(), link
    assert "\n## Checkpoints\n" in (PAGE.parent / "performance.md").read_text(encoding="utf-8")
