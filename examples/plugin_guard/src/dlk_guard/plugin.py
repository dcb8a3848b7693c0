"""Vetoes: a `DlkError` of a before-hook keeps from beginning what would end badly.

Any other error of such a hook is a warning, and what was to begin does.
"""

from __future__ import annotations

import os
import shutil

from dlk.errors import DataError, RunError
from dlk.plugin import FitFacts, ProcessFacts, RequestFacts, hookimpl

API = 1


@hookimpl
def dlk_before_process(facts: ProcessFacts) -> None:
    """Refuse to prepare data where the disk is nearly full."""
    need_space(facts.dir)


@hookimpl
def dlk_before_fit(facts: FitFacts) -> None:
    """Refuse a run where the disk is nearly full: hours later its checkpoint would not fit."""
    need_space(facts.dir)


@hookimpl
def dlk_before_request(facts: RequestFacts) -> None:
    """Refuse a request of too many rows."""
    limit = int(os.environ.get("DLK_GUARD_ROWS", "1000"))
    if facts.rows > limit:
        raise DataError(
            f"a request may hold {limit} rows, this one has {facts.rows}: send several "
            "(DLK_GUARD_ROWS sets the limit)"
        )


def need_space(folder: str) -> None:
    """Raise where fewer than DLK_GUARD_GIB (default 1) GiB are free on the folder's disk."""
    wanted = float(os.environ.get("DLK_GUARD_GIB", "1"))
    here = os.path.abspath(folder)
    while not os.path.exists(here):
        here = os.path.dirname(here)
    free = shutil.disk_usage(here).free / 2**30
    if free < wanted:
        raise RunError(
            f"{here} has {free:.1f} GiB free, {wanted:g} are wanted before anything begins: "
            "make room (DLK_GUARD_GIB sets the limit)"
        )
