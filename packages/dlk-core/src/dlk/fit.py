"""The root of ``fit.jsonc``, and its reading: where data is and runs go, and a run's components."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dlk.config import MISSING, Base, DictField, IntField, PathField, StrField, cregister, one
from dlk.errors import ConfigError, redact
from dlk.io import is_remote, local_folder, local_path

if TYPE_CHECKING:
    from dlk.config import Loaded
    from dlk.config.reading import Source
    from dlk.config.tree import Tree
    from dlk.data.meta import Meta

__all__ = ["FitConfig", "load_fit", "load_meta"]


@cregister("fit")
class FitConfig(Base):
    """One training run, or the grid of runs that its `_search` spans."""

    processed_data_dir = PathField(
        MISSING, help="folder or URL that Process wrote; a plain path, read before all else"
    )
    log_dir = PathField("./logs", help="folder or URL that runs are written to, one folder each")
    specific = DictField(
        {},
        help="config path to short name: these values name the run's folder, as its parameters",
    )
    hp_metrics: str | None = StrField(
        None,
        additions=[None],
        help="metric written beside the hyper-parameters; null: all final metrics",
    )
    seed = IntField(
        value=1, minimum=0, maximum=2**32 - 1, help="seed of python, numpy and torch for each run"
    )
    children = {
        "trainer": one(default="lightning"),
        "datamodule": one(default="default"),
        "imodel": one(default="default"),
    }

    def rules(self) -> Iterable[tuple[str, str]]:
        """Short names are plain, distinct texts."""
        names = list(self.specific.values())
        for name in names:
            if not isinstance(name, str) or not name or any(c in name for c in "/\\=\0"):
                yield "specific", f"a short name is plain text without / and =, got {name!r}"
        if len(set(map(str, names))) != len(names):
            yield "specific", f"two values share a short name: {names}"


def load_fit(config: Source, overrides: Sequence[str] | Mapping[str, Any] = ()) -> Loaded:
    """Read a fit config with the numbers that Process learnt under ``_G.meta``.

    Args:
        config: path of the file, or its content.
        overrides: as `Train` takes them.
    """

    from dlk.config import load

    def numbers(tree: Tree) -> Mapping[str, Any]:
        return {"meta": load_meta(_processed_dir(tree)).numbers()}

    return load(config, overrides=overrides, global_values=numbers)


def load_meta(processed_data_dir: str) -> Meta:
    """Return the meta of processed data."""
    from dlk.data.meta import Meta

    return Meta.load(local_folder(processed_data_dir))


def _processed_dir(tree: Tree) -> str:
    for path, values in tree.modules():
        if str(path[-1]).startswith("@fit") and len(path) == 1:
            value = values.get("processed_data_dir")
            if not isinstance(value, str) or "@lambda" in value or value == "???":
                raise ConfigError(
                    [
                        tree.problem(
                            (*path, "processed_data_dir"),
                            "a plain path is expected: it is read before anything is computed",
                        )
                    ]
                )
            origin = tree.origin((*path, "processed_data_dir"))
            if redact(value) != value:
                from dlk.config.node import URL_WITH_LOGIN

                raise ConfigError([tree.problem((*path, "processed_data_dir"), URL_WITH_LOGIN)])
            if is_remote(value):
                return local_folder(value, anew=True)
            folder = origin.folder if origin else os.getcwd()
            return os.path.join(folder, os.path.expanduser(local_path(value)))
    got = ", ".join(map(str, tree.root)) or "nothing"
    raise ConfigError([tree.document.problem((), "", f'expected "@fit" at the top, got {got}')])
