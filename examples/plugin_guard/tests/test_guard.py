from __future__ import annotations

from pathlib import Path

import pytest

from dlk.errors import DataError, RunError
from dlk.plugin import FitFacts, ProcessFacts, RequestFacts
from dlk_guard.plugin import dlk_before_fit, dlk_before_process, dlk_before_request


def test_a_full_disk_stops_what_would_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = ProcessFacts("train", str(tmp_path / "not" / "there"), ("train",))
    monkeypatch.setenv("DLK_GUARD_GIB", "0")
    dlk_before_process(process)
    monkeypatch.setenv("DLK_GUARD_GIB", "1e9")
    with pytest.raises(RunError, match="make room"):
        dlk_before_process(process)
    with pytest.raises(RunError, match=str(tmp_path)):
        dlk_before_fit(FitFacts("0", str(tmp_path), {}, {}))


def test_a_request_may_be_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLK_GUARD_ROWS", "2")
    dlk_before_request(RequestFacts(2))
    with pytest.raises(DataError, match="2 rows, this one has 3"):
        dlk_before_request(RequestFacts(3))
