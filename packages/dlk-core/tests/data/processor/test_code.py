"""What identifies the code of a step, beside the sources themselves."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import math
import os
import subprocess
import sys
import threading

import pytest

from dlk.data.processor import _code
from dlk.data.processor._code import code_of
from dlk.data.subprocessor.fast_tokenizer import FastTokenizer


@pytest.fixture(autouse=True)
def _written_long_ago(monkeypatch):
    monkeypatch.setattr(_code, "_started", lambda: math.inf)


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Return what imports a source as the same module, each time anew."""

    def loaded(source, name="code_under_test"):
        path = tmp_path / f"{name}.py"
        path.write_text(source)
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        return module

    return loaded


MADE = """
import functools
import threading


def made(value, more=None):
    def helper(number=value):
        return number

    class Step:
        def transform(self):
            return value

        def other(self):
            return helper()

    return Step
"""


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 2),
        (1, True),
        (1, 1.0),
        ("a", b"a"),
        ([1], (1,)),
        ({"a": 1}, {"a": 2}),
        ({1, 2}, {1, 3}),
        (None, 0),
    ],
)
def test_classes_of_one_function_differ_by_what_it_was_given(load, one, other):
    made = load(MADE).made
    assert code_of(made(one)) == code_of(made(one)) != code_of(made(other))


def test_a_class_that_holds_what_nobody_can_tell_has_no_code(load):
    made = load(MADE).made
    assert code_of(made(threading.Lock())) is None
    assert code_of(made(functools.partial(print))) is None
    assert code_of(made(len([]))) is not None


def test_attributes_that_were_set_from_outside_count(load):
    source = "class Step:\n    factor = 1\n    lock = print\n\n    def transform(self): ...\n"
    first = code_of(load(source).Step)
    step = load(source).Step
    step.factor = 2
    assert first is not None
    assert first == code_of(load(source).Step) != code_of(step)


CONSTANT = """
import os
import code_helper
from code_helper import twice

LIMIT = int(os.environ.get("CODE_TEST_LIMIT", "3"))
UNUSED = os.environ.get("CODE_TEST_UNUSED", "")


def cut(text):
    return text[:LIMIT]


class Step:
    def transform(self, texts):
        return [cut(text) for text in texts] + [code_helper.WORDS, twice]
"""
HELPER = 'import os\nWORDS = set(os.environ.get("CODE_TEST_WORDS", "a b").split())\ntwice = 2\n'


def test_constants_that_a_step_names_count_also_those_of_the_environment(tmp_path):
    (tmp_path / "code_step.py").write_text(CONSTANT.replace("code_under_test", "code_step"))
    (tmp_path / "code_helper.py").write_text(HELPER)
    program = "import code_step, dlk.data.processor._code as c; print(c.code_of(code_step.Step))"

    def code(**values):
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONPATH": str(tmp_path), **values},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    first = code()
    assert len(first) == 64
    assert code(PYTHONHASHSEED="7") == code(CODE_TEST_UNUSED="x") == first
    assert len({first, code(CODE_TEST_LIMIT="4"), code(CODE_TEST_WORDS="a c")}) == 3


def test_a_file_that_no_distribution_brings_counts_by_its_content(load, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    codes = []
    for text in ("A = 1\n", "A = 1\n", "A = 2\n"):
        path = elsewhere / "code_shared.py"
        path.write_text(text)
        spec = importlib.util.spec_from_file_location("code_shared", path)
        sys.modules["code_shared"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["code_shared"])
        step = load("import code_shared\n\nclass Step:\n    def transform(self): ...\n").Step
        codes.append(code_of(step))
        del sys.modules["code_shared"]
    assert codes[0] == codes[1] != codes[2]


def test_the_version_is_that_of_the_distribution_whatever_its_modules_are_called(monkeypatch):
    monkeypatch.setattr(_code, "all_brought", lambda: {"code_np": ("numpy", "numpy")})
    version = importlib.metadata.version("numpy")
    assert _code._version("numpy") == version
    assert _code._version("code_np") == f"numpy {version}"
    assert _code._version("code_nothing") == ""


def test_what_a_step_of_dlk_or_of_a_project_imports_needs_no_look_through_all_distributions(
    load, monkeypatch
):
    monkeypatch.setattr(_code, "all_brought", lambda: pytest.fail("this takes half a second"))
    load("MARK = 1\n", "code_beside")
    step = load("from code_beside import MARK\n\nclass Step:\n    mark = MARK\n").Step
    assert code_of(step) is not None
    assert code_of(FastTokenizer) is not None


def test_a_file_that_came_while_this_process_ran_is_not_relied_on_whatever_its_time_says(
    load, monkeypatch, tmp_path
):
    step = load("class Step:\n    def transform(self): ...\n").Step
    os.utime(tmp_path / "code_under_test.py", (1e9, 1e9))
    monkeypatch.undo()
    sys.modules["code_under_test"] = module = importlib.util.module_from_spec(
        importlib.util.spec_from_file_location("code_under_test", tmp_path / "code_under_test.py")
    )
    try:
        monkeypatch.setattr(_code, "_started", lambda: 1e9 + 5)
        assert module.__file__
        assert code_of(step) is None
    finally:
        del sys.modules["code_under_test"]
