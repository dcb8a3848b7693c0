"""What a text is, said once for the steps that read one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeGuard

from dlk.data.subprocessor.base import TransformContext

__all__ = ["are_words", "checked_texts"]


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
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            return f"half of a surrogate pair stands at {error.start}, which is no character"
    return ""
