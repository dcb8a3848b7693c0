"""A corpus of broken configs: what dlk says of each, mistake by mistake.

`broken/NAME.jsonc` stands beside `broken/NAME.expected.txt`; where a config needs more files it is
`broken/NAME/config.jsonc` with `expected.txt`. An expectation is three or four lines::

    7:20 wrong-type trainer.max_epochs
        expected an integer >= -1 or null, got "3"
        suggests 3
        from --set …

`set:` and `globals:` lines at the top give overrides, and what Process would fill in under `_G`.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import dlk.config.check
from dlk.config import load
from dlk.errors import CODES, ConfigError, Problem

pytestmark = pytest.mark.once

BROKEN = Path(__file__).with_name("broken")
FILES = sorted([*BROKEN.glob("*.expected.txt"), *BROKEN.glob("*/expected.txt")])
KINDS = (
    "syntax", "top", "unknown", "integer", "required", "child", "anchor", "reference", "expression",
    "base", "module", "search", "set", "globals", "rule", "several",
)  # fmt: skip


class Expected(NamedTuple):
    position: str
    code: str
    path: str
    message: str
    suggestions: str
    origin: str


class Case(NamedTuple):
    name: str
    config: Path
    overrides: list[str]
    global_values: dict[str, Any]
    problems: list[Expected]


def read(file: Path) -> Case:
    """Read the expectations of one config."""
    whole = file.name == "expected.txt"
    name = file.parent.name if whole else file.name.removesuffix(".expected.txt")
    config = file.with_name("config.jsonc" if whole else f"{name}.jsonc")
    case = Case(name, config, [], {}, [])
    for line in file.read_text(encoding="utf-8").splitlines():
        kind, _, value = line.partition(" ")
        if kind == "set:":
            case.overrides.append(value)
        elif kind == "globals:":
            case.global_values.update(json.loads(value))
        elif not line.startswith(" "):
            position, code, path = line.split()
            case.problems.append(Expected(position, code, path, "", "", ""))
        else:
            last, (word, _, rest) = case.problems[-1], line.strip().partition(" ")
            field = {"suggests": "suggestions", "from": "origin"}.get(word, "message")
            value = line.strip() if field == "message" else rest
            case.problems[-1] = last._replace(**{field: value})
    return case


def found_in(case: Case, folder: Path) -> list[Problem]:
    """Return the mistakes that dlk finds, files named from the config's folder."""
    source = case.config.parent if case.config.name == "config.jsonc" else case.config
    if source.is_dir():
        shutil.copytree(source, folder, dirs_exist_ok=True)
    else:
        shutil.copy(source, folder)
    with pytest.raises(ConfigError) as caught:
        list(
            load(
                case.config.name,
                overrides=case.overrides,
                global_values=lambda _: case.global_values,
            )
        )
    return list(caught.value.problems)


def shown(problem: Problem, case: Case, folder: Path) -> Expected:
    """Return a mistake as expectations are written."""
    file = problem.file.replace(f"{folder}/", "")
    place = f"{problem.line}:{problem.column}"
    position = place if file == case.config.name and problem.line else file
    if file != case.config.name and problem.line:
        position = f"{file}:{place}"
    message = problem.message.replace(f"{folder}/", "").replace(str(folder), "FOLDER")
    origin = problem.origin.replace(f"{folder}/", "")
    suggestions = ", ".join(problem.suggestions)
    path = problem.path.replace(" ", "_")
    return Expected(position or "-", problem.code, path or "-", message, suggestions, origin)


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(BROKEN)))
def test_all_mistakes_are_named_where_they_stand(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    case = read(file)
    found = [shown(problem, case, tmp_path) for problem in found_in(case, tmp_path)]
    assert [p._replace(message="") for p in found] == [
        p._replace(message="") for p in case.problems
    ]
    for problem, expected in zip(found, case.problems, strict=True):
        assert expected.message
        assert expected.message in problem.message
        assert problem.code in CODES


def test_the_corpus_is_large_and_of_all_kinds() -> None:
    names = [read(file).name for file in FILES]
    assert len(names) >= 80
    for kind in KINDS:
        assert any(name.startswith(kind) for name in names), kind
    configs = {path for path in BROKEN.iterdir() if path.suffix == ".jsonc" or path.is_dir()}
    assert len(configs) == len(FILES)


def test_almost_every_code_is_met_in_the_corpus() -> None:
    met = {problem.code for file in FILES for problem in read(file).problems}
    # met elsewhere: files that are gone, plugins that fail, validators, code that makes configs
    elsewhere = {
        "unreadable-file",
        "unusable-component",
        "not-allowed",
        "nesting",
        "not-resolved",
        "several-runs",
    }
    sources = Path(dlk.config.check.__file__).parent.glob("*.py")
    texts = "".join(path.read_text(encoding="utf-8") for path in sources)
    of_configs = {code for code in CODES if f'"{code}"' in texts}
    assert of_configs - met - elsewhere == set()
