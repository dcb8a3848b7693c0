"""Reading configs without running them: what ``dlk check`` and ``dlk resolve`` share."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dlk.io import local_path

if TYPE_CHECKING:
    from dlk.config import Loaded
    from dlk.config.tree import Tree

__all__ = ["Read", "read"]

PLACEHOLDER = 1_000_000
"""Stands for a size that only the data can tell: larger than what configs compare sizes with."""
_STEP = 10_007  # each size has a number of its own, so that one can be told from another


class Read:
    """A config as read, and whether its numbers of the data are real.

    Attributes:
        loaded: the config, one point or a grid.
        processed: false where there is no processed data: each number it would give is
            a large placeholder, and each id 0.
        made_up: the entry whose size each placeholder stands for.
    """

    def __init__(self, path: str, overrides: Sequence[str] = ()) -> None:
        from dlk.config import load

        self.processed = True
        self.made_up: dict[int, str] = {}
        self.loaded: Loaded = load(path, overrides=overrides, global_values=self._numbers)

    def _numbers(self, tree: Tree) -> Mapping[str, Any]:  # Any: numbers by entry and name
        from dlk.data.meta import Meta

        fit = tree.root.get("@fit")
        folder = fit.get("processed_data_dir") if isinstance(fit, dict) else None
        if not isinstance(folder, str):
            return {}
        origin = tree.origin(("@fit", "processed_data_dir"))
        here = origin.folder if origin else os.getcwd()
        folder = os.path.join(here, os.path.expanduser(local_path(folder)))
        if os.path.isfile(os.path.join(folder, "meta", "meta.json")):
            return {"meta": Meta.load(folder).numbers()}
        from dlk.flow.experiment import references

        numbers: dict[str, dict[str, int]] = {}
        for _, entry, name in references(tree):
            known = numbers.setdefault(entry, {})
            if name.endswith("_id"):  # of a vocabulary: such lie below its size
                known[name] = 0
            elif name not in known:
                known[name] = PLACEHOLDER + _STEP * len(self.made_up)
                self.made_up[known[name]] = entry if name == "size" else f"{entry}.{name}"
        self.processed = not numbers
        return {"meta": numbers}


def read(path: str, overrides: Sequence[str] = ()) -> Read:
    """Read a config; see `Read`.

    Raises:
        ConfigError: all mistakes that can be seen in the text.
    """
    return Read(path, overrides)
