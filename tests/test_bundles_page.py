"""What `docs/bundles.md` shows is what its commands print."""

from __future__ import annotations

import json
import re
from pathlib import Path

from dlk.bundle import schema
from scripts.docs_bundles import KEPT, PAGE, shown


def test_the_page_shows_what_the_commands_print(tmp_path: Path) -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert shown(text, tmp_path.resolve()) == text, "run: python -m scripts.docs_bundles"


def test_the_page_names_what_a_manifest_holds() -> None:
    text = PAGE.read_text(encoding="utf-8")
    manifest = json.loads((KEPT / schema.MANIFEST).read_text(encoding="utf-8"))
    assert manifest["schema"] == schema.SCHEMA, "keep a bundle of the newest schema"
    for name in ("inputs", "prediction", "needs", "distributions", "tolerance"):
        assert f"- `{name}`:" in text
        assert name in manifest


def test_links_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([^)#:]+)\)", PAGE.read_text(encoding="utf-8")):
        assert (PAGE.parent / link).exists(), link
