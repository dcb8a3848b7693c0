"""Core knows which of dlk's packages brings a name, so that it can say what to install."""

from __future__ import annotations

from dlk._known import KNOWN
from dlk.components import dlk_components as core_components
from dlk.nlp.components import dlk_components as nlp_components


def test_core_knows_every_name_of_the_other_packages() -> None:
    brought = {(row.type, row.name): "dlk-nlp" for row in nlp_components()}
    assert brought == KNOWN


def test_no_name_is_brought_by_two_packages() -> None:
    def names(table):
        return {(row.type, name) for row in table for name in (row.name, *row.aliases)}

    assert not names(core_components()) & names(nlp_components())
