"""How the tests of the kit run a conformance class and see what fails."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dlk.testing._common import Conformance


def _failures(conformance: type[Conformance]) -> dict[str, str]:
    """Return the messages of the checks that fail, by name without ``test_``."""
    found = {}
    for name in dir(conformance):
        if name.startswith("test_"):
            try:
                getattr(conformance(), name)()
            except Exception as error:  # noqa: BLE001  # pytest counts any as a failure
                found[name.removeprefix("test_")] = str(error)
    return found


@pytest.fixture
def failures() -> Callable[[type[Conformance]], dict[str, str]]:
    """Return a function that runs all checks of a class and gives the failures' messages."""
    return _failures
