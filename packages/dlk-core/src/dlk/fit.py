"""The root of ``fit.jsonc``: where the data is, where runs go, and the three components of a run."""

from __future__ import annotations

from collections.abc import Iterable

from dlk.config import MISSING, Base, DictField, IntField, PathField, StrField, cregister, one

__all__ = ["FitConfig"]


@cregister("fit")
class FitConfig(Base):
    """One training run, or the grid of runs that its `_search` spans."""

    processed_data_dir = PathField(MISSING, help="folder that Process wrote; a plain path, read before all else")
    log_dir = PathField("./logs", help="folder that runs are written to, one folder each")
    specific = DictField(
        {}, help="config path to short name: these values name the run's folder, and are its hyper-parameters"
    )
    hp_metrics: str | None = StrField(
        None, additions=[None], help="metric written beside the hyper-parameters; null: all final metrics"
    )
    seed = IntField(value=1, minimum=0, maximum=2**32 - 1, help="seed of python, numpy and torch for each run")
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
