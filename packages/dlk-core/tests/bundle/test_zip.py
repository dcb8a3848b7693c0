"""Zips: one file in, one folder out, and nothing of a hostile one is ever written."""

from __future__ import annotations

import gc
import os
import random
import shutil
import stat
import struct
import time
import zipfile
from pathlib import Path

import pytest

from dlk.bundle import Bundle
from dlk.bundle import _zip as zips
from dlk.bundle.contents import Contents
from dlk.bundle.pack import zip_bundle
from dlk.errors import BundleError
from dlk.predict import Predict
from dlk.server import Server

pytestmark = pytest.mark.once


@pytest.fixture
def packed(tiny, tmp_path):
    zip_bundle(tiny, tmp_path / "tiny.zip")
    return tmp_path / "tiny.zip"


@pytest.fixture
def aside(tmp_path, monkeypatch):
    """Where zips are unpacked to in this test."""
    folder = tmp_path / "aside"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def content_of(contents):
    return {name: (contents.folder / name).read_bytes() for name in contents.sizes}


def again(path, edit=lambda entry, data: (entry, data), *, more=(), compress=zipfile.ZIP_STORED):
    """Write a zip anew, each entry changed by `edit`, and further ones."""
    with zipfile.ZipFile(path) as old:
        entries = [(zipfile.ZipInfo(e.filename), old.read(e)) for e in old.infolist()]
    with zipfile.ZipFile(path, "w", compress) as new:
        for entry, data in [*(edit(*each) for each in entries), *more]:
            entry.compress_type = compress
            new.writestr(entry, data)


def refused(path, reason, aside=None):
    with pytest.raises(BundleError, match=reason):
        Contents(path)
    if aside is not None:
        gc.collect()
        assert list(aside.iterdir()) == []


def test_a_zip_holds_what_the_folder_holds(tiny, packed):
    assert content_of(Contents(packed)) == content_of(Contents(tiny))


def test_equal_bundles_make_equal_zips_whatever_their_times_and_rights(tiny, packed, tmp_path):
    other = Path(shutil.copytree(tiny, tmp_path / "other"))
    for file in other.rglob("*"):
        os.utime(file, (1e9, 1e9))
        os.chmod(file, 0o755)
    zip_bundle(other, tmp_path / "other.zip")
    assert (tmp_path / "other.zip").read_bytes() == packed.read_bytes()
    zip_bundle(packed, tmp_path / "third.zip")
    assert (tmp_path / "third.zip").read_bytes() == packed.read_bytes()


def test_bundle_server_and_predict_open_a_zip(kept, tmp_path, aside):
    zip_bundle(kept, tmp_path / "kept.zip")
    bundle = Bundle(tmp_path / "kept.zip")
    rows = [each["input"] for each in bundle.golden()]
    expected = [each["prediction"] for each in bundle.golden()]
    del bundle
    predict = Predict(tmp_path / "kept.zip")
    for answers in (Server(tmp_path / "kept.zip").fit(rows), predict.run(rows)):
        for answer, old in zip(answers, expected, strict=True):
            assert answer["logits"] == pytest.approx(old["logits"], abs=1e-5)
    del predict
    gc.collect()
    assert list(aside.iterdir()) == []


def test_the_folder_of_a_zip_is_private_and_stays_as_long_as_an_engine(kept, tmp_path, aside):
    zip_bundle(kept, tmp_path / "kept.zip")
    engine = Bundle(tmp_path / "kept.zip").engine()
    gc.collect()
    (folder,) = aside.iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    del engine
    gc.collect()
    assert list(aside.iterdir()) == []


def test_a_zip_of_another_tool_is_read(packed, tiny):
    """Deflated, with times, rights and entries of folders."""
    more = [(zipfile.ZipInfo("meta/"), b"")]
    again(packed, more=more, compress=zipfile.ZIP_DEFLATED)
    assert content_of(Contents(packed)) == content_of(Contents(tiny))


def test_a_zip_of_the_folder_itself_says_what_to_do(packed):
    def below(entry, data):
        entry.filename = f"tiny/{entry.filename}"
        return entry, data

    again(packed, below)
    refused(packed, r"no bundle\.json at its top, but one in tiny: zip what is in it")


def test_every_flipped_byte_of_a_zip_is_refused_or_changes_nothing(packed, aside):
    """Times and rights in a zip are of no meaning here; all else is."""
    expected = content_of(Contents(packed))
    content = packed.read_bytes()
    rng = random.Random(0)
    harmless = 0
    for place in rng.sample(range(len(content)), 500):
        spoilt = bytearray(content)
        spoilt[place] ^= 1 << rng.randrange(8)
        packed.write_bytes(spoilt)
        try:
            assert content_of(Contents(packed)) == expected
            harmless += 1
        except BundleError:
            pass
    assert harmless < 200
    gc.collect()
    assert list(aside.iterdir()) == []


def test_every_cut_of_a_zip_is_refused(packed):
    content = packed.read_bytes()
    for length in range(0, len(content), 37):
        packed.write_bytes(content[:length])
        refused(packed, "damaged|no zip")
    packed.write_bytes(content + b"more")
    refused(packed, "damaged")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../outside", "leaves the bundle"),
        ("/outside", "leaves the bundle"),
        ("..\\outside", "leaves the bundle"),
        ("C:/outside", "leaves the bundle"),
        ("meta/../../outside", "leaves the bundle"),
        ("META/META.json", "one file on some systems"),
        ("evil.pkl", "pickle"),
        ("inner.zip", "archive"),
        ("../", "leaves the bundle"),
    ],
)
def test_an_entry_that_leaves_is_refused_before_anything_is_written(packed, aside, name, reason):
    again(packed, more=[(zipfile.ZipInfo(name), b"" if name.endswith("/") else b"x")])
    refused(packed, reason, aside)
    assert not (aside.parent / "outside").exists()


