"""Learns a vocabulary of characters from columns of the training split."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Any

from dlk.data.subprocessor.token_gather import TokenGather, words_of
from dlk.registry import register

__all__ = ["CharGather"]


@register("subprocessor", "char_gather")
class CharGather(TokenGather):
    """As token_gather, on the characters (code points) of the words; white space among them.

    The order of the ids depends on the counts alone: by count, falling, then by character.
    """

    def words(self, value: Any, trace: tuple[str, ...]) -> Iterable[str]:
        """Return the characters of a value; see `TokenGather.words`."""
        return chain.from_iterable(words_of(value, trace))
