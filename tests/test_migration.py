"""What users of dlk 0.1 know is here under its name, or `docs/migration.md` says what became of it.

`fixtures/names_of_0_1.json` holds the components of dlk 0.1 for text, their fields and defaults.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from dlk.config._intc import fields_of
from dlk.registry import register

ROOT = Path(__file__).resolve().parent.parent
OLD: dict[str, dict[str, dict[str, Any]]] = json.loads(
    (ROOT / "tests" / "fixtures" / "names_of_0_1.json").read_text(encoding="utf-8")
)
KNOWN = [
    pytest.param(kind, name, id=f"{kind} {name}")
    for kind, names in OLD.items()
    for name in names
    if (kind, name) in register
]
NOT_YET = {  # what is not of text, and not brought over yet
    "optimizer adan",
    "scheduler cosine_restart",
    "scheduler warmup_rec_decay",
}
RENAMED = {"prograss_bar": "progress_bar", "focal_loss": "focal", "txt_match_reg": "txt_match"}


def rows() -> list[set[str]]:
    """Return the words in code of each row's first cell; `a.b` is two words."""
    text = (ROOT / "docs" / "migration.md").read_text(encoding="utf-8")
    cells = re.findall(r"^\| (`.*?) \|", text, re.MULTILINE)
    return [
        {word for code in re.findall(r"`([^`]*)`", cell) for word in re.findall(r"[\w*-]+", code)}
        for cell in cells
    ]


ROWS = rows()


def is_told(kind: str, name: str, field: str) -> bool:
    """Whether a row of the page is about a field of a component, or of its family."""
    owners = {kind, name, RENAMED.get(name, name)}
    return any(words & owners and field in words for words in ROWS)


def changes(kind: str, name: str) -> list[tuple[str, str]]:
    """Return the fields, and keys of maps, that are gone or have another default, and how."""
    ours = fields_of(register.config(kind, name))
    found = []
    for field, old in OLD[kind][name].items():
        if field not in ours:
            found.append((field, f"{field} is gone"))
            continue
        nested = ours[field].get("object_type")
        new = (
            {key: inner.get("default") for key, inner in fields_of(nested).items()}
            if nested
            else ours[field].get("default")
        )
        if isinstance(old, dict) and isinstance(new, dict):
            for key, value in old.items():
                if new.get(key) != value:
                    place = field if nested else key
                    found.append((place, f"{field}.{key}: {value!r} is now {new.get(key)!r}"))
        elif old != "???" and (old or None) != (new or None):
            found.append((field, f"{field}: {old!r} is now {new!r}"))
    return found


@pytest.mark.parametrize(("kind", "name"), KNOWN)
def test_each_field_is_here_with_its_default_or_the_page_tells_of_it(kind: str, name: str) -> None:
    untold = [change for field, change in changes(kind, name) if not is_told(kind, name, field)]
    assert untold == []


def test_components_for_text_are_all_here() -> None:
    gone = {
        f"{kind} {name}"
        for kind, names in OLD.items()
        for name in names
        if (kind, name) not in register
    }
    assert {name for name in gone if not name.startswith("module ")} <= NOT_YET
