"""Values as plain JSON: what a prediction may hold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

__all__ = ["plain"]


def plain(value: Any) -> object:  # Any: values come from users' data and from tensors
    """Return the value as str, int, float, bool, None, or lists and dicts of these.

    Numbers and arrays of numpy, torch and Arrow become Python's; a number that is not finite
    becomes None, which JSON can hold; a date, path or anything else becomes its text.
    """
    if value is None or type(value) in (str, int, bool):
        return value
    if isinstance(value, float):
        number = float(value)
        return number if math.isfinite(number) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((plain(item) for item in value), key=repr)
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    for convert in ("tolist", "as_py"):  # numpy and torch; Arrow
        if hasattr(value, convert):
            return plain(getattr(value, convert)())
    if isinstance(value, int):  # a subclass, such as an enum's member
        return int(value)
    return str.__str__(value) if isinstance(value, str) else str(value)
