"""Which distribution brings a module: found where it is looked for first, so in a moment.

`importlib.metadata.packages_distributions` reads the list of files of every distribution there is,
which takes half a second where torch and transformers are installed, and longer elsewhere.
"""

from __future__ import annotations

import functools
import importlib.metadata
import os
import sys
from collections.abc import Mapping

__all__ = ["all_brought", "brought_by"]


def brought_by(module: str) -> tuple[str, ...]:
    """Return the names of the distributions that bring a top-level module; empty where none does.

    Most are called as their module is: that is looked for first.
    """
    try:
        found = importlib.metadata.distribution(module)
    except (importlib.metadata.PackageNotFoundError, ValueError):  # the latter: an empty name
        return all_brought().get(module, ())
    if os.path.isfile(str(found.locate_file(os.path.join(module, "__init__.py")))):
        return (found.metadata["Name"],)
    return all_brought().get(module, ())


def all_brought() -> Mapping[str, tuple[str, ...]]:
    """Return the distributions that bring each top-level module, read again when one came."""
    return _all_brought(tuple((folder, _changed(folder)) for folder in sys.path))


def _changed(folder: str) -> float:
    try:
        return os.stat(folder or os.curdir).st_mtime
    except OSError:
        return 0.0


@functools.lru_cache(1)
def _all_brought(_: tuple[tuple[str, float], ...]) -> Mapping[str, tuple[str, ...]]:
    found = importlib.metadata.packages_distributions()
    return {module: tuple(dict.fromkeys(names)) for module, names in found.items()}
