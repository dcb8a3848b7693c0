"""intc's language server on an example of ours: completion, hover, definition, diagnostics.

Slow, since it installs the server, which no environment of ours has: ``intc-lsp`` 0.1.1 does not
run with current versions of what it stands on (pygls 2, tree-sitter 0.22), so `dlk-core[lsp]` names
the last ones that it runs with.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.language_server import Client

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples" / "sequence_labeling"
SERVER = [sys.executable, "-W", "ignore", "-c", "from intc_lsp.cli import cli; cli()"]


def wanted() -> list[str]:
    """What the extra `lsp` of dlk-core asks for."""
    with (ROOT / "packages" / "dlk-core" / "pyproject.toml").open("rb") as file:
        return list(tomllib.load(file)["project"]["optional-dependencies"]["lsp"])


@pytest.fixture(scope="module")
def editor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Client, Path]]:
    """A client of the server that has an example's config open."""
    home = tmp_path_factory.mktemp("editor")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(home / "site")]
    command += ["--constraint", str(ROOT / "constraints.txt")]
    done = subprocess.run([*command, *wanted()], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    project = home / "project"
    shutil.copytree(EXAMPLE, project, ignore=shutil.ignore_patterns("logs", "processed", "data"))
    (project / ".intc.json").write_text(
        '{"entry": [""], "src": ["dlk.intc"], "module": ["modules"]}'
    )
    paths = [os.environ.get("PYTHONPATH", ""), str(home / "site")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "HOME": str(home)}
    with Client(SERVER, project, env) as client:
        config = project / "fit_lstm_crf.jsonc"
        client.open(config)
        yield client, config


def place(config: Path, text: str) -> tuple[int, int]:
    """Line and column, from 0, in the middle of the first occurrence of a text."""
    for number, line in enumerate(config.read_text(encoding="utf-8").splitlines()):
        if text in line:
            return number, line.index(text) + len(text) // 2
    raise AssertionError(text)


def hover(editor: tuple[Client, Path], text: str) -> str:
    client, config = editor
    return str(client.at("hover", config, *place(config, text))["contents"]["value"])


def definition(editor: tuple[Client, Path], text: str) -> list[tuple[str, str]]:
    """File and line of each definition."""
    client, config = editor
    found = []
    for spot in client.at("definition", config, *place(config, text)):
        file = Path(spot["uri"].removeprefix("file://"))
        lines = file.read_text(encoding="utf-8").splitlines()
        found.append((file.name, lines[spot["range"]["start"]["line"]].strip()))
    return found


def completions(editor: tuple[Client, Path], before: str, written: str, sign: str) -> list[str]:
    """What is proposed behind the first part of a new line `written`, put before a line."""
    client, config = editor
    text = config.read_text(encoding="utf-8")
    line, _ = place(config, before)
    left, right = written.split("|")
    lines = text.split("\n")
    client.change(config, "\n".join([*lines[:line], left + right, *lines[line:]]), version=2)
    asked = {"triggerKind": 2, "triggerCharacter": sign}
    found: Any = client.at("completion", config, line, len(left), context=asked)
    client.change(config, text, version=3)
    return [item["label"] for item in found["items"]]


def test_hovering_over_an_option_shows_its_help(editor: tuple[Client, Path]) -> None:
    assert "folder or URL that Process wrote" in hover(editor, "processed_data_dir")


def test_hovering_over_a_component_or_a_module_file_says_what_it_is(
    editor: tuple[Client, Path],
) -> None:
    assert "An LSTM, in one direction or both" in hover(editor, "@encoder@lstm_256")


def test_the_definition_of_an_option_is_its_line(editor: tuple[Client, Path]) -> None:
    ((file, line),) = definition(editor, "processed_data_dir")
    assert (file, line) == ("fit.py", "processed_data_dir = PathField(")


def test_the_definition_of_a_component_is_its_class_and_its_module_file(
    editor: tuple[Client, Path],
) -> None:
    (python, module) = definition(editor, "@encoder@lstm_256")
    assert python == ("configs.py", '@cregister("encoder", "lstm")')
    assert module[0] == "encoder@lstm_256.jsonc"


def test_options_and_children_are_completed(editor: tuple[Client, Path]) -> None:
    found = completions(editor, "processed_data_dir", '    "|",', '"')
    assert {"seed", "log_dir", "@trainer", "@imodel", "_search"} <= set(found)


def test_names_of_components_are_completed(editor: tuple[Client, Path]) -> None:
    found = completions(editor, "processed_data_dir", '    "@optimizer@|": {},', "@")
    assert {"adamw", "sgd"} <= set(found)


def test_values_are_completed(editor: tuple[Client, Path]) -> None:
    line = '    "@trainer@lightning": {"gradient_clip_algorithm": "|"},'
    assert set(completions(editor, "processed_data_dir", line, '"')) >= {"norm", "value"}
    line = '    "@optimizer": {"_base": "|"},'
    assert set(completions(editor, "processed_data_dir", line, '"')) >= {"adamw", "sgd"}


def test_a_good_config_has_no_diagnostics_and_an_unknown_option_has_one(
    editor: tuple[Client, Path],
) -> None:
    client, config = editor
    hover(editor, "processed_data_dir")  # what was asked before is answered by now
    client.notes.clear()
    text = config.read_text(encoding="utf-8")
    client.change(config, text.replace('"log_dir"', '"log_dri"'), version=4)
    client.change(config, text, version=5)
    hover(editor, "processed_data_dir")
    sent = [n["params"] for n in client.notes if n["method"].endswith("publishDiagnostics")]
    wrong, right = (params["diagnostics"] for params in sent)
    assert [d["range"]["start"]["line"] for d in wrong] == [place(config, '"log_dir"')[0]]
    assert right == []
