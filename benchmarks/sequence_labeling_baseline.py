"""Plain scripts for what `examples/sequence_labeling` trains with dlk: names in tweets.

PyTorch, transformers and pytorch-crf only, nothing of dlk; entities are counted by seqeval. The
same splits, words, epochs, batch size, learning rates, warm-up and weight decay as the example.

    python -m benchmarks.sequence_labeling_baseline --variant crf --seed 1

The last line is one JSON object: precision, recall and F1 on the test, and the seconds of training.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from seqeval.metrics import f1_score, precision_score, recall_score
from tokenizers import Tokenizer
from torch import Tensor, nn
from torchcrf import CRF
from transformers import AutoModel

from benchmarks.plain_text import Encoding, Settings, fit
from examples.data import Row, glove, minilm, ner

VARIANTS = ("first_piece", "crf", "lstm", "lstm_crf", "words")
IGNORED = -100
PAD, UNK = 0, 1
FREQUENT = 100_000  # words of GloVe beside those of the training tweets

PIECES = Settings(epochs=6, batch=16, lr=1e-4, head_lr=1e-3, max_length=128)
WORDS = replace(PIECES, epochs=25, lr=2e-3, head_lr=2e-3)

Batch = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Example:
    """One tweet as numbers.

    Attributes:
        ids: of its pieces, or of its words.
        chars: of each word, its characters; only where words are the input.
        first: position of each word's first piece; only where pieces are.
        tags: of each word.
    """

    ids: list[int]
    chars: list[list[int]]
    first: list[int]
    tags: list[int]


def tags_of(row: Row) -> list[str]:
    """Return the BIO tag of each word."""
    starts = {start: place for place, (start, _) in enumerate(row["pretokenized_word_offsets"])}
    ends = {end: place for place, (_, end) in enumerate(row["pretokenized_word_offsets"])}
    tags = ["O"] * len(starts)
    for entity in row["entities_info"]:
        first, last = starts[entity["start"]], ends[entity["end"]]
        (label,) = entity["labels"]
        tags[first : last + 1] = [f"B-{label}", *[f"I-{label}"] * (last - first)]
    return tags


class Pieces(nn.Module):
    """The states of MiniLM at each word's first piece."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.model = AutoModel.from_pretrained(folder, add_pooling_layer=False)
        self.width: int = self.model.config.hidden_size

    def forward(self, batch: Batch) -> Tensor:
        """Return (B, W, D)."""
        states = self.model(input_ids=batch["ids"], attention_mask=batch["mask"])[0]  # (B, T, D)
        index = batch["first"].unsqueeze(-1).expand(-1, -1, states.shape[-1])
        picked: Tensor = states.gather(1, index)
        return picked


class WordsAndChars(nn.Module):
    """GloVe vectors, trained further, beside a convolution over each word's characters.

    Ma and Hovy 2016, "End-to-end Sequence Labeling via Bi-directional LSTM-CNNs-CRF", §2.
    """

    def __init__(self, vectors: Tensor, num_chars: int, *, dropout: float) -> None:
        super().__init__()
        rows, width = vectors.shape
        self.words = nn.Embedding(rows, width, padding_idx=PAD, _weight=vectors)
        self.chars = nn.Embedding(num_chars, 30, padding_idx=PAD)
        self.conv = nn.Conv1d(30, 30, 3, padding=1)
        self.dropout = nn.Dropout(dropout)
        self.width = width + 30

    def forward(self, batch: Batch) -> Tensor:
        """Return (B, W, D)."""
        chars = batch["chars"].flatten(0, 1)  # (B * W, L)
        embedded = self.dropout(self.chars(chars)).transpose(1, 2)  # (B * W, 30, L)
        padding = chars == PAD
        made = self.conv(embedded).masked_fill(padding.unsqueeze(1), -1e4).max(-1).values
        made = made.masked_fill(padding.all(-1, keepdim=True), 0.0)  # words that are padding
        shape = made.view(*batch["ids"].shape, -1)  # (B, W, 30)
        joined: Tensor = self.dropout(torch.cat([self.words(batch["ids"]), shape], -1))
        return joined


