"""`Server`: predictions in this process, from many threads, without Lightning or a loader."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

from dlk._hooks import Hook, around, change_predictions, change_rows
from dlk.errors import DataError, RowError
from dlk.plugin import RequestFacts, RequestOutcome

if TYPE_CHECKING:
    import pandas as pd

    from dlk.config.reading import Source
    from dlk.inference import Engine

__all__ = ["Server"]


class Server:
    """Answers rows with predictions.

    Either ``Server(bundle)``, or ``Server(process_config, fit_config, checkpoint)`` for a run that
    is not a bundle yet. Read-only once built: `fit` may be called from many threads at once.

    Args:
        bundle: folder of a bundle, or path (or content) of a process config.
        fit_config: path or content of the fit config; only with a checkpoint.
        checkpoint: a run's ``.ckpt``, or a ``model.safetensors``; only with a fit config.
        device: where to run, such as ``cpu`` or ``cuda:0``.
        batch_size: records per forward pass, at most; None: as configured.
        src: folders with project-local components that a bundle needs.
        overrides: overrides of the fit config.

    Attributes:
        engine: what computes the predictions.
        inputs: the columns that each row must have; empty where the processor does not say.

    Raises:
        BundleError: the bundle is damaged, or needs what is not installed.
        ConfigError: a config is wrong.
        RunError: the checkpoint cannot be read.
    """

    def __init__(
        self,
        bundle: Source,
        fit_config: Source | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        *,
        device: str = "cpu",
        batch_size: int | None = None,
        src: Sequence[str] = (),
        overrides: Sequence[str] | Mapping[str, Any] = (),
    ) -> None:
        self.engine: Engine
        if fit_config is not None and checkpoint is not None:
            self.engine = _from_configs(
                bundle, fit_config, os.fspath(checkpoint), device, batch_size, overrides
            )
        elif fit_config is None and checkpoint is None and not isinstance(bundle, Mapping):
            from dlk.bundle.read import Bundle

            self.engine = Bundle(bundle, src=src).engine(device=device, batch_size=batch_size)
        else:
            raise TypeError(
                "expected Server(bundle) or Server(process_config, fit_config, checkpoint)"
            )
        self.inputs = list(self.engine.inputs)
        self._name = "" if isinstance(bundle, Mapping) or fit_config else os.fspath(bundle)
        # Looked up once: a request costs nothing where no plugin takes part.
        self._rows, self._predictions = Hook("dlk_change_rows"), Hook("dlk_change_predictions")
        watched = (Hook(f"dlk_{when}_request") for when in ("before", "after"))
        self._is_watched = any((self._rows, self._predictions, *watched))

    @overload
    def fit(self, rows: Mapping[str, Any]) -> dict[str, Any]: ...
    @overload
    def fit(self, rows: Sequence[Mapping[str, Any]] | pd.DataFrame) -> list[dict[str, Any]]: ...

    def fit(self, rows: Any) -> Any:
        """Return the prediction of one row (a mapping), or a list of them for several rows.

        Predictions come in the order of the rows, one each. A row that cannot be processed gets
        ``{"error": {"column": …, "reason": …}}`` in its place; one bad row alone raises.

        Args:
            rows: a mapping of columns, a list of such mappings, or a DataFrame. Columns that the
                model does not need are ignored.

        Raises:
            RowError: the one row given is bad.
            DataError: the rows are of no such kind, or a column is missing.
            DlkError: a plugin refused, or failed where it changes rows or predictions.
        """
        from dlk.inference import answer_of

        if self._is_watched:
            return self._watched(rows)
        if isinstance(rows, Mapping):
            (answer,) = self.engine.predict(_columns([rows]))
            if isinstance(answer, RowError):
                raise answer
            return answer
        return [answer_of(answer) for answer in self.engine.predict(_columns(_checked(rows)))]

    def _watched(self, rows: Any) -> Any:
        """Answer as `fit` does, with plugins before, after and in between."""
        from dlk.inference import answer_of

        is_one = isinstance(rows, Mapping)
        given = [rows] if is_one else _checked(rows)
        facts, refused = RequestFacts(len(given), self._name), 0
        with around("request", facts, lambda s, error: RequestOutcome(s, error, refused)):
            columns = change_rows(self._rows, _columns(given), facts)
            found = self.engine.predict(columns)
            refused = sum(isinstance(each, RowError) for each in found)
            if is_one and isinstance(found[0], RowError):
                raise found[0]
            answers = change_predictions(self._predictions, [answer_of(a) for a in found], facts)
        return answers[0] if is_one else answers


def _checked(rows: Any) -> Any:
    """Return rows that are a DataFrame or a list of mappings."""
    if hasattr(rows, "iloc") and hasattr(rows, "columns"):  # a DataFrame, without importing pandas
        return rows
    if not isinstance(rows, Sequence) or isinstance(rows, str | bytes):
        raise DataError(
            "expected a row (an object of columns), a list of rows or a DataFrame, "
            f"got {type(rows).__name__}"
        )
    for number, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise DataError(
                f"row {number}: expected an object of columns, got {type(row).__name__}"
            )
    return rows


def _columns(rows: Any) -> dict[str, list[Any]]:
    """Return rows as columns of plain values, as files and Process give them."""
    from dlk.data.inputs import open_input

    source = open_input(rows, name="the request")
    if len(rows) and not source.column_names:
        raise DataError("the request holds rows without any column")
    return next(source.chunks(len(rows)), {}) if len(rows) else {}


def _from_configs(
    process_config: Source,
    fit_config: Source,
    checkpoint: str,
    device: str,
    batch_size: int | None,
    overrides: Sequence[str] | Mapping[str, Any],
) -> Engine:
    from dlk.checkpoint import read_weights
    from dlk.config import load
    from dlk.context import Setup
    from dlk.fit import load_fit, load_meta
    from dlk.inference import Engine, Parts, raw_inputs

    process = load(process_config).one().root("processor")
    fit = load_fit(fit_config, overrides).one().root("fit")
    setup = Setup(meta=load_meta(fit.processed_data_dir), pretrained=False, seed=fit.seed)
    return Engine.build(
        Parts.of(process, fit),
        read_weights(checkpoint),
        setup,
        inputs=raw_inputs(process, fit),
        device=device,
        batch_size=batch_size,
    )
