"""Keys of results: what they depend on, what not, and which results are kept."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlk.config import AssetField, Signature, cregister, make
from dlk.context import Setup
from dlk.data.cache import Cache
from dlk.data.meta import Meta
from dlk.data.processor import _ledger
from dlk.data.processor._ledger import Ledger, Made, identity_of
from dlk.data.ragged import Ragged
from dlk.data.subprocessor.base import Subprocessor
from dlk.data.subprocessor.configs import SubprocessorConfig
from dlk.errors import RowError
from dlk.registry import register
from dlk.testing.data import tiny_tokenizer

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**62), 2**62)
    | st.floats(allow_nan=False)
    | st.text(max_size=3)
)
ANYTHING = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=2), inner, max_size=2)
    ),
    max_leaves=6,
)
COLUMNS = st.one_of(
    st.lists(ANYTHING, max_size=4),
    st.lists(st.lists(st.integers(0, 300), max_size=4), max_size=4),
    st.lists(st.lists(st.text(max_size=3), max_size=3), max_size=4),
    st.lists(st.none() | st.text(max_size=3), max_size=4),
    st.lists(st.tuples(st.integers(), st.integers()), max_size=3),
    st.lists(st.lists(st.lists(st.integers(0, 9), max_size=2), max_size=2), max_size=3),
    st.lists(st.fixed_dictionaries({"a": st.integers(0, 9)}, optional={"b": st.text()})),
)


@pytest.fixture
def ledger(tmp_path, monkeypatch):
    monkeypatch.setattr(_ledger, "WORTH_S", 0.0)
    return Ledger(Cache(tmp_path / "kept", limit=1 << 30), {"step": "x", "odd": None}, 0)


def test_values_that_are_kept_come_back_the_very_same(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kept")
    ledger = Ledger(Cache(folder, limit=1 << 30), {}, 0)
    number = 0

    @settings(deadline=None)
    @given(COLUMNS)
    def check(values):
        nonlocal number
        number += 1
        key = f"{number:064d}"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_ledger, "WORTH_S", 0.0)
            ledger.keep(key, Made({"x": values}), 1e9)
        found = ledger.find(key)
        if found is not None:
            assert repr(found.columns["x"].plain()) == repr(values)

    check()


@pytest.mark.parametrize(
    "values",
    [
        ["a", None, "ü"],
        [[1, 300], [], [2]],
        [["a", "b"], []],
        [1, None, 3],
        [True, False],
        [[[1, 2], []], []],
        [[{"k": "a", "n": 1}], [], [{"k": "b", "n": 2}]],
        [0.5, 1.0],
        Ragged(np.arange(5, dtype=np.float32), (np.array([0, 2, 5]),)),
        Ragged(np.arange(3, dtype=np.int64)),
    ],
)
def test_usual_columns_are_kept(ledger, values):
    ledger.keep("k" * 64, Made({"x": values}), 1e9)
    found = ledger.find("k" * 64).columns["x"].plain()
    assert type(found) is type(values)
    assert list(found) == list(values)
    if isinstance(values, Ragged):
        assert found.dtype == values.dtype


@pytest.mark.parametrize(
    "values", [[(1, 2)], [[(1, 2)]], [1, 2.5], [{"a": 1}, {}], ["a", 1], [{1: 2}], [np.int64(3)]]
)
def test_columns_that_arrow_would_change_are_not_kept(ledger, values):
    made = ledger.keep("k" * 64, Made({"x": values, "y": ["a"] * len(values)}), 1e9)
    assert ledger.find("k" * 64) is None
    assert list(made.columns["x"]) == values


def test_bad_rows_and_counts_are_kept_and_bad_values_that_are_no_json_are_not(ledger):
    bad = {3: RowError(3, "x", ["a", 1], "is bad")}
    refused = {5: RowError(5, "y", None, "is worse")}
    ledger.keep("a" * 64, Made({"x": [1]}, refused, bad, {"cut": 2}), 1e9)
    found = ledger.find("a" * 64)
    assert found.counts == {"cut": 2}
    assert {row: str(error) for row, error in found.bad.items()} == {3: str(bad[3])}
    assert {row: str(error) for row, error in found.refused.items()} == {5: str(refused[5])}
    for value in ((1, 2), {1: 2}, b"x", math.nan, {"a": (1,)}):
        ledger.keep("b" * 64, Made({"x": [1]}, {}, {1: RowError(1, "x", value, "")}), 1e9)
        assert ledger.find("b" * 64) is None


def test_what_cost_less_than_reading_it_is_not_kept(tmp_path):
    ledger = Ledger(Cache(tmp_path / "kept", limit=1 << 30), {}, 0)
    ledger.keep("a" * 64, Made({"x": [1]}), _ledger.WORTH_S / 2)
    many = Made({"x": list(range(10**6))})
    ledger.keep("b" * 64, many, _ledger.WORTH_S * 2)  # 8 MB in 4 ms
    assert not (tmp_path / "kept").exists()
    ledger.keep("b" * 64, many, 10.0)
    assert ledger.find("b" * 64) is not None


ROWS = {"text": ["a", "b"], "n": [1, 2], "_row": [4, 5]}


def test_the_key_of_a_column_tells_values_types_and_rows(ledger):
    def key(**changed):
        columns = {**ROWS, **changed}
        return ledger.key("step", "train", (), ("n",), ledger.raw(columns, {"n"}))

    same = key()
    assert same == key()
    assert same == key(text=["other", "texts"])  # which it does not read
    others = [key(n=[1, 3]), key(n=[1.0, 2.0]), key(n=[True, 2]), key(n=["1", "2"])]
    others += [key(n=[[1], [2]]), key(n=[(1,), (2,)]), key(_row=[0, 1])]
    assert len({same, *others}) == len(others) + 1
    assert key(n=[object(), 2]) is None


def test_equal_values_have_one_key_whoever_else_refers_to_them(ledger):
    text = b"abcd".decode()
    once = ledger.raw({"t": [text, b"abcd".decode()], "_row": [0, 1]}, {"t"})
    twice = ledger.raw({"t": [text, text], "_row": [0, 1]}, {"t"})
    assert once == twice


def test_a_step_without_identity_leaves_what_it_writes_without_key(ledger):
    keys = ledger.raw(ROWS, {"n"})
    assert ledger.key("odd", "train", (), ("n",), keys) is None
    after = ledger.after(keys, None, Made({"made": [1, 2]}), ("made",))
    assert ledger.key("step", "train", (), ("made",), after) is None
    assert ledger.key("step", "train", (), ("n",), after) is not None
    dropped = ledger.after(keys, None, Made({}, {}, {4: RowError(4, "n", 1, "")}), ())
    assert ledger.key("step", "train", (), ("n",), dropped) is None


def _tokenizer(path, meta=None, **values):
    config = make("subprocessor", "fast_tokenizer", {"tokenizer_path": str(path), **values})
    step = register.build(config, Setup(meta or Meta.empty()))
    return identity_of(step, ("tokenizer.json",), meta or Meta.empty())


def test_the_identity_of_a_step_is_options_and_contents_of_files_and_not_their_places(tmp_path):
    for name in ("one", "two", "other"):
        (tmp_path / name).mkdir()
        tiny_tokenizer(tmp_path / name / "t.json")
    text = (tmp_path / "other" / "t.json").read_text()
    (tmp_path / "other" / "t.json").write_text(text + " ")
    same = _tokenizer(tmp_path / "one" / "t.json")
    assert same is not None
    assert same == _tokenizer(tmp_path / "two" / "t.json")
    assert same == _tokenizer(tmp_path / "one" / "t.json", train_data_set=["train"])
    assert same != _tokenizer(tmp_path / "other" / "t.json")
    assert same != _tokenizer(tmp_path / "one" / "t.json", truncation={"max_length": 7})


def test_the_identity_of_a_step_tells_what_stands_in_the_meta_files_it_uses(tmp_path):
    def identity(text):
        meta = Meta(tmp_path / "meta")
        meta.put("v.json", {}, text=text)
        step = register.build(make("subprocessor", "token2id", {"vocab": "v.json"}), Setup(meta))
        return identity_of(step, ("v.json",), meta)

    assert identity("{}") == identity("{}") != identity("{ }")


def test_a_step_that_is_not_pure_has_no_identity(tmp_path, monkeypatch):
    tiny_tokenizer(tmp_path / "t.json")
    monkeypatch.setattr(Subprocessor, "is_pure", False)
    assert _tokenizer(tmp_path / "t.json") is None


@cregister("subprocessor", "ledger_hub")
class HubConfig(SubprocessorConfig):
    """Names a model on a hub, or a folder."""

    model = AssetField("", hub=True, help="the model")

    def signature(self):
        return Signature(reads=("sentence",))


@register("subprocessor", "ledger_hub")
class Hub(Subprocessor):
    def transform(self, columns, ctx):
        return {}


def test_a_name_that_is_no_file_counts_as_it_is_and_a_folder_by_all_that_is_in_it(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("dlk.data.processor._code._started", lambda: math.inf)

    def identity(model):
        step = register.build(make("subprocessor", "ledger_hub", {"model": str(model)}))
        return identity_of(step, (), Meta.empty())

    assert identity("some/model") == identity("some/model") != identity("other/model")
    for name in ("one", "two"):
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "deep" / "weights").write_text("same")
    assert identity(tmp_path / "one") == identity(tmp_path / "two")
    (tmp_path / "two" / "deep" / "more").write_text("")
    assert identity(tmp_path / "one") != identity(tmp_path / "two")


def test_links_in_a_folder_count_by_what_they_lead_to(tmp_path, monkeypatch):
    monkeypatch.setattr("dlk.data.processor._code._started", lambda: math.inf)
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "weights").write_text("one")
    model = tmp_path / "model"
    model.mkdir()
    (model / "inside").symlink_to(tmp_path / "there")
    (model / "again").symlink_to(model)  # a circle
    (model / "dangling").symlink_to(tmp_path / "nowhere")

    def identity(seed=0):
        config = make("subprocessor", "ledger_hub", {"model": str(model)})
        step = register.build(config, Setup(Meta.empty(), seed=seed))
        return identity_of(step, (), Meta.empty())

    first = identity()
    assert first == identity() != identity(seed=1)
    (tmp_path / "there" / "weights").write_text("two")
    assert identity() != first


def test_two_names_of_one_class_are_two_steps(tmp_path, monkeypatch):
    monkeypatch.setattr("dlk.data.processor._code._started", lambda: math.inf)
    cregister("subprocessor", "ledger_hub_too")(type("HubTooConfig", (HubConfig,), {}))
    register("subprocessor", "ledger_hub_too")(Hub)
    names = ("ledger_hub", "ledger_hub_too")
    steps = [register.build(make("subprocessor", name, {})) for name in names]
    assert len({identity_of(step, (), Meta.empty()) for step in steps}) == 2
