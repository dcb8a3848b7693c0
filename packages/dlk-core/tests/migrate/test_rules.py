"""What becomes of configs of dlk 0.1, rule by rule; whole examples are tested across packages."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dlk.config import jsonc
from dlk.config._intc import fields_of
from dlk.errors import ConfigError
from dlk.migrate.rules import Migrated, migrate
from dlk.migrate.table import COMPONENTS, FIELDS, NOT_YET, WRITTEN, Rename
from dlk.registry import register


def process(**steps: Any) -> Migrated:
    """Migrate a process config with these steps, ``name={…}``."""
    own = {f"@subprocessor@{name}": values for name, values in steps.items()}
    return migrate(json.dumps({"@processor@default": own}), "old.jsonc")


def imodel(**parts: Any) -> Migrated:
    """Migrate a fit config with these components below imodel, ``type__name={…}``."""
    own = {f"@{key.replace('__', '@')}": values for key, values in parts.items()}
    fit = {"processed_data_dir": "x", "@imodel@default": own}
    return migrate(json.dumps({"@fit": fit}), "old.jsonc")


def value(done: Migrated, path: str) -> Any:
    here = jsonc.parse(done.text).value
    for key in path.split("/"):
        here = here[key]
    return here


def kinds(done: Migrated) -> dict[str, str]:
    return {note.path: note.kind for note in done.notes}


def test_the_file_is_named_by_what_it_describes() -> None:
    assert migrate('{"@processor@default": {}}', "a.hjson").target == "process.jsonc"
    assert migrate('{"_G": {}, "@fit": {}}', "a.hjson").target == "fit.jsonc"


@pytest.mark.parametrize("text", ['{"@optimizer@adamw": {}}', "{}", '{"_G": {}}', "[]"])
def test_what_is_no_config_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r'old.jsonc: expected a config of dlk 0.1: one of "@pro'):
        migrate(text, "old.jsonc")


def test_a_module_file_keeps_its_name() -> None:
    done = migrate('{"_base": "focal_loss", "reduction": "mean"}', "modules/loss@mine.hjson")
    assert done.target == "loss@mine.jsonc"
    assert jsonc.parse(done.text).value == {"_base": "focal"}
    assert kinds(done) == {"_base": "changed", "reduction": "gone"} or kinds(done) == {
        "loss@mine": "changed",
        "reduction": "gone",
    }


def test_a_field_that_means_nothing_any_more_is_left_out_and_told_with_its_place() -> None:
    text = '{\n  "@processor@default": {\n    "do_save": true,\n    "feed_order": []\n  }\n}'
    done = migrate(text, "old.jsonc")
    (note,) = done.notes
    assert (note.kind, note.path, note.line, note.column) == ("gone", "do_save", 3, 5)
    assert str(note).startswith("old.jsonc:3:5 do_save: left out: ")
    assert value(done, "@processor@default") == {"feed_order": []}


def test_a_renamed_field_keeps_its_value() -> None:
    done = process(token2id={"predict": [], "online": ["online"]})
    step = value(done, "@processor@default/@subprocessor@token2id")
    assert step == {"predict_data_set": [], "online_data_set": ["online"]}
    assert set(kinds(done).values()) == {"changed"}


def test_a_value_that_meant_something_else_is_changed() -> None:
    done = process(token_gather={"gather_columns": ["x"], "ignore": "", "update": "old.json"})
    step = value(done, "@processor@default/@subprocessor@token_gather")
    assert step == {"gather_columns": ["x"], "ignore": None, "update": "old.json"}


@pytest.mark.parametrize(("old", "new"), [(1.0, None), (1, None), (0.5, 0.5), (True, True)])
def test_a_share_of_all_batches_is_null(old: object, new: object) -> None:
    trainer = {"@trainer@lightning": {"max_epochs": 2, "limit_val_batches": old}}
    done = migrate(json.dumps({"@fit": {"processed_data_dir": "x", **trainer}}), "old.jsonc")
    assert value(done, "@fit/@trainer@lightning/limit_val_batches") is new or old == 0.5
    assert len(done.notes) == (new is None)


def test_a_vocabulary_of_labels_gets_no_padding() -> None:
    labels = {"gather_columns": ["labels"], "token_vocab": "label_vocab.json"}
    done = process(token_gather=labels)
    assert value(done, "@processor@default/@subprocessor@token_gather/pad") is None
    words = process(token_gather={"gather_columns": ["tokens"]})
    assert "pad" not in value(words, "@processor@default/@subprocessor@token_gather")


def test_an_unknown_field_stays_as_a_comment() -> None:
    text = '{"@fit": {"processed_data_dir": "x", "colour": [1, 2], "seed": 3}}'
    done = migrate(text, "old.jsonc")
    assert '// dlk 0.1: "colour": [1, 2],' in done.text
    assert value(done, "@fit") == {"processed_data_dir": "x", "seed": 3}
    assert kinds(done) == {"colour": "lost"}


def test_comments_stay() -> None:
    text = '// head\n{"@fit": { // why\n"processed_data_dir": "x", // there\n}}'
    done = migrate(text, "old.jsonc")
    assert done.text == (
        '// head\n{\n    "@fit": {\n        // why\n'
        '        "processed_data_dir": "x",  // there\n    },\n}\n'
    )


def test_a_component_gets_its_new_name_wherever_that_stands() -> None:
    for loss in (
        {"@loss@focal_loss": {"gamma": 2.0}},
        {"@loss": {"_base": "focal_loss", "gamma": 2.0}},
        {"@loss": "focal_loss"},
    ):
        fit = {"processed_data_dir": "x", "@imodel@default": loss}
        done = migrate(json.dumps({"@fit": fit}), "old.jsonc")
        assert "focal_loss" not in done.text
        assert '"focal_loss" is called "focal" now' in done.notes[0].message


def test_a_default_that_decides_is_written_out() -> None:
    done = imodel(loss__focal_loss={})
    assert value(done, "@fit/@imodel@default/@loss@focal/gamma") == 1.0
    assert "// the default of dlk 0.1" in done.text
    done = imodel(loss__focal_loss={"gamma": 3.0})
    assert value(done, "@fit/@imodel@default/@loss@focal/gamma") == 3.0


def test_a_reduction_that_we_have_not_is_lost_and_the_mean_is_gone() -> None:
    assert kinds(imodel(loss__mse={"reduction": "mean"})) == {"imodel.loss.reduction": "gone"}
    assert kinds(imodel(loss__mse={"reduction": "sum"})) == {"imodel.loss.reduction": "lost"}


def test_a_child_of_a_type_that_is_not_taken_is_set_aside() -> None:
    done = imodel(adv_method__fgm={"epsilon": 1.0})
    assert '// dlk 0.1: "@adv_method@fgm": {"epsilon": 1.0},' in done.text
    assert kinds(done) == {"imodel.adv_method": "lost"}


def test_a_component_that_is_not_installed_is_left_and_what_is_below_it_is_rewritten() -> None:
    below = {"@subprocessor@token2id": {"predict": []}}
    done = migrate(json.dumps({"@processor@my_own": below}), "old.jsonc")
    own = value(done, "@processor@my_own/@subprocessor@token2id")
    assert own == {"predict_data_set": []}
    assert kinds(done)["processor"] == "lost"


def test_steps_are_called_by_their_alias() -> None:
    order = ["token2id#label", "@subprocessor@token_gather", "plain"]
    done = migrate(json.dumps({"@processor@default": {"feed_order": order}}), "old.jsonc")
    assert value(done, "@processor@default/feed_order") == ["label", "token_gather", "plain"]


@pytest.mark.parametrize(("old", "new"), [(100.0, 100), (1.0, 1), (0.1, 0.1), (7, 7)])
def test_steps_of_warming_up_are_integers(old: float, new: float) -> None:
    done = imodel(scheduler__linear_warmup={"num_warmup_steps": old})
    got = value(done, "@fit/@imodel@default/@scheduler@linear_warmup/num_warmup_steps")
    assert (got, type(got)) == (new, type(new))


def test_a_table_of_vectors_gets_its_size_and_its_file_a_form_that_runs_no_code() -> None:
    table = {"embedding_dim": 4, "embedding_file": "token_embedding"}
    done = imodel(model__basic={"@embedding@static": table})
    own = value(done, "@fit/@imodel@default/@model@basic/@embedding@static")
    assert own == {
        "embedding_dim": 4,
        "embedding_meta": "token_embedding.npy",
        "vocab_size": "@lambda @_G.meta.token_embedding.size",
    }
    table["embedding_file"] = "data/vectors.pkl"
    lost = imodel(model__basic={"@embedding@static": table})
    assert kinds(lost)["imodel.model.embedding.embedding_file"] == "lost"


def test_an_expression_that_we_do_not_compute_is_named() -> None:
    done = imodel(optimizer__adamw={"lr": "@lambda _: __import__('os').getpid()"})
    (note,) = done.notes
    assert (note.kind, note.path) == ("lost", "imodel.optimizer")
    assert "cannot be computed" in note.message
    assert imodel(optimizer__adamw={"lr": "@lambda _: 2 * 1e-4"}).notes == []


def test_hjson_is_migrated_and_says_what_it_costs() -> None:
    done = migrate("{\n  '@fit': {\n    log_dir: logs\n  }\n}", "old.hjson")
    assert value(done, "@fit") == {"log_dir": "logs"}
    assert "comments and positions are not kept" in done.notes[0].message


def test_migrating_what_is_migrated_changes_nothing() -> None:
    first = process(token_gather={"gather_columns": ["labels"], "token_vocab": "label_vocab.json"})
    again = migrate(first.text, "process.jsonc")
    assert again.text == first.text
    assert again.notes == []


def test_the_table_speaks_of_what_we_have_and_of_what_we_have_not() -> None:
    for (kind, name), fields in FIELDS.items():
        if (kind, name) not in register:
            continue  # of a family, or of a package that is not installed
        known = fields_of(register.config(kind, name))
        for field, action in fields.items():
            outer, _, inner = field.partition(".")
            if isinstance(action, Rename):
                assert outer not in known
                assert action.to in known
            elif type(action).__name__ == "Gone" and not inner:
                assert outer not in known, f"{kind} {name}.{field} is here again"
    for (kind, name), fields in WRITTEN.items():
        if (kind, name) in register:
            known = fields_of(register.config(kind, name))
            assert set(fields) <= set(known)
            for field, old in fields.items():
                assert known[field]["default"] != old, f"{kind} {name}.{field} is as it was"
    for kind, name in NOT_YET:
        assert not name or (kind, name) not in register, f"{kind} {name} is here by now"
    for (kind, _), new in COMPONENTS.items():
        assert (kind, new) in register or kind == "display"
