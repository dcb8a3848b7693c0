"""A small bundle that a test may spoil, and how somebody who means harm would seal it again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.fixture(scope="session")
def kept() -> Path:
    """The kept bundle of the newest schema; nobody changes it."""
    return max(FIXTURES.glob("schema-*"))


@pytest.fixture
def small(kept: Path, tmp_path: Path) -> Path:
    """A copy of the kept bundle."""
    return Path(shutil.copytree(kept, tmp_path / "small"))


@pytest.fixture
def seal() -> Callable[..., None]:
    """Write the digests of a bundle anew, and change fields of its manifest."""
    from dlk.bundle.pack import seal as sealed

    def resealed(folder: Path, **changes: Any) -> None:
        manifest = json.loads((folder / "bundle.json").read_text())
        sealed(folder, {**manifest, **changes})

    return resealed


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """The least that is looked at as a bundle, in 900 bytes; no model can be made of it."""
    import torch

    from dlk.bundle.pack import seal as sealed
    from dlk.bundle.weights import save_state

    folder = tmp_path / "tiny"
    (folder / "meta").mkdir(parents=True)
    for name, text in {
        "process.json": "{}",
        "fit.json": '{"@fit": {}}',
        "golden.jsonl": '{"input": {}, "prediction": {}}\n',
        "meta/meta.json": "{}",
    }.items():
        (folder / name).write_text(text)
    save_state({"w": torch.arange(2.0)}, folder / "model.safetensors")
    sealed(folder, {"schema": 2, "needs": []})
    return folder
