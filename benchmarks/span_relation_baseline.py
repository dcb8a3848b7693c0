"""A plain PyTorch script for what `examples/span_relation_extraction` trains with dlk.

Same split, words, characters, sizes, epochs, batch size, learning rate, warm-up and weight decay;
nothing of dlk.

    python -m benchmarks.span_relation_baseline --seed 1

The last line is one JSON object: F1 of entities and of relations (end to end, and for given
entities) on the test, and the seconds of training.
"""

from __future__ import annotations

import argparse
import json
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from tokenizers.pre_tokenizers import BertPreTokenizer
from torch import Tensor, nn

from benchmarks.plain_biaffine import Biaffine, Span, f1_of, flat_spans, padded
from benchmarks.plain_text import Encoding, Settings, fit
from examples.data import Row, turkish

IGNORED, PAD, UNK = -100, 0, 1
SETTINGS = Settings(epochs=12, batch=16, lr=2e-3, head_lr=2e-3, warmup=0.05)
DROPOUT = 0.33

Relation = tuple[int, int, int]
"""Place of the entity it is from, of that it is to, and type."""


@dataclass(frozen=True, slots=True)
class Example:
    """One sentence as numbers."""

    words: list[int]
    chars: list[list[int]]
    spans: list[Span]
    relations: list[Relation]


class Encoder(nn.Module):
    """Vectors of words and of their characters, and an LSTM of two layers."""

    def __init__(self, words: int, chars: int) -> None:
        super().__init__()
        self.words = nn.Embedding(words, 100, padding_idx=PAD)
        self.chars = nn.Embedding(chars, 50, padding_idx=PAD)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(50, 50, size, padding=size // 2) for size in (3, 5)
        )
        self.dropout = nn.Dropout(DROPOUT)
        self.lstm = nn.LSTM(
            200, 200, num_layers=2, dropout=DROPOUT, batch_first=True, bidirectional=True
        )

    def forward(self, rows: Sequence[Example]) -> Tensor:
        """Return (B, L, 400)."""
        words = padded([row.words for row in rows])  # (B, L)
        longest = max((len(chars) for row in rows for chars in row.chars), default=1)
        chars = torch.zeros(*words.shape, longest, dtype=torch.long)
        for number, row in enumerate(rows):
            for place, ids in enumerate(row.chars):
                chars[number, place, : len(ids)] = torch.tensor(ids)
        flat = chars.flatten(0, 1)  # (B * L, C)
        embedded = self.chars(flat).transpose(1, 2)  # (B * L, 50, C)
        made = torch.cat([convolution(embedded) for convolution in self.convolutions], 1)
        made = made.masked_fill((flat == PAD).unsqueeze(1), -1e4).max(-1).values.relu()
        vectors = torch.cat([self.words(words), made.view(*words.shape, -1)], -1)
        lengths = torch.tensor([len(row.words) for row in rows])
        packed = nn.utils.rnn.pack_padded_sequence(
            self.dropout(vectors), lengths, batch_first=True, enforce_sorted=False
        )
        states, _ = nn.utils.rnn.pad_packed_sequence(self.lstm(packed)[0], batch_first=True)
        dropped: Tensor = self.dropout(states)
        return dropped


class Joint(Encoding):
    """One encoder; scores of spans, and of pairs of first and of last words."""

    def __init__(self, words: int, chars: int, kinds: int, types: int) -> None:
        super().__init__()
        self.encoder = Encoder(words, chars)
        self.types = types
        self.entity = Biaffine(400, 64, kinds, dropout=DROPOUT, rotary=True)
        self.relation = Biaffine(400, 100, 2 * types, dropout=DROPOUT, rotary=True)

    def forward(self, rows: Sequence[Example]) -> tuple[Tensor, Tensor]:
        """Return (B, L, L, E) and (B, L, L, 2, R)."""
        states = self.encoder(rows)
        return self.entity(states), self.relation(states).unflatten(-1, (2, self.types))

    def loss(self, rows: Sequence[Example]) -> Tensor:
        """Return the sum of both means."""
        entity, relation = self(rows)
        of_spans = torch.full(entity.shape[:3], IGNORED)
        of_pairs = torch.full(relation.shape[:4], IGNORED)
        for number, row in enumerate(rows):
            length = len(row.words)
            inside = torch.triu(torch.ones(length, length, dtype=torch.bool))
            of_spans[number, :length, :length][inside] = 0
            of_pairs[number, :length, :length] = 0
            for first, last, kind in row.spans:
                of_spans[number, first, last] = kind
            for source, target, type_ in row.relations:
                for side in (0, 1):
                    cell = row.spans[source][side], row.spans[target][side]
                    of_pairs[number, cell[0], cell[1], side] = type_
        return nn.functional.cross_entropy(
            entity.flatten(0, 2), of_spans.flatten()
        ) + nn.functional.cross_entropy(relation.flatten(0, 3), of_pairs.flatten())


