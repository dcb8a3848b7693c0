"""`dlk export`."""

from __future__ import annotations

import subprocess
import sys

import pytest

from dlk.cli import main


def test_a_bundle_becomes_a_program(trained, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["export", str(trained.bundle), "--format", "torch_export", "--out", str(out)]) == 0
    shown = capsys.readouterr()
    assert shown.out.splitlines() == [
        "input  input_ids (batch, length) int64",
        "input  attention_mask (batch, length) bool",
        "output logits (batch, fixed) float32",
    ]
    assert "model.pt2 gives the model's outputs on 9 shapes" in shown.err
    assert {path.name for path in out.iterdir()} >= {"model.pt2", "export.json", "process.json"}


def test_what_cannot_be_written_is_an_error(trained, tmp_path, capsys):
    (tmp_path / "mine").write_text("mine")
    command = ["export", str(trained.bundle), "--format", "torch_export", "--out", str(tmp_path)]
    assert main(command) == 1
    assert "would be replaced" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--help"], ["b", "--format", "tflite", "-o", "x"]])
def test_nothing_heavy_is_loaded_to_read_the_arguments(arguments):
    code = (
        "import sys\nfrom dlk.cli import main\ncode = main(['export', *sys.argv[1:]])\n"
        "assert not {'torch', 'onnx', 'onnxruntime', 'numpy'} & set(sys.modules)\nprint(code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == ("0" if arguments == ["--help"] else "2")


def test_predicting_takes_packed_weights_and_the_device_that_is_there(trained, tmp_path, capsys):
    data = tmp_path / "rows.jsonl"
    data.write_text('{"sentence": "the cat"}\n')
    answers = []
    for options in ([], ["--packed"], ["--device", "auto"]):
        assert main(["predict", str(trained.bundle), str(data), *options]) == 0
        answers.append(capsys.readouterr().out)
    assert all('"animal"' in answer for answer in answers)
    assert main(["predict", str(trained.bundle), str(data), "--device", "cudda"]) == 2
    assert '--device cudda: the device "cudda" cannot be used here' in capsys.readouterr().err
