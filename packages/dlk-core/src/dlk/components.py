"""dlk-core's table of components: names, and where config and class live. Imports nothing heavy."""

from __future__ import annotations

from dlk.plugin import Component, hookimpl

API = 1


@hookimpl
def dlk_components() -> list[Component]:
    """Return the rows of all families in core."""
    return [*_engine(), *_data(), *_nn(), *_training(), *_postprocessing()]


def _engine() -> list[Component]:
    return []


def _data() -> list[Component]:
    return []


def _nn() -> list[Component]:
    return []


def _training() -> list[Component]:
    return []


def _postprocessing() -> list[Component]:
    configs = "dlk.postprocessor.configs"
    return [
        Component(
            "postprocessor",
            "identity",
            config=f"{configs}:IdentityConfig",
            cls="dlk.postprocessor.identity:Identity",
            help="gives the named outputs as they are and measures nothing",
        ),
    ]
