"""`Server`: predictions in this process, from many threads, without Lightning and without a loader."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

from dlk.errors import DataError, RowError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

    from dlk.config.reading import Source
    from dlk.inference import Engine

__all__ = ["Server"]


class Server:
    """Answers rows with predictions.

    Either ``Server(bundle)``, or ``Server(process_config, fit_config, checkpoint)`` for a run that is not a bundle yet.
    Read-only once built: `fit` may be called from many threads at once.

    Args:
        bundle: folder of a bundle, or path (or content) of a process config.
        fit_config: path or content of the fit config; only with a checkpoint.
        checkpoint: a run's ``.ckpt``, or a ``model.safetensors``; only with a fit config.
        device: where to run, such as ``cpu`` or ``cuda:0``.
        batch_size: records per forward pass, at most; None: as configured.
        src: folders with project-local components that a bundle needs.
        overrides: overrides of the fit config.

    Raises:
        BundleError: the bundle is damaged, or needs what is not installed.
        ConfigError: a config is wrong.
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
        if (fit_config is None) != (checkpoint is None):
            raise TypeError("expected Server(bundle) or Server(process_config, fit_config, checkpoint)")
        self.engine: Engine
        if fit_config is None or checkpoint is None:
            from dlk.bundle.read import Bundle

            if isinstance(bundle, Mapping):
                raise TypeError("expected the path of a bundle, got a dict")
            opened = Bundle(bundle, src=src)
            self.inputs = [str(column["name"]) for column in opened.inputs]
            self.engine = opened.engine(device=device, batch_size=batch_size)
        else:
            self.engine = _from_configs(bundle, fit_config, os.fspath(checkpoint), device, batch_size, overrides)
            self.inputs = []

    @overload
    def fit(self, rows: Mapping[str, Any]) -> dict[str, Any]: ...
    @overload
    def fit(self, rows: Sequence[Mapping[str, Any]] | pd.DataFrame) -> list[dict[str, Any]]: ...

    def fit(self, rows: Any) -> Any:
        """Return the prediction of one row (a mapping), or a list of them for a list of rows or a DataFrame.

        Predictions come in the order of the rows, one each. A row that cannot be processed gets
        ``{"error": {"column": …, "reason": …}}`` in its place; one bad row alone raises.

        Raises:
            RowError: the one row given is bad.
            DataError: the rows are of no such kind, or a column is missing.
        """
        if isinstance(rows, Mapping):
            answer = self.engine.predict(self._columns([rows]))[0]
            if isinstance(answer, RowError):
                raise answer
            return answer
        records = _records(rows)
        if not records:
            return []
        return [
            {"error": {"column": a.column, "reason": a.reason}} if isinstance(a, RowError) else a
            for a in self.engine.predict(self._columns(records))
        ]

    def _columns(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
        names: dict[str, None] = {}
        for number, row in enumerate(rows):
            if not isinstance(row, Mapping):
                raise DataError(f"row {number}: expected an object of columns, got {type(row).__name__}")
            names.update(dict.fromkeys(map(str, row)))
        for column in self.inputs:
            if column not in names:
                raise DataError(f'the column "{column}" is missing. {did_you_mean(column, names)}')
        return {name: [row.get(name) for row in rows] for name in names if not name.startswith("_")}


def _records(rows: Any) -> list[Mapping[str, Any]]:
    if hasattr(rows, "to_dict") and hasattr(rows, "columns"):  # a DataFrame, without importing pandas
        found: list[Mapping[str, Any]] = rows.to_dict("records")
        return [{str(k): None if v is None or v != v else v for k, v in row.items()} for row in found]
    if isinstance(rows, Sequence) and not isinstance(rows, (str, bytes)):
        return list(rows)
    raise DataError(f"expected a row (an object of columns), a list of rows or a DataFrame, got {type(rows).__name__}")


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
    from dlk.inference import Engine

    process = load(process_config).one().root("processor")
    fit = load_fit(fit_config, overrides).one().root("fit")
    setup = Setup(meta=load_meta(fit.processed_data_dir), pretrained=False, seed=fit.seed)
    return Engine.build(process, fit, read_weights(checkpoint), setup, device=device, batch_size=batch_size)
