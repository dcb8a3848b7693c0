"""Reading: whatever is not exactly what was written is refused before anything of it is used."""

from __future__ import annotations

import json
import os
import random
import shutil
from pathlib import Path

import fsspec
import pytest

from dlk.bundle import Bundle, schema
from dlk.bundle.pack import zip_bundle
from dlk.errors import BundleError


@pytest.fixture
def bundle(trained, tmp_path):
    """A bundle that a test may spoil."""
    shutil.copytree(trained.bundle, tmp_path / "bundle")
    return tmp_path / "bundle"


def reseal(folder, **changes):
    """Write the manifest anew, as somebody would who means harm."""
    from dlk.io import sha256_of

    manifest = json.loads((folder / "bundle.json").read_text())
    files = [p for p in folder.rglob("*") if p.is_file() and p != folder / "bundle.json"]
    manifest["digests"] = {p.relative_to(folder).as_posix(): sha256_of(p) for p in files}
    (folder / "bundle.json").write_text(schema.manifest_text({**manifest, **changes}))


def change(folder, name, edit):
    """Change a config of the bundle, and seal it again."""
    config = json.loads((folder / name).read_text())
    edit(config)
    (folder / name).write_text(json.dumps(config))
    reseal(folder)


def test_a_bundle_says_what_it_is(trained):
    bundle = Bundle(trained.bundle)
    assert bundle.metrics == trained.result.metrics
    assert bundle.task == "toy_labels"
    assert bundle.inputs == [{"name": "sentence", "type": "string", "nullable": False}]
    assert bundle.prediction == {
        "type": "object",
        "properties": {"label": {"type": "string"}, "score": {"type": "number"}},
        "required": ["label", "score"],
    }
    assert bundle.manifest["prediction"]["from"] == "golden"


def test_a_copy_that_is_sealed_again_is_read(bundle):
    reseal(bundle)
    assert len(Bundle(bundle).engine().predict({"sentence": ["the cat"]})) == 1


def test_every_flipped_byte_is_noticed(bundle):
    rng = random.Random(0)
    files = sorted(p for p in bundle.rglob("*") if p.is_file())
    assert len(files) > 6
    for file in files:
        content = file.read_bytes()
        places = range(0, len(content), 13 if file.name == "bundle.json" else len(content) - 1)
        for place in sorted({*places, *(rng.randrange(len(content)) for _ in range(8))}):
            spoilt = bytearray(content)
            spoilt[place] ^= 1 << rng.randrange(8)
            file.write_bytes(bytes(spoilt))
            with pytest.raises(BundleError):
                Bundle(bundle)
        file.write_bytes(content)
    Bundle(bundle)


def test_every_cut_file_is_noticed(bundle):
    for file in sorted(p for p in bundle.rglob("*") if p.is_file()):
        content = file.read_bytes()
        file.write_bytes(content[:-1])
        with pytest.raises(BundleError):
            Bundle(bundle)
        file.write_bytes(content)


def test_every_missing_file_is_named(bundle):
    for file in sorted(p for p in bundle.rglob("*") if p.is_file() and p.name != "bundle.json"):
        content = file.read_bytes()
        file.unlink()
        with pytest.raises(BundleError, match=file.name):
            Bundle(bundle)
        file.write_bytes(content)


@pytest.mark.parametrize("name", ["extra.py", "meta/extra.json", "meta/bundle.json", ".hidden"])
def test_a_file_that_is_not_listed_is_refused(bundle, name):
    (bundle / name).write_text("{}")
    with pytest.raises(BundleError, match=f"{name} is not listed"):
        Bundle(bundle)


def test_a_link_in_place_of_a_file_is_refused(bundle, tmp_path):
    shutil.move(bundle / "golden.jsonl", tmp_path / "golden.jsonl")
    os.symlink(tmp_path / "golden.jsonl", bundle / "golden.jsonl")
    with pytest.raises(BundleError, match="golden"):
        Bundle(bundle)


def test_a_link_to_a_file_inside_is_refused_too(bundle):
    shutil.move(bundle / "golden.jsonl", bundle / "real.jsonl")
    os.symlink("real.jsonl", bundle / "golden.jsonl")
    with pytest.raises(BundleError, match="golden"):
        Bundle(bundle)


def test_a_linked_folder_is_refused(bundle, tmp_path):
    shutil.move(bundle / "meta", tmp_path / "meta")
    os.symlink(tmp_path / "meta", bundle / "meta")
    with pytest.raises(BundleError, match="leaves the bundle"):
        Bundle(bundle)


