"""``dlk bundle``: what it prints, how it exits, and that it stays light."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dlk.bundle.pack import seal
from dlk.cli import main

KEPT = Path(__file__).parents[1] / "bundle" / "fixtures" / "schema-2"


@pytest.fixture
def bundle(tmp_path):
    return Path(shutil.copytree(KEPT, tmp_path / "bundle"))


def change_golden(bundle, edit):
    lines = [json.loads(line) for line in (bundle / "golden.jsonl").read_text().splitlines()]
    edit(lines)
    (bundle / "golden.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    seal(bundle, json.loads((bundle / "bundle.json").read_text()))


def test_a_sound_bundle_is_verified(bundle, capsys):
    assert main(["bundle", "verify", str(bundle)]) == 0
    said = capsys.readouterr().out
    assert "8 files, 12.9 kB, as written" in said
    assert "not run" in said


def test_a_damaged_bundle_is_told_in_words_and_in_json(bundle, capsys):
    (bundle / "golden.jsonl").write_text("{}\n")
    assert main(["bundle", "verify", str(bundle)]) == 1
    assert "golden.jsonl is not what was written" in capsys.readouterr().err
    assert main(["bundle", "verify", str(bundle), "--format", "json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] is False
    assert "golden.jsonl is not what was written" in found["error"]


def test_golden_rows_are_predicted_as_they_were(bundle, capsys):
    assert main(["bundle", "verify", str(bundle), "--predict"]) == 0
    assert "8 rows predicted as they were, within 0.0001" in capsys.readouterr().out


def test_a_row_that_differs_is_shown_with_field_expected_and_got(bundle, capsys):
    def edit(lines):
        lines[3]["prediction"]["logits"][1] += 1e-3
        lines[5]["prediction"]["logits"][0] += 5e-5  # within the tolerance

    change_golden(bundle, edit)
    assert main(["bundle", "verify", str(bundle), "--predict"]) == 1
    said = capsys.readouterr().out
    assert "1 of 8 rows" in said
    assert "3    logits.1" in said
    assert main(["bundle", "verify", str(bundle), "--predict", "--format", "json"]) == 1
    found = json.loads(capsys.readouterr().out)
    (difference,) = found["golden"]["differences"]
    assert (difference["row"], difference["field"]) == (3, "logits.1")
    assert difference["expected"] - difference["got"] == pytest.approx(1e-3, abs=1e-5)
    assert found["ok"] is False


def test_golden_lines_of_another_form_are_an_error(bundle, capsys):
    change_golden(bundle, lambda lines: lines[0].pop("prediction"))
    assert main(["bundle", "verify", str(bundle), "--predict"]) == 1
    assert "a line without input or prediction" in capsys.readouterr().err


def test_other_versions_are_told_and_no_failure(bundle, capsys):
    manifest = json.loads((bundle / "bundle.json").read_text())
    distributions = {"torch": "1.0", "no-such-thing": "2"}
    seal(bundle, {**manifest, "distributions": distributions})
    assert main(["bundle", "verify", str(bundle)]) == 0
    said = capsys.readouterr().out
    assert "made with 1.0, here" in said
    assert "made with 2, here none" in said


def test_inspect_says_what_it_is(bundle, capsys):
    assert main(["bundle", "inspect", str(bundle)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    for part in (
        "task identity",
        "203 in 3 tensors, F32",
        "sentence string refused",
        "logits array of number",
        "test_loss 0.0631",
        "embedding random dlk-core",
        "tokenizers 0.",
        "model.safetensors 1.1 kB",
    ):
        assert part in said
    assert main(["bundle", "inspect", str(bundle), "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["files"]["process.json"]["bytes"] == (bundle / "process.json").stat().st_size
    assert found["prediction"]["from"] == "golden"
    assert found["numbers"] == 203


def test_a_nested_form_is_shown_by_paths(bundle, capsys):
    entity = {"type": "object", "properties": {"start": {"type": "integer"}}}
    described = {"entities": {"type": "array", "items": entity}, "x": {"type": ["null", "string"]}}
    manifest = json.loads((bundle / "bundle.json").read_text())
    form = {"from": "declared", "schema": {"type": "object", "properties": described}}
    seal(bundle, {**manifest, "prediction": form})
    assert main(["bundle", "inspect", str(bundle)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "prediction (declared)" in said
    assert "entities array of object entities[].start integer x null or string" in said


def inspected(bundle, form, capsys):
    manifest = json.loads((bundle / "bundle.json").read_text())
    seal(bundle, {**manifest, "prediction": {"from": "declared", "schema": form}})
    assert main(["bundle", "inspect", str(bundle)]) == 0
    return " ".join(capsys.readouterr().out.split())


def test_choices_bounds_and_what_may_be_missing_are_told(bundle, capsys):
    form = {
        "type": "object",
        "properties": {
            "text": {"description": "as it was given"},
            "label": {"anyOf": [{"$ref": "#/$defs/label"}, {"type": "null"}]},
            "score": {"type": "number", "minimum": 0, "maximum": 1},
            "spans": {"type": ["array", "null"], "items": {"$ref": "#/$defs/span"}},
            "none": False,
        },
        "required": ["label", "score", "spans", "none"],
        "$defs": {
            "label": {"enum": ["a" * 99, *map(str, range(5000))]},
            "span": {"type": "integer", "minimum": 0},
        },
    }
    said = inspected(bundle, form, capsys)
    assert "text anything, or missing label" in said
    assert f"label one of {'a' * 40}…, 0, 1, 2, 3, 4, 5, 6 and 4993 more or null score" in said
    assert "score number (0..1) spans array or null of integer (0..) none nothing" in said


def test_labels_of_a_stranger_act_on_no_terminal(bundle, capsys):
    odd = "\x1b]0;title\x07\x1b[2Jx"
    form = {"properties": {odd: {"enum": [odd]}}}
    manifest = json.loads((bundle / "bundle.json").read_text())
    needs = [*manifest["needs"], {"type": "loss", "name": odd, "distribution": odd}]
    seal(bundle, {**manifest, "needs": needs, "task": odd, "metrics": {odd: 1.0}})
    assert "\x1b" not in inspected(bundle, form, capsys)
    main(["bundle", "verify", "--predict", str(bundle)])
    said = capsys.readouterr()
    assert r"\x1b[2Jx" in said.err
    assert "\x1b" not in said.out + said.err


@pytest.mark.parametrize(
    "part",
    [
        {"$ref": "#/$defs/round"},
        {"$ref": "#/$defs/nothing"},
        {"$ref": 5},
        {"anyOf": [{"$ref": "#/$defs/round"}]},
        {"anyOf": 3},
        {"enum": {}},
        {"type": 3, "minimum": [], "items": 7},
        {"properties": [], "required": {}, "items": {"items": {"properties": 3}}},
        True,
        None,
    ],
)
def test_odd_forms_are_shown_all_the_same(bundle, capsys, part):
    round_about = {"anyOf": [{"$ref": "#/$defs/round"}], "items": {"$ref": "#/$defs/round"}}
    form = {"properties": {"part": part}, "required": 3, "$defs": {"round": round_about}}
    assert "part" in inspected(bundle, form, capsys)
    assert "part" in inspected(bundle, {**form, "$defs": 3}, capsys)


def test_a_zip_is_written_beside_and_read(bundle, capsys):
    assert main(["bundle", "zip", str(bundle)]) == 0
    path = f"{bundle}.zip"
    assert capsys.readouterr().out.strip() == path
    assert main(["bundle", "verify", path]) == 0
    assert main(["bundle", "inspect", path]) == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["zip", "BUNDLE", "-o", "BUNDLE/x.zip"],
        ["zip", "BUNDLE", "-o", "FOLDER"],
        ["verify", "BUNDLE", "--trust-code"],
        ["verify"],
        ["nothing", "BUNDLE"],
        ["pack-code", "BUNDLE"],
    ],
)
def test_what_makes_no_sense_is_a_usage_error(bundle, capsys, arguments):
    words = {"BUNDLE": str(bundle), "FOLDER": str(bundle.parent)}
    for word, path in words.items():
        arguments = [part.replace(word, path) for part in arguments]
    assert main(["bundle", *arguments]) == 2
    assert len(list(bundle.iterdir())) == 6


def test_a_zip_is_not_written_over_itself(bundle, tmp_path):
    assert main(["bundle", "zip", str(bundle), "-o", str(tmp_path / "x.zip")]) == 0
    before = (tmp_path / "x.zip").read_bytes()
    assert main(["bundle", "zip", str(tmp_path / "x.zip")]) == 2
    assert (tmp_path / "x.zip").read_bytes() == before


@pytest.mark.parametrize("action", ["verify", "inspect", "zip"])
def test_none_but_predict_imports_torch_or_a_plugin(bundle, action):
    code = (
        "import sys\nfrom dlk.cli import main\n"
        "code = main(sys.argv[1:])\n"
        "print(code, [n for n in ('torch', 'numpy', 'pyarrow', 'safetensors', 'dlk.components')"
        " if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "bundle", action, str(bundle)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "0 []"
