"""Learns a vocabulary of characters from columns of the training split."""

from __future__ import annotations

from collections.abc import Iterable

from dlk.data.subprocessor.token_gather import TokenGather
from dlk.registry import register

__all__ = ["CharGather"]


@register("subprocessor", "char_gather")
class CharGather(TokenGather):
    """As token_gather, on the characters (code points) of the words; white space among them.

    The order of the ids depends on the counts alone: by count, falling, then by character.
    """

    def counted(self, words: Iterable[str]) -> Iterable[str]:
        """Return the characters of the words of a value, as one text: that is counted fastest."""
        return "".join(words)
