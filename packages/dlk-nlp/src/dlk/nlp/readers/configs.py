"""Readers of annotated files; imports nothing heavy.

They have no options: of files with other columns, rows are made by `dlk.nlp.readers`.
"""

from __future__ import annotations

from dlk.config import cregister
from dlk.data.reader.configs import ReaderConfig


@cregister("reader", "conll")
class ConllReaderConfig(ReaderConfig):
    """Columns of words and tags: the first and the last; see `dlk.nlp.readers.read_conll`."""


@cregister("reader", "conllu")
class ConlluReaderConfig(ReaderConfig):
    """Sentences of Universal Dependencies; see `dlk.nlp.readers.read_conllu`."""


@cregister("reader", "ann")
class BratReaderConfig(ReaderConfig):
    """A document of BRAT, by its .ann file; see `dlk.nlp.readers.read_brat`."""
