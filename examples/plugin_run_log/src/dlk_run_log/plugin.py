"""Observes: one line of JSON for whatever begins or ends, in the file that DLK_RUN_LOG names.

What an observer raises ends no run: where the file cannot be written, dlk warns and goes on.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict
from typing import Any

from dlk.plugin import (
    FitFacts,
    FitOutcome,
    PredictFacts,
    PredictOutcome,
    ProcessFacts,
    ProcessOutcome,
    RequestFacts,
    RequestOutcome,
    hookimpl,
)

API = 1


@hookimpl
def dlk_before_process(facts: ProcessFacts) -> None:
    """Say that data is about to be prepared."""
    write("process begins", asdict(facts))


@hookimpl
def dlk_after_process(facts: ProcessFacts, outcome: ProcessOutcome) -> None:
    """Say how many rows were prepared, or why not."""
    write("process ended", {"dir": facts.dir, **asdict(outcome)})


@hookimpl
def dlk_before_fit(facts: FitFacts) -> None:
    """Say which run begins."""
    write("run begins", {"dir": facts.dir, "parameters": dict(facts.parameters)})


@hookimpl
def dlk_after_fit(facts: FitFacts, outcome: FitOutcome) -> None:
    """Say how the run ended, with its metrics."""
    write("run ended", {"dir": facts.dir, **asdict(outcome)})


@hookimpl
def dlk_before_predict(facts: PredictFacts) -> None:
    """Say what is about to be predicted or measured."""
    write(f"{facts.kind} begins", asdict(facts))


@hookimpl
def dlk_after_predict(facts: PredictFacts, outcome: PredictOutcome) -> None:
    """Say how many rows were predicted, or the scores."""
    write(f"{facts.kind} ended", {"bundle": facts.bundle, **asdict(outcome)})


@hookimpl
def dlk_before_request(facts: RequestFacts) -> None:
    """Say that a request came."""
    write("request begins", asdict(facts))


@hookimpl
def dlk_after_request(facts: RequestFacts, outcome: RequestOutcome) -> None:
    """Say how long a request took."""
    write("request ended", {"rows": facts.rows, **asdict(outcome)})


def write(event: str, about: dict[str, Any]) -> None:
    """Append one line; a single write, so that threads and processes do not mix theirs."""
    path = os.environ.get("DLK_RUN_LOG", "dlk-runs.jsonl")
    line = {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "event": event, **about}
    text = json.dumps(line, ensure_ascii=False) + "\n"
    number = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        os.write(number, text.encode())
    finally:
        os.close(number)
