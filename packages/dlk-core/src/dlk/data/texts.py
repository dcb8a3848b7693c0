"""Whether texts are Unicode: what a tokenizer, Arrow and UTF-8 can hold. Imports nothing heavy.

JSON such as ``"\\ud800"`` gives half of a surrogate pair, which Python keeps and nobody else takes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

__all__ = ["flaw_in", "flaw_of", "flaw_of_words"]


def flaw_of(text: str) -> str:
    """Return why a text is no Unicode, and what to do; nothing where it is."""
    if text.isascii():
        return ""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = f"\\u{ord(text[error.start]):04x}"
        return (
            f"half of a surrogate pair ({half}) stands at {error.start}, which is no character: "
            'mend the text where it comes from, or by text.encode("utf-16", "surrogatepass")'
            '.decode("utf-16", "replace")'
        )
    return ""


def flaw_of_words(words: Sequence[str]) -> str:
    """Return why a word is no Unicode, and which; nothing where all are."""
    if "".join(words).isascii():  # nearly all are, and this is fast
        return ""
    for number, word in enumerate(words):
        if flaw := flaw_of(word):
            return f"word {number}: {flaw}" if len(words) > 1 else flaw
    return ""


def flaw_in(value: Any) -> str:
    """Return why a text that a value is, or holds at any depth, is no Unicode; else nothing."""
    if isinstance(value, str):
        return flaw_of(value)
    for text in _texts_in(value):
        if flaw := flaw_of(text):
            return f"in the text {text if len(text) <= 40 else f'{text[:40]}…'!r} {flaw}"
    return ""


def _texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts_in(key)
            yield from _texts_in(item)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from _texts_in(item)
