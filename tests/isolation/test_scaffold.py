"""What `dlk new` makes, in an environment that holds dlk and pytest and nothing else of ours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.isolation.environments import Environment

pytestmark = pytest.mark.isolation


@pytest.fixture(scope="module")
def installed(overlay: Callable[..., Environment]) -> Environment:
    """An environment with the distribution `dlk`, which brings the packages, and pytest."""
    environment = overlay("scaffold", "dlk")
    environment.install("pytest", "hatchling", wheels={})
    return environment


def new(environment: Environment, folder: Path, *arguments: str) -> None:
    done = environment.run("dlk", "new", *arguments, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr


def passes(environment: Environment, folder: Path) -> None:
    done = environment.run("python", "-m", "pytest", "-q", cwd=folder)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


def test_a_project_and_its_components_pass_their_tests_and_train(
    installed: Environment, tmp_path: Path
) -> None:
    new(installed, tmp_path, "project", "fresh-start")
    folder = tmp_path / "fresh-start"
    for kind in ("encoder", "decoder", "embedding", "loss", "subprocessor"):
        new(installed, folder, "component", f"fresh_{kind}", "--type", kind)
    passes(installed, folder)
    done = installed.run("dlk", "run", "process.jsonc", "fit.jsonc", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_plugin_is_installed_found_and_passes_its_tests(
    installed: Environment, tmp_path: Path
) -> None:
    new(installed, tmp_path, "plugin", "fresh_gate", "--type", "encoder")
    folder = tmp_path / "dlk-fresh-gate"
    installed.install("--no-build-isolation", "--no-deps", folder, wheels={})
    done = installed.run("dlk", "list", "encoder")
    assert "dlk-fresh-gate 0.1.0" in done.stdout
    passes(installed, folder)
