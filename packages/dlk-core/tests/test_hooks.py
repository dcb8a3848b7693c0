"""Hooks around runs: who is told what, what may change, and what a failing plugin comes to."""

from __future__ import annotations

import importlib.metadata
import itertools
import json
import sys
import textwrap
import threading
import warnings
from pathlib import Path

import pytest

from dlk._discovery import Plugin, PluginState
from dlk._hooks import Hook
from dlk.errors import DataError, DlkError, PluginError, RowError
from dlk.plugin import Hooks, PluginWarning
from dlk.predict import Predict
from dlk.preprocess import Process
from dlk.registry import register
from dlk.server import Server
from dlk.train import Train

pytestmark = pytest.mark.once

NUMBERS = itertools.count()


class Told(list):
    """What hooks of a test's plugins were told."""


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """Return a function that adds a plugin of some source, and gives the list `told` of it.

    Its names are `told`, `DlkError`, and those of `dlk.plugin`.
    """
    monkeypatch.setattr(register, "_plugins", list(register.plugins and register._plugins))
    monkeypatch.setattr(register, "_hooks", {})

    def add(source: str, name: str = "watcher") -> Told:
        module = f"hook_test_{next(NUMBERS)}"
        head = "from dlk.plugin import *\nfrom dlk.errors import DlkError\nAPI = 1\ntold = []\n"
        (tmp_path / f"{module}.py").write_text(head + textwrap.dedent(source))
        monkeypatch.syspath_prepend(str(tmp_path))
        point = importlib.metadata.EntryPoint(name, module, "dlk")
        made = Plugin(PluginState(name, f"{name}-dist", "1.2"), point)
        made.read()
        assert made.state.state == "loaded", made.state.error
        register._plugins.append(made)
        register._hooks.clear()
        told: Told = sys.modules[module].told
        return told

    return add


def both(event: str) -> str:
    """Return a plugin that writes down what it is told of an event."""
    return f"""
    @hookimpl
    def dlk_before_{event}(facts):
        told.append(facts)
    @hookimpl
    def dlk_after_{event}(facts, outcome):
        told.append((facts, outcome))
    """


# Processing ---------------------------------------------------------------------------


def test_processing_is_told_before_and_after(raw_toy, plugin):
    told = plugin(both("process"))
    raw_toy.process("train", "valid")
    before, (facts, outcome) = told
    assert facts is before
    assert (facts.stage, facts.splits) == ("train", ("train", "valid"))
    assert facts.dir == str(raw_toy.processed)
    assert outcome.rows == outcome.records == {"train": 90, "valid": 22}
    assert outcome.rejects == {"train": 0, "valid": 0}
    assert (outcome.error, outcome.seconds > 0) == ("", True)


def test_processing_that_fails_is_told_with_its_error(raw_toy, plugin):
    told = plugin(both("process"))
    with pytest.raises(DataError):
        Process(raw_toy.process_config).run({"train": [{"sentence": None, "label": "animal"}]})
    (_, outcome) = told[1]
    assert outcome.rows == {}
    assert "sentence" in outcome.error
    assert "\n" not in outcome.error


def test_processing_that_a_plugin_refuses_does_not_begin(raw_toy, plugin):
    plugin("@hookimpl\ndef dlk_before_process(facts): raise DlkError('not today')")
    told = plugin(both("process"), name="second")
    with pytest.raises(DlkError, match=r"^not today$"):
        raw_toy.process("train")
    assert not raw_toy.processed.exists()
    assert [outcome.error for _, outcome in told] == ["not today"]


# Training ---------------------------------------------------------------------------


def test_a_run_is_told_before_and_after(toy, plugin):
    told = plugin(both("fit"))
    done = toy.train("trainer.max_epochs=1")
    before, (facts, outcome) = told
    assert facts is before
    assert (facts.name, facts.dir) == (done.name, done.dir)
    assert facts.config["@fit"]["@trainer@lightning"]["max_epochs"] == 1
    assert (outcome.state, outcome.metrics) == ("done", done.metrics)
    assert (outcome.bundle, outcome.weights) == (done.bundle, done.weights)
    assert outcome.seconds == done.seconds