class Tagger(Encoding):
    """Vectors of words, perhaps an LSTM, scores of tags, perhaps a CRF."""

    def __init__(
        self, encoder: Pieces | WordsAndChars, tags: int, *, lstm: bool, crf: bool, dropout: float
    ) -> None:
        super().__init__()
        self.encoder = encoder
        width = encoder.width
        self.lstm = nn.LSTM(width, 128, batch_first=True, bidirectional=True) if lstm else None
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(256 if lstm else width, tags)
        self.crf = CRF(tags, batch_first=True) if crf else None

    def forward(self, batch: Batch) -> Tensor:
        """Return scores (B, W, C)."""
        states: Tensor = self.encoder(batch)
        if self.lstm is not None:
            lengths = batch["kept"].sum(1)
            packed = nn.utils.rnn.pack_padded_sequence(
                states, lengths.cpu(), batch_first=True, enforce_sorted=False
            )
            states = nn.utils.rnn.pad_packed_sequence(self.lstm(packed)[0], batch_first=True)[0]
        scores: Tensor = self.head(self.dropout(states))
        return scores

    def loss(self, batch: Batch) -> Tensor:
        """Return the mean over words, or of a CRF over tweets."""
        scores = self(batch)
        if self.crf is not None:
            tags = batch["tags"].clamp(min=0)
            likelihood: Tensor = self.crf(scores, tags, batch["kept"], reduction="mean")
            return -likelihood
        return nn.functional.cross_entropy(
            scores.flatten(0, 1), batch["tags"].flatten(), ignore_index=IGNORED
        )

    def best(self, batch: Batch) -> list[list[int]]:
        """Return the tags of each tweet's words."""
        scores = self(batch)
        if self.crf is not None:
            found: list[list[int]] = self.crf.decode(scores, batch["kept"])
            return found
        lengths = batch["kept"].sum(1).tolist()
        rows = scores.argmax(-1).tolist()
        return [row[:length] for row, length in zip(rows, lengths, strict=True)]


def collate(examples: Sequence[Example]) -> Batch:
    """Return padded tensors."""
    words = max(len(e.tags) for e in examples)
    length = max(len(e.ids) for e in examples)

    def padded(rows: Sequence[Sequence[int]], width: int, value: int = 0) -> Tensor:
        return torch.tensor([[*row, *[value] * (width - len(row))] for row in rows])

    batch = {
        "ids": padded([e.ids for e in examples], length),
        "mask": padded([[1] * len(e.ids) for e in examples], length).bool(),
        "tags": padded([e.tags for e in examples], words, IGNORED),
        "kept": padded([[1] * len(e.tags) for e in examples], words).bool(),
    }
    if examples[0].first:
        batch["first"] = padded([e.first for e in examples], words)
    else:
        longest = max(len(chars) for e in examples for chars in e.chars)
        empty = [0] * longest
        batch["chars"] = torch.stack(
            [padded([*e.chars, *[empty] * (words - len(e.chars))], longest) for e in examples]
        )
    return batch