def test_a_name_with_a_zero_byte_is_refused(packed, aside):
    again(packed, more=[(zipfile.ZipInfo("zero_.json"), b"x")])
    packed.write_bytes(packed.read_bytes().replace(b"zero_", b"zero\0"))
    refused(packed, "leaves the bundle", aside)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK])
def test_a_link_or_device_in_a_zip_is_refused(packed, aside, kind):
    entry = zipfile.ZipInfo("meta/link.json")
    entry.create_system, entry.external_attr = 3, (kind | 0o777) << 16
    again(packed, more=[(entry, b"/etc/passwd")])
    refused(packed, "is a link or device", aside)


def test_a_name_that_stands_twice_is_refused(packed, aside):
    with pytest.warns(UserWarning, match="Duplicate name"):
        again(packed, more=[(zipfile.ZipInfo("fit.json"), b"{}")])
    refused(packed, r"holds fit\.json twice", aside)


def test_a_bomb_is_refused_before_it_is_unpacked(packed, aside):
    zeros = (zipfile.ZipInfo("meta/zeros.json"), bytes(50_000_000))
    again(packed, more=[zeros], compress=zipfile.ZIP_DEFLATED)
    started = time.process_time()
    refused(packed, r"zeros\.json would unpack from \d+ bytes to 50000000: a zip bomb", aside)
    assert time.process_time() - started < 1


def test_a_bomb_that_lies_about_its_size_is_refused(packed, aside):
    zeros = (zipfile.ZipInfo("meta/zeros.json"), bytes(5_000_000))
    again(packed, more=[zeros], compress=zipfile.ZIP_DEFLATED)
    content = packed.read_bytes()
    assert content.count(struct.pack("<I", 5_000_000)) == 2
    packed.write_bytes(content.replace(struct.pack("<I", 5_000_000), struct.pack("<I", 50_000)))
    refused(packed, "damaged")
    gc.collect()
    assert list(aside.iterdir()) == []


def test_entries_that_share_bytes_are_refused(packed, aside):
    """As in the bomb of D. Fifield, 2019: many names for the same compressed bytes."""
    with zipfile.ZipFile(packed) as archive:
        entries = archive.infolist()
        archive.fp.seek(0)
        head = archive.fp.read(archive.start_dir)
    copy = zipfile.ZipInfo("meta/copy.json")
    with zipfile.ZipFile(packed, "w") as archive:
        archive.fp.write(head)
        archive.start_dir = len(head)
        first = next(entry for entry in entries if entry.filename == "meta/meta.json")
        copy.header_offset, copy.CRC = first.header_offset, first.CRC
        copy.file_size = copy.compress_size = first.file_size
        archive.filelist += [*entries, copy]
        archive._didModify = True
    refused(packed, "two headers that differ|overlap", aside)


def test_two_headers_that_disagree_are_refused(packed, aside):
    content = packed.read_bytes()
    at = content.rindex(b"fit.json")
    packed.write_bytes(content[:at] + b"fit.jsoN" + content[at + 8 :])
    refused(packed, r"fit\.jsoN has two headers that differ", aside)


def test_an_encrypted_entry_is_refused(packed, aside):
    content = bytearray(packed.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    packed.write_bytes(content)
    refused(packed, "is encrypted", aside)


def test_an_unknown_compression_is_refused(packed, aside):
    again(packed, compress=zipfile.ZIP_BZIP2)
    refused(packed, "compressed otherwise", aside)


def test_a_second_name_in_an_extra_field_is_refused(packed, aside, monkeypatch):
    """Newer zipfile takes the name from there; one of both names was then not looked at."""
    entry = zipfile.ZipInfo("meta/x.json")
    monkeypatch.setattr(entry, "filename", "meta/y.json")
    assert zips._wrong_with(entry, is_folder=False).endswith("is not its only one")


def test_many_entries_are_refused(packed, aside, monkeypatch):
    monkeypatch.setattr(zips, "MAX_FILES", 5)
    refused(packed, "holds 6 files, a bundle at most 5", aside)


def test_a_large_table_of_contents_is_not_read(packed, aside, monkeypatch):
    monkeypatch.setattr(zips, "_MAX_DIRECTORY", 100)
    refused(packed, "table of contents has", aside)


def test_a_zip_for_which_there_is_no_room_is_refused(packed, aside, monkeypatch):
    usage = shutil.disk_usage(aside)._replace(free=10)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    refused(packed, "has room for 10: unpack it where", aside)


def test_a_program_in_front_of_a_zip_is_refused(packed, aside):
    packed.write_bytes(b"PK\x03\x04#!/bin/sh\n" + packed.read_bytes())
    refused(packed, "in front of its first file|damaged", aside)


def test_nothing_is_left_where_the_bundle_is_damaged(packed, aside):
    again(packed, more=[(zipfile.ZipInfo("extra.json"), b"{}")])
    refused(packed, r"extra\.json is not listed", aside)


def test_a_zip_that_cannot_be_written_leaves_the_old_one(tiny, packed, monkeypatch):
    from dlk.bundle import pack

    before = packed.read_bytes()

    def stop(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pack, "write_zip", stop)
    with pytest.raises(OSError, match="No space"):
        zip_bundle(tiny, packed)
    assert packed.read_bytes() == before
    assert {path.name for path in packed.parent.iterdir()} == {"tiny", "tiny.zip"}
