"""Where a command writes, and how."""

from __future__ import annotations

import io
import json
import sys

import pytest

from dlk.cli._terminal import Terminal


class Tty(io.StringIO):
    def isatty(self):
        return True


def test_tables_are_aligned_text_where_nobody_looks(capsys):
    Terminal().table(("name", "value"), [("a", 0.5), ("longer", None), ("two\nlines", 3)])
    assert capsys.readouterr().out == (
        "name       value\na          0.5000\nlonger     -\ntwo lines  3\n"
    )


def test_tables_are_drawn_on_a_terminal(monkeypatch):
    stream = Tty()
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("NO_COLOR", raising=False)
    Terminal().table(("name",), [("[bold]",)])
    text = stream.getvalue()
    assert "[bold]" in text
    assert "─" in text
    assert "\x1b[" in text


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_colours_can_be_refused(monkeypatch, name, value):
    stream = Tty()
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv(name, value)
    Terminal().table(("name",), [("a",)])
    # Bold is no colour, so it stays under NO_COLOR; a dumb terminal has neither.
    assert "\x1b[3" not in stream.getvalue()
    if name == "TERM":
        assert stream.getvalue() == "name\na\n"


def test_quiet_keeps_results_and_errors(capsys):
    terminal = Terminal(quiet=True)
    terminal.note("on the way")
    terminal.result("done")
    terminal.error("broken")
    said = capsys.readouterr()
    assert (said.out, said.err) == ("done\n", "broken\n")


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (0.5, "0.5000"),
        (0.0, "0.0000"),
        (1e-5, "1e-05"),
        (float("nan"), "nan"),
        (7, "7"),
        (None, "-"),
    ],
)
def test_cells_are_short(capsys, cell, text):
    Terminal().metrics({"m": cell})
    assert capsys.readouterr().out.splitlines()[1].split()[1] == text


ODD = "a\x1b[31mred\x9b2J\u202eb\u2066\rc\ud800\x7f"
SEEN = r"a\x1b[31mred\x9b2J\u202eb\u2066\rc\ud800\x7f"


def test_texts_of_others_act_on_no_terminal(capsys):
    terminal = Terminal()
    terminal.table(("name", "value"), [(ODD.replace("\r", ""), 1)])
    terminal.note(ODD)
    terminal.error(ODD)
    shown = capsys.readouterr()
    assert SEEN.replace("\\r", "") in shown.out
    assert shown.err.splitlines() == [SEEN, SEEN]


def test_json_keeps_texts_of_others_what_they_are(capsys):
    Terminal().json({ODD: [ODD, "né\U0001f468\u200d\U0001f469"]})
    said = capsys.readouterr().out
    assert json.loads(said) == {ODD: [ODD, "né\U0001f468\u200d\U0001f469"]}
    assert "né\U0001f468\u200d\U0001f469" in said
    assert not {"\x1b", "\x9b", "\u202e", "\ud800", "\x7f"} & set(said)


def test_lines_tabs_and_joined_characters_stay(capsys):
    Terminal().note("one\n\ttwo \U0001f468\u200d\U0001f469 \u200fشلوم")
    assert capsys.readouterr().err == "one\n\ttwo \U0001f468\u200d\U0001f469 \u200fشلوم\n"