def in_pieces(rows: Sequence[Row], tags: Sequence[str], max_length: int) -> list[Example]:
    """Return the rows as MiniLM reads them."""
    tokenizer = Tokenizer.from_file(str(minilm() / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length)
    number = {tag: place for place, tag in enumerate(tags)}
    words = [row["pretokenized_words"] for row in rows]
    found = []
    for row, encoding in zip(
        rows, tokenizer.encode_batch(words, is_pretokenized=True), strict=True
    ):
        first: dict[int, int] = {}
        for place, word in enumerate(encoding.word_ids):
            if word is not None:
                first.setdefault(word, place)
        mine = [number.get(tag, 0) for tag in tags_of(row)]
        found.append(Example(encoding.ids, [], list(first.values()), mine[: len(first)]))
    return found


def in_words(
    splits: dict[str, list[Row]], tags: Sequence[str]
) -> tuple[dict[str, list[Example]], Tensor, int]:
    """Return the splits as numbers of words and characters, GloVe's vectors, number of characters.

    The vocabulary holds the words of the training tweets and GloVe's first; a word that is not
    there is looked up in lower case.
    """
    train = splits["train"]
    folder = glove()
    known = pq.read_table(folder / "glove_6B_index.parquet").column(0).to_pylist()
    row_of = {word: place for place, word in enumerate(known)}
    table = np.load(folder / "glove_6B_50d_emb.npy", mmap_mode="r")
    words = {word for row in train for word in row["pretokenized_words"]} | set(known[:FREQUENT])
    vocabulary = {word: place for place, word in enumerate(sorted(words), start=2)}
    vectors = torch.empty(len(vocabulary) + 2, table.shape[1]).normal_(0, 0.5)
    vectors[PAD] = 0
    for word, place in vocabulary.items():
        found = row_of.get(word, row_of.get(word.lower()))
        if found is not None:
            vectors[place] = torch.from_numpy(np.array(table[found], dtype=np.float32))
    letters = sorted({c for row in train for word in row["pretokenized_words"] for c in word})
    chars = {char: place for place, char in enumerate(letters, start=2)}

    def number_of(word: str) -> int:
        return vocabulary.get(word, vocabulary.get(word.lower(), UNK))

    number = {tag: place for place, tag in enumerate(tags)}
    made = {
        name: [
            Example(
                [number_of(word) for word in row["pretokenized_words"]],
                [[chars.get(c, UNK) for c in word[:20]] for word in row["pretokenized_words"]],
                [],
                [number.get(tag, 0) for tag in tags_of(row)],
            )
            for row in rows
        ]
        for name, rows in splits.items()
    }
    return made, vectors, len(chars) + 2


def run(
    *,
    seed: int,
    variant: str = "crf",
    split: int = 0,
    epochs: int | None = None,
    lr: float | None = None,
    batch: int | None = None,
) -> dict[str, float]:
    """Train once; return precision, recall and F1 on the test, and the seconds of training."""
    torch.manual_seed(seed)
    splits = ner(split)
    settings = WORDS if variant == "words" else PIECES
    settings = replace(
        settings,
        epochs=epochs or settings.epochs,
        lr=lr or settings.lr,
        batch=batch or settings.batch,
    )
    kinds = sorted(
        {label for row in splits["train"] for e in row["entities_info"] for label in e["labels"]}
    )
    tags = ["O", *(f"{letter}-{kind}" for kind in kinds for letter in "BI")]
    encoder: Pieces | WordsAndChars
    if variant == "words":
        examples, vectors, num_chars = in_words(splits, tags)
        encoder = WordsAndChars(vectors, num_chars, dropout=0.5)
    else:
        examples = {
            name: in_pieces(rows, tags, settings.max_length) for name, rows in splits.items()
        }
        encoder = Pieces(minilm())
    model = Tagger(
        encoder,
        len(tags),
        lstm=variant in ("lstm", "lstm_crf", "words"),
        crf=variant in ("crf", "lstm_crf", "words"),
        dropout=0.5 if variant == "words" else settings.dropout,
    )

    def predicted(name: str) -> tuple[list[list[str]], list[list[str]]]:
        truth = [tags_of(row) for row in splits[name]]
        found: list[list[str]] = []
        for start in range(0, len(truth), 64):
            best = model.best(collate(examples[name][start : start + 64]))
            found += [[tags[tag] for tag in row] for row in best]
        # words cut off by max_length are answered by O
        return truth, [
            row + ["O"] * (len(true) - len(row)) for row, true in zip(found, truth, strict=True)
        ]

    seconds = fit(
        model,
        settings,
        lengths=[len(e.ids) for e in examples["train"]],
        loss_of=lambda rows: model.loss(collate([examples["train"][row] for row in rows])),
        score=lambda: float(f1_score(*predicted("valid"), zero_division=0)),
    )
    with torch.inference_mode():
        pair = predicted("test")
    return {
        "f1": float(f1_score(*pair, zero_division=0)),
        "precision": float(precision_score(*pair, zero_division=0)),
        "recall": float(recall_score(*pair, zero_division=0)),
        "f1_macro": float(f1_score(*pair, average="macro", zero_division=0)),
        "seconds": seconds,
    }


def main() -> None:
    """Read the settings, train, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--variant", choices=VARIANTS, default="crf")
    parser.add_argument("--split", type=int, default=0, help="which of the hash splits")
    parser.add_argument("--epochs", type=int, help="by default those of the example")
    parser.add_argument("--lr", type=float, help="of the encoder; by default the example's")
    parser.add_argument("--batch", type=int, help="tweets per step; by default the example's")
    print(json.dumps(run(**vars(parser.parse_args()))))


if __name__ == "__main__":
    main()
