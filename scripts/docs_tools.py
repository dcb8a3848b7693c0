"""Run the commands that `docs/tools.md` shows, and put what they print into the page anew.

A block of the kind ``console`` holds commands behind ``$`` and what they print; a block below a
comment that names a file is written to it first::

    <!-- old/fit.jsonc -->
    ```jsonc
    ...
    ```

All blocks of the page work in one folder, from top to bottom. `python -m scripts.docs_tools` renews
the page; a test holds it equal to what the commands print.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "tools.md"
HOME = "/home/you"
"""Stands in the page for the folder that the commands work in."""
_BLOCK = re.compile(
    r"(?:<!-- (?P<file>\S+) -->\n```\w+\n(?P<text>.*?)```\n)"
    r"|(?:```console\n(?P<console>.*?)```\n)",
    re.DOTALL,
)


def renewed(page: str, folder: Path) -> str:
    """Return the page with what its commands print in an empty folder."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        return _BLOCK.sub(lambda found: _block(found, folder), page)
    finally:
        os.chdir(before)


def _block(found: re.Match[str], folder: Path) -> str:
    if found["file"]:
        path = Path(found["file"])  # in the folder that the page has come to
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(found["text"], encoding="utf-8")
        return found[0]
    lines = []
    for line in found["console"].splitlines():
        if line.startswith("$ "):
            said = _run(line.removeprefix("$ ")).replace(str(folder), HOME)
            lines += [line, *said.splitlines()]
    return "```console\n" + "".join(f"{line}\n" for line in lines) + "```\n"


def _run(command: str) -> str:
    """Return what a command prints: dlk, cd or cat, perhaps with `| head -N` or `| tail -N`."""
    command, *cuts = command.split(" | ")
    name, *arguments = shlex.split(command)
    said = ""
    if name == "dlk":
        done = subprocess.run(
            [sys.executable, "-m", "dlk.cli", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        said = done.stdout
    elif name == "cd":
        os.chdir(arguments[0])
    elif name == "cat":
        said = Path(arguments[0]).read_text(encoding="utf-8")
    else:
        raise ValueError(f"the page may run dlk, cd and cat, got {name}")
    lines = said.splitlines()
    for cut in cuts:
        end, count = cut.split(" -")
        lines = lines[: int(count)] if end == "head" else lines[-int(count) :]
    return "\n".join(lines)


def main() -> None:
    """Renew the page."""
    text = PAGE.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        new = renewed(text, Path(folder).resolve())
    if new != text:
        PAGE.write_text(new, encoding="utf-8")
        print(f"renewed {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
