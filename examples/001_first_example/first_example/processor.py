"""A processor of one's own: questions to the numbers of their words and pairs of words."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from dlk.config import to_dict
from dlk.context import Setup
from dlk.data.inputs import Columns, open_input
from dlk.data.meta import Meta
from dlk.data.processor.base import Online, Processor, Report
from dlk.data.store import SplitWriter
from dlk.data.vocabulary import Vocabulary
from dlk.errors import RowError
from dlk.io import atomic_dir, atomic_write
from dlk.registry import register
from first_example.configs import WordsAndPairsConfig

WORDS, LABELS = "words.json", "labels.json"


@register("processor", "words_and_pairs")
class WordsAndPairs(Processor):
    """Learns both vocabularies on the training split; the same `_ids` serves later requests."""

    config: WordsAndPairsConfig

    def fit_transform(self, data: Mapping[str, Any], out_dir: str | os.PathLike[str]) -> Report:
        splits = {name: _columns(data[name], name) for name in data}
        words = Vocabulary(pad="[PAD]", unk="[UNK]")
        labels = Vocabulary()
        train = splits["train"]
        found = Counter(token for sentence in train["sentence"] for token in tokens(sentence))
        words.add(found, min_freq=self.config.min_freq)
        labels.add(Counter(train["labels"]))
        with atomic_dir(out_dir) as aside:
            meta = Meta(aside / "meta")
            meta.put_vocabulary(WORDS, words)
            meta.put_vocabulary(LABELS, labels)
            report = _write(WordsAndPairs(self.config, Setup(meta)), splits, aside)
            with atomic_write(aside / "process.json") as file:
                json.dump(to_dict(self.config), file)
        return report

    def transform(
        self, data: Mapping[str, Any], out_dir: str | os.PathLike[str], *, stage: str
    ) -> Report:
        return _write(self, {name: _columns(data[name], name) for name in data}, out_dir)

    def online(self, columns: Mapping[str, Sequence[Any]]) -> Online:
        errors = {
            row: RowError(row, "sentence", given, "expected a text")
            for row, given in enumerate(columns["sentence"])
            if not isinstance(given, str)
        }
        good = [row for row in range(len(columns["sentence"])) if row not in errors]
        made = self.made({name: [values[at] for at in good] for name, values in columns.items()})
        return Online({**made, "_row": good}, errors)

    def made(self, columns: Mapping[str, Sequence[Any]]) -> Columns:
        """Return the given columns and the numbers made of them; labels where there are any."""
        words, labels = (self.setup.meta.vocabulary(name) for name in (WORDS, LABELS))
        made: Columns = {name: list(values) for name, values in columns.items()}
        made["_row"] = list(range(len(made["sentence"])))
        made["input_ids"] = [[words.id(t) for t in tokens(text)] for text in made["sentence"]]
        if "labels" in made:
            made["label_ids"] = [labels.id(label) for label in made["labels"]]
        return made


def tokens(sentence: str) -> list[str]:
    """Return the words of a sentence and its pairs of neighbours: what, is, what is."""
    words = ["^", *re.findall(r"\w+|\?", sentence.lower())]
    return words + [f"{first} {second}" for first, second in pairwise(words)]


def _columns(data: Any, name: str) -> Columns:
    """Return any kind of input (file, DataFrame, rows) as lists: small data, so all at once."""
    source = open_input(data, name=name)
    columns: Columns = {column: [] for column in source.column_names}
    for chunk in source.chunks(10_000):
        for column, values in chunk.items():
            columns[column] += values
    return columns


def _write(
    processor: WordsAndPairs, splits: Mapping[str, Columns], folder: str | os.PathLike[str]
) -> Report:
    report = Report()
    for name, columns in splits.items():
        with SplitWriter(os.path.join(folder, name)) as writer:  # may be a URL
            writer.write(processor.made(columns))
        report.rows[name] = report.records[name] = writer.records
        report.rejects[name] = 0
    return report