def test_the_folder_is_there_before_and_whole_after(toy, plugin):
    told = plugin(
        """
        import os
        @hookimpl
        def dlk_before_fit(facts):
            told.append(sorted(os.listdir(facts.dir)))
        @hookimpl
        def dlk_after_fit(facts):
            told.append(sorted(os.listdir(facts.dir)))
        """
    )
    toy.train("trainer.max_epochs=1")
    before, after = told
    assert "config.json" in before
    assert "result.json" not in before
    assert {"result.json", "bundle"} <= set(after)


def test_each_run_of_a_search_is_told_and_one_that_is_refused_leaves_the_others(toy, plugin):
    rate = "imodel.optimizer.lr"
    toy.edit({"_search": {rate: [0.1, 0.05]}, "specific": {rate: "lr"}})
    told = plugin(
        both("fit")
        + """
    @hookimpl(tryfirst=True, specname="dlk_before_fit")
    def refuse(facts):
        if facts.parameters["lr"] == 0.1:
            raise DlkError("too fast")
        """
    )
    result = Train(toy.fit_config, overrides=["trainer.max_epochs=1"]).run()
    assert [run.state for run in result.runs] == ["failed", "done"]
    assert result.runs[0].error == "too fast"
    outcomes = [each[1] for each in told if isinstance(each, tuple)]
    assert [outcome.state for outcome in outcomes] == ["failed", "done"]
    told.clear()
    Train(toy.fit_config, overrides=["trainer.max_epochs=1"]).run()
    assert len(told) == 1  # the refused one, again refused; the other is there already


# Predicting ---------------------------------------------------------------------------

ROWS = [{"sentence": "the dog"}, {"sentence": "some rice"}, {"sentence": None}]


def test_predicting_is_told_before_and_after(trained, plugin, tmp_path):
    told = plugin(both("predict"))
    predict = Predict(trained.bundle)
    answers = predict.run(ROWS)
    output = predict.run(ROWS, tmp_path / "out.jsonl")
    (first, (_, outcome)), (second, (_, written)) = told[:2], told[2:]
    assert (first.kind, first.bundle, first.output) == ("predict", str(trained.bundle), "")
    assert second.output == output
    assert (outcome.rows, outcome.refused) == (written.rows, written.refused) == (3, 1)
    assert len(answers) == 3


def test_a_bundle_that_is_measured_is_told_with_its_scores(trained, plugin):
    told = plugin(both("predict"))
    found = Predict(trained.bundle).evaluate(trained.toy.rows("test"))
    facts, (_, outcome) = told
    assert facts.kind == "evaluate"
    assert (outcome.metrics, outcome.rows, outcome.refused) == (found.metrics, 21, 0)


def test_a_reader_that_has_enough_is_no_failure(trained, plugin):
    told = plugin(both("predict"))
    stream = Predict(trained.bundle).stream(ROWS)
    next(stream)
    stream.close()
    assert told[1][1].error == ""


# Requests ---------------------------------------------------------------------------


def test_a_request_is_told_before_and_after(trained, plugin):
    told = plugin(both("request"))
    server = Server(trained.bundle)
    server.fit(ROWS)
    server.fit(ROWS[0])
    with pytest.raises(RowError):
        server.fit(ROWS[2])
    facts, outcomes = told[::2], [outcome for _, outcome in told[1::2]]
    assert [each.rows for each in facts] == [3, 1, 1]
    assert {each.server for each in facts} == {str(trained.bundle)}
    assert [each.refused for each in outcomes] == [1, 0, 1]
    assert [bool(each.error) for each in outcomes] == [False, False, True]


def test_a_request_that_a_plugin_refuses_is_not_answered(trained, plugin):
    plugin(
        "@hookimpl\ndef dlk_before_request(facts):\n    if facts.rows > 1: raise DlkError('one')"
    )
    server = Server(trained.bundle)
    assert server.fit(ROWS[0])["label"]
    with pytest.raises(DlkError, match=r"^one$"):
        server.fit(ROWS)


