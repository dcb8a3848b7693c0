from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest

from dlk.plugin import API, Component, Hooks, hookimpl


def test_a_row_is_a_value() -> None:
    row = Component(
        "loss", "focal", config="a:B", cls="c:D", help="h", aliases=("f",), needs=("torch",)
    )
    assert row == dataclasses.replace(row)
    assert len({row, dataclasses.replace(row)}) == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        row.name = "x"  # type: ignore[misc]
    assert (Component("a", "b", "c:D").cls, Component("a", "b", "c:D").aliases) == ("", ())


def test_a_plugin_module_loads_nothing_but_pluggy() -> None:
    code = (
        "import sys; before = set(sys.modules); import dlk.plugin\n"
        "print(sorted({m.partition('.')[0] for m in set(sys.modules) - before}"
        " - set(sys.stdlib_module_names)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "['dlk', 'pluggy']"


def test_a_hook_is_marked_for_dlk_and_a_specification_is_never_called() -> None:
    @hookimpl
    def dlk_components() -> list[Component]:
        return []

    assert hasattr(dlk_components, "dlk_impl")
    assert API == 1
    with pytest.raises(AssertionError):
        Hooks().dlk_components()
