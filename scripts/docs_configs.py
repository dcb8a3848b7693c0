"""Put the examples' configs into the pages of `docs/tasks` anew.

A page names the file in a comment above the block::

    <!-- examples/text_cls/process.jsonc -->
    ```jsonc
    ...
    ```

`python -m scripts.docs_configs` replaces what stands in the block; a test holds both equal.
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "docs" / "tasks"
_BLOCK = re.compile(r"(<!-- (examples/\S+) -->\n```jsonc\n)(.*?)(```\n)", re.DOTALL)


def shown(page: str) -> list[tuple[str, str]]:
    """Return (file, what the page shows of it) for each block that names its file."""
    return [(found[2], found[3]) for found in _BLOCK.finditer(page)]


def renewed(page: str) -> str:
    """Return the page with the files as they are now."""

    def block(found: re.Match[str]) -> str:
        return found[1] + (ROOT / found[2]).read_text(encoding="utf-8") + found[4]

    return _BLOCK.sub(block, page)


def main() -> None:
    """Renew all pages."""
    for path in sorted(PAGES.glob("*.md")):
        text = path.read_text(encoding="utf-8")
        if renewed(text) != text:
            path.write_text(renewed(text), encoding="utf-8")
            print(f"renewed {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
