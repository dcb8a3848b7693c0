"""A vocabulary.

Words and their ids, in an order that depends on the counts alone. Imports no numpy.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from dlk.errors import DataError, did_you_mean
from dlk.io import atomic_write, open_file

__all__ = ["UnknownWordError", "Vocabulary"]

_SCHEMA = "dlk.vocabulary/1"
IGNORE_ID = -100  # what torch's losses ignore by default


class UnknownWordError(KeyError):
    """A word that is not in a vocabulary without an unknown word.

    `reason` names the nearest words.
    """

    def __init__(self, word: str, known: Iterable[str]) -> None:
        self.word = word
        self.reason = f"{word!r} is not in the vocabulary. {did_you_mean(word, known)}".rstrip()
        super().__init__(self.reason)

    def __str__(self) -> str:  # a KeyError shows the repr of its argument
        return self.reason


class Vocabulary:
    """Words with ids from 0: first the special words, then the others by count (falling) and text.

    A vocabulary that grows keeps the ids it gave; new words come after the old ones in the same
    order. Words are taken as they are: nothing is stripped or folded. Numbers and booleans stand as
    their text.

    Args:
        pad: word that fills up short rows; None or empty: there is none.
        unk: word that stands for unknown ones; None or empty: looking one up is an error.
        ignore: word whose id is -100, which losses ignore; it takes no place among the ids.
    """

    def __init__(
        self, *, pad: str | None = None, unk: str | None = None, ignore: str | None = None
    ) -> None:
        self.pad = pad or None
        self.unk = unk or None
        self.ignore = ignore or None
        self._words: list[str] = []
        self._counts: list[int] = []
        self._ids: dict[str, int] = {}
        for special in (self.pad, self.unk):
            if special is not None and special not in self._ids:
                self._append(special, 0)
        if self.ignore is not None:
            if self.ignore in self._ids:
                raise DataError(
                    f"{self.ignore!r} cannot be ignored and be the pad or unknown word too"
                )
            self._ids[self.ignore] = IGNORE_ID

    def _append(self, word: str, count: int) -> None:
        self._ids[word] = len(self._words)
        self._words.append(word)
        self._counts.append(count)

    def add(self, counts: Mapping[str, int], *, min_freq: int = 1, most_common: int = -1) -> None:
        """Count words, and append those that are new.

        Args:
            counts: how often each word was seen.
            min_freq: new words seen less often are left out.
            most_common: largest number of words beside the special ones; -1: no limit.
        """
        new: list[tuple[str, int]] = []
        for word, count in counts.items():
            known = self._ids.get(word)
            if known is None:
                if count >= min_freq:
                    new.append((word, count))
            elif known >= 0:
                self._counts[known] += count
        new.sort(key=lambda item: (-item[1], item[0]))
        if most_common >= 0:
            new = new[: max(0, most_common - (len(self._words) - self._num_specials()))]
        for word, count in new:
            self._append(word, count)

    def _num_specials(self) -> int:
        return len({word for word in (self.pad, self.unk) if word is not None})

    @property
    def pad_id(self) -> int | None:
        """Id of the pad word; None where there is none."""
        return None if self.pad is None else self._ids[self.pad]

    @property
    def unk_id(self) -> int | None:
        """Id of the unknown word; None where there is none."""
        return None if self.unk is None else self._ids[self.unk]

    @property
    def words(self) -> tuple[str, ...]:
        """All words, in the order of their ids."""
        return tuple(self._words)

    def count(self, word: str) -> int:
        """Return how often the word was seen; 0 where it is not in the vocabulary."""
        known = self._ids.get(word, IGNORE_ID)
        return self._counts[known] if known >= 0 else 0

    def id(self, word: Any) -> int:
        """Return the word's id, or the unknown word's.

        Raises:
            UnknownWordError: the word is unknown, and there is no unknown word.
        """
        found = self._ids.get(word) if type(word) is str else self._ids.get(text_of(word))
        if found is not None:
            return found
        if self.unk is not None:
            return self._ids[self.unk]
        raise UnknownWordError(text_of(word), self._words)

    def word(self, id: int) -> str:
        """Return the word of an id; the ignored word for -100."""
        if id == IGNORE_ID and self.ignore is not None:
            return self.ignore
        if not 0 <= id < len(self._words):
            raise IndexError(f"the vocabulary has {len(self._words)} words, none with id {id}")
        return self._words[id]

    def __len__(self) -> int:
        return len(self._words)

    def __contains__(self, word: object) -> bool:
        return word in self._ids

    def __iter__(self) -> Iterator[str]:
        return iter(self._words)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]  # grows, so it is no key

    def __repr__(self) -> str:
        return f"Vocabulary({len(self)} words, pad={self.pad!r}, unk={self.unk!r})"

    def numbers(self) -> dict[str, int]:
        """Return what a config may ask for.

        Size, and the ids of the special words that there are.
        """
        found = {"size": len(self), "pad_id": self.pad_id, "unk_id": self.unk_id}
        return {name: value for name, value in found.items() if value is not None}

    def to_dict(self) -> dict[str, Any]:
        """Return the vocabulary as plain data, as it is saved."""
        return {
            "schema": _SCHEMA,
            "pad": self.pad,
            "unk": self.unk,
            "ignore": self.ignore,
            "words": list(self._words),
            "counts": list(self._counts),
        }

    @classmethod
    def from_dict(cls, plain: Any, *, source: str = "the vocabulary") -> Vocabulary:
        """Return the vocabulary of plain data; `source` names it in errors.

        Raises:
            DataError: it is no vocabulary, repeats a word, or its special words are not first.
        """
        if not isinstance(plain, dict) or plain.get("schema") != _SCHEMA:
            raise DataError(
                f'{source} is no vocabulary: expected an object with "schema": "{_SCHEMA}"'
            )
        words, counts = plain.get("words"), plain.get("counts")
        if (
            not isinstance(words, list)
            or not isinstance(counts, list)
            or len(words) != len(counts)
            or not all(isinstance(word, str) for word in words)
            or not all(type(count) is int for count in counts)
        ):
            raise DataError(f'{source}: expected as many "counts" (integers) as "words" (texts)')
        specials = {name: plain.get(name) for name in ("pad", "unk", "ignore")}
        if not all(word is None or isinstance(word, str) for word in specials.values()):
            raise DataError(f"{source}: the special words must be texts or null, got {specials}")
        made = cls(**specials)
        if words[: len(made)] != made._words or len(set(words)) != len(words):
            raise DataError(
                f"{source}: the special words {made._words} must come first, and no word twice"
            )
        for position, (word, count) in enumerate(zip(words, counts, strict=True)):
            if position < len(made._words):
                made._counts[position] = count
            else:
                made._append(word, count)
        return made

    def save(self, path: str) -> None:
        """Write the vocabulary as JSON, whole or not at all."""
        with atomic_write(path) as handle:
            json.dump(self.to_dict(), handle, ensure_ascii=False, indent=1)
            handle.write("\n")

    @classmethod
    def load(cls, path: str) -> Vocabulary:
        """Read a vocabulary that `save` wrote.

        Raises:
            DataError: there is no such file, or it holds no vocabulary.
        """
        try:
            with open_file(path) as handle:
                plain = json.load(handle)
        except FileNotFoundError as error:
            raise DataError(f"there is no vocabulary {path}") from error
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path} is no vocabulary: {error}") from error
        return cls.from_dict(plain, source=path)


def text_of(value: Any) -> str:
    """Return the text under which a value stands in a vocabulary.

    Texts as they are, numbers as written.

    Raises:
        TypeError: the value is neither text, number nor boolean.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, int | float):
        return str(value)
    raise TypeError(f"a vocabulary holds texts and numbers, got {type(value).__name__} {value!r}")
