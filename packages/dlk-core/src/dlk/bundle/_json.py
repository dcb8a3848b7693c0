"""JSON of a stranger: one meaning only, bounded in size and depth, every number finite."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any

__all__ = ["MAX_BYTES", "parse"]

MAX_BYTES = 32 << 20
"""Of one JSON text. Parsed, a text takes some ten times its size."""

MAX_DEPTH = 100
"""How deep lists and objects may stand in one another; those that dlk writes stand below 30."""


class _RefusedError(ValueError):
    """What `json` would accept, and we do not."""


def parse(data: bytes, *, limit: int = MAX_BYTES) -> Any:  # Any: whatever JSON can hold
    """Return the value of a JSON text in UTF-8.

    Raises:
        ValueError: it is no JSON, larger than `limit` bytes, too deep, names a key twice, or holds
            a number that is not finite.
    """
    if len(data) > limit:
        raise _RefusedError(f"it has {len(data)} bytes, at most {limit} are read")
    try:
        value = json.loads(
            data.decode("utf-8"),
            parse_constant=_constant,
            parse_float=_finite,
            object_pairs_hook=_object,
        )
    except RecursionError:
        raise _RefusedError(_TOO_DEEP) from None
    _check_depth(value)
    return value


_TOO_DEEP = f"lists and objects stand more than {MAX_DEPTH} deep in one another"


def _constant(name: str) -> None:
    raise _RefusedError(f"{name} is no number of JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise _RefusedError(f"the number {text[:40]} is too large")
    return number


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = Counter(name for name, _ in pairs)
        ((twice, _),) = names.most_common(1)
        raise _RefusedError(f'the key "{twice[:80]}" stands twice in one object')
    return found


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [
            part
            for each in level
            if isinstance(each, dict | list)
            for part in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return
    raise _RefusedError(_TOO_DEEP)
