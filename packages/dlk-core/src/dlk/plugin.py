"""Plugins: how a distribution brings components and takes part in runs (entry-point group ``dlk``).

A plugin module imports this module and nothing heavier. It states the protocol's version and
implements hooks, most often the table of its components; a component's own module is imported when
the component is first asked for::

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

`Hooks` lists all hooks. A hook takes those of its arguments that it names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pluggy

__all__ = [
    "API",
    "Component",
    "FitFacts",
    "FitOutcome",
    "Outcome",
    "PluginWarning",
    "PredictFacts",
    "PredictOutcome",
    "ProcessFacts",
    "ProcessOutcome",
    "RequestFacts",
    "RequestOutcome",
    "hookimpl",
    "hookspec",
]

API = 1
"""Version of the protocol; a plugin module states the one that it was written for."""

hookspec = pluggy.HookspecMarker("dlk")
hookimpl = pluggy.HookimplMarker("dlk")


_ADDRESS = re.compile(r"\w+(\.\w+)*:\w+")
_TYPE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NAME = re.compile(r"(?:[A-Za-z_][A-Za-z0-9_]*(?:-[A-Za-z0-9_]+)?)?")


class PluginWarning(UserWarning):
    """A plugin's hook failed; the run goes on without it."""


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
        words: list[tuple[str, object, re.Pattern[str]]] = [
            ("type", self.type, _TYPE),
            ("name", self.name, _NAME),
            *(("an alias", alias, _NAME) for alias in self.aliases),
        ]
        for place, word, pattern in words:
            if not isinstance(word, str) or not pattern.fullmatch(word):
                raise ValueError(
                    f'{self.type} "{self.name}": expected {place} as in a config\'s key, '
                    f"letters, digits and _, got {word!r}"
                )
        for place, address in (("config", self.config), ("cls", self.cls)):
            if not _ADDRESS.fullmatch(address) and (address or place == "config"):
                raise ValueError(
                    f'{self.type} "{self.name}": expected {place}="module:Class", got "{address}"'
                )


# What hooks are told --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """Data that is prepared.

    Attributes:
        stage: ``train`` or ``predict``.
        dir: the processed folder.
        splits: names of the splits given.
    """

    stage: str
    dir: str
    splits: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FitFacts:
    """One run of `Train`; a search makes several.

    Attributes:
        name: its folder below the log folder.
        dir: its folder; ``config.json`` in it holds the resolved config.
        parameters: the values that set it apart from the other runs.
        config: the resolved config, plain values; not to be changed.
    """

    name: str
    dir: str
    parameters: Mapping[str, Any]
    config: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class PredictFacts:
    """Data that a bundle predicts or is measured on.

    Attributes:
        kind: ``predict`` or ``evaluate``.
        bundle: folder of the bundle.
        output: file that is written; empty where predictions are returned.
    """

    kind: str
    bundle: str
    output: str = ""


@dataclass(frozen=True, slots=True)
class RequestFacts:
    """Rows that a server answers.

    Attributes:
        rows: how many.
        server: folder of the bundle; empty where it was built from configs.
    """

    rows: int
    server: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How something ended.

    Attributes:
        seconds: wall time.
        error: what it failed by, in one line; empty where it did not.
    """

    seconds: float
    error: str = ""


@dataclass(frozen=True, slots=True)
class ProcessOutcome(Outcome):
    """How preparing data ended.

    Attributes:
        rows: input rows read, by split; empty after a failure.
        records: records written, by split.
        rejects: rows left out, by split.
    """

    rows: Mapping[str, int] = field(default_factory=dict)
    records: Mapping[str, int] = field(default_factory=dict)
    rejects: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FitOutcome(Outcome):
    """How a run ended.

    Attributes:
        state: ``done``, ``failed`` or ``interrupted``.
        metrics: the final ``val_*`` and ``test_*``.
        weights: which weights these are.
        bundle: folder of the bundle; empty where there is none.
    """

    state: str = "done"
    metrics: Mapping[str, float] = field(default_factory=dict)
    weights: str = ""
    bundle: str = ""


