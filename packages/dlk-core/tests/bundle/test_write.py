"""Writing: everything that predicting needs is inside, and it appears whole or not at all."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dlk.bundle import Bundle
from dlk.errors import BundleError
from dlk.server import Server

NO_CHECKPOINT = {"@trainer@lightning/@callback@checkpoint": None}


def test_it_serves_elsewhere_when_all_else_is_gone(toy, tmp_path):
    done = toy.train("trainer.max_steps=3")
    rows = [{"sentence": row["sentence"]} for row in toy.rows("test")]
    before = Server(done.bundle).fit(rows)
    shutil.copytree(done.bundle, tmp_path / "elsewhere")
    shutil.rmtree(toy.folder)
    assert Server(tmp_path / "elsewhere").fit(rows) == before


def test_golden_predictions_are_given_again_exactly(trained):
    golden = Bundle(trained.bundle).golden()
    assert len(golden) == 8
    assert [g["input"]["sentence"] for g in golden] == [
        row["sentence"] for row in trained.toy.rows("test")[:8]
    ]
    answers = Server(trained.bundle).fit([g["input"] for g in golden])
    assert answers == [g["prediction"] for g in golden]


def test_golden_rows_of_windows_are_whole_rows(toy):
    _with_windows(toy)
    done = toy.train("trainer.max_steps=3")
    golden = Bundle(done.bundle).golden()
    assert [g["input"]["sentence"] for g in golden] == [r["sentence"] for r in toy.rows("test")[:8]]
    answers = Server(done.bundle).fit([g["input"] for g in golden])
    assert answers == [g["prediction"] for g in golden]


def _with_windows(toy):
    config = json.loads(toy.process_config.read_text())
    step = config["@processor@default"]["@subprocessor@fast_tokenizer"]
    step.update(expand_examples=True, truncation={"max_length": 3, "stride": 1})
    toy.process_config.write_text(json.dumps(config))
    toy.process()


def test_there_is_one_copy_of_the_tokenizer_and_no_pickle(trained):
    files = {p.relative_to(trained.bundle).as_posix() for p in trained.bundle.rglob("*.*")}
    assert files == {
        "bundle.json",
        "fit.json",
        "golden.jsonl",
        "meta/label_vocab.json",
        "meta/meta.json",
        "meta/tokenizer.json",
        "model.safetensors",
        "process.json",
    }


def test_nothing_inside_points_outside(trained):
    for name in ("bundle.json", "process.json", "fit.json"):
        assert str(trained.toy.folder) not in (trained.bundle / name).read_text()


def test_only_what_predicts_is_needed(trained):
    listed = Bundle(trained.bundle).manifest["needs"]
    needs = {(need["type"], need["name"]): need for need in listed}
    assert ("embedding", "random") in needs
    assert needs["decoder", "linear"]["distribution"] == "dlk-core"
    assert needs["postprocessor", "toy_labels"]["distribution"] == "local"
    assert needs["postprocessor", "toy_labels"]["file"] == "toy_labels.py"
    kinds = {kind for kind, _ in needs}
    assert not {"loss", "optimizer", "scheduler", "trainer", "callback"} & kinds


def test_a_components_alias_is_still_its_distributions(toy):
    from dlk.bundle.write import _needs
    from dlk.config import make

    focal = make("loss", "focal_loss", {"pred_truth_pair": {"logits": "label_ids"}})
    assert _needs([focal])[0]["distribution"] == "dlk-core"


def test_a_local_component_needs_its_source(trained, parts, tmp_path):
    code = (
        "import sys\n"
        "from dlk.server import Server\n"
        "from dlk.errors import BundleError\n"
        "bundle, src = sys.argv[1:]\n"
        "try:\n"
        "    Server(bundle)\n"
        "except BundleError as error:\n"
        "    assert 'toy_labels.py' in str(error) and '--src DIR' in str(error), error\n"
        "else:\n"
        "    raise SystemExit('it served without the source')\n"
        "print(Server(bundle, src=[src]).fit({'sentence': 'the cat'})['label'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(trained.bundle), str(parts)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in ("animal", "food", "place")


def test_nothing_half_written_is_left(toy, monkeypatch):
    from dlk.bundle import write

    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(write, "_golden_rows", stop)
    with pytest.raises(KeyboardInterrupt):
        toy.train("trainer.max_steps=2")
    left = {p.name for p in (toy.logs / "0").iterdir()}
    assert not any("bundle" in name for name in left)


def test_a_bundle_that_could_not_be_loaded_is_not_left(toy, monkeypatch):
    from dlk.bundle import write

    monkeypatch.setattr(write, "save_state", lambda state, path: Path(path).write_bytes(b"no"))
    with pytest.raises(BundleError, match="damaged"):
        toy.train("trainer.max_steps=2")
    assert not (toy.logs / "0" / "bundle").exists()


def test_a_column_that_goes_into_batches_as_it_is_is_an_input(toy):
    """And a truth is not, though no step makes it."""
    from dlk.preprocess import Process

    rows = {s: [{**r, "extra": 1.5, "gold": 0} for r in toy.rows(s)] for s in ("train", "test")}
    shutil.rmtree(toy.processed)
    Process(toy.process_config).run(rows)
    toy.edit(
        {
            **NO_CHECKPOINT,
            "@datamodule@default/@dataset@default/key_type_pairs": {
                "input_ids": "long",
                "gold": "long",
                "extra": "float",
            },
            "@imodel@default/@loss@cross_entropy/pred_truth_pair": {"logits": "gold"},
        }
    )
    done = toy.train("trainer.max_steps=2")
    assert [(c["name"], c["type"]) for c in Bundle(done.bundle).inputs] == [
        ("sentence", "string"),
        ("extra", "double"),
    ]


def test_columns_that_nobody_reads_cannot_stand_for_made_ones(trained):
    row = {"sentence": "the cat"}
    plain = Server(trained.bundle).fit(row)
    assert Server(trained.bundle).fit({**row, "input_ids": "x", "label_ids": None}) == plain


def test_a_model_named_on_a_hub_is_described_inside(toy, monkeypatch):
    import dlk.hf
    from dlk.config import MISSING, AssetField, cregister
    from dlk.nn.layer.embedding.configs import RandomEmbeddingConfig
    from dlk.nn.layer.embedding.random import RandomEmbedding
    from dlk.registry import register

    @cregister("embedding", "from_hub")
    class FromHubConfig(RandomEmbeddingConfig):
        """Reads its width from a model's description."""

        model = AssetField(MISSING, help="folder or hub name", include=("config.json",), hub=True)

    @register("embedding", "from_hub")
    class FromHub(RandomEmbedding):
        def __init__(self, config, setup):
            super().__init__(config)
            if not setup.pretrained:
                described = json.loads((Path(config.model) / "config.json").read_text())
                assert described == {"hidden_size": 8}

    class Description:
        def save_pretrained(self, folder):
            (Path(folder) / "config.json").write_text('{"hidden_size": 8}')

    monkeypatch.setattr(dlk.hf, "load_config", lambda name: Description())
    random = {"vocab_size": "@lambda @_G.meta.tokenizer.size", "embedding_dim": 8}
    toy.edit(
        {
            **NO_CHECKPOINT,
            "@imodel@default/@model@basic/@embedding@random": None,
            "@imodel@default/@model@basic/@embedding@from_hub": {**random, "model": "org/words"},
        }
    )
    done = toy.train("trainer.max_steps=2")
    written = Path(done.bundle, "assets", "org_words", "config.json")
    assert json.loads(written.read_text()) == {"hidden_size": 8}
    monkeypatch.setattr(dlk.hf, "load_config", None)
    assert Server(done.bundle).fit({"sentence": "the cat"})["label"]