def relations_among(scores: Tensor, spans: Sequence[Span]) -> list[tuple[Span, Span, int]]:
    """Return the relations on whose type heads and tails (L, L, 2, R) agree."""
    best = scores.argmax(-1)
    found = []
    for one in spans:
        for other in spans:
            head, tail = int(best[one[0], other[0], 0]), int(best[one[1], other[1], 1])
            if head == tail != 0:
                found.append((one, other, head))
    return found


def numbers(counts: Iterable[str], *, least: int = 1) -> dict[str, int]:
    """Return a number from 2 up for each thing that is there often enough."""
    known = sorted(thing for thing, count in Counter(counts).items() if count >= least)
    return {thing: place for place, thing in enumerate(known, start=2)}


def split_words(sentence: str) -> list[tuple[str, tuple[int, int]]]:
    """Return words and punctuation with their places."""
    found: list[tuple[str, tuple[int, int]]] = BertPreTokenizer().pre_tokenize_str(sentence)
    return found


def encoded(
    rows: Sequence[Row],
    words: dict[str, int],
    chars: dict[str, int],
    kinds: dict[str, int],
    types: dict[str, int],
) -> list[Example]:
    """Return the rows as the model reads them; kinds and types are counted from 1."""
    found = []
    for row in rows:
        pieces = split_words(row["sentence"])
        # two sentences in a thousand glue two words of the treebank: both are then the whole word
        starts = [start for _, (start, _) in pieces]
        spans = [
            (
                bisect_right(starts, e["start"]) - 1,
                bisect_left(starts, e["end"]) - 1,
                kinds.get(e["labels"][0], 1) - 1,
            )
            for e in row["entities_info"]
        ]
        relations = [
            (r["from"], r["to"], types.get(r["labels"][0], 1) - 1) for r in row["relations_info"]
        ]
        found.append(
            Example(
                [words.get(word, UNK) for word, _ in pieces],
                [[chars.get(char, UNK) for char in word[:20]] for word, _ in pieces],
                spans,
                relations,
            )
        )
    return found


def truth_of(row: Example) -> list[tuple[Span, Span, int]]:
    """Return the true relations, with the entities they are between."""
    return [
        (row.spans[source], row.spans[target], type_) for source, target, type_ in row.relations
    ]


def run(*, seed: int, split: int = 0, epochs: int | None = None) -> dict[str, float]:
    """Train once; return F1 of entities and relations, and the seconds of training."""
    torch.manual_seed(seed)
    settings = replace(SETTINGS, epochs=epochs or SETTINGS.epochs)
    splits = turkish(split)
    train = splits["train"]
    texts = [word for row in train for word, _ in split_words(row["sentence"])]
    words = numbers(texts, least=2)
    chars = numbers(char for word in texts for char in word)
    kinds = numbers(label for row in train for e in row["entities_info"] for label in e["labels"])
    types = numbers(label for row in train for r in row["relations_info"] for label in r["labels"])
    examples = {name: encoded(rows, words, chars, kinds, types) for name, rows in splits.items()}
    model = Joint(len(words) + 2, len(chars) + 2, len(kinds) + 1, len(types) + 1)

    def scores_of(name: str) -> dict[str, float]:
        rows = examples[name]
        entities: list[list[Span]] = []
        joint: list[list[tuple[Span, Span, int]]] = []
        given: list[list[tuple[Span, Span, int]]] = []
        for start in range(0, len(rows), 32):
            some = rows[start : start + 32]
            for row, entity, relation in zip(some, *model(some), strict=True):
                entities.append(flat_spans(entity, len(row.words)))
                joint.append(relations_among(relation, entities[-1]))
                given.append(relations_among(relation, row.spans))
        truth = [truth_of(row) for row in rows]
        return {
            "rel_f1": f1_of(truth, joint),
            "rel_given_f1": f1_of(truth, given),
            "ent_f1": f1_of([row.spans for row in rows], entities),
        }

    seconds = fit(
        model,
        settings,
        lengths=[len(e.words) for e in examples["train"]],
        loss_of=lambda chosen: model.loss([examples["train"][number] for number in chosen]),
        score=lambda: scores_of("valid")["rel_f1"],
    )
    with torch.inference_mode():
        return {**scores_of("test"), "seconds": seconds}


def main() -> None:
    """Read the settings, train, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--split", type=int, default=0, help="which of the hash splits")
    parser.add_argument("--epochs", type=int, help="by default those of the example")
    print(json.dumps(run(**vars(parser.parse_args()))))


if __name__ == "__main__":
    main()
