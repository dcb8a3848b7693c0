"""Packages give their names without loading what stands behind them."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

PACKAGES = [
    "dlk.bundle",
    "dlk.config",
    "dlk.data",
    "dlk.data.data_collate",
    "dlk.data.datamodule",
    "dlk.data.dataset",
    "dlk.data.processor",
    "dlk.data.subprocessor",
    "dlk.imodel",
    "dlk.metrics",
    "dlk.nn",
    "dlk.nn.initmethod",
    "dlk.nn.layer.decoder",
    "dlk.nn.layer.embedding",
    "dlk.nn.layer.encoder",
    "dlk.nn.loss",
    "dlk.nn.model",
    "dlk.optimizer",
    "dlk.postprocessor",
    "dlk.scheduler",
    "dlk.testing",
]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_can_be_had(package):
    module = importlib.import_module(package)
    assert module.__all__
    for name in module.__all__:
        assert getattr(module, name) is not None
        assert name in vars(module), f"{name} is looked up again each time"


@pytest.mark.parametrize("package", PACKAGES)
def test_a_wrong_name_is_an_attribute_error(package):
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        importlib.import_module(package).nothing  # noqa: B018 - the look-up is the test


def test_importing_the_packages_loads_nothing_heavy():
    code = (
        f"import sys\nfor name in {PACKAGES}: __import__(name)\n"
        "heavy = {'torch', 'numpy', 'pandas', 'pyarrow', 'lightning', 'transformers'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_importing_writes_nothing_and_leaves_logging_to_the_program(tmp_path):
    code = (
        "import logging\n"
        "import dlk.predict, dlk.preprocess, dlk.server, dlk.train\n"
        "root, own = logging.getLogger(), logging.getLogger('dlk')\n"
        "print([root.handlers, root.level, own.handlers, own.level, own.propagate])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert (done.stdout.strip(), done.stderr) == ("[[], 30, [], 0, True]", "")
    assert list(tmp_path.iterdir()) == []
