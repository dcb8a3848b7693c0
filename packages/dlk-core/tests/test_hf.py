"""What core's adapter does where transformers is not installed; the rest is tested in dlk-nlp."""

import subprocess
import sys

import pytest

from dlk import hf
from dlk.errors import DlkError


@pytest.mark.parametrize("call", [hf.load_config, hf.load_encoder])
def test_without_transformers_the_error_says_what_to_install(call, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(DlkError, match=r'pip install "dlk-core\[hf\]"'):
        call(str(tmp_path))


def test_importing_the_adapter_does_not_import_transformers():
    code = "import sys, dlk.hf; assert 'transformers' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
