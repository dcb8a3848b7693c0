"""The pages on configs: every file, command and Python line in them is run."""

from __future__ import annotations

import contextlib
import doctest
import io
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from dlk.cli import main
from dlk.errors import CODES
from dlk.registry import Entry, Registry, register

DOCS = Path(__file__).parent.parent / "docs"
PAGES = ("check.md", "config.md", "errors.md")
_BLOCK = re.compile(r"(?:<!-- file: (\S+) -->\n)?```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
COLUMNS = 100


class Block(NamedTuple):
    """A fenced block: the file it is, if any, its language, its text."""

    file: str
    language: str
    text: str


def blocks(page: str) -> list[Block]:
    text = (DOCS / page).read_text(encoding="utf-8")
    return [Block(file or "", language, body) for file, language, body in _BLOCK.findall(text)]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@contextlib.contextmanager
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    """Let commands write to a terminal of `COLUMNS` columns without colours."""
    stream = Terminal()
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", stream)
        patched.setattr(sys, "stderr", stream)
        patched.setenv("COLUMNS", str(COLUMNS))
        patched.setenv("TERM", "xterm")
        patched.setenv("NO_COLOR", "1")
        yield stream


def said(command: str, monkeypatch: pytest.MonkeyPatch) -> str:
    program, *arguments = shlex.split(command)
    assert program == "dlk"
    with terminal(monkeypatch) as stream:
        main(arguments)
    return stream.getvalue()


def is_installed(entry: Entry) -> bool:
    return entry.origin.startswith("dlk-")


def names_installed(self: Registry, type_name: str) -> list[str]:
    """Return the names that a fresh process knows: other tests of this one register their own."""
    rows = [entry.component for entry in self.entries() if is_installed(entry)]
    return sorted(row.name for row in rows if row.type == type_name and row.name)


@pytest.mark.parametrize("page", PAGES)
def test_every_block_of_a_page_does_what_it_says(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Registry, "names", names_installed)
    register.discover()
    claims = {key: [c for c in found if is_installed(c)] for key, found in register._claims.items()}
    monkeypatch.setattr(register, "_claims", {key: found for key, found in claims.items() if found})
    names: dict[str, object] = {}
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner(verbose=False)
    for number, block in enumerate(blocks(page)):
        if block.file:
            path = tmp_path / block.file
            path.parent.mkdir(exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
        elif block.language == "console":
            command, _, expected = block.text.partition("\n")
            assert said(command.removeprefix("$ "), monkeypatch) == expected, command
        else:
            assert block.language == "pycon", f"{page}: nobody runs this block: {block.text}"
            test = parser.get_doctest(block.text, names, f"{page}:{number}", page, 0)
            out = io.StringIO()
            runner.run(test, out=out.write, clear_globs=False)
            assert runner.failures == 0, out.getvalue()
            names |= test.globs


def test_every_code_is_explained() -> None:
    page = (DOCS / "errors.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| (.*?) \|$", page, re.MULTILINE))
    assert rows == dict(CODES)


def test_the_page_names_every_function_and_limit_of_expressions() -> None:
    from dlk.config import expression

    page = (DOCS / "config.md").read_text(encoding="utf-8")
    (functions,) = re.findall(r"^\| functions \| (.*) \|$", page, re.MULTILINE)
    assert sorted(re.findall(r"`(\w+)`", functions)) == sorted(expression.FUNCTIONS)
    for limit in (
        expression.MAX_SOURCE,
        expression.MAX_WORK,
        expression.MAX_TOTAL,
        expression.MAX_INTEGER_BITS,
        expression.MAX_ITEMS,
    ):
        assert f"{limit:,}" in page
