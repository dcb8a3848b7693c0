"""Configs: fields and children of components, and the reading of config files.

Importing this package imports neither torch nor numpy, and a name's module only when the name is
first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dlk.config._intc import cregister
    from dlk.config.base import (
        MISSING,
        AnyField,
        AssetField,
        Base,
        BoolField,
        Children,
        DictField,
        FloatField,
        IntField,
        ListField,
        MapField,
        NestField,
        PathField,
        Signature,
        StrField,
        many,
        one,
    )
    from dlk.config.node import assets, child, children, ident, node_of, thaw, to_dict
    from dlk.config.reading import Loaded, Point, from_resolved, load, make, parse_override

__all__ = [
    "MISSING",
    "AnyField",
    "AssetField",
    "Base",
    "BoolField",
    "Children",
    "DictField",
    "FloatField",
    "IntField",
    "ListField",
    "Loaded",
    "MapField",
    "NestField",
    "PathField",
    "Point",
    "Signature",
    "StrField",
    "assets",
    "child",
    "children",
    "cregister",
    "from_resolved",
    "ident",
    "load",
    "make",
    "many",
    "node_of",
    "one",
    "parse_override",
    "thaw",
    "to_dict",
]

_HOME = {
    **dict.fromkeys(
        ("Loaded", "Point", "from_resolved", "load", "make", "parse_override"), "dlk.config.reading"
    ),
    **dict.fromkeys(
        ("assets", "child", "children", "ident", "node_of", "thaw", "to_dict"), "dlk.config.node"
    ),
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME.get(name, "dlk.config.base")), name)
    globals()[name] = value
    return value
