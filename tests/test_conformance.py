"""Every component that is shipped runs its family's class of the conformance kit."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import dlk.testing
from dlk.components import dlk_components as core_components
from dlk.nlp.components import dlk_components as nlp_components

ROOT = Path(__file__).resolve().parent.parent
FAMILIES = {
    "callback": "CallbackConformance",
    "data_collate": "DataCollateConformance",
    "datamodule": "DataModuleConformance",
    "dataset": "DatasetConformance",
    "decoder": "DecoderConformance",
    "display": "DisplayConformance",
    "embedding": "EmbeddingConformance",
    "encoder": "EncoderConformance",
    "fit": "ConfigConformance",  # a config without a class
    "imodel": "IModelConformance",
    "initmethod": "InitMethodConformance",
    "loss": "LossConformance",
    "model": "ModelConformance",
    "optimizer": "OptimizerConformance",
    "postprocessor": "PostProcessorConformance",
    "processor": "ProcessorConformance",
    "reader": "ReaderConformance",
    "scheduler": "SchedulerConformance",
    "subprocessor": "SubprocessorConformance",
    "trainer": "TrainerConformance",
}
TABLES = {"dlk-core": core_components(), "dlk-nlp": nlp_components()}


def checked(package: str) -> set[tuple[str, str, str]]:
    """Return kit class, type and name of each test class in a package's tests that pytest runs."""
    found = set()
    for file in (ROOT / "packages" / package / "tests").rglob("test_*.py"):
        # At the top of a module only: classes inside of tests are wrong on purpose.
        classes = {
            node.name: node
            for node in ast.parse(file.read_text(encoding="utf-8")).body
            if isinstance(node, ast.ClassDef)
        }
        for name, node in classes.items():
            if name.startswith("Test"):
                kits, component = trace(node, classes)
                found |= {(kit, *component) for kit in kits if component}
    return found


def trace(
    node: ast.ClassDef, classes: dict[str, ast.ClassDef]
) -> tuple[set[str], tuple[str, ...] | None]:
    """Return the kit classes that a class comes from, and its `component`, bases included."""
    component = None
    for line in node.body:
        if isinstance(line, ast.Assign | ast.AnnAssign):
            targets = line.targets if isinstance(line, ast.Assign) else [line.target]
            if [getattr(target, "id", "") for target in targets] == ["component"]:
                assert line.value is not None
                component = tuple(ast.literal_eval(line.value))
    kits: set[str] = set()
    for base in node.bases:
        name = getattr(base, "id", "")
        if name in dlk.testing.__all__:
            kits.add(name)
        elif name in classes:
            above, inherited = trace(classes[name], classes)
            kits |= above
            component = component or inherited
    return kits, component


def test_every_family_has_a_class_of_the_kit() -> None:
    rows = [row for table in TABLES.values() for row in table]
    assert {row.type for row in rows} == set(FAMILIES)
    assert set(FAMILIES.values()) == set(dlk.testing.__all__)


@pytest.mark.parametrize("package", sorted(TABLES))
def test_every_component_runs_its_family_s_class(package: str) -> None:
    wanted = {(FAMILIES[row.type], row.type, row.name) for row in TABLES[package]}
    assert wanted - checked(package) == set()
