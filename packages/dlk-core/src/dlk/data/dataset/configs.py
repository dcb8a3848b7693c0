"""Options of the datasets."""

from __future__ import annotations

from collections.abc import Iterable

from dlk.config import MISSING, Base, DictField, Signature, cregister

__all__ = ["DefaultDatasetConfig"]


@cregister("dataset", "default")
class DefaultDatasetConfig(Base):
    """Columns by name and type."""

    key_type_pairs = DictField(
        MISSING,  # type: ignore[arg-type]  # stands for a required field of any kind
        help='columns that go into a batch, and their types: "long", "int", "float" or "bool"',
    )

    def signature(self) -> Signature:
        """Reads its columns, and writes them."""
        names = tuple(self.key_type_pairs)
        return Signature(reads=names, writes=(*names, "_index"))

    def rules(self) -> Iterable[tuple[str, str]]:
        """Yield a problem for each type that there is not."""
        known = ("long", "int", "float", "bool")
        for name, kind in self.key_type_pairs.items():
            if kind not in known:
                yield (
                    "key_type_pairs",
                    f'"{name}": expected one of {", ".join(known)}, got {kind!r}',
                )
        if not self.key_type_pairs:
            yield "key_type_pairs", "expected at least one column"
        if "_index" in self.key_type_pairs:
            yield "key_type_pairs", '"_index" is always in a batch: it is the number of the record'
