"""`docs/plugins.md`, followed in an environment of its own: installed by pip, as a reader does."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.isolation.environments import Environment
from tests.test_plugin_page import steps

pytestmark = pytest.mark.isolation


def test_the_page_leads_from_an_empty_folder_to_a_trained_model(
    overlay: Callable[..., Environment], tmp_path: Path
) -> None:
    environment = overlay("plugin-page", "dlk")
    environment.install("pytest", wheels={})
    for name, text in steps():
        if name:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text, encoding="utf-8")
            continue
        program, *rest = shlex.split(text)
        if program == "pip":
            assert rest == ["install", "-e", "dlk-unit"]
            done = environment.pip("install", "--quiet", "-e", tmp_path / "dlk-unit")
        else:
            done = environment.run(program, *rest, cwd=tmp_path)
        assert done.returncode == 0, text + done.stdout + done.stderr
    assert (tmp_path / "logs" / "0" / "bundle" / "bundle.json").is_file()
    assert (tmp_path / "answers.jsonl").read_text(encoding="utf-8").count("\n") == 20
