"""The import rules that `make check` keeps would notice a wrong arrow."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# Only the copied packages, not those that are installed as editable.
LINT = """
import sys
sys.path = sys.argv[2:] + [p for p in sys.path if not p.endswith("/src")]
from importlinter.cli import lint_imports
sys.exit(lint_imports(config_filename=sys.argv[1]))
"""


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Copies of the packages' sources."""
    folder = tmp_path_factory.mktemp("sources")
    return [
        shutil.copytree(package / "src", folder / package.name)
        for package in sorted((ROOT / "packages").iterdir())
    ]


def lint(sources: list[Path], folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", LINT, str(ROOT / "pyproject.toml"), *map(str, sources)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_the_code_keeps_the_rules(sources: list[Path], tmp_path: Path) -> None:
    done = lint(sources, tmp_path)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("module", "line", "rule"),
    [
        ("nn/base.py", "import dlk.nlp", "Core imports no other package"),
        ("errors.py", "import dlk.registry", "each line uses only what stands below it"),
        ("nn/base.py", "import lightning", "neither Lightning nor datasets"),
        ("server.py", "import dlk.trainer.lightning", "neither Lightning nor datasets"),
        ("registry.py", "import torch", "load no heavy package"),
        ("fit.py", "import intc", "intc is touched in one file"),
        ("new_module.py", "", "each line uses only what stands below it"),
    ],
)
def test_a_wrong_import_is_noticed(
    sources: list[Path], tmp_path: Path, module: str, line: str, rule: str
) -> None:
    core = next(path for path in sources if path.name == "dlk-core")
    changed = core / "dlk" / module
    before = changed.read_text(encoding="utf-8") if changed.exists() else None
    try:
        changed.write_text(f"{before or ''}\n{line}\n", encoding="utf-8")
        done = lint(sources, tmp_path)
    finally:
        changed.unlink() if before is None else changed.write_text(before, encoding="utf-8")
    assert done.returncode == 1
    broken = [text for text in done.stdout.splitlines() if "BROKEN" in text]
    assert any(rule in text for text in broken), done.stdout
