"""Tables of vectors from files of vectors."""

from __future__ import annotations

import gzip
import tracemalloc
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from tokenizers import Tokenizer, models

from dlk.config import make
from dlk.context import Setup
from dlk.data.meta import Meta
from dlk.data.vocabulary import Vocabulary
from dlk.errors import ConfigError, DataError
from dlk.io import open_file
from dlk.nlp.subprocessor._vectors import open_vectors
from dlk.preprocess import Process
from dlk.registry import register
from dlk.testing.data import SubprocessorConformance

VECTORS = {
    "the": [0.5, -1.0, 2.0],
    "apple": [1.0, 0.0, 0.25],
    "PARIS": [0.0, 1.0, 1.0],
    "Paris": [3.0, 1.0, 1.0],
    "new york": [4.0, 4.0, 4.0],
    ". . .": [5.0, 5.5, 5.0],
    "naïve": [6.0, 6.0, 6.5],
    "a\u0085b": [7.0, 7.0, 7.0],  # a line end of Unicode inside of a word
}


def vocabulary(*words: str, **specials: str | None) -> Vocabulary:
    made = Vocabulary(**{"pad": "[PAD]", "unk": "[UNK]", **specials})
    for word in words:
        made.add({word: 1})
    return made


def write(path, vectors=VECTORS, *, header=False, end="\n"):
    """Write vectors in the format that the path's suffix names."""
    width = len(next(iter(vectors.values())))
    matrix = np.array(list(vectors.values()), dtype=np.float32)
    if path.suffix == ".parquet":
        columns = {"word": list(vectors), "vector": list(vectors.values())}
        if header:  # as many columns of numbers
            columns = {f"d{i}": matrix[:, i] for i in range(width)} | {"word": list(vectors)}
        pq.write_table(pa.table(columns), path)
    elif path.suffix in {".npy", ".safetensors"}:
        if path.suffix == ".npy":
            np.save(path, np.asfortranarray(matrix) if header else matrix)
        else:
            save_file({"vectors": torch.from_numpy(matrix)}, path)
        path.with_suffix(".txt").write_bytes("\n".join(vectors).encode())
    else:
        lines = [f"{len(vectors)} {width}{end}"] if header else []
        lines += [f"{word} {' '.join(map(repr, row))}{end}" for word, row in vectors.items()]
        packed = "".join(lines).encode()
        path.write_bytes(gzip.compress(packed) if path.suffix == ".gz" else packed)
    return str(path)


@pytest.fixture
def table(tmp_path):
    """Return a function that makes a table, and gives its rows by word with the numbers."""

    def made(path, words, *, seed=0, **values):
        meta = Meta(tmp_path / "meta")
        if isinstance(words, Vocabulary):
            meta.put_vocabulary("token_vocab.json", words)
            values["vocab"] = "token_vocab.json"
        values = {"embedding_file": str(path), "embedding_size": 3, **values}
        step = register.build(
            make("subprocessor", "token_embedding", values), Setup(meta, seed=seed)
        )
        step.fit(iter(()), meta)
        rows = np.load(meta.path("token_embedding.npy"))
        assert rows.dtype == np.float32
        numbers = meta.numbers()["token_embedding"]
        assert rows.shape == (numbers["size"], numbers["dim"])
        if isinstance(words, Vocabulary):
            assert numbers["size"] == len(meta.vocabulary("token_vocab.json"))
            return dict(zip(meta.vocabulary("token_vocab.json"), rows, strict=True)), numbers
        return rows, numbers

    return made


class TestTokenEmbedding(SubprocessorConformance):
    component = ("subprocessor", "token_embedding")
    columns: ClassVar = {}

    def values(self, folder):
        write(folder / "v.txt")
        return {
            "embedding_file": str(folder / "v.txt"),
            "embedding_size": 3,
            "vocab": "token_vocab.json",
        }

    def prepare(self, meta):
        meta.put_vocabulary("token_vocab.json", vocabulary("the"))

    def given(self, step, rows, first=0):  # it reads no column
        return {"_row": [first, first + 1]}


FORMATS = [
    ("glove.txt", {}),
    ("windows.txt", {"end": "\r\n"}),
    ("word2vec.txt", {"header": True}),
    ("fasttext.vec", {"header": True, "end": " \n"}),
    ("glove.txt.gz", {}),
    ("lists.parquet", {}),
    ("columns.parquet", {"header": True}),
    ("matrix.npy", {}),
    ("by_columns.npy", {"header": True}),
    ("matrix.safetensors", {}),
]


