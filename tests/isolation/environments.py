"""Environments that hold what a distribution asks for and nothing else.

One base environment holds exactly what dlk-core's wheel requires (torch, Lightning and so on; no
transformers), linked file by file from the environment that runs these tests, so it costs seconds
and no disk; another what the distribution `dlk` requires, which is everything. A thin overlay per
package sees a base through a ``.pth`` file, and pip installs the built wheel into it with
everything the base lacks.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "isolation"  # on the file system of .venv, so that files can be linked
DISTRIBUTIONS = {
    "dlk-core": ROOT / "packages" / "dlk-core",
    "dlk-nlp": ROOT / "packages" / "dlk-nlp",
    "dlk": ROOT,
    "dlk-bloom": ROOT / "tests" / "plugins" / "dlk-bloom",
}


@dataclass(frozen=True)
class Environment:
    """A virtual environment without pip; the running environment's pip installs into it."""

    path: Path

    @property
    def python(self) -> Path:
        return self.path / "bin" / "python"

    @property
    def site(self) -> Path:
        (site,) = (self.path / "lib").glob("python*/site-packages")
        return site

    def pip(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return run([sys.executable, "-m", "pip", "--python", self.python, *arguments])

    def install(self, *what: str | Path, wheels: dict[str, Path]) -> None:
        """Install with the pinned versions; dlk's own distributions come from `wheels`."""
        links = self.path / "wheels"
        links.mkdir(exist_ok=True)
        for wheel in wheels.values():
            shutil.copy(wheel, links)
        constraints = ["--constraint", ROOT / "constraints.txt", "--find-links", links]
        done = self.pip("install", "--quiet", *constraints, *what)
        assert done.returncode == 0, done.stdout + done.stderr

    def run(
        self, *command: str | Path, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run one of the environment's programs, away from the repository."""
        program, *rest = command
        return run([self.path / "bin" / program, *rest], cwd=cwd or self.path)


def run(command: Sequence[str | Path], cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command with nothing of this process's Python settings in its environment."""
    leaks = ("PYTHON", "VIRTUAL_ENV", "PYTEST", "COVERAGE")
    env = {name: value for name, value in os.environ.items() if not name.startswith(leaks)}
    env |= {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def create(name: str, *, base: Environment | None = None) -> Environment:
    """Return a new, empty environment, or one that sees what `base` holds."""
    path = BUILD / name
    shutil.rmtree(path, ignore_errors=True)
    made = run([sys.executable, "-m", "venv", "--without-pip", path])
    assert made.returncode == 0, made.stderr
    environment = Environment(path)
    if base:
        (environment.site / "_base.pth").write_text(f"{base.site}\n", encoding="utf-8")
    return environment


def closure(requirements: Iterable[str]) -> list[Distribution]:
    """Return the installed distributions that the requirements lead to, and no others."""
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, str]] = set()
    todo = [(Requirement(text), "") for text in requirements]
    while todo:
        requirement, extra = todo.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        try:
            installed = found.setdefault(name, distribution(name))
        except PackageNotFoundError:
            raise AssertionError(f"{requirement} is required, but is not installed") from None
        assert requirement.specifier.contains(installed.version, prereleases=True), (
            f"{requirement} is required, {installed.version} is installed"
        )
        for wanted in ["", *requirement.extras]:
            if (name, wanted) not in seen:
                seen.add((name, wanted))
                todo += [(Requirement(text), wanted) for text in installed.requires or []]
    return list(found.values())


def link(source: Distribution, target: Path) -> None:
    """Link the distribution's files into another environment's site-packages."""
    for file in source.files or []:
        if ".." in file.parts:  # programs, which start the other environment's Python
            continue
        here, there = Path(str(source.locate_file(file))), target / file
        there.parent.mkdir(parents=True, exist_ok=True)
        if not there.exists():
            os.link(here, there)


def requirements(package: Path) -> list[str]:
    """Return what the package's pyproject file asks for, without extras."""
    with (package / "pyproject.toml").open("rb") as file:
        return list(tomllib.load(file)["project"]["dependencies"])


def base_of(name: str, wanted: Iterable[str]) -> Environment:
    """Return an environment that holds exactly what `wanted` leads to, dlk's own packages aside."""
    environment = create(name)
    for installed in closure(wanted):
        if canonicalize_name(installed.name) not in DISTRIBUTIONS:
            link(installed, environment.site)
    return environment


def build_wheel(source: Path, into: Path) -> Path:
    """Build the distribution at `source` and return the wheel's path."""
    into.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    done = run([*command, "--no-build-isolation", "--wheel-dir", into, source])
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = into.glob("*.whl")
    return wheel
