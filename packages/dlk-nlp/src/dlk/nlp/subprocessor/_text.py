"""What a text is, said once for the steps that read one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeGuard

from dlk.data.subprocessor.base import TransformContext
from dlk.data.texts import flaw_of, flaw_of_words

__all__ = ["are_words", "checked_texts", "flaw_of_list"]


def are_words(value: Any) -> TypeGuard[Sequence[str]]:
    """Return whether the value is a list of texts."""
    if not isinstance(value, list | tuple):
        return False
    return set(map(type, value)) <= {str} or all(isinstance(word, str) for word in value)


def checked_texts(values: Sequence[object], column: str, ctx: TransformContext) -> list[str]:
    """Return the texts of a column; an empty one stands for each that is none, a bad row."""
    texts: list[str] = []
    for position, value in enumerate(values):
        reason = _against(value)
        if reason:
            ctx.bad_row(position, column, value, reason)
        texts.append(value if isinstance(value, str) and not reason else "")
    return texts


def _against(value: object) -> str:
    if value is None:
        return "there is no text"
    if not isinstance(value, str):
        return "expected a text"
    return flaw_of(value)


def flaw_of_list(value: Any) -> str:
    """Return why the value is no list of texts, or one of them no Unicode; nothing where it is."""
    return flaw_of_words(value) if are_words(value) else "expected a list of words"
