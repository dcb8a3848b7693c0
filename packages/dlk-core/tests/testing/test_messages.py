"""Whatever check of the kit fails, its message names the component and is no bare comparison."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import dlk.testing.nn

FILES = sorted(Path(dlk.testing.nn.__file__).parent.glob("*.py"))


def asserts(file: Path) -> Iterator[ast.Assert]:
    """Yield the assertions of the conformance classes of a file."""
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef) and node.name.endswith("Conformance"):
            yield from (each for each in ast.walk(node) if isinstance(each, ast.Assert))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_assertion_names_the_component(file: Path) -> None:
    nameless = [
        f"{file.name}:{each.lineno}"
        for each in asserts(file)
        if each.msg is None or not {"self._name", "message"} & set(_names(each.msg))
    ]
    assert nameless == []


def _names(message: ast.expr) -> Iterator[str]:
    for node in ast.walk(message):
        if isinstance(node, ast.Attribute | ast.Name):
            yield ast.unparse(node)