@pytest.mark.parametrize(("name", "how"), FORMATS, ids=[name for name, _ in FORMATS])
def test_every_format_gives_the_same_rows(tmp_path, table, name, how):
    path = write(tmp_path / name, **how)
    rows_only = name.endswith((".npy", ".safetensors"))
    words_file = str((tmp_path / name).with_suffix(".txt")) if rows_only else None
    found, numbers = table(path, vocabulary(*VECTORS), words_file=words_file)
    for word, vector in VECTORS.items():
        assert found[word].tolist() == vector, word
    assert numbers == {"size": 10, "dim": 3, "exact": 8, "by_case": 0, "missing": 1}


@pytest.mark.parametrize("name", ["lists.parquet", "columns.parquet", "m.npy", "m.safetensors"])
def test_rows_are_read_in_parts(tmp_path, table, monkeypatch, name):
    monkeypatch.setattr("dlk.nlp.subprocessor._vectors._BATCH", 3)
    path = write(tmp_path / name, header=name == "columns.parquet")
    words_file = None if name.endswith("parquet") else str((tmp_path / name).with_suffix(".txt"))
    some = ("the", "naïve", "PARIS", "a\u0085b")
    found, _ = table(path, vocabulary(*some), words_file=words_file)
    assert [found[word].tolist() for word in some] == [VECTORS[word] for word in some]


def test_words_of_a_matrix_may_stand_in_a_parquet(tmp_path, table):
    path = write(tmp_path / "m.npy")
    pq.write_table(pa.table({"index": list(VECTORS)}), tmp_path / "words.parquet")
    found, _ = table(path, vocabulary("naïve"), words_file=str(tmp_path / "words.parquet"))
    assert found["naïve"].tolist() == VECTORS["naïve"]


def test_a_word_falls_back_to_its_lower_upper_and_capital_form_in_this_order(tmp_path, table):
    path = write(tmp_path / "v.txt", {**VECTORS, "Rome": [9.0, 9.0, 9.0]})
    words = ("Apple", "APPLE", "paris", "PARIS", "the", "aPPLE", "rome")
    found, numbers = table(path, vocabulary(*words))
    assert found["rome"].tolist() == [9, 9, 9]
    assert all(found[word].tolist() == VECTORS["apple"] for word in ("Apple", "APPLE", "aPPLE"))
    assert found["paris"].tolist() == VECTORS["PARIS"]
    assert found["PARIS"].tolist() == VECTORS["PARIS"]
    assert (numbers["exact"], numbers["by_case"], numbers["missing"]) == (2, 5, 1)


def test_the_form_that_counts_does_not_depend_on_the_order_of_the_file(tmp_path, table):
    turned = dict(reversed(VECTORS.items()))
    words = vocabulary("Apple", "paris", "pARIS", "THE")
    first, _ = table(write(tmp_path / "a.txt"), words)
    second, _ = table(write(tmp_path / "b.txt", turned), words)
    assert all(np.array_equal(first[word], second[word]) for word in words)


def test_of_a_word_that_stands_twice_the_first_vector_counts(tmp_path, table):
    (tmp_path / "v.txt").write_text("a 1 1 1\na 2 2 2\nb 0 0 0\n")
    assert table(tmp_path / "v.txt", vocabulary("a"))[0]["a"].tolist() == [1, 1, 1]


@settings(deadline=None, max_examples=15)
@given(order=st.permutations(["the", "apple", "qqq", "zzz", "naïve"]))
def test_drawn_vectors_depend_on_the_word_alone(tmp_path_factory, order):
    folder = tmp_path_factory.mktemp("any")
    write(folder / "v.txt")
    rows = {}
    for name, words in (("sorted", sorted(order)), ("given", order)):
        meta = Meta(folder / name)
        meta.put_vocabulary("v.json", vocabulary(*words))
        config = {"embedding_file": str(folder / "v.txt"), "embedding_size": 3, "vocab": "v.json"}
        step = register.build(make("subprocessor", "token_embedding", config), Setup(meta))
        step.fit(iter(()), meta)
        made = np.load(meta.path("token_embedding.npy"))
        rows[name] = dict(zip(meta.vocabulary("v.json"), made, strict=True))
    assert all(np.array_equal(rows["sorted"][word], rows["given"][word]) for word in order)
    assert not np.array_equal(rows["given"]["qqq"], rows["given"]["zzz"])


