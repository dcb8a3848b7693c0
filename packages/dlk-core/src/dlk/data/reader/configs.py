"""What the options of all readers share; imports nothing heavy."""

from __future__ import annotations

from dlk.config import Base, cregister


@cregister()
class ReaderConfig(Base):
    """How files of one kind become rows. Files given to `Process` are read by the defaults."""
