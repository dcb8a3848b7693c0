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
        families = ("embedding", "encoder", "decoder")
        return Signature.chain(child(self, family).signature() for family in families)
