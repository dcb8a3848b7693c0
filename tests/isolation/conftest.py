"""What the tests of this folder share: one set of wheels, one base environment."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.isolation.environments import (
    BUILD,
    DISTRIBUTIONS,
    Environment,
    base_of,
    build_wheel,
    create,
    requirements,
)


@pytest.fixture(scope="session")
def wheels() -> dict[str, Path]:
    """The wheel of every distribution of this repository, by name."""
    shutil.rmtree(BUILD / "wheels", ignore_errors=True)
    return {
        name: build_wheel(source, BUILD / "wheels" / name) for name, source in DISTRIBUTIONS.items()
    }


@pytest.fixture(scope="session")
def base() -> Environment:
    """What dlk-core requires: torch, Lightning and so on, but neither dlk nor transformers."""
    return base_of("base", requirements(DISTRIBUTIONS["dlk-core"]))


@pytest.fixture(scope="session")
def whole_base() -> Environment:
    """What all of dlk's packages require together, without these."""
    return base_of("base-whole", requirements(DISTRIBUTIONS["dlk"]))


@pytest.fixture(scope="session")
def overlay(
    base: Environment, whole_base: Environment, wheels: dict[str, Path]
) -> Callable[..., Environment]:
    """Return a function that makes a fresh environment with these distributions in it."""

    def make(name: str, *what: str) -> Environment:
        environment = create(name, base=whole_base if "dlk" in what else base)
        environment.install(*[wheels.get(item, item) for item in what], wheels=wheels)
        return environment

    return make
