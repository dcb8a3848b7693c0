"""The options of core's models."""

from __future__ import annotations

from dlk.config import Base, Signature, child, cregister, one


@cregister("model", "basic")
class BasicModelConfig(Base):
    """Embedding, encoder and decoder, one after the other."""

    children = {  # a class attribute of a config is its declaration
        "embedding": one(),
        "encoder": one(default="identity"),
        "decoder": one(default="identity"),
        "initmethod": one(default="default"),
    }

    def signature(self) -> Signature:
        """What the parts read that no earlier part wrote, and all that they write."""
        reads: dict[str, None] = {}
        writes: dict[str, None] = {}
        targets: dict[str, None] = {}
        for family in ("embedding", "encoder", "decoder"):
            part = child(self, family).signature()
            reads.update(dict.fromkeys(name for name in part.reads if name not in writes))
            targets.update(dict.fromkeys(name for name in part.targets if name not in writes))
            writes.update(dict.fromkeys(part.writes))
        return Signature(reads=tuple(reads), writes=tuple(writes), targets=tuple(targets))
