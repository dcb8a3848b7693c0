"""`dlk schema` against all configs that this repository ships, and with a plugin installed."""

from __future__ import annotations

import copy
import functools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from dlk.config import jsonc
from dlk.config.keys import is_module
from dlk.config.project import find_project
from dlk.config.schema import make_schema
from dlk.registry import register

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted(
    path
    for pattern in ("examples/*/**/*.jsonc", "tests/fixtures/*/*.jsonc")
    for path in ROOT.glob(pattern)
    if not {"logs", "processed"} & set(path.parts) and path.name[0] != "."
)
CONFIGS = [path for path in FILES if "@" not in path.name]
BLOOM = ROOT / "tests" / "plugins" / "dlk-bloom"


def validator(file: Path) -> Any:
    """The schema of the file's own project."""
    return made(find_project(str(file.parent)).file, file.name.rpartition("@")[0])


@functools.cache
def made(project_file: str, kind: str) -> Any:
    project = find_project(str(Path(project_file or os.sep).parent))
    register.add_local(project.sources)
    schema = make_schema(kind, modules=project.modules)
    return Draft202012Validator(schema.value)


def value_of(file: Path) -> Any:
    return jsonc.read(str(file)).value


def components(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, part in value.items():
        if is_module(key) and isinstance(part, dict):
            yield (*path, key)
            yield from components(part, (*path, key))


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_every_shipped_config_is_accepted(file: Path) -> None:
    errors = [
        (list(e.absolute_path), e.message) for e in validator(file).iter_errors(value_of(file))
    ]
    assert errors == []


def test_the_shipped_configs_are_the_examples_and_the_fixtures() -> None:
    assert len(CONFIGS) >= 20
    assert len(FILES) > len(CONFIGS)  # module files among them


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_slip_in_any_key_is_refused(file: Path) -> None:
    check, value = validator(file), value_of(file)
    for path in components(value):
        broken: Any = copy.deepcopy(value)
        here = broken
        for key in path:
            here = here[key]
        here["no_such_field"] = 1
        assert not check.is_valid(broken), path
        del here["no_such_field"]
        for key in [k for k in here if k[0] not in "@_"]:
            here[f"{key}_"] = here.pop(key)
            assert not check.is_valid(broken), (*path, key)
            here[key] = here.pop(f"{key}_")
        assert check.is_valid(broken)


def schema(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `dlk schema` where the folder's distributions are installed, too."""
    paths = [str(folder), os.environ.get("PYTHONPATH", "")]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    command = [sys.executable, "-m", "dlk.cli", "schema", *arguments]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


def test_installing_a_plugin_changes_it(tmp_path: Path) -> None:
    config = {"@embedding@bloom": {"vocab_size": 9, "rows": 3, "embedding_dim": 2}}
    wrong = {"@embedding@bloom": {"vocab_size": 9, "rows": 0, "embedding_dim": 2}}
    assert 'no embedding "bloom"' in schema(tmp_path, "embedding", "bloom").stderr
    before = Draft202012Validator(json.loads(schema(tmp_path, "model", "basic").stdout))
    assert not before.is_valid(config)
    (tmp_path / "dlk_bloom").symlink_to(BLOOM / "src" / "dlk_bloom")
    info = tmp_path / "dlk_bloom-1.4.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: dlk-bloom\nVersion: 1.4.0\n")
    (info / "entry_points.txt").write_text("[dlk]\nbloom = dlk_bloom.plugin\n")
    text = schema(tmp_path, "model", "basic").stdout
    after = Draft202012Validator(json.loads(text))
    assert after.is_valid(config)
    assert not after.is_valid(wrong)
    about = json.loads(text)["$defs"]["embedding.bloom.part"]["description"]
    assert about.endswith("(dlk-bloom 1.4.0)")
