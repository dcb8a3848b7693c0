"""Each package works with its own dependencies alone, and a forgotten one is noticed."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.isolation.environments import (
    DISTRIBUTIONS,
    ROOT,
    Environment,
    base_of,
    build_wheel,
    create,
    requirements,
)

pytestmark = pytest.mark.isolation

Overlay = Callable[..., Environment]

PACKAGES = [name for name, source in DISTRIBUTIONS.items() if source.parent.name == "packages"]

IMPORT_ALL = """
import importlib, pkgutil
import dlk
for name in sorted(module.name for module in pkgutil.walk_packages(dlk.__path__, "dlk.")):
    if not name.endswith("__main__"):
        importlib.import_module(name)
"""


@pytest.mark.parametrize("package", PACKAGES)
def test_passes_its_own_tests_with_only_its_own_dependencies(
    package: str, overlay: Overlay, tmp_path: Path
) -> None:
    environment = overlay(package, package)
    whole = environment.pip("check")
    assert whole.returncode == 0, whole.stdout
    imported = environment.run("python", "-I", "-c", IMPORT_ALL)  # before any test tool is there
    assert imported.returncode == 0, imported.stderr

    # what tests compare with, and what an extra or a server of the tests needs
    peers = ("jsonschema", "pytorch-crf", "scikit-learn", "seqeval")
    extras = ("onnx", "onnxruntime", "onnxscript", "pyftpdlib")
    environment.install("pytest", "pytest-xdist", "hypothesis", *peers, *extras, wheels={})
    tests = shutil.copytree(DISTRIBUTIONS[package] / "tests", tmp_path / "tests")
    settings = shutil.copy(ROOT / "pyproject.toml", tmp_path)
    command = ["python", "-m", "pytest", "-q", "-n", str(os.cpu_count()), "-c", settings, tests]
    kinds = "not slow and not gpu and not isolation and not once"
    done = environment.run(*command, "-m", kinds, cwd=tmp_path)
    print(f"{package}: {done.stdout.strip().splitlines()[-1]}", file=sys.stderr)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


def test_the_base_has_torch_and_lightning_but_no_transformers(base: Environment) -> None:
    done = base.run("python", "-I", "-c", "import torch, lightning")
    assert done.returncode == 0, done.stderr
    assert base.run("python", "-I", "-c", "import transformers").returncode == 1


def test_core_without_one_of_its_dependencies_is_noticed(wheels: dict[str, Path]) -> None:
    needed = requirements(DISTRIBUTIONS["dlk-core"])
    fewer = [line for line in needed if not line.startswith("tokenizers")]
    assert len(fewer) == len(needed) - 1
    environment = create("core-incomplete", base=base_of("base-incomplete", fewer))
    environment.install("--no-deps", wheels["dlk-core"], wheels={})
    imported = environment.run("python", "-I", "-c", IMPORT_ALL)
    assert "No module named 'tokenizers'" in imported.stderr


def test_nlp_without_transformers_is_noticed(
    base: Environment, wheels: dict[str, Path], tmp_path: Path
) -> None:
    source = shutil.copytree(DISTRIBUTIONS["dlk-nlp"], tmp_path / "dlk-nlp")
    pyproject = source / "pyproject.toml"
    text = pyproject.read_text(encoding="utf-8")
    assert "dlk-core[hf]" in text
    pyproject.write_text(text.replace("dlk-core[hf]", "dlk-core"), encoding="utf-8")
    ours = wheels | {"dlk-nlp": build_wheel(source, tmp_path / "wheel")}
    environment = create("nlp-incomplete", base=base)
    environment.install(ours["dlk-nlp"], wheels=ours)
    environment.install("pytest", "hypothesis", wheels={})
    settings = shutil.copy(ROOT / "pyproject.toml", tmp_path)
    command = ["python", "-m", "pytest", "-x", "-q", "-c", settings, source / "tests"]
    done = environment.run(*command, cwd=tmp_path)
    assert done.returncode not in (0, 5)
    assert "transformers" in done.stdout + done.stderr


@pytest.mark.parametrize("name", ["dlk-core", "dlk-nlp"])
def test_a_wheel_shares_no_file_and_makes_dlk_no_package(
    name: str, wheels: dict[str, Path]
) -> None:
    contents = {other: set(_modules(wheel)) for other, wheel in wheels.items()}
    assert contents[name]
    assert "dlk/__init__.py" not in contents[name]
    for other in contents.keys() - {name}:
        assert not contents[name] & contents[other]
    assert any(path.endswith("py.typed") for path in contents[name])


def test_the_distribution_dlk_holds_no_module(wheels: dict[str, Path]) -> None:
    assert _modules(wheels["dlk"]) == []


def _modules(wheel: Path) -> list[str]:
    with ZipFile(wheel) as archive:
        return [name for name in archive.namelist() if ".dist-info/" not in name]
