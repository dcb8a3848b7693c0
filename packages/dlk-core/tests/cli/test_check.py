"""``dlk check``."""

from __future__ import annotations

import json

from dlk.cli import main


def test_a_good_config_is_ok(project, capsys):
    assert main(["check", "process.jsonc"]) == 0
    assert capsys.readouterr().out == "process.jsonc: ok\n"
    assert not (project / "processed").exists()


def test_all_mistakes_of_all_configs_are_reported_with_their_places(project, capsys):
    (project / "bad.jsonc").write_text(
        '{\n  "@processor@default": {\n    "chunk_size": 0,\n    "colour": 1\n  }\n}\n'
    )
    (project / "worse.jsonc").write_text('{\n  "@procesor@default": {}\n}\n')
    assert main(["check", "bad.jsonc", "process.jsonc", "worse.jsonc"]) == 2
    said = capsys.readouterr()
    assert said.out == "process.jsonc: ok\n"
    assert "bad.jsonc:3:19 chunk_size: " in said.err
    assert "bad.jsonc:4:" in said.err
    assert "worse.jsonc:2:" in said.err
    assert 'Did you mean "processor"' in said.err


def test_text_that_is_no_config_is_a_config_error(project, capsys):
    (project / "bad.jsonc").write_text('{"@processor@default": {')
    assert main(["check", "bad.jsonc"]) == 2
    assert "bad.jsonc:1:" in capsys.readouterr().err


def test_every_run_of_a_search_is_checked(project, capsys):
    config = json.loads((project / "process.jsonc").read_text())
    config["@processor@default"]["_search"] = {"chunk_size": [1, 2, 4]}
    (project / "search.jsonc").write_text(json.dumps(config))
    assert main(["check", "search.jsonc"]) == 0
    assert capsys.readouterr().out == "search.jsonc: ok, 3 runs\n"
    config["@processor@default"]["_search"] = {"chunk_size": [1, 2, 0]}
    (project / "search.jsonc").write_text(json.dumps(config))
    assert main(["check", "search.jsonc"]) == 2
    assert "chunk_size" in capsys.readouterr().err


def test_overrides_are_checked_too(project, capsys):
    assert main(["check", "process.jsonc", "--set", "processor.chunk_sise=3"]) == 2
    assert "chunk_size" in capsys.readouterr().err


def test_configs_that_name_different_folders_are_refused(project, capsys):
    config = json.loads((project / "process.jsonc").read_text())
    config["@processor@default"]["processed_data_dir"] = "other"
    (project / "other.jsonc").write_text(json.dumps(config))
    assert main(["check", "process.jsonc", "other.jsonc"]) == 2
    assert "name different folders" in capsys.readouterr().err


def test_ids_of_a_vocabulary_that_is_not_there_yet_lie_below_its_size(project, capsys):
    padded = {
        "vocab_size": "@lambda @_G.meta.token_vocab.size",
        "embedding_dim": 4,
        "padding_idx": "@lambda @_G.meta.token_vocab.pad_id",
    }
    imodel = {
        "@model@basic": {"@embedding@random": padded},
        "@loss@cross_entropy": {"pred_truth_pair": {"embedding": "labels"}},
        "@postprocessor@identity": {},
    }
    fit = {
        "processed_data_dir": "never_made",
        "@datamodule@default": {
            "@dataset@default": {"key_type_pairs": {"input_ids": "long", "labels": "long"}},
            "@data_collate@default": {
                "key_padding_pairs": {"input_ids": 0},
                "gen_mask": {"input_ids": "attention_mask"},
            },
        },
        "@imodel@default": imodel,
    }
    (project / "padded.jsonc").write_text(json.dumps({"@fit": fit}))
    assert main(["check", "padded.jsonc"]) == 0, capsys.readouterr().err
