"""Options that validation finds: for the weights that are kept, measured by, and in the bundle."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dlk.bundle import Bundle
from dlk.cli import main
from dlk.errors import ConfigError, DlkError, RunError
from dlk.predict import Predict
from dlk.server import Server
from dlk.train import Train

pytestmark = pytest.mark.once

CHECKPOINT = "@trainer@lightning/@callback@checkpoint"
SEARCHED = "@imodel@default/@postprocessor@toy_usual"
PATH = "imodel.postprocessor.usual"


@pytest.fixture
def searching(toy):
    toy.edit({"@imodel@default/@postprocessor@toy_labels": None, SEARCHED: {"usual": "search"}})
    return toy


def answers(bundle, toy, split):
    return Server(bundle).fit([{"sentence": row["sentence"]} for row in toy.rows(split)])


def mean_score(found):
    return sum(answer["score"] for answer in found) / len(found)


def test_what_validation_found_is_in_the_bundle_and_decides_everywhere(searching):
    done = searching.train()
    valid, test = (answers(done.bundle, searching, split) for split in ("valid", "test"))
    usual = done.found[PATH]
    assert usual == pytest.approx(mean_score(valid), abs=1e-6)
    assert Bundle(done.bundle).parts().postprocessor.usual == usual
    assert [answer["is_usual"] for answer in test] == [a["score"] >= usual for a in test]
    share = sum(answer["is_usual"] for answer in test) / len(test)
    assert done.metrics["test_usual"] == share
    assert 0 < share < 1
    assert Predict(done.bundle).evaluate(searching.rows("test")).metrics["usual"] == share
    valid_share = sum(answer["is_usual"] for answer in valid) / len(valid)
    assert done.metrics["val_usual"] == valid_share
    assert Predict(done.bundle).evaluate(searching.rows("valid")).metrics["usual"] == valid_share


def test_the_run_tells_what_was_searched_and_what_was_found(searching, capsys):
    assert main(["train", str(searching.fit_config)]) == 0
    result = json.loads((searching.logs / "0" / "result.json").read_text())
    usual = result["found"][PATH]
    assert f"found   {PATH}={usual}" in capsys.readouterr().out
    config = json.loads((searching.logs / "0" / "config.json").read_text())
    assert config["@fit"]["@imodel@default"]["@postprocessor@toy_usual"]["usual"] == "search"
    kept = json.loads((searching.logs / "0" / "bundle" / "fit.json").read_text())
    assert kept["@fit"]["@imodel@default"]["@postprocessor@toy_usual"]["usual"] == usual


EARLY_STOP = {"monitor": "val_acc", "mode": "max", "patience": 1, "verbose": False}


@pytest.mark.parametrize(("early_stop", "steps"), [(None, 36), (EARLY_STOP, 24)])
def test_it_is_found_for_the_weights_that_are_kept_not_for_the_last(
    searching, monkeypatch, early_stop, steps
):
    from toy_usual import ToyShare

    real = ToyShare.compute
    scores = iter([0.9, 0.1, 0.2, 0.3, 0.4, 0.5])  # of epochs: the first is kept
    monkeypatch.setattr(ToyShare, "compute", lambda self: {**real(self), "acc": next(scores)})
    searching.edit({"@trainer@lightning/num_sanity_val_steps": 0})
    if early_stop:
        searching.edit({"@trainer@lightning/@callback@early_stop": early_stop})
    searching.drop("test")
    done = searching.train("imodel.optimizer.lr=0.3", "trainer.max_epochs=3")
    assert max(line["step"] for line in searching.metrics()) == steps
    assert done.weights.startswith("best val_acc: step 12, ")
    assert done.found[PATH] == pytest.approx(
        mean_score(answers(done.bundle, searching, "valid")), abs=1e-6
    )
    last = Server(
        searching.process_config,
        searching.fit_config,
        Path(done.dir, "checkpoint", "last.ckpt"),
        overrides=[f"{PATH}=0.5"],
    ).fit([{"sentence": row["sentence"]} for row in searching.rows("valid")])
    assert abs(done.found[PATH] - mean_score(last)) > 1e-3


def test_the_logs_hold_the_validations_of_training_alone(searching):
    searching.train()
    validated = [line for line in searching.metrics() if "val_acc" in line]
    assert [line["step"] for line in validated] == [12, 24]
    assert {line["val_usual"] for line in validated} == {1.0}  # the default, until it is found
    assert [line["step"] for line in searching.metrics() if "test_acc" in line] == [24]


def test_an_option_with_a_value_changes_nothing_of_a_run(toy, trained):
    toy.edit({"@imodel@default/@postprocessor@toy_labels": None, SEARCHED: {"usual": 0.25}})
    done = toy.train()
    assert done.found == {}
    for name in ("val_acc", "val_loss", "test_acc", "test_loss"):
        assert done.metrics[name] == trained.result.metrics[name]


def test_without_validation_it_is_refused_before_training(searching):
    with pytest.raises(ConfigError, match=f"{PATH}: to be searched for on validation data, and"):
        searching.train("trainer.limit_val_batches=0", "trainer.callback.monitor=null")
    searching.drop("valid")
    searching.edit({CHECKPOINT: None})
    with pytest.raises(ConfigError, match="none is evaluated here: give a value"):
        searching.train()
    assert not any(searching.logs.rglob("*.ckpt"))


def test_validation_without_a_truth_finds_nothing_and_says_so(searching, monkeypatch):
    from toy_usual import ToyShare

    searching.edit({CHECKPOINT: None})
    monkeypatch.setattr(ToyShare, "compute", lambda self: {})
    with pytest.raises(RunError, match=f"{PATH}: no row of the validation data has a truth"):
        searching.train("trainer.max_steps=1")


def test_a_search_that_must_fail_fails_after_the_first_epoch(searching, monkeypatch):
    from toy_usual import ToyUsual

    def nothing(self, metrics):
        raise DlkError("no row is usual")

    monkeypatch.setattr(ToyUsual, "found", nothing)
    with pytest.raises(DlkError, match="no row is usual"):
        searching.train("trainer.max_epochs=3")
    assert max(line["step"] for line in searching.metrics()) == 12  # of 36


def test_given_weights_are_searched_for_without_training(searching, trained):
    searching.drop("train")
    searching.edit({CHECKPOINT: None})
    done = searching.train(checkpoint=trained.checkpoint)
    found = answers(done.bundle, searching, "valid")
    assert done.found[PATH] == pytest.approx(mean_score(found), abs=1e-6)
    usual = [answer["score"] >= done.found[PATH] for answer in found]
    assert done.metrics["val_usual"] == sum(usual) / len(usual)


def test_each_run_of_a_search_finds_its_own(searching):
    searching.edit({"_search": {"seed": [1, 2]}})
    first, second = Train(searching.fit_config).run().runs
    assert first.found[PATH] != second.found[PATH]
    for run in (first, second):
        assert Bundle(run.bundle).parts().postprocessor.usual == run.found[PATH]


def test_a_checkpoint_alone_cannot_predict_before_it_is_found(searching):
    done = searching.train()
    last = Path(done.dir, "checkpoint", "last.ckpt")
    configs = (searching.process_config, searching.fit_config, last)
    with pytest.raises(DlkError, match=f"{PATH}: validation is still to find it: predict with"):
        Server(*configs)
    Server(*configs, overrides=[f"{PATH}=0.5"])


def test_the_bundle_holds_the_config_of_the_run_but_for_what_was_found(searching):
    done = searching.train()
    kept = json.loads(Path(done.bundle, "fit.json").read_text())
    before = json.loads(Path(done.dir, "config.json").read_text())
    imodel = before["@fit"]["@imodel@default"]
    imodel["@postprocessor@toy_usual"]["usual"] = done.found[PATH]
    assert kept["@fit"]["@imodel@default"] == imodel
    assert kept["@fit"]["@datamodule@default"] == before["@fit"]["@datamodule@default"]
