"""Where a command writes, and how."""

from __future__ import annotations

import io
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
