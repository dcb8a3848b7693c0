"""What the language server of intc finds when it imports `dlk.intc`."""

from __future__ import annotations

import json
import linecache
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import dlk.intc
from dlk.config._intc import editor_tables, fields_of
from dlk.registry import register

VALUES, HELPS, NAMES = editor_tables()


def rows() -> list[tuple[str, str]]:
    """Components of installed distributions; those of other tests' projects come and go."""
    found = [e for e in register.entries() if e.origin != "local"]
    return [(e.component.type, e.component.name) for e in found]


def line_of(position: dict[str, Any]) -> str:
    return linecache.getline(position["file_path"], position["line_no"])


def test_every_component_is_known_to_the_server() -> None:
    assert dlk.intc.UNREAD == {}
    for type_name, name in rows():
        assert (type_name, name) in HELPS
        assert (type_name, name) in VALUES
        assert name in NAMES[type_name]


def test_an_alias_is_explained_but_not_proposed() -> None:
    assert HELPS["loss", "focal_loss"] is HELPS["loss", "focal"]
    assert "focal_loss" not in NAMES["loss"]


def test_every_component_leads_to_its_class() -> None:
    for key in rows():
        file, line = HELPS[key]["position"]["file_path"], HELPS[key]["position"]["line_no"]
        nearby = "".join(linecache.getline(file, n) for n in range(line, line + 3))
        assert f"class {register.config(*key).__name__}" in nearby, key


def test_every_field_has_help_and_leads_to_its_line() -> None:
    for key in rows():
        for field in fields_of(register.config(*key)):
            about = HELPS[key]["properties"][field]
            assert about["description"], (key, field)
            line = line_of(about["position"])
            assert f"{field}" in line or "Field(" in line, (key, field, line)


def test_what_is_proposed_is_plain() -> None:
    for key in rows():
        for field, about in HELPS[key]["properties"].items():
            if field[0] in "@_":
                continue
            assert about.get("default") != "???"
            for value in (about.get("default"), *(about.get("enum") or ())):
                hash(value)  # the server remembers what it showed, by value
    assert HELPS["optimizer", "adamw"]["properties"]["betas"]["default"] == "[0.9, 0.999]"


def test_children_are_proposed_with_how_many_there_may_be() -> None:
    model = HELPS["model", "basic"]["properties"]
    assert model["@encoder"]["description"] == "one encoder; identity by default"
    assert model["@encoder"]["default"] == {"_base": "identity"}
    assert HELPS["trainer", "lightning"]["properties"]["@callback"]["description"] == (
        "any number of callback"
    )


def test_names_of_a_map_are_explained_one_by_one() -> None:
    inside = HELPS["encoder", "lstm"]["properties"]["input_map"]["properties"]
    assert inside["embedding"]["default"] == "embedding"


PROJECT = """
import json, sys
sys.path.append({folder!r})
import dlk.intc
from dlk.config._intc import editor_tables
values, helps, names = editor_tables()
found = {{
    "own": helps.get(("optimizer", "own"), {{}}).get("description"),
    "mine": helps.get(("optimizer", "mine"), {{}}).get("inter_files"),
    "named": sorted(names["optimizer"]),
    "heavy": sorted({{"torch", "numpy", "transformers"}} & set(sys.modules)),
    "unread": list(dlk.intc.UNREAD.values()),
}}
print(json.dumps(found))
"""
OWN = '''
from dlk.config import Base, IntField, cregister

@cregister("optimizer", "own")
class OwnConfig(Base):
    """Steps as this project does."""
    size = IntField(value=1, help="of a step")
'''


def seen_from(folder: Path) -> Any:
    code = PROJECT.format(folder=str(folder))
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=os.sep, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_project_s_own_components_and_modules_are_known(tmp_path: Path) -> None:
    (tmp_path / ".intc.json").write_text('{"src": ["dlk.intc", "own"], "module": ["modules"]}')
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "optimizer.py").write_text(OWN)
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "optimizer@base.jsonc").write_text('{"_base": "own"}')
    (tmp_path / "modules" / "optimizer@mine.jsonc").write_text('{"_base": "base"}')
    found = seen_from(tmp_path)
    assert found["own"] == "Steps as this project does."
    assert [Path(f).name for f in found["mine"]] == ["optimizer@mine.jsonc", "optimizer@base.jsonc"]
    assert {"adamw", "base", "mine", "own", "sgd"} <= set(found["named"])
    assert found["heavy"] == []
    assert found["unread"] == []


def test_a_broken_project_leaves_what_is_installed(tmp_path: Path) -> None:
    (tmp_path / ".intc.json").write_text('{"src": ["nowhere"]}')
    found = seen_from(tmp_path)
    assert "adamw" in found["named"]
    assert "nowhere" in found["unread"][0]


def test_a_component_that_cannot_be_imported_is_left_out(tmp_path: Path) -> None:
    (tmp_path / ".intc.json").write_text('{"src": ["own.py"]}')
    (tmp_path / "own.py").write_text("import no_such_module\n" + OWN)
    found = seen_from(tmp_path)
    assert "own" not in found["named"]
    assert "no_such_module" in found["unread"][0]


def test_dlk_passes_the_name_over_in_the_sources_of_a_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dlk.config.project import find_project

    (tmp_path / ".intc.json").write_text('{"src": ["dlk.intc"]}')
    assert find_project(str(tmp_path)).sources == []
