"""Contents: every byte, name and text is looked at before anything of a bundle is used."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import random
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from dlk.bundle.contents import Contents
from dlk.errors import BundleError

pytestmark = pytest.mark.once


def files_of(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def refuses_each_flip(folder, places):
    """Flip bits of every file, one at a time."""
    tried = 0
    for file in files_of(folder):
        content = file.read_bytes()
        for place, bit in places(len(content)):
            spoilt = bytearray(content)
            spoilt[place] ^= 1 << bit
            file.write_bytes(spoilt)
            with pytest.raises(BundleError):
                Contents(folder)
            tried += 1
        file.write_bytes(content)
    Contents(folder)
    return tried


def test_every_flipped_byte_of_every_file_is_refused(tiny):
    rng = random.Random(0)
    size = sum(file.stat().st_size for file in files_of(tiny))
    assert refuses_each_flip(tiny, lambda n: [(k, rng.randrange(8)) for k in range(n)]) == size


@pytest.mark.slow
def test_every_flipped_bit_of_every_file_is_refused(tiny):
    refuses_each_flip(tiny, lambda size: itertools.product(range(size), range(8)))


@pytest.mark.slow
def test_every_flipped_byte_of_a_real_bundle_is_refused(small):
    rng = random.Random(0)
    refuses_each_flip(small, lambda size: [(k, rng.randrange(8)) for k in range(size)])


def test_every_cut_is_refused(tiny):
    for file in files_of(tiny):
        content = file.read_bytes()
        for length in sorted({0, 1, len(content) // 2, len(content) - 1}):
            file.write_bytes(content[:length])
            with pytest.raises(BundleError):
                Contents(tiny)
        file.write_bytes(content + b"\n")
        with pytest.raises(BundleError):
            Contents(tiny)
        file.write_bytes(content)
    Contents(tiny)


def test_every_pair_of_swapped_files_is_refused(tiny):
    for one, other in itertools.combinations(files_of(tiny), 2):
        first, second = one.read_bytes(), other.read_bytes()
        if first == second:
            continue
        one.write_bytes(second)
        other.write_bytes(first)
        with pytest.raises(BundleError):
            Contents(tiny)
        one.write_bytes(first)
        other.write_bytes(second)


def test_every_renamed_file_is_refused(tiny):
    for file in files_of(tiny):
        file.rename(file.with_name("other.json"))
        with pytest.raises(BundleError):
            Contents(tiny)
        file.with_name("other.json").rename(file)
    Contents(tiny)


def test_no_torch_and_no_plugin_is_imported(kept):
    code = (
        "import sys\nfrom dlk.bundle.contents import Contents\n"
        "Contents(sys.argv[1])\n"
        "print([n for n in ('torch', 'numpy', 'pyarrow', 'safetensors', 'dlk.components', 'intc')"
        " if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(kept)], capture_output=True, text=True, timeout=120
    )
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../outside", "leaves the bundle"),
        ("meta/../../outside", "leaves the bundle"),
        ("/etc/hostname", "leaves the bundle"),
        ("C:/outside", "leaves the bundle"),
        ("C:outside", "leaves the bundle"),
        ("\\\\host\\share", "leaves the bundle"),
        ("meta\\..\\x", "leaves the bundle"),
        ("a\0b", "leaves the bundle"),
        ("meta//x", "empty"),
        ("./x", "empty"),
        ("meta/x.", "dot"),
        (" x", "space"),
        ("xy:stream", "':'"),
        ("meta/con.json", "device"),
        ("NUL", "device"),
        ("e\u0301", "NFC"),
        ("a\u202eb", r"\\u202e"),
        ("a\nb", r"\\n"),
        ("a/" * 16 + "a", "parts"),
        ("a" * 2000, "1024 characters"),
        ("weights.pt", "pickle"),
        ("meta/vocab.PKL", "pickle"),
        ("assets/pytorch_model.bin", "pickle"),
        ("lib.so", "program"),
        ("more.zip", "archive"),
        ("meta/x.py", "code"),
    ],
)
def test_a_name_that_is_unsafe_somewhere_is_refused(tiny, seal, name, reason):
    manifest = json.loads((tiny / "bundle.json").read_text())
    from dlk.bundle import schema

    manifest["digests"][name] = "1" * 64
    (tiny / "bundle.json").write_text(schema.manifest_text(manifest))
    with pytest.raises(BundleError, match=reason):
        Contents(tiny)


def test_half_a_character_in_a_name_is_refused(tiny):
    """JSON can say it, and no file system can."""
    from dlk.bundle import schema

    manifest = json.loads((tiny / "bundle.json").read_text())
    manifest["digests"]["HALF"] = "1" * 64
    text = schema.manifest_text(manifest).replace("HALF", r"\ud800")
    text = text.replace(json.loads(text)["digest"], "0" * 64)
    text = text.replace("0" * 64, hashlib.sha256(text.encode()).hexdigest())
    (tiny / "bundle.json").write_text(text)
    with pytest.raises(BundleError, match=r"may not hold: '\\ud800'"):
        Contents(tiny)


@pytest.mark.parametrize(
    "names",
    [("assets/A.json", "assets/a.json"), ("assets/x", "ASSETS/y"), ("BUNDLE.json",), ("x", "x/y")],
)
def test_names_that_are_one_file_elsewhere_are_refused(tiny, names):
    from dlk.bundle import schema

    manifest = json.loads((tiny / "bundle.json").read_text())
    manifest["digests"].update(dict.fromkeys(names, "1" * 64))
    (tiny / "bundle.json").write_text(schema.manifest_text(manifest))
    with pytest.raises(BundleError, match="one file on some systems"):
        Contents(tiny)


@pytest.mark.parametrize("kind", ["link", "folder link", "dangling link", "pipe", "socket"])
def test_what_is_no_plain_file_is_refused_and_not_opened(tiny, seal, kind, tmp_path, monkeypatch):
    target = tiny / "meta" / "x"
    if kind == "link":
        target.symlink_to("meta.json")
    elif kind == "folder link":
        target.symlink_to(tmp_path)
    elif kind == "dangling link":
        target.symlink_to("nowhere")
    elif kind == "pipe":
        os.mkfifo(target)
    else:
        monkeypatch.chdir(target.parent)  # the names of sockets are short
        with socket.socket(socket.AF_UNIX) as made:
            made.bind("x")
    manifest = json.loads((tiny / "bundle.json").read_text())
    from dlk.bundle import schema

    manifest["digests"]["meta/x"] = manifest["digests"]["meta/meta.json"]
    (tiny / "bundle.json").write_text(schema.manifest_text(manifest))
    with pytest.raises(BundleError, match=r"meta/x is (a link: it leaves|no plain file)"):
        Contents(tiny)


def test_a_second_hard_link_is_a_plain_file(tiny, tmp_path):
    """Installers and backups make them; what is read is digested whatever its names are."""
    os.link(tiny / "fit.json", tmp_path / "second")
    Contents(tiny)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_pickle_under_any_name_is_refused(tiny, seal, protocol):
    import pickle

    (tiny / "meta" / "vocab.json").write_bytes(pickle.dumps({"a": [1]}, protocol=protocol))
    seal(tiny)
    with pytest.raises(BundleError, match=r"meta/vocab\.json is a pickle"):
        Contents(tiny)


def test_a_pickle_in_place_of_the_weights_is_refused(tiny, seal):
    import torch

    torch.save({"w": torch.zeros(2)}, tiny / "model.safetensors")
    seal(tiny)
    with pytest.raises(BundleError, match=r"model\.safetensors is damaged"):
        Contents(tiny)


def test_what_torch_saved_under_another_name_is_refused(tiny, seal):
    import torch

    torch.save({"w": torch.zeros(2)}, tiny / "meta" / "table")
    seal(tiny)
    with pytest.raises(BundleError, match="meta/table is an archive"):
        Contents(tiny)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"a": NaN}', "NaN is no number"),
        ('{"a": -Infinity}', "Infinity is no number"),
        ('{"a": 1e999}', "1e999 is too large"),
        ('{"a": 1' + "0" * 5000 + "}", "digits"),
        ('{"a": 1, "a": 2}', '"a" stands twice'),
        ('{"a": ' + "[" * 200 + "]" * 200 + "}", "100 deep"),
        ("[" * 1_000_000, "deep"),
        ('{"a": "@lambda _: 1"}', "a: an expression"),
        ('{"a": {"_search": {}}}', '"_search" is not allowed'),
        ('{"a": [{"_base": "x"}]}', '"_base" is not allowed'),
        ("{} {}", "Extra data"),
        ("\ufeff{}", "BOM"),
    ],
)
@pytest.mark.parametrize("name", ["process.json", "fit.json"])
def test_a_config_that_is_not_plain_is_refused(tiny, seal, name, text, reason):
    (tiny / name).write_text(text)
    seal(tiny)
    with pytest.raises(BundleError, match=reason):
        Contents(tiny)


def test_a_text_that_is_too_large_is_not_read(tiny, seal, monkeypatch):
    from dlk.bundle import schema

    (tiny / "golden.jsonl").write_text('{"input": "' + "x" * 5000 + '"}\n')
    seal(tiny)
    monkeypatch.setattr(schema, "MAX_TEXT", 4000)
    with pytest.raises(BundleError, match=r"golden\.jsonl has 5014 bytes, at most 4000 are read"):
        Contents(tiny)


def test_many_golden_rows_are_refused(tiny, seal):
    (tiny / "golden.jsonl").write_text("{}\n" * 1001)
    seal(tiny)
    with pytest.raises(BundleError, match="1001 rows, at most 1000"):
        Contents(tiny)


def test_many_files_are_refused_before_any_is_read(tiny, monkeypatch):
    from dlk.bundle import contents

    monkeypatch.setattr(contents, "MAX_FILES", 6)
    (tiny / "meta" / "more").mkdir()
    with pytest.raises(BundleError, match="more than 6 files and folders"):
        Contents(tiny)


def test_folders_that_stand_too_deep_are_refused(tiny):
    (tiny / "/".join("a" * 20)).mkdir(parents=True)
    with pytest.raises(BundleError, match="deep"):
        Contents(tiny)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("digests", []),
        ("metrics", [1]),
        ("prediction", "x"),
        ("distributions", []),
        ("environment", 3),
        ("tolerance", "x"),
        ("tolerance", -1),
        ("tolerance", True),
        ("task", ["x"]),
        ("needs", [{"type": "loss", "name": "x", "version": 3}]),
        ("inputs", [{"name": "x", "type": []}]),
    ],
)
def test_a_field_of_another_form_is_refused(tiny, seal, field, value):
    from dlk.bundle import schema

    manifest = json.loads((tiny / "bundle.json").read_text())
    (tiny / "bundle.json").write_text(schema.manifest_text({**manifest, field: value}))
    with pytest.raises(BundleError, match=field):
        Contents(tiny)


def test_a_file_that_is_replaced_after_it_was_digested_is_noticed(tiny):
    contents = Contents(tiny)
    contents.check_unchanged()
    same = (tiny / "meta" / "meta.json").read_bytes()
    (tiny / "new").write_bytes(same)
    os.replace(tiny / "new", tiny / "meta" / "meta.json")
    with pytest.raises(BundleError, match=r"meta/meta\.json was changed while it was loaded"):
        contents.check_unchanged()


def test_a_file_that_goes_after_it_was_digested_is_noticed(tiny):
    contents = Contents(tiny)
    (tiny / "meta" / "meta.json").unlink()
    with pytest.raises(BundleError, match="has gone"):
        contents.check_unchanged()


def test_the_texts_that_were_digested_are_those_that_are_used(tiny):
    contents = Contents(tiny)
    (tiny / "fit.json").write_text('{"@fit": {"other": 1}}')
    assert contents.fit == {"@fit": {}}


def test_a_foreign_file_is_told_from_a_bundle(tmp_path):
    file = tmp_path / "x"
    file.write_text("hello")
    with pytest.raises(BundleError, match="no zip"):
        Contents(file)
    with pytest.raises(BundleError, match="expected a folder with"):
        Contents("memory://nothing/here")


def test_a_manifest_named_in_place_of_its_folder_is_told(tiny):
    with pytest.raises(BundleError, match=f"name its folder, {tiny}"):
        Contents(tiny / "bundle.json")


def test_sizes_and_weights_are_told(tiny):
    contents = Contents(tiny)
    assert contents.sizes["process.json"] == 2
    assert contents.tensors.shapes == {"w": (2,)}
    assert contents.tensors.numbers == 2


def test_a_folder_is_left_as_it_was(tiny, tmp_path):
    before = shutil.copytree(tiny, tmp_path / "copy")
    Contents(tiny)
    names = [path.relative_to(tiny) for path in files_of(tiny)]
    assert names == [path.relative_to(before) for path in files_of(Path(before))]
