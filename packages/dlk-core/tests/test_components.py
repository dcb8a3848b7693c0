"""Core's table says what the decorators say."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import dlk.registry
from dlk._local import scan
from dlk.components import dlk_components
from dlk.config import _intc
from dlk.registry import register

SOURCE = Path(dlk.registry.__file__).parent
ROWS = dlk_components()
HEAVY = (
    "torch",
    "numpy",
    "pandas",
    "pyarrow",
    "lightning",
    "transformers",
    "datasets",
    "tokenizers",
)


def decorated() -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    """Import every module of core, and return the names of the configs and classes it registers."""
    for module in pkgutil.walk_packages([str(SOURCE)], "dlk."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    own = dict.fromkeys(SOURCE.rglob("*.py"))

    def is_own(target: type) -> bool:
        file = getattr(sys.modules[target.__module__], "__file__", None)
        return file is not None and Path(file) in own

    configs = {(t, n) for t, n, config in _intc.all_registered() if is_own(config)}
    classes = {names for names, target in register._classes.items() if is_own(target)}
    return configs, classes


def test_every_decorator_has_a_row_and_every_row_a_decorator() -> None:
    configs, classes = decorated()
    assert configs == {(row.type, row.name) for row in ROWS}
    assert classes == {(row.type, row.name.partition("-")[0]) for row in ROWS if row.cls}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.type}-{row.name}")
def test_a_row_names_the_very_classes_that_are_registered(row: dlk.registry.Component) -> None:
    module, _, name = row.config.partition(":")
    assert getattr(importlib.import_module(module), name) is register.config(row.type, row.name)
    if row.cls:
        module, _, name = row.cls.partition(":")
        assert getattr(importlib.import_module(module), name) is register.get(row.type, row.name)
    assert row.help
    for alias in row.aliases:
        assert register.primary(row.type, alias) == row.name
    for needed in row.needs:
        assert importlib.util.find_spec(needed) is not None


def test_no_name_is_listed_twice() -> None:
    names = [(row.type, name) for row in ROWS for name in (row.name, *row.aliases)]
    assert len(names) == len(set(names))


def test_config_modules_load_nothing_heavy() -> None:
    modules = sorted({row.config.partition(":")[0] for row in ROWS})
    code = (
        f"import sys, importlib\n[importlib.import_module(m) for m in {modules}]\n"
        f"print([m for m in {HEAVY} if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_the_table_itself_loads_no_component() -> None:
    code = (
        "import sys, dlk.components as c; c.dlk_components()\n"
        "print(sorted(m for m in sys.modules if m.startswith('dlk.')))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "['dlk.components', 'dlk.plugin']"


def test_reading_the_sources_finds_what_importing_them_does() -> None:
    # What tells project-local components, held against sources whose truth is known.
    found = {(row.type, row.name) for row in scan(str(SOURCE)).components}
    assert found == {(row.type, row.name) for row in ROWS}
