"""What `dlk new project` makes: its own tests pass, and both its configs fit the schema."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from jsonschema import Draft202012Validator

from dlk.config import jsonc
from dlk.config.schema import make_schema
from dlk.scaffold import new_project


def test_a_new_project_passes_its_own_tests(tmp_path: Path) -> None:
    new_project("just-made", str(tmp_path))
    folder = tmp_path / "just-made"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        command, cwd=folder, env=dict(os.environ), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert "2 passed" in done.stdout
    assert not (folder / "processed").exists()


def test_the_configs_of_a_new_project_fit_the_schema(tmp_path: Path) -> None:
    new_project("just-made", str(tmp_path))
    check = Draft202012Validator(make_schema().value)
    for name in ("process.jsonc", "fit.jsonc"):
        check.validate(jsonc.read(str(tmp_path / "just-made" / name)).value)
