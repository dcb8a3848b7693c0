"""Plugins: how a distribution brings components, found through the entry-point group ``dlk``.

A plugin module imports this module and nothing heavier. It states the protocol's version and a
table of names; a component's own module is imported when the component is first asked for::

    from dlk.plugin import Component, hookimpl

    API = 1

    @hookimpl
    def dlk_components():
        return [
            Component(
                "embedding",
                "mine",
                config="my_package.configs:MineConfig",
                cls="my_package.mine:Mine",
                help="what it does",
            )
        ]
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import pluggy

__all__ = ["API", "Component", "hookimpl", "hookspec"]

API = 1
"""Version of the protocol; a plugin module states the one that it was written for."""

hookspec = pluggy.HookspecMarker("dlk")
hookimpl = pluggy.HookimplMarker("dlk")


_ADDRESS = re.compile(r"\w+(\.\w+)*:\w+")


@dataclass(frozen=True, slots=True)
class Component:
    """One row of a plugin's table: names, and where config and class live.

    Attributes:
        type: family, such as ``embedding``.
        name: name in configs, such as ``static``; empty for a family's nameless root config.
        config: ``module:Class`` of the config class; the module should import no torch.
        cls: ``module:Class`` of the component; empty where a config has no class of its own.
        help: one line for ``dlk list``.
        aliases: further names for the same component.
        needs: modules the component imports beyond its distribution's plain dependencies.
    """

    type: str
    name: str
    config: str
    cls: str = ""
    help: str = ""
    aliases: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for place, address in (("config", self.config), ("cls", self.cls)):
            if not _ADDRESS.fullmatch(address) and (address or place == "config"):
                raise ValueError(
                    f'{self.type} "{self.name}": expected {place}="module:Class", got "{address}"'
                )


class Hooks:
    """The hooks that a plugin may implement."""

    @hookspec
    def dlk_components(self) -> Sequence[Component]:
        """Return the plugin's table of components. Must import nothing heavy."""
        raise AssertionError("a specification is not called")
