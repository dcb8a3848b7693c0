"""Installing a distribution's folder without an installer: its metadata, and where its code is."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path


class Installed:
    """Distributions that processes see, beside all that is installed anyway.

    Args:
        folder: gets their metadata.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sources: list[str] = []

    def add(self, project: Path) -> None:
        """Install the distribution of a folder with a pyproject.toml, as editable."""
        with (project / "pyproject.toml").open("rb") as file:
            about = tomllib.load(file)["project"]
        info = self.folder / f"{about['name'].replace('-', '_')}-{about['version']}.dist-info"
        info.mkdir(parents=True)
        head = f"Metadata-Version: 2.4\nName: {about['name']}\nVersion: {about['version']}\n"
        (info / "METADATA").write_text(head, encoding="utf-8")
        groups = dict(about.get("entry-points", {}))
        text = "".join(
            f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in points.items())
            for group, points in groups.items()
        )
        (info / "entry_points.txt").write_text(text, encoding="utf-8")
        self.sources.append(str(project / "src"))

    def run(self, *command: str, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
        """Run a Python command that sees them."""
        path = [str(self.folder), *self.sources, os.environ.get("PYTHONPATH", "")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path)), **more}
        return subprocess.run(
            [sys.executable, *command],
            cwd=cwd,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
