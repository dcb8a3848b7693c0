"""Many installed plugins cost ``dlk list`` next to nothing."""

from __future__ import annotations

import pytest

from benchmarks.plugins import measure


def test_the_benchmark_counts_what_it_installed() -> None:
    found = measure(count=2, runs=1)
    assert set(found) == {"without", "first", "then"}
    assert all(0 < seconds < 30 for seconds in found.values())


@pytest.mark.slow
def test_three_hundred_plugins_add_less_than_fifty_milliseconds_to_dlk_list() -> None:
    found = measure(count=300, runs=5)
    assert found["then"] - found["without"] < 0.05
