from __future__ import annotations

import re
import sys

import pytest
from lightning.pytorch.callbacks import RichProgressBar, TQDMProgressBar

from dlk.config import make
from dlk.errors import ConfigError
from dlk.registry import register


@pytest.mark.parametrize(
    ("kind", "expected"), [("tqdm", TQDMProgressBar), ("rich", RichProgressBar)]
)
def test_each_option_arrives(kind, expected):
    values = {"type_bar": kind, "refresh_rate": 7, "leave": True}
    bar = register.build(make("callback", "progress_bar", values))
    assert isinstance(bar, expected)
    assert bar.refresh_rate == 7
    assert bar._leave is True


def test_the_old_name_still_works():
    assert isinstance(register.build(make("callback", "prograss_bar", {})), TQDMProgressBar)


def test_another_bar_is_refused():
    with pytest.raises(ConfigError, match="type_bar"):
        make("callback", "progress_bar", {"type_bar": "ascii"})


@pytest.mark.parametrize("kind", ["tqdm", "rich"])
def test_it_shows_the_loss_that_was_logged_last(toy, monkeypatch, kind):
    toy.edit({"@trainer@lightning/@callback@progress_bar": {"type_bar": kind, "refresh_rate": 1}})
    bars = []
    cls = type(register.build(make("callback", "progress_bar", {"type_bar": kind})))
    real = cls.get_metrics
    monkeypatch.setattr(
        cls, "get_metrics", lambda self, *a: bars.append(real(self, *a)) or bars[-1]
    )
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    toy.train("trainer.max_steps=9", "trainer.enable_model_summary=false")
    shown = [bar["loss"] for bar in bars if bar]
    logged = [f"{n['train_loss']:.4g}" for n in toy.metrics() if "train_loss" in n]
    assert set(shown) <= set(logged)
    assert all(re.fullmatch(r"[\d.]+", loss) for loss in shown)
    assert shown
