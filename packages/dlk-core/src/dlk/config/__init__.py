"""Configs: fields and children of components, and the reading of config files.

Importing this package imports neither torch nor numpy, and a name's module only when the name is
first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlk._lazy import lazy

if TYPE_CHECKING:
    from dlk.config._intc import cregister
    from dlk.config.base import (
        MISSING,
        AnyField,
        AssetField,
        Base,
        BoolField,
        Chain,
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
    from dlk.config.reading import (
        Loaded,
        Point,
        changed,
        from_resolved,
        load,
        make,
        parse_override,
    )
    from dlk.config.search import Dimension

__all__ = [
    "MISSING",
    "AnyField",
    "AssetField",
    "Base",
    "BoolField",
    "Chain",
    "Children",
    "DictField",
    "Dimension",
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
    "changed",
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

__getattr__ = lazy(
    __name__,
    {
        "dlk.config.base": (
            "AnyField",
            "AssetField",
            "Base",
            "BoolField",
            "Chain",
            "Children",
            "DictField",
            "FloatField",
            "IntField",
            "ListField",
            "MISSING",
            "MapField",
            "NestField",
            "PathField",
            "Signature",
            "StrField",
            "cregister",
            "many",
            "one",
        ),
        "dlk.config.node": ("assets", "child", "children", "ident", "node_of", "thaw", "to_dict"),
        "dlk.config.reading": (
            "Loaded",
            "Point",
            "changed",
            "from_resolved",
            "load",
            "make",
            "parse_override",
        ),
        "dlk.config.search": ("Dimension",),
    },
)