def test_without_hooks_a_request_asks_no_plugin(trained, monkeypatch):
    server = Server(trained.bundle)
    monkeypatch.setattr(register, "implementations", None)
    monkeypatch.setattr("dlk.server.around", None)
    assert len(server.fit(ROWS)) == 3


def test_hooks_are_looked_up_once(trained, plugin, monkeypatch):
    plugin(both("request"))
    server = Server(trained.bundle)
    monkeypatch.setattr(Plugin, "implementations", None)
    assert len(server.fit(ROWS)) == 3


def test_many_threads_may_ask(trained, plugin):
    told = plugin(both("request"))
    server = Server(trained.bundle)
    threads = [threading.Thread(target=server.fit, args=(ROWS[0],)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(told) == 16


# Changing ---------------------------------------------------------------------------

HIDE = """
@hookimpl
def dlk_change_rows(columns, facts):
    told.append(type(facts).__name__)
    return {**columns, "sentence": [t and t.replace("dog", "rice") for t in columns["sentence"]]}
"""
STAMP = """
@hookimpl
def dlk_change_predictions(predictions):
    return [{**each, "by": "me"} for each in predictions]
"""


def test_rows_and_predictions_are_changed_alike_by_predict_and_server(trained, plugin):
    plain = Server(trained.bundle).fit(ROWS)
    hidden, stamped = plugin(HIDE), plugin(STAMP, name="stamps")
    server, predict = Server(trained.bundle), Predict(trained.bundle)
    one, many = server.fit(ROWS[0]), server.fit(ROWS)
    assert one["by"] == "me"
    assert one["label"] == many[0]["label"] == plain[1]["label"] != plain[0]["label"]
    assert many[2].keys() == {"error", "by"}
    assert predict.run(ROWS) == many
    assert hidden == ["RequestFacts", "RequestFacts", "PredictFacts"]
    assert stamped == []
    assert ROWS[0] == {"sentence": "the dog"}


def test_measuring_a_bundle_changes_nothing(trained, plugin):
    plain = Predict(trained.bundle).evaluate(trained.toy.rows("test"))
    plugin(HIDE)
    assert Predict(trained.bundle).evaluate(trained.toy.rows("test")) == plain


def test_plugins_change_one_after_the_other_in_the_order_of_their_names(plugin):
    for name in ("b", "a"):
        plugin(STAMP.replace('"me"', f'each["by"] + "{name}"'), name=name)
    last = STAMP.replace("hookimpl", "hookimpl(tryfirst=True)").replace('"me"', 'each["by"] + "c"')
    plugin(last, name="c")
    from dlk._hooks import change_predictions

    register._plugins.sort(key=lambda plugin: plugin.state.name)
    hook = Hook("dlk_change_predictions")
    assert change_predictions(hook, [{"by": ""}], None) == [{"by": "cab"}]


def test_what_a_plugin_changes_in_place_and_keeps_is_of_no_effect(trained, plugin):
    plain = Server(trained.bundle).fit(ROWS)
    plugin(
        """
        @hookimpl
        def dlk_change_rows(columns):
            columns["sentence"][:] = ["x"] * len(columns["sentence"])
        @hookimpl
        def dlk_change_predictions(predictions):
            predictions[0].clear()
        """
    )
    assert Server(trained.bundle).fit(ROWS) == plain


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("raise KeyError('x')", "failed: KeyError: 'x', at "),
        ("raise SystemExit", "failed: SystemExit: "),
        ("return {'sentence': []}", "expected a mapping of columns of 1 rows, or None, got {'sen"),
        ("return ['x']", "got 1 items"),
        ("return {}", "got {}"),
    ],
)
def test_where_changing_rows_fails_nothing_is_passed_on(trained, plugin, body, reason):
    plugin(f"@hookimpl\ndef dlk_change_rows(columns): {body}")
    with pytest.raises(PluginError) as caught:
        Server(trained.bundle).fit(ROWS[0])
    said = str(caught.value)
    assert said.startswith("dlk_change_rows of plugin watcher (watcher-dist 1.2) failed: ")
    assert reason in said
    assert "DLK_DISABLE_PLUGINS=watcher-dist leaves it out" in said
    assert said.endswith("what it would have changed is not passed on")
    with pytest.raises(PluginError):
        Predict(trained.bundle).run(ROWS)


