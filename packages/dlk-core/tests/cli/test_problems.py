"""Mistakes as text, JSON and SARIF."""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path

import pytest

from dlk.cli import _problems, main
from dlk.errors import CODES, Problem

BAD = """{
  // all of this is wrong
  "@processor@default": {
    "chunk_sise": 2,
    "chunk_size": 0,
    "@subprocessor@token_gathr": {}
  }
}
"""


class Tty(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def tty(monkeypatch):
    """Return a function that says how a terminal of some width shows problems."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)

    def show(problems, width=100, **env):
        monkeypatch.setenv("COLUMNS", str(width))
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        return _problems.text(problems, Tty())

    return show


def plain(shown):
    return re.sub(r"\x1b\[[0-9;]*m", "", shown)


def problem(file="", line=0, column=0, **more):
    given = {"path": "a.b", "message": "expected an integer, got true", "code": "wrong-type"}
    return Problem(**{**given, **more}, file=file, line=line, column=column)


def written(tmp_path, text):
    path = tmp_path / "c.jsonc"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_where_nobody_looks_each_mistake_is_one_line(tmp_path):
    file = written(tmp_path, '{"a": true}')
    found = [problem(file, 1, 7, origin="a default of x y"), problem(message="two\nlines \x1b[31m")]
    assert _problems.text(found, io.StringIO()).split("\n") == [
        f"{file}:1:7 a.b: expected an integer, got true [a default of x y]",
        "a.b: two\\u000alines \\u001b[31m",
    ]


def test_a_terminal_shows_the_line_with_a_caret_under_the_column(tty, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written(tmp_path, '{\n\t"a": true\n}\n')
    shown = tty([problem("c.jsonc", 2, 7, origin="--set a=true")])
    assert plain(shown).split("\n") == [
        "c.jsonc:2:7 a.b: expected an integer, got true",
        '    2 |  "a": true',
        "      |       ^",
        "    = --set a=true",
    ]
    assert "\x1b[1mc.jsonc:2:7\x1b[0m" in shown


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_colours_can_be_refused(tty, tmp_path, name, value):
    shown = tty([problem(written(tmp_path, '{"a": 1}'), 1, 7)], **{name: value})
    assert "\x1b" not in shown
    assert ("^" in shown) == (name == "NO_COLOR")


@pytest.mark.parametrize("before", ["", "x", "漢字", "e\u0301", "\t", "\xa0\u200b", "x" * 300])
@pytest.mark.parametrize("width", [30, 60, 200])
def test_the_caret_stands_under_the_character(tty, tmp_path, before, width):
    line = f'{{"{before}": ? , "more": "{"y" * 200}"}}'
    shown = tty([problem(written(tmp_path, line), 1, line.index("?") + 1)], width, NO_COLOR="1")
    source, caret = shown.split("\n")[-2:]
    assert caret.strip(" |") == "^"
    assert max(map(_problems._cells, (source, caret))) <= width
    cell = 0
    for character in source:
        if character == "?":
            break
        cell += _problems._cells(character)
    assert cell == caret.index("^")


@pytest.mark.parametrize("width", [10, 30, 50, 80])
def test_narrow_terminals_wrap_and_never_cut_the_position(tty, tmp_path, width):
    folder = tmp_path / "with a blank"
    folder.mkdir()
    file = written(folder, '{"a": 1}')
    message = "expected one of " + ", ".join(f"option-{n}" for n in range(30))
    shown = tty([problem(file, 1, 7, message=message)], width, NO_COLOR="1")
    first, *others = shown.split("\n")
    assert first.startswith(f"{file}:1:7 a.b:")
    assert all(len(line) <= max(width, 20) for line in others)
    assert "option-29" in shown


@pytest.mark.parametrize("line", [1, 9])
def test_a_file_that_is_gone_or_shorter_is_no_second_mistake(tty, tmp_path, line):
    file = written(tmp_path, "{}") if line == 9 else str(tmp_path / "gone.jsonc")
    assert "^" not in tty([problem(file, line, 1)])
    assert "^" not in tty([problem("<--set>")])


def test_a_config_cannot_speak_to_the_terminal(tty, tmp_path):
    file = written(tmp_path, '{"a": "\x1b]0;title\x07\u202e"}')
    shown = tty([problem(file, 1, 7, path="a\x1b", origin="b\x07", message="c\x9b")], NO_COLOR="1")
    assert all(c.isprintable() or c == "\n" for c in shown)


# Commands ----------------------------------------------------------------------------------------


@pytest.fixture
def bad(project):
    (project / "bad.jsonc").write_text(BAD)
    return project


def test_json_tells_all_that_is_known(bad, capsys):
    assert main(["check", "bad.jsonc", "process.jsonc", "--format", "json"]) == 2
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert said.err == ""
    assert found["ok"] is False
    assert [(p["code"], p["line"], p["column"]) for p in found["problems"]] == [
        ("unknown-field", 4, 5),
        ("out-of-range", 5, 19),
        ("unknown-component", 6, 5),
    ]
    first = found["problems"][0]
    assert (first["file"], first["path"]) == ("bad.jsonc", "chunk_sise")
    assert first["suggestions"] == ["chunk_size"]
    assert set(first) == set(Problem.__slots__)
    assert main(["check", "process.jsonc", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"ok": True, "problems": []}


def test_sarif_has_what_its_schema_requires(bad, capsys):
    overridden = ["check", "bad.jsonc", "--format", "sarif", "--set", "bufer=1"]
    assert main(overridden) == 2
    log = json.loads(capsys.readouterr().out)
    assert log["version"] == "2.1.0"
    assert log["$schema"].endswith("sarif-2.1.0.json")
    (run,) = log["runs"]
    driver = run["tool"]["driver"]
    assert driver["name"] == "dlk"
    ids = [rule["id"] for rule in driver["rules"]]
    assert len(set(ids)) == len(ids)
    assert all(rule["shortDescription"]["text"] == CODES[rule["id"]] for rule in driver["rules"])
    assert len(run["results"]) == 4
    for result in run["results"]:
        assert result["ruleId"] == ids[result["ruleIndex"]]
        assert result["level"] == "error"
        assert result["message"]["text"]
        for location in result["locations"]:
            physical = location.get("physicalLocation")
            if physical:
                assert physical["artifactLocation"]["uri"] == "bad.jsonc"
                region = physical["region"]
                assert region["startLine"] >= 1
                assert region["startColumn"] >= 1
    without = [r for r in run["results"] if "physicalLocation" not in r["locations"][0]]
    assert [r["locations"][0]["logicalLocations"] for r in without] == [
        [{"fullyQualifiedName": "bufer"}]
    ]
    assert main(["check", "process.jsonc", "--format", "sarif"]) == 0
    assert json.loads(capsys.readouterr().out)["runs"][0]["results"] == []


def test_sarif_names_files_as_uris():
    found = _problems.sarif([problem("/a b/c.jsonc", 1, 1), problem("d e/f.jsonc", 2, 2)])
    locations = [r["locations"][0]["physicalLocation"] for r in found["runs"][0]["results"]]
    assert [place["artifactLocation"]["uri"] for place in locations] == [
        "file:///a%20b/c.jsonc",
        "d%20e/f.jsonc",
    ]


@pytest.mark.parametrize(
    "command",
    [
        ["check", "bad.jsonc"],
        ["resolve", "bad.jsonc"],
        ["process", "bad.jsonc"],
        ["train", "bad.jsonc"],
        ["run", "bad.jsonc", "bad.jsonc"],
    ],
)
def test_every_command_shows_the_line_on_a_terminal(bad, monkeypatch, command):
    stream = Tty()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    assert main(command) == 2
    shown = plain(stream.getvalue())
    assert '    4 |     "chunk_sise": 2,\n      |     ^' in shown


def test_every_code_is_a_plain_word_and_is_used():
    sources = Path(_problems.__file__).parent.parent
    text = "".join(path.read_text() for path in sources.rglob("*.py") if path.name != "errors.py")
    for code in CODES:
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", code)
        assert f'"{code}"' in text, code
