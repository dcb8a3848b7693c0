"""A third party's distribution: built, installed beside dlk, found, and trained with."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.isolation.environments import DISTRIBUTIONS, ROOT, Environment

pytestmark = pytest.mark.isolation

FIXTURES = ROOT / "tests" / "fixtures"


@pytest.fixture(scope="module")
def installed(overlay: Callable[..., Environment]) -> Environment:
    """An environment with the distribution `dlk`, which brings the packages, and dlk-bloom."""
    return overlay("plugin", "dlk", "dlk-bloom")


@pytest.fixture(scope="module")
def bundle(installed: Environment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What training with the plugin's embedding left."""
    folder = tmp_path_factory.mktemp("plugin")
    shutil.copytree(FIXTURES / "text_cls", folder, dirs_exist_ok=True)
    shutil.copytree(FIXTURES / "trec", folder / "data")
    shutil.move(folder / "data" / "tokenizer.json", folder)
    fit = (folder / "fit.jsonc").read_text(encoding="utf-8")
    assert '"@embedding@random": {' in fit
    fit = fit.replace('"@embedding@random": {', '"@embedding@bloom": {"rows": 90,')
    (folder / "fit.jsonc").write_text(fit, encoding="utf-8")
    command = ["dlk", "--quiet", "run", "process.jsonc", "fit.jsonc"]
    done = installed.run(*command, "--set", "trainer.max_epochs=2", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return Path(done.stdout.strip())


def test_dlk_list_shows_the_component_and_who_brought_it(installed: Environment) -> None:
    done = installed.run("dlk", "list", "embedding", "--json")
    assert done.returncode == 0, done.stderr
    (row,) = [row for row in json.loads(done.stdout) if row["name"] == "bloom"]
    assert row["from"] == "dlk-bloom 1.4.0"


def test_dlk_plugins_shows_the_distribution_as_loaded(installed: Environment) -> None:
    done = installed.run("dlk", "plugins")
    (line,) = [line for line in done.stdout.splitlines() if "dlk-bloom" in line]
    assert "1.4.0" in line
    assert "loaded" in line


def test_the_plugin_passes_its_own_tests(installed: Environment, tmp_path: Path) -> None:
    installed.install("pytest", "hypothesis", wheels={})
    tests = shutil.copytree(DISTRIBUTIONS["dlk-bloom"] / "tests", tmp_path / "tests")
    settings = shutil.copy(ROOT / "pyproject.toml", tmp_path)
    done = installed.run("python", "-m", "pytest", "-q", "-c", settings, tests, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


def test_a_config_that_names_it_trains_and_its_bundle_predicts(
    installed: Environment, bundle: Path
) -> None:
    needs = json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))["needs"]
    assert {"embedding", "bloom", "dlk-bloom", "1.4.0"} in [set(need.values()) for need in needs]
    done = installed.run("dlk", "predict", bundle, FIXTURES / "trec" / "test.jsonl")
    assert done.returncode == 0, done.stderr
    assert len([json.loads(line)["label"] for line in done.stdout.splitlines()]) == 12


def test_without_the_plugin_its_bundle_says_what_to_install(
    bundle: Path, overlay: Callable[..., Environment]
) -> None:
    bare = overlay("plugin-absent", "dlk")
    done = bare.run("dlk", "predict", bundle, FIXTURES / "trec" / "test.jsonl")
    assert done.returncode != 0
    assert "dlk-bloom" in done.stderr
    assert "Traceback" not in done.stderr