def test_a_link_to_the_whole_bundle_is_fine(bundle, tmp_path):
    os.symlink(bundle, tmp_path / "latest")
    assert Bundle(tmp_path / "latest").engine().inputs == ("sentence",)


@pytest.mark.parametrize("name", ["../outside.json", "/etc/hostname", "", "a\0b"])
def test_a_name_that_leaves_the_bundle_is_refused(bundle, name):
    (bundle.parent / "outside.json").write_text("{}")
    digests = json.loads((bundle / "bundle.json").read_text())["digests"]
    reseal(bundle, digests={**digests, name: "0"})
    with pytest.raises(BundleError, match="leaves the bundle"):
        Bundle(bundle)


@pytest.mark.parametrize("name", ["process.json", "fit.json", "model.safetensors"])
def test_what_every_bundle_needs_must_be_listed(bundle, name):
    (bundle / name).unlink()
    reseal(bundle)
    with pytest.raises(BundleError, match=f"{name} is missing"):
        Bundle(bundle)


def test_an_expression_is_refused(bundle):
    def edit(config):
        config["@fit"]["log_dir"] = "@lambda _: [].append"

    change(bundle, "fit.json", edit)
    with pytest.raises(BundleError, match=r"@fit\.log_dir: an expression"):
        Bundle(bundle).engine()


@pytest.mark.parametrize("key", ["_search", "_anchor", "_base", "_G"])
def test_what_a_parser_would_act_on_is_refused(bundle, key):
    def edit(config):
        config["@processor@default"][key] = {}

    change(bundle, "process.json", edit)
    with pytest.raises(BundleError, match=f'"{key}" is not allowed'):
        Bundle(bundle).engine()


def test_a_config_that_does_not_fit_the_component_is_refused(bundle):
    def edit(config):
        config["@fit"]["@datamodule@default"]["train_batch_size"] = "many"

    change(bundle, "fit.json", edit)
    with pytest.raises(BundleError, match="train_batch_size"):
        Bundle(bundle).engine()


def test_how_it_was_trained_need_not_be_installed(bundle):
    def edit(config):
        fit = config["@fit"]
        fit["@trainer@magic"] = {"_name": "magic", "wands": 3}
        imodel = fit["@imodel@default"]
        del imodel["@loss@cross_entropy"]
        imodel["@loss@magic"] = {"_name": "magic"}

    change(bundle, "fit.json", edit)
    assert len(Bundle(bundle).engine().predict({"sentence": ["the cat"]})) == 1


@pytest.mark.parametrize("text", ["[]", "{", '{"@fit": []}', "{}", '"' + "[" * 50])
def test_a_config_that_is_none_is_refused(bundle, text):
    (bundle / "fit.json").write_text(text)
    reseal(bundle)
    with pytest.raises(BundleError, match=r"fit\.json"):
        Bundle(bundle).engine()


def test_a_newer_schema_says_what_to_do(bundle):
    reseal(bundle, schema=99)
    with pytest.raises(BundleError, match=r"schema 99.*pip install -U dlk-core"):
        Bundle(bundle)


@pytest.mark.parametrize("version", [None, 0, "1", True])
def test_a_schema_version_is_a_number(bundle, version):
    reseal(bundle, schema=version)
    with pytest.raises(BundleError, match="no schema version"):
        Bundle(bundle)


def test_a_missing_component_says_what_to_install(bundle):
    needs = [{"type": "model", "name": "brain", "distribution": "dlk-brain", "version": "2.1"}]
    reseal(bundle, needs=needs)
    with pytest.raises(BundleError, match=r'model "brain": pip install dlk-brain==2\.1'):
        Bundle(bundle)


def test_needs_of_another_form_are_refused(bundle):
    reseal(bundle, needs=["model"])
    with pytest.raises(BundleError, match="needs"):
        Bundle(bundle)


def test_weights_that_do_not_fit_are_named(bundle):
    def edit(config):
        model = config["@fit"]["@imodel@default"]["@model@basic"]
        model["@embedding@random"]["embedding_dim"] = 4

    change(bundle, "fit.json", edit)
    with pytest.raises(BundleError, match=r"embedding\.weight: the model has \(\d+, 4\)"):
        Bundle(bundle).engine()


def test_a_folder_that_is_none_says_where_it_may_be(trained, tmp_path):
    with pytest.raises(BundleError, match=r"expected a folder with bundle\.json"):
        Bundle(tmp_path)
    with pytest.raises(BundleError, match="its bundle is in the folder bundle"):
        Bundle(trained.dir)
    with pytest.raises(BundleError, match="is no bundle"):
        Bundle(tmp_path / "nowhere")


