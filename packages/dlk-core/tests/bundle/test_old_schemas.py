"""Bundles of every schema that was ever written are still read, and predict what they did."""

from __future__ import annotations

from pathlib import Path

import pytest

from dlk.bundle import Bundle
from dlk.predict import Predict
from dlk.server import Server

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.mark.parametrize("version", [1, 2])
def test_an_old_bundle_is_loaded_and_predicts_what_it_did(version):
    folder = FIXTURES / f"schema-{version}"
    bundle = Bundle(folder)
    assert bundle.manifest["schema"] == version
    golden = bundle.golden()
    assert len(golden) == 8
    inputs = [each["input"] for each in golden]
    for answers in (Server(folder).fit(inputs), Predict(folder).run(inputs)):
        for answer, each in zip(answers, golden, strict=True):
            expected = each["prediction"]["logits"]
            assert answer["logits"] == pytest.approx(expected, abs=bundle.manifest["tolerance"])
