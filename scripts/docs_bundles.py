"""Run the commands that `docs/bundles.md` shows on a kept bundle, and renew what they print.

`python -m scripts.docs_bundles`; a test holds the page equal to what the commands print.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from scripts.docs_tools import ROOT, renewed

PAGE = ROOT / "docs" / "bundles.md"
KEPT = ROOT / "packages" / "dlk-core" / "tests" / "bundle" / "fixtures" / "schema-2"


def shown(page: str, folder: Path) -> str:
    """Return the page with what its commands print in an empty folder, beside a bundle."""
    shutil.copytree(KEPT, folder / "bundle")
    return renewed(page, folder)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        text = shown(PAGE.read_text(encoding="utf-8"), Path(folder).resolve())
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
