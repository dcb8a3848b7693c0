"""Learns a vocabulary from columns of the training split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from dlk.data.subprocessor.base import Columns, CountingSubprocessor, TransformContext
from dlk.data.subprocessor.configs import GatherConfig
from dlk.data.texts import flaw_of_words
from dlk.data.vocabulary import Vocabulary, text_of
from dlk.errors import DataError
from dlk.registry import register

if TYPE_CHECKING:
    from dlk.context import Setup
    from dlk.data.meta import Meta

__all__ = ["TokenGather"]


@register("subprocessor", "token_gather")
class TokenGather(CountingSubprocessor):
    """Counts words on the training split; writes a vocabulary to the meta folder, and no column.

    The order of the ids depends on the counts alone: by count, falling, then by text.
    """

    def __init__(self, config: GatherConfig, setup: Setup) -> None:
        super().__init__(config, setup)
        self.sources = config.sources()
        self.file: str = config.file
        self.makes = (self.file,)
        self.specials: dict[str, str | None] = {
            "pad": config.pad,
            "unk": config.unk,
            "ignore": config.ignore,
        }
        self.update: str | None = config.update
        self.min_freq: int = config.min_freq
        self.most_common: int = config.most_common

    def tally(self, columns: Columns, counts: Counter[str]) -> None:
        """Count the words of a chunk; missing ones are left out.

        Raises:
            DataError: a value is no word, or a trace leads nowhere.
        """
        for column, trace in self.sources:
            for value in columns[column]:
                words = value if not trace and is_words(value) else words_of(value, trace)
                try:
                    counts.update(self.counted(words))
                except (TypeError, LookupError) as error:
                    raise DataError(
                        f'cannot gather words from column "{column}": {error}'
                    ) from error

    def conclude(self, counts: Counter[str], meta: Meta) -> None:
        """Make the vocabulary of the words counted.

        Raises:
            DataError: `update` has other special words.
        """
        if self.update:
            vocabulary = Vocabulary.load(self.update)
            found = {name: getattr(vocabulary, name) for name in self.specials}
            wanted = {name: special or None for name, special in self.specials.items()}
            if found != wanted:
                raise DataError(
                    f"{self.update} has the special words {found}, this step has {wanted}"
                )
        else:
            vocabulary = Vocabulary(**self.specials)
        vocabulary.add(counts, min_freq=self.min_freq, most_common=self.most_common)
        meta.put_vocabulary(self.file, vocabulary)

    def screen(self, columns: Columns, ctx: TransformContext) -> None:
        """Report values that are no words (or no Unicode), or in which a trace leads nowhere."""
        for column, trace in self.sources:
            for position, value in enumerate(columns[column]):
                try:
                    plain = not trace and is_words(value)
                    flaw = flaw_of_words(value if plain else list(words_of(value, trace)))
                except (TypeError, LookupError) as error:
                    flaw = str(error)
                if flaw:
                    ctx.bad_row(position, column, value, flaw)

    def transform(self, columns: Columns, ctx: TransformContext) -> Columns:
        """Return nothing: the step learns, and writes no column."""
        return {}

    def counted(self, words: Iterable[str]) -> Iterable[str]:
        """Return what is counted of the words of a value: the words."""
        return words


def is_words(value: Any) -> bool:
    """Return whether the value is a list of texts, as nearly all are: there is nothing to check."""
    return type(value) is list and set(map(type, value)) <= {str}


def words_of(value: Any, trace: tuple[str, ...]) -> Iterator[str]:
    """Yield the words inside a value.

    Lists and sets are gone through, dicts followed by the trace.

    Raises:
        TypeError: something in it is no word.
        LookupError: the trace leads nowhere.
    """
    if value is None or value != value:  # NaN is how pandas says "missing" among numbers
        return
    if isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from words_of(item, trace)
    elif trace:
        if not isinstance(value, Mapping):
            raise TypeError(f'the trace "{".".join(trace)}" needs dicts, found {value!r}')
        if trace[0] not in value:
            raise LookupError(f'the trace finds no "{trace[0]}" among {sorted(map(str, value))}')
        yield from words_of(value[trace[0]], trace[1:])
    else:
        yield text_of(value)