def test_a_path_in_the_config_stays_inside(bundle):
    from dlk.config import AssetField, Base, Signature, cregister
    from dlk.registry import register

    @cregister("postprocessor", "reads_a_file")
    class FileConfig(Base):
        """Names a file."""

        file = AssetField("", help="some file")

        def signature(self):
            return Signature()

    @register("postprocessor", "reads_a_file")
    class File:
        def __init__(self, config):
            Path(config.file).read_text()

    def edit(config):
        imodel = config["@fit"]["@imodel@default"]
        del imodel["@postprocessor@toy_labels"]
        imodel["@postprocessor@reads_a_file"] = {"_name": "reads_a_file", "file": "../../secret"}

    change(bundle, "fit.json", edit)
    with pytest.raises(BundleError, match=r"postprocessor\.file leaves the bundle"):
        Bundle(bundle).engine()


@pytest.mark.parametrize("field", ["needs", "inputs"])
@pytest.mark.parametrize("value", [None, "x", 1.5, [1], [{}], [{"type": "loss", "name": ["x"]}]])
def test_a_manifest_of_another_shape_is_refused(bundle, field, value):
    reseal(bundle, **{field: value})
    with pytest.raises(BundleError, match=f'holds no proper "{field}"'):
        Bundle(bundle)


@pytest.mark.parametrize("name", ["meta/meta.json", "meta/label_vocab.json", "meta/tokenizer.json"])
@pytest.mark.parametrize("content", [b"\xff\xfe", b"[" * 100_000, b"{}", b""])
def test_a_file_of_meta_that_is_something_else_is_refused(bundle, name, content):
    (bundle / name).write_bytes(content)
    reseal(bundle)
    with pytest.raises(BundleError, match=Path(name).name):
        Bundle(bundle).engine()


def test_a_tokenizer_is_not_read_from_outside(bundle, tmp_path):
    outside = shutil.copy(bundle / "meta" / "tokenizer.json", tmp_path / "tokenizer.json")

    def point_outside(config):
        step = config["@processor@default"]["@subprocessor@fast_tokenizer"]
        step["tokenizer"], step["tokenizer_path"] = "none.json", str(outside)

    change(bundle, "process.json", point_outside)
    with pytest.raises(BundleError, match="tokenizer_path leaves the bundle"):
        Bundle(bundle).engine()


@pytest.mark.parametrize("content", ["nope", "[" * 100_000])
def test_golden_lines_that_are_no_json_are_refused(bundle, content):
    (bundle / "golden.jsonl").write_text(content)
    reseal(bundle)
    with pytest.raises(BundleError, match="golden"):
        Bundle(bundle).golden()


def test_a_line_separator_inside_of_a_text_ends_no_golden_line(bundle):
    text = "a\u2028b\x85c"
    (bundle / "golden.jsonl").write_text(json.dumps({"input": text}, ensure_ascii=False) + "\n")
    reseal(bundle)
    assert Bundle(bundle).golden() == [{"input": text}]


def spoil_needs(bundle):
    change(bundle, "bundle.json", lambda m: m["needs"][0].update(name="gone", distribution="odd"))


def spoil_config(bundle):
    def add(config):
        config["@processor@default"]["@subprocessor@fast_tokenizer"]["odd"] = 1

    change(bundle, "process.json", add)


def spoil_meta(bundle):
    (bundle / "meta" / "tokenizer.json").write_text("{}")
    reseal(bundle)


@pytest.mark.parametrize("spoil", [spoil_needs, spoil_config, spoil_meta])
@pytest.mark.parametrize("place", ["url", "zip"])
def test_what_is_wrong_is_told_by_the_place_that_was_named(bundle, tmp_path, spoil, place):
    """And not by the private folder that the bundle was brought to."""
    spoil(bundle)
    with pytest.raises(BundleError) as here:
        Bundle(bundle).engine()
    named = str(tmp_path / "bundle.zip")
    if place == "zip":
        zip_bundle(bundle, named)
    else:
        named = "memory://spoiled/bundle"
        memory = fsspec.filesystem("memory")
        if memory.exists("/spoiled"):
            memory.rm("/spoiled", recursive=True)
        memory.put(str(bundle), "/spoiled/bundle", recursive=True)
    with pytest.raises(BundleError) as there:
        Bundle(named).engine()
    assert str(there.value) == str(here.value).replace(str(bundle), named)
    assert named in str(there.value)
