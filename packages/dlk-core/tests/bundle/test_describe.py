"""What a bundle says of itself is true: forms, types, null, versions, golden rows."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlk.bundle import Bundle
from dlk.bundle.describe import input_type, schema_of
from dlk.bundle.golden import Difference, compare

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-1, 1) | st.text(max_size=3),
    lambda below: (
        st.lists(below, max_size=3) | st.dictionaries(st.sampled_from("abc"), below, max_size=3)
    ),
    max_leaves=8,
)
TYPES = {
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "null": type(None),
    "array": list,
    "object": dict,
}


def meets(value, form):
    """JSON Schema as far as bundles use it, by its definition."""
    if "type" in form:
        kinds = form["type"] if isinstance(form["type"], list) else [form["type"]]
        fitting = [kind for kind in kinds if isinstance(value, TYPES[kind])]
        if isinstance(value, bool):
            fitting = [kind for kind in fitting if kind == "boolean"]
        if not fitting:
            return False
    if isinstance(value, list):
        return all(meets(item, form.get("items", {})) for item in value)
    if isinstance(value, dict):
        known = form.get("properties", {})
        return set(form.get("required", ())) <= value.keys() and all(
            meets(part, known.get(key, form.get("additionalProperties", {})))
            for key, part in value.items()
        )
    return True


@given(values=st.lists(VALUES, max_size=5))
def test_a_form_is_met_by_what_it_was_made_from(values):
    form = schema_of(values)
    assert all(meets(value, form) for value in values)


@pytest.mark.parametrize(
    ("values", "form"),
    [
        ([], {}),
        ([1, 2], {"type": "integer"}),
        ([1, 2.5], {"type": "number"}),
        ([True], {"type": "boolean"}),
        ([None, "x"], {"type": ["null", "string"]}),
        ([[], [1.5]], {"type": "array", "items": {"type": "number"}}),
        ([[]], {"type": "array"}),
        (
            [{"a": 1, "b": None}, {"a": 2}],
            {
                "type": "object",
                "properties": {"a": {"type": "integer"}, "b": {"type": "null"}},
                "required": ["a"],
            },
        ),
        (
            [{"cat": 0.5}, {"dog": 0.25}],
            {"type": "object", "additionalProperties": {"type": "number"}},
        ),
    ],
)
def test_a_form_is_as_narrow_as_a_reader_wants_it(values, form):
    assert schema_of(values) == form


@pytest.mark.parametrize(
    ("stored", "told"),
    [
        ("int8", "int64"),
        ("uint16", "int64"),
        ("float", "double"),
        ("large_string", "string"),
        ("bool", "bool"),
        ("list<item: string>", "list<item: string>"),
        ("", ""),
    ],
)
def test_how_few_bytes_a_column_is_stored_in_binds_no_request(stored, told):
    assert input_type(stored) == told


def differences(old, new, tolerance=1e-4):
    return list(compare([old], [new], tolerance=tolerance))


def test_numbers_may_differ_by_the_tolerance_and_no_more():
    assert differences({"a": 0.5}, {"a": 0.50005}) == []
    assert differences({"a": 0.5}, {"a": 0.5002}) == [Difference(0, "a", 0.5, 0.5002)]
    assert differences({"a": 5000.0}, {"a": 5000.4}) == []
    assert differences({"a": 1.0}, {"a": 1}) == []  # JSON may lose the point


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ({"a": 1}, {"a": 2}, "a"),
        ({"a": True}, {"a": 1}, "a"),
        ({"a": "x"}, {"a": "y"}, "a"),
        ({"a": 1}, {}, "a"),
        ({}, {"a": 1}, "a"),
        ({"a": [1, {"b": "x"}]}, {"a": [1, {"b": "y"}]}, "a.1.b"),
        ({"a": [1]}, {"a": [1, 2]}, "a"),
        ({"a": None}, {"a": 0.0}, "a"),
        ({"error": {"column": "x", "reason": "r"}}, {"a": 1}, "error"),
    ],
)
def test_all_else_is_equal_or_not(old, new, field):
    assert differences(old, new)[0].field == field


def test_of_a_row_that_cannot_be_processed_the_column_counts():
    old = {"error": {"column": "x", "reason": "r"}}
    assert differences(old, {"error": {"column": "x", "reason": "other words"}}) == []
    assert differences(old, {"error": {"column": "y", "reason": "r"}})


def test_golden_predictions_have_the_form_that_is_told(trained):
    bundle = Bundle(trained.bundle)
    assert bundle.manifest["prediction"]["from"] == "golden"
    assert all(meets(each["prediction"], bundle.prediction) for each in bundle.golden())


def test_a_form_that_the_postprocessor_declares_is_told_as_declared(toy, monkeypatch):
    from dlk.postprocessor.base import PostProcessor

    form = {"type": "object", "properties": {"label": {"enum": ["animal", "food", "place"]}}}
    monkeypatch.setattr(PostProcessor, "prediction_schema", lambda self: form)
    bundle = Bundle(toy.train("trainer.max_steps=2").bundle)
    assert bundle.manifest["prediction"] == {"from": "declared", "schema": form}


def test_a_form_may_hold_what_looks_like_a_digest(kept, tmp_path):
    import shutil

    from dlk.bundle import schema
    from dlk.bundle.pack import seal

    folder = Path(shutil.copytree(kept, tmp_path / "bundle"))
    manifest = json.loads((folder / schema.MANIFEST).read_text())
    form = {"properties": {"label": {"enum": ["0" * 64, "0" * 90, manifest["digest"]]}}}
    for _ in range(2):  # also of a manifest that has its digest already
        seal(folder, {**manifest, "prediction": {"from": "declared", "schema": form}})
        manifest = dict(Bundle(folder).manifest)
        assert manifest["prediction"]["schema"] == form


def test_whether_a_column_may_be_null_was_tried(trained):
    from dlk.errors import RowError

    bundle = Bundle(trained.bundle)
    (column,) = bundle.inputs
    (answer,) = bundle.engine().predict({"sentence": [None]})
    assert column["nullable"] is (not isinstance(answer, RowError))


def test_a_row_that_cannot_be_processed_stays_among_the_golden_ones(toy, monkeypatch):
    from dlk.bundle import write

    real = write._golden_rows

    def odd(*args):
        rows = real(*args)
        rows[2] = {"sentence": 3.5}
        return rows

    monkeypatch.setattr(write, "_golden_rows", odd)
    done = toy.train("trainer.max_steps=2")
    golden = Bundle(done.bundle).golden()
    assert len(golden) == 8
    assert golden[2]["prediction"]["error"]["column"] == "sentence"
    assert "label" in golden[3]["prediction"]


SERVE = """
import importlib.metadata, json, sys
from dlk.predict import Predict
from dlk.server import Server
Server(sys.argv[1]).fit({"sentence": "the cat"})
Predict(sys.argv[1]).run([{"sentence": "the cat"}])
brought = importlib.metadata.packages_distributions()
tops = {name.partition(".")[0] for name in sys.modules}
print(json.dumps([sorted(tops), sorted({d for top in tops for d in brought.get(top, ())})]))
"""


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    kept = max((Path(__file__).parent / "fixtures").glob("schema-*"))
    done = subprocess.run(
        [sys.executable, "-c", SERVE, str(kept)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=tmp_path_factory.mktemp("elsewhere"),
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_server_and_a_prediction_import_neither_lightning_nor_datasets(imported):
    names, _ = imported
    heavy = {"lightning", "pytorch_lightning", "datasets", "pandas", "tensorboard", "transformers"}
    assert not heavy & set(names)
    assert "torch" in names


def test_every_distribution_that_loading_imports_is_locked_or_comes_with_such(imported, kept):
    import importlib.metadata
    import re

    locked = set(Bundle(kept).manifest["distributions"])
    closure, todo = set(), [name.lower() for name in locked - {"dlk-core"}]
    while todo:
        name = todo.pop()
        if name in closure:
            continue
        closure.add(name)
        try:
            needs = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        todo += [re.split(r"[^\w.-]", need)[0].lower().replace("_", "-") for need in needs]
    ours = {"dlk", "dlk-core", "dlk-nlp", "dlk-vision", "dlk-gen", "dlk-serve", "setuptools"}
    found = {name.lower().replace("_", "-") for name in imported[1]} - ours
    assert found - closure == set()