@dataclass(frozen=True, slots=True)
class PredictOutcome(Outcome):
    """How predicting or measuring ended.

    Attributes:
        rows: rows that were answered or counted.
        refused: rows among them that could not be processed.
        metrics: scores, where the bundle was measured.
    """

    rows: int = 0
    refused: int = 0
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RequestOutcome(Outcome):
    """How a request ended.

    Attributes:
        refused: rows that could not be processed.
    """

    refused: int = 0


# Hooks ----------------------------------------------------------------------------------------


class Hooks:
    """The hooks that a plugin may implement, each a function marked with `hookimpl`.

    Of several plugins, each is called, in the order of their names (``tryfirst``, ``trylast``
    change that), one by one: what one raises keeps no other from being called.

    - ``dlk_before_…`` and ``dlk_after_…`` observe; what they return is ignored. A `DlkError` of a
      ``before`` hook is a veto: what was to begin does not, and its message is the user's answer.
      Anything else that a hook raises is a `PluginWarning` that names the plugin, and the run goes
      on.
    - ``dlk_change_…`` hooks change what passes through. Where one raises, nothing passes, since it
      may be there to hide what must not be seen: a `PluginError` names the plugin.

    A server calls hooks in the thread of the request, so from several threads at once. Where a
    run has several processes (DDP), each calls them; ``LOCAL_RANK`` in the environment tells them
    apart.
    """

    @hookspec
    def dlk_components(self) -> Sequence[Component]:
        """Return the plugin's table of components.

        It must import nothing heavy, and be the same each time: where many plugins are installed,
        tables are remembered until a distribution is installed or removed.
        """
        raise AssertionError("a specification is not called")

    @hookspec
    def dlk_before_process(self, facts: ProcessFacts) -> None:
        """Data is about to be prepared; nothing was read or written yet. May veto."""

    @hookspec
    def dlk_after_process(self, facts: ProcessFacts, outcome: ProcessOutcome) -> None:
        """Data was prepared, or failed to be."""

    @hookspec
    def dlk_before_fit(self, facts: FitFacts) -> None:
        """A run is about to begin; its folder is there and holds the config. May veto."""

    @hookspec
    def dlk_after_fit(self, facts: FitFacts, outcome: FitOutcome) -> None:
        """A run ended, well or not; ``result.json`` is written. Not told of runs that a search
        skips because an earlier call did them."""

    @hookspec
    def dlk_before_predict(self, facts: PredictFacts) -> None:
        """A bundle is about to predict data, or to be measured on it. May veto."""

    @hookspec
    def dlk_after_predict(self, facts: PredictFacts, outcome: PredictOutcome) -> None:
        """A bundle predicted data or was measured on it, or failed to."""

    @hookspec
    def dlk_before_request(self, facts: RequestFacts) -> None:
        """A server is about to answer rows. May veto: the request is refused."""

    @hookspec
    def dlk_after_request(self, facts: RequestFacts, outcome: RequestOutcome) -> None:
        """A server answered rows, or failed to."""

    @hookspec
    def dlk_change_rows(
        self, columns: dict[str, list[Any]], facts: PredictFacts | RequestFacts
    ) -> Mapping[str, Sequence[Any]] | None:
        """Return other columns for rows that are to be predicted, None to leave them as they are.

        Called by `Predict` for each chunk and by `Server` for each request, after the plugin
        before it, with a copy of the columns whose lists may be changed. The number of rows must
        stay. Not called where a bundle is measured: that measures the model.
        """

    @hookspec
    def dlk_change_predictions(
        self, predictions: list[dict[str, Any]], facts: PredictFacts | RequestFacts
    ) -> Sequence[dict[str, Any]] | None:
        """Return other predictions, None to leave them as they are; one for each row, in order.

        A row that could not be processed has ``{"error": …}``, here, too. Called as
        `dlk_change_rows` is, with predictions that may be changed.
        """