@pytest.mark.parametrize("body", ["return []", "return ['x']", "return 3", "1 / 0"])
def test_where_changing_predictions_fails_nothing_is_passed_on(trained, plugin, body):
    plugin(f"@hookimpl\ndef dlk_change_predictions(predictions): {body}")
    with pytest.raises(PluginError, match="what it would have changed is not passed on"):
        Server(trained.bundle).fit(ROWS[0])


def test_a_plugin_may_refuse_rows(trained, plugin):
    plugin("@hookimpl\ndef dlk_change_rows(columns): raise DlkError('no names, please')")
    with pytest.raises(DlkError, match=r"^no names, please$"):
        Server(trained.bundle).fit(ROWS)


# Failing observers ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raised", "shown"),
    [
        ("ValueError('odd')", "ValueError: odd"),
        ("SystemExit(3)", "SystemExit: 3"),
        ("GeneratorExit", "GeneratorExit: "),
    ],
)
def test_an_observer_that_fails_is_named_and_the_run_goes_on(trained, plugin, raised, shown):
    for event in ("before_request", "after_request"):
        plugin(f"@hookimpl\ndef dlk_{event}():\n    raise {raised}", name=f"bad-{event}")
    told = plugin(both("request"), name="good")
    with pytest.warns(PluginWarning) as caught:
        assert len(Server(trained.bundle).fit(ROWS)) == 3
    first, second = [str(each.message) for each in caught]
    assert first.startswith(
        "dlk_before_request of plugin bad-before_request (bad-before_request-dist 1.2) "
        f"failed: {shown}, at "
    )
    assert "DLK_DISABLE_PLUGINS=bad-before_request-dist leaves it out" in first
    assert first.endswith("the run goes on without it")
    assert "bad-after_request" in second
    assert len(told) == 2
    assert [each.lineno for each in caught] == [7, 7]
    assert {Path(each.filename).name[:10] for each in caught} == {"hook_test_"}


def test_a_dlk_error_after_the_fact_is_no_veto(raw_toy, plugin):
    plugin("@hookimpl\ndef dlk_after_process(): raise DlkError('too late')")
    with pytest.warns(PluginWarning, match="too late"):
        raw_toy.process("train")
    assert raw_toy.processed.is_dir()


def test_an_observer_that_fails_in_each_request_is_named_once(trained, plugin):
    plugin("@hookimpl\ndef dlk_before_request(): raise ValueError('again and again')")
    server = Server(trained.bundle)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(3):
            server.fit(ROWS)
    assert len(caught) == 1


def test_whoever_wants_to_makes_a_failing_hook_an_error(trained, plugin):
    plugin("@hookimpl\ndef dlk_before_request(): raise ValueError('odd')")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("error", message="dlk_")  # as PYTHONWARNINGS=error:dlk_ does
        with pytest.raises(PluginWarning, match="ValueError: odd"):
            Server(trained.bundle).fit(ROWS)


def test_ctrl_c_in_a_hook_is_the_users(trained, plugin):
    plugin("@hookimpl\ndef dlk_before_request(): raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        Server(trained.bundle).fit(ROWS)


# The hooks themselves ---------------------------------------------------------------------------


def test_every_hook_says_what_it_is_for():
    for name, hook in vars(Hooks).items():
        assert not name.startswith("dlk_") or len(hook.__doc__) > 30, name


def test_facts_are_small_and_cannot_be_changed(toy, plugin):
    told = plugin(both("fit"))
    toy.train("trainer.max_epochs=1")
    facts, (_, outcome) = told
    with pytest.raises(AttributeError):
        facts.name = "other"
    with pytest.raises(AttributeError):
        outcome.state = "failed"
    assert len(repr(facts)) < 400
    json.dumps(outcome.metrics)
