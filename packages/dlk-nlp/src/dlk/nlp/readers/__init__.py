"""Annotated files of other tools as rows: CoNLL columns, CoNLL-U, BRAT, lines of JSON.

Each reader is a function from a path to an iterator of rows in dlk's form::

    {"sentence": "…", "entities_info": [{"start": 0, "end": 5, "labels": ["person"]}], …}

It reads as it goes, and names file and line of what it cannot read (`DataError`). `Process` takes
.conll, .conllu and .ann files as they are; where a reader is to be told more, it is given a list,
as it goes through its input more than once::

    Process("process.jsonc").run({"train": list(read_conll("train.conll", comment="# "))})
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlk._lazy import lazy

if TYPE_CHECKING:
    from dlk.nlp.readers.brat import read_brat
    from dlk.nlp.readers.conll import read_conll
    from dlk.nlp.readers.conllu import read_conllu
    from dlk.nlp.readers.jsonl import read_jsonl

__all__ = ["read_brat", "read_conll", "read_conllu", "read_jsonl"]

__getattr__ = lazy(
    __name__,
    {
        "dlk.nlp.readers.brat": ("read_brat",),
        "dlk.nlp.readers.conll": ("read_conll",),
        "dlk.nlp.readers.conllu": ("read_conllu",),
        "dlk.nlp.readers.jsonl": ("read_jsonl",),
    },
)
