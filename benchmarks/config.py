"""What reading configs costs: `python -m benchmarks.config`.

Prints one line of JSON for each figure, in seconds of CPU, the least of several tries:

- a config of 2,000 lines: parsed, resolved and checked to frozen objects;
- a config of 2,000 lines with 100 mistakes in it: until all of them are told;
- a grid of 100,000 points: until the first is there, and what a further one takes;
- memory that 200 points of that grid leave behind, in kB.
"""

from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

from dlk.config import jsonc, load
from dlk.errors import ConfigError

TRIES = 5


def large(mistakes: int = 0) -> str:
    """Return a config of about 2,000 lines with many losses, some of them wrong."""
    losses = {
        f"@loss@cross_entropy#l{n}": {
            "pred_truth_pair": {f"logits{n}": "label_ids"},
            "label_smoothing": 2
            if n < mistakes
            else f"@$$.@loss#l{n - 1}.label_smoothing @lambda s: s"
            if n
            else 0.1,
            "weight": [1.0, 2.0],
        }
        for n in range(200)
    }
    return json.dumps({"@loss@multi_loss": losses}, indent=1)


def grid() -> dict[str, Any]:
    """Return a config that spans 10^5 points."""
    ten = "@lambda _: [n / 20 for n in range(10)]"
    parts = {f"@loss@cross_entropy#l{n}": {"pred_truth_pair": {f"a{n}": "b"}} for n in range(5)}
    search = {f"loss#l{n}.label_smoothing": ten for n in range(5)}
    return {"@loss@multi_loss": {**parts, "_search": search}}


def least(work: Callable[[], object]) -> float:
    """Return the least CPU seconds of several tries."""
    spent = []
    for _ in range(TRIES):
        started = time.process_time()
        work()
        spent.append(time.process_time() - started)
    return round(min(spent), 4)


def refused(config: dict[str, Any]) -> int:
    """Return how many mistakes are told."""
    try:
        load(config).one()
    except ConfigError as error:
        return len(error.problems)
    raise AssertionError("the config has no mistakes")


def main() -> None:
    """Measure and print."""
    text = large()
    value = jsonc.parse(text).value
    load(value).one()  # imports
    tell("lines of the config", text.count("\n") + 1)
    tell("parse_s", least(lambda: jsonc.parse(text)))
    tell("resolve_and_check_s", least(lambda: load(value).one()))
    wrong = jsonc.parse(large(100)).value
    assert refused(wrong) == 100
    tell("tell_100_mistakes_s", least(lambda: refused(wrong)))
    searched = grid()
    loaded = load(searched)
    tell("points of the grid", len(loaded))
    tell("first_point_s", least(lambda: next(iter(load(searched)))))
    tell("last_point_s", least(lambda: loaded[-1]))
    points = iter(loaded)
    next(points)
    tracemalloc.start()
    for _ in range(200):
        next(points)
    tell("left_by_200_points_kB", tracemalloc.get_traced_memory()[0] // 1024)


def tell(name: str, figure: float) -> None:
    """Print one figure."""
    print(json.dumps({name: figure}))


if __name__ == "__main__":
    main()
