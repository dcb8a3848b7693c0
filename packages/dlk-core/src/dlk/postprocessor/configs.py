"""Options of core's postprocessors; imports no torch."""

from __future__ import annotations

from collections.abc import Iterable

from dlk.config import Base, ListField, Signature, cregister


@cregister("postprocessor", "identity")
class IdentityConfig(Base):
    """Gives the named outputs as they are and measures nothing."""

    outputs = ListField(value=[], help="model outputs that each prediction holds, by their names")
    columns = ListField(value=[], help="raw columns copied into each prediction, such as an id")

    def signature(self) -> Signature:
        return Signature(reads=tuple(self.outputs), columns=tuple(self.columns))

    def rules(self) -> Iterable[tuple[str, str]]:
        for field in ("outputs", "columns"):
            names = getattr(self, field)
            if not all(isinstance(name, str) and name for name in names):
                yield field, f"expected names, got {list(names)}"
                return
        both = sorted(set(self.outputs) & set(self.columns))
        if both:
            yield "columns", f"{', '.join(both)} is already named by outputs"