def test_tied_weights_are_loaded_tied_in_value(toy, monkeypatch):
    from dlk.nn.layer.decoder.linear import LinearDecoder

    real = LinearDecoder.__init__

    def init(self, config):
        real(self, config)
        self.twin = torch.nn.Linear(8, 3, bias=False)
        self.twin.weight = self.linear.weight

    monkeypatch.setattr(LinearDecoder, "__init__", init)
    toy.edit(NO_CHECKPOINT)
    done = toy.train("trainer.max_steps=2")
    state = Bundle(done.bundle).engine().model.state_dict()
    assert torch.equal(state["decoder.twin.weight"], state["decoder.linear.weight"])


def test_a_tokenizer_from_a_remote_place_is_kept_inside(raw_toy):
    import fsspec

    file = raw_toy.folder / "tokenizer.json"
    fsspec.filesystem("memory").pipe("/tokenizer.json", file.read_bytes())
    file.unlink()
    address = "memory://tokenizer.json"
    raw_toy.process(overrides=[f"subprocessor@fast_tokenizer.tokenizer_path={address}"])
    bundle = Path(raw_toy.train("trainer.max_steps=2").bundle)
    fsspec.filesystem("memory").rm("/tokenizer.json")
    assert address not in (bundle / "process.json").read_text()
    assert Bundle(bundle).engine().predict({"sentence": ["the cat"]})[0]["label"]
