"""Words to ids by a learnt vocabulary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dlk.data.subprocessor.base import Columns, Subprocessor, TransformContext
from dlk.data.subprocessor.configs import Token2IdConfig
from dlk.data.texts import flaw_of
from dlk.data.vocabulary import UnknownWordError, Vocabulary
from dlk.registry import register

if TYPE_CHECKING:
    from dlk.context import Setup

__all__ = ["IdsOfTexts", "Token2Id"]


@register("subprocessor", "token2id")
class Token2Id(Subprocessor):
    """Replaces each word by its id; lists nested to any depth keep their shape.

    A row with a missing word, or with an unknown one where the vocabulary has no unknown word, is a
    bad row.
    """

    def __init__(self, config: Token2IdConfig, setup: Setup) -> None:
        super().__init__(config, setup)
        self.vocab: str = config.vocab
        self.source = self.input_map["tokens"]
        self.target = self.output_map["token_ids"]

    def transform(self, columns: Columns, ctx: TransformContext) -> Columns:
        """Return the ids, shaped as the words."""
        known = IdsOfTexts(self.setup.meta.vocabulary(self.vocab))
        ids: list[Any] = []
        for position, value in enumerate(columns[self.source]):
            try:
                ids.append(_ids(value, known))
            except UnknownWordError as error:
                ids.append(None)
                ctx.bad_row(position, self.source, value, f"{error.reason} ({self.vocab})")
            except TypeError as error:
                ids.append(None)
                ctx.bad_row(position, self.source, value, str(error))
        return {self.target: ids}


class IdsOfTexts(dict[str, int]):
    """The ids of texts, each looked up in the vocabulary but once.

    Raises:
        UnknownWordError: see `Vocabulary.id`.
        TypeError: the text is no Unicode.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.vocabulary = vocabulary

    def __missing__(self, text: str) -> int:
        if flaw := flaw_of(text):
            raise TypeError(flaw)
        self[text] = found = self.vocabulary.id(text)
        return found


def _ids(value: Any, known: IdsOfTexts) -> Any:
    if isinstance(value, list | tuple):
        if set(map(type, value)) == {str}:
            return [known[text] for text in value]
        if None in value:
            raise TypeError(f"expected words, found null at [{value.index(None)}]: leave it out")
        return [_ids(item, known) for item in value]
    if value is None or value != value:  # NaN is how pandas says "missing" among numbers
        raise TypeError("expected a word, found nothing: leave the row out, or say what it is")
    return known[value] if type(value) is str else known.vocabulary.id(value)
