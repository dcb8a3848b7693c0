"""What `docs/tools.md` shows is what its commands print."""

from __future__ import annotations

import re
from pathlib import Path

from dlk.cli._app import COMMANDS
from scripts.docs_tools import PAGE, renewed


def test_the_page_shows_what_the_commands_print(tmp_path: Path) -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert renewed(text, tmp_path.resolve()) == text, "run: python -m scripts.docs_tools"


def test_every_tool_has_its_section() -> None:
    headings = re.findall(r"^## .*`dlk (\w+)`$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(headings) == {"new", "resolve", "diff", "schema", "migrate"}
    assert set(headings) <= set(COMMANDS)


def test_links_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([^)#:]+)\)", PAGE.read_text(encoding="utf-8")):
        assert (PAGE.parent / link).exists(), link