def test_drawn_vectors_follow_the_spread_of_those_found(tmp_path, table):
    generator = np.random.default_rng(0)
    scales = np.array([0.1, 1.0, 10.0])
    vectors = {f"w{i}": (5.0 + generator.standard_normal(3) * scales).tolist() for i in range(400)}
    words = vocabulary(*vectors, *(f"missing{i}" for i in range(400)))
    found, numbers = table(write(tmp_path / "v.txt", vectors), words)
    drawn = np.stack([found[f"missing{i}"] for i in range(400)])
    assert numbers["missing"] == 401  # the unknown word too
    np.testing.assert_allclose(drawn.std(axis=0), scales, rtol=0.15)
    assert (abs(drawn.mean(axis=0)) < 0.2 * scales).all()


def test_the_seed_changes_what_is_drawn(tmp_path, table):
    path = write(tmp_path / "v.txt")
    first, again, other = (
        table(path, vocabulary("the", "apple", "qqq"), seed=seed)[0]["qqq"] for seed in (0, 0, 1)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_drawn_vectors_are_held_between_the_bounds_and_found_ones_are_not(tmp_path, table):
    words = vocabulary("the", "naïve", *(f"missing{i}" for i in range(50)))
    bounds = {"lower": -0.5, "upper": 0.25}
    found, _ = table(write(tmp_path / "v.txt"), words, bias_clip_range=bounds)
    drawn = np.stack([found[f"missing{i}"] for i in range(50)])
    assert (drawn.min(), drawn.max()) == (-0.5, 0.25)
    assert found["naïve"].tolist() == VECTORS["naïve"]
    found, _ = table(tmp_path / "v.txt", words, bias_clip_range={"upper": 0.25})
    assert np.stack([found[f"missing{i}"] for i in range(50)]).min() < -0.5


def test_the_row_of_padding_is_zero_even_where_the_file_has_the_word(tmp_path, table):
    vectors = {**VECTORS, "[PAD]": [9.0, 9.0, 9.0], "[UNK]": [8.0, 8.0, 8.0]}
    found, numbers = table(write(tmp_path / "v.txt", vectors), vocabulary("the"))
    assert not found["[PAD]"].any()
    assert found["[UNK]"].tolist() == [8, 8, 8]
    assert (numbers["exact"], numbers["missing"]) == (2, 0)


def test_a_tokenizer_s_tokens_get_their_rows_by_id(tmp_path, table):
    words = {"[UNK]": 0, "the": 1, "[PAD]": 2, "Apple": 3}
    path = str(tmp_path / "tokenizer.json")
    Tokenizer(models.WordLevel(words, unk_token="[UNK]")).save(path)
    rows, numbers = table(write(tmp_path / "v.txt"), None, tokenizer_path=path)
    assert rows[1].tolist() == VECTORS["the"]
    assert not rows[2].any()
    assert rows[3].tolist() == VECTORS["apple"]
    assert numbers == {"size": 4, "dim": 3, "exact": 1, "by_case": 1, "missing": 1}


@pytest.mark.parametrize(("extend", "more"), [(0, 0), (3, 2), (None, 6)])
@pytest.mark.parametrize("name", ["v.txt", "v.parquet", "v.npy"])
def test_words_from_the_file_s_start_extend_the_vocabulary(tmp_path, table, name, extend, more):
    words = vocabulary("the", "Apple", "qqq", "naïve", ignore="X")
    path = write(tmp_path / name, {**VECTORS, "X": [1.0, 1.0, 1.0]})
    words_file = str(tmp_path / "v.txt") if name == "v.npy" else None
    found, numbers = table(path, words, extend_vocab=extend, words_file=words_file)
    expected = ["apple", "PARIS", "Paris", "new york", ". . .", "a\u0085b"][:more]
    assert list(found) == [*words, *expected]  # the old ids stay
    assert all(found[word].tolist() == VECTORS[word] for word in expected)
    assert numbers["size"] == 6 + more
    assert (numbers["exact"], numbers["by_case"], numbers["missing"]) == (2, 1, 2)


def test_the_steps_of_a_processor_work_together_on_words_unseen_in_training(tmp_path):
    path = write(tmp_path / "v.txt")
    process = {
        "@processor@default": {
            "processed_data_dir": str(tmp_path / "processed"),
            "keep": ["norm_tokens"],
            "@subprocessor@pre_tokenize": {},
            "@subprocessor@token_gather": {"gather_columns": ["tokens"]},
            "@subprocessor@token_embedding": {
                "vocab": "token_vocab.json",
                "embedding_file": path,
                "embedding_size": 3,
                "extend_vocab": None,
            },
            "@subprocessor@token_norm": {"vocab": "token_vocab.json"},
            "@subprocessor@token2id": {
                "input_map": {"tokens": "norm_tokens"},
                "output_map": {"token_ids": "input_ids"},
            },
        }
    }
    done = Process(process).run({"train": [{"sentence": "The qqq"}]})
    assert done.meta["token_vocab"]["size"] == done.meta["token_embedding"]["size"] == 12
    made = Process(process, stage="online").run([{"sentence": "The Apple zzz"}]).columns
    assert made["norm_tokens"] == [["The", "apple", "zzz"]]
    rows = np.load(Meta.load(done.dir).path("token_embedding.npy"))
    the, apple, unknown = made["input_ids"][0]
    assert rows[the].tolist() == VECTORS["the"]
    assert rows[apple].tolist() == VECTORS["apple"]
    assert unknown == done.meta["token_vocab"]["unk_id"]
    static = {
        "vocab_size": 12,
        "embedding_dim": 3,
        "embedding_meta": "token_embedding.npy",
    }
    layer = register.build(make("embedding", "static", static), Setup(Meta.load(done.dir)))
    assert torch.equal(layer.embedding.weight.detach(), torch.from_numpy(rows))


@pytest.mark.parametrize("name", ["v.txt", "v.txt.gz", "v.parquet", "m.npy", "m.safetensors"])
def test_a_file_is_gone_through_once(tmp_path, table, monkeypatch, name):
    path = write(tmp_path / name)
    words_file = str((tmp_path / name).with_suffix(".txt")) if name.startswith("m.") else None
    opened, gone_through = [], []

    def opening(file, mode):
        opened.append(str(file))
        return open_file(file, mode)

    class Watched:
        def __init__(self, *args, **options):
            self.file = open_vectors(*args, **options)

        def rows(self, *args):
            gone_through.append(self.file.path)
            return self.file.rows(*args)

    monkeypatch.setattr("dlk.nlp.subprocessor._vectors.open_file", opening)
    monkeypatch.setattr("dlk.nlp.subprocessor.token_embedding.open_vectors", Watched)
    table(path, vocabulary("the", "Apple", "qqq"), words_file=words_file, extend_vocab=2)
    assert gone_through == [path]
    assert opened == [words_file or path]  # a matrix is mapped


def test_memory_is_that_of_the_rows_needed(tmp_path):
    """A file of 30 MB costs less than a tenth of that, in any format that is read in parts."""
    count, width = 20_000, 200
    row = " 0.12345" * width
    with (tmp_path / "big.txt").open("w") as handle:
        handle.writelines(f"w{i}{row}\n" for i in range(count))
    matrix = np.full((count, width), 0.25, dtype=np.float32)
    np.save(tmp_path / "big.npy", matrix)
    (tmp_path / "words.txt").write_text("\n".join(f"w{i}" for i in range(count)))
    for name in ("big.txt", "big.npy"):
        meta = Meta(tmp_path / name.replace(".", "_"))
        meta.put_vocabulary("v.json", vocabulary(*(f"w{i}" for i in range(0, count, 200))))
        config = {
            "embedding_file": str(tmp_path / name),
            "words_file": str(tmp_path / "words.txt") if name == "big.npy" else None,
            "embedding_size": width,
            "vocab": "v.json",
        }
        step = register.build(make("subprocessor", "token_embedding", config), Setup(meta))
        peaks = []
        for _ in range(
            3
        ):  # threads that other tests left are counted as well: the least is the step's
            tracemalloc.start()
            step.fit(iter(()), meta)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        assert meta.numbers()["token_embedding"]["exact"] == 100
        assert min(peaks) < 3 << 20, name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"the 1 2\n", r"v\.txt:1: .*3 numbers"),
        (b"the 1 2 x\n", r"v\.txt:1: expected a word and 3 numbers"),
        (b"a 1 2 3\nthe 1 2\n", r"v\.txt:2: expected a vector of 3 numbers .*got 2"),
        (b"the 1 2 nan\n", r"v\.txt:1: the vector holds numbers that are not finite"),
        (b"2 300\nthe 1 2 3\n", r"have 300 numbers, and embedding_size is 3"),
        (b"2 3\nthe \x00\x01\x02\x03\n", r"v\.txt:2: .*Binary files .*save them as text"),
        (b"", r"v\.txt:1: expected a vector of 3 numbers"),
        (b"b 1 2 3\n", r"v\.txt has a vector for none of the 3 words, such as .*'the'"),
    ],
)
def test_a_broken_text_file_is_named_with_the_line(tmp_path, table, text, message):
    (tmp_path / "v.txt").write_bytes(text)
    with pytest.raises(DataError, match=message):
        table(tmp_path / "v.txt", vocabulary("the"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.txt", "cannot read the vectors .*missing.txt"),
        ("missing.npy", "cannot read the vectors .*missing.npy"),
        ("missing.parquet", "cannot read the vectors .*missing.parquet"),
        ("broken.npy", "is no matrix in .npy format"),
        ("broken.parquet", "is no .parquet file"),
        ("broken.safetensors", "is no .safetensors file"),
        ("broken.gz", "is no whole .gz file|cannot read the vectors"),
        ("words.npy", "holds no numbers"),
        ("short.npy", r"is \(2, 3\); expected 8 rows"),
        ("wide.npy", r"is \(8, 4\); expected 8 rows, .* of 3 numbers"),
        ("two.safetensors", "must hold one tensor, it holds 2: a, b"),
        ("texts.parquet", "found 2 columns of texts among a, b"),
        ("nothing.parquet", "holds words and no vectors"),
        ("mixed.parquet", "expected numbers beside the words"),
    ],
)
def test_a_file_that_is_something_else_is_named(tmp_path, table, name, message):
    path = tmp_path / name
    (tmp_path / "words.txt").write_text("\n".join(VECTORS))
    if name.startswith("broken"):
        path.write_bytes(b"\x1f\x8b\x08 these are no vectors")
    np.save(tmp_path / "words.npy", np.array([["a"] * 3] * 8))
    np.save(tmp_path / "short.npy", np.zeros((2, 3)))
    np.save(tmp_path / "wide.npy", np.zeros((8, 4)))
    save_file({"a": torch.zeros(8, 3), "b": torch.zeros(8, 3)}, tmp_path / "two.safetensors")
    pq.write_table(pa.table({"a": ["x"], "b": ["y"]}), tmp_path / "texts.parquet")
    pq.write_table(pa.table({"a": ["the"]}), tmp_path / "nothing.parquet")
    mixed = {"a": ["the"], "b": [1.0], "c": [[1.0]]}
    pq.write_table(pa.table(mixed), tmp_path / "mixed.parquet")
    rows_only = name.endswith((".npy", ".safetensors"))
    with pytest.raises(DataError, match=message):
        table(
            path,
            vocabulary("the"),
            words_file=str(tmp_path / "words.txt") if rows_only else None,
        )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "vocab or tokenizer_path, got neither"),
        ({"vocab": "v.json", "tokenizer_path": "t.json"}, "got both"),
        ({"vocab": "v.json", "embedding_file": "a.npy"}, "need the words they belong to"),
        ({"vocab": "v.json", "words_file": "w.txt"}, "this format holds its words"),
        ({"tokenizer_path": "t.json", "extend_vocab": 5}, "words of a tokenizer are fixed"),
        ({"vocab": "v.json", "token_embedding": "table"}, "ending in .npy"),
        ({"vocab": "v.json", "bias_clip_range": {"lower": 1, "upper": 0}}, "lower <= upper"),
        ({"vocab": "v.json", "train_data_set": ["train", "valid"]}, "train"),
    ],
)
def test_options_that_do_not_fit_are_config_errors(values, message):
    with pytest.raises(ConfigError, match=message):
        make(
            "subprocessor",
            "token_embedding",
            {"embedding_file": "v.txt", "embedding_size": 3, **values},
        )


def test_a_vocabulary_that_is_learnt_later_is_asked_for_before(tmp_path, table):
    with pytest.raises(DataError, match=r"no v\.json yet: .*must stand before token_embedding"):
        table(write(tmp_path / "v.txt"), None, vocab="v.json")


@pytest.mark.parametrize("name", ["missing.json", "other.json"])
def test_what_is_no_tokenizer_is_named(tmp_path, table, name):
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(DataError, match=name):
        table(write(tmp_path / "v.txt"), None, tokenizer_path=str(tmp_path / name))
