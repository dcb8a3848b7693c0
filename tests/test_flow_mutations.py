"""`dlk check` agrees with a run: what it passes can be built and predicts, what it refuses cannot.

Every name that a step or a part of a small task writes or reads is renamed in turn, and every step
and every column taken away.
"""

from __future__ import annotations

import copy
import json
import random
import shutil
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from dlk.cli._terminal import Terminal
from dlk.cli.command.check import check
from dlk.config import child, node_of
from dlk.config.reading import load
from dlk.context import Context, Setup
from dlk.errors import ConfigError, DlkError, Problem
from dlk.fit import load_fit, load_meta
from dlk.inference import Engine, Parts, add_prediction, outputs_for, raw_inputs, rows_of
from dlk.nn.base import merge
from dlk.preprocess import Process
from dlk.registry import register
from tests.small_tasks import TASKS, Config, SmallTask

MAPS = ("input_map", "output_map")
NAMED = (
    "key_type_pairs",
    "key_padding_pairs",
    "gen_mask",
    "key_multi_hot",
    "matrices",
    "pred_truth_pair",
    "gather_columns",
    "vocab",
    "token_vocab",
    "label_vocab",
    "relation_label_vocab",
    "loss",
    "cells",
    "mask",
    "column",
    "keep",
)
SIZES = ("input_size", "output_size", "embedding_dim")
INSIDE = ("trace", "layers")  # what is inside of values, only the data can tell
Change = tuple[str, tuple[Any, ...], Any]
"""A file (process or fit), the path of a value, and what it becomes; None: it is taken away."""


def configs_of(task: SmallTask, folder: Path) -> dict[str, Config]:
    return {"process": task.process_config(folder), "fit": task.fit_config(folder)}


def changes(configs: dict[str, Config]) -> Iterator[Change]:
    """Yield every renaming, every taking away, and every size that is another."""
    for file, config in configs.items():
        point = load(config, global_values=_numbers if file == "fit" else None).one()
        for key, root in point.configs.items():
            for path, part in _paths(root, (key,)):
                for where, name in _mapped(path, part):
                    yield file, where, f"{name}x"
                    yield file, where, "zz_other"
        for path, value in _values(config, ()):
            yield from ((file, path, made) for made in _others(path, value))


def _mapped(path: tuple[Any, ...], part: Any) -> Iterator[tuple[tuple[Any, ...], str]]:
    for field in MAPS:
        for name, value in (getattr(part, field, None) or {}).items():
            if value:
                yield (*path, field, name), value


def _others(path: tuple[Any, ...], value: Any) -> Iterator[Any]:
    """Yield what a value that is written down may become; None: it is taken away."""
    last = path[-1]
    if isinstance(last, str) and last.startswith("@subprocessor"):
        yield None
    elif last in SIZES and isinstance(value, int):
        yield value + 1
    elif any(part in NAMED for part in path):
        if isinstance(value, str) and not value.startswith("@"):
            yield f"{value}x"
        if last not in NAMED and isinstance(last, str):
            yield None


def _numbers(tree: Any) -> Any:
    from dlk.flow.experiment import references

    made: dict[str, dict[str, int]] = {}
    for _, entry, name in references(tree):
        made.setdefault(entry, {})[name] = 1_000_000
    return {"meta": made}


def _paths(config: Any, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Any]]:
    yield path, config
    for key, below in node_of(config).children.items():
        yield from _paths(below, (*path, key))


def _values(value: Any, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Any]]:
    if path:
        yield path, value
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _values(part, (*path, key))
    elif isinstance(value, list):
        for number, part in enumerate(value):
            yield from _values(part, (*path, number))


def changed(configs: dict[str, Config], change: Change) -> dict[str, Config] | None:
    """Return the configs with one change; None where it changes nothing that stands there."""
    file, path, value = change
    made = copy.deepcopy(configs)
    here: Any = made[file]
    for key, following in pairwise(path):
        if isinstance(here, dict) and key not in here:
            if key.startswith("@"):
                return None  # a default child: it is not written down
            here[key] = {}
        here = here[key]
        if isinstance(here, str) and isinstance(following, str):
            return None
    if value is None:
        del here[path[-1]]
    else:
        here[path[-1]] = value
    return made


def problems_of(configs: dict[str, Config], folder: Path) -> Sequence[Problem]:
    files = []
    for name, config in configs.items():
        (folder / f"{name}.jsonc").write_text(json.dumps(config, indent=1))
        files.append((str(folder / f"{name}.jsonc"), ()))
    try:
        check(files, Terminal(quiet=True))
    except ConfigError as error:
        return error.problems
    return ()


def run(configs: dict[str, Config], task: SmallTask, folder: Path) -> None:
    """Process, build, compute one batch with loss and metrics, and predict rows without truth."""
    torch.manual_seed(0)
    rows = list(task.rows)
    Process(configs["process"]).run({"train": rows, "valid": rows})
    fit = load_fit(configs["fit"]).one().root("fit")
    meta = load_meta(fit.processed_data_dir)
    imodel = child(fit, "imodel")
    setup = Setup(meta=meta)
    datamodule = register.build(child(fit, "datamodule"), setup)
    datamodule.open(fit.processed_data_dir)
    model = register.build(child(imodel, "model"), setup).eval()
    loss = register.build(child(imodel, "loss"), setup)
    postprocessor = register.build(child(imodel, "postprocessor"), setup)
    batch = next(iter(datamodule.loader("valid")))
    out = merge(batch, model(batch), writer=model)
    loss.compute(out, Context(training=True, total_steps=1))
    out = add_prediction(model, out)
    wanted = outputs_for(postprocessor, out)
    raw = rows_of(datamodule, "valid", batch["_index"], postprocessor)
    metrics = postprocessor.new_metrics()
    metrics.update(wanted, raw, postprocessor.measured(wanted, raw))
    if not metrics.compute():
        raise DlkError("nothing was measured")
    process = load(configs["process"]).one().root("processor")
    engine = Engine.build(
        Parts.of(process, fit), model.state_dict(), Setup(meta), inputs=raw_inputs(process, fit)
    )
    given = [{k: v for k, v in row.items() if k not in task.truths} for row in rows]
    answers = engine.predict({name: [row[name] for row in given] for name in given[0]})
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
        if missing := set(task.answers) - set(answer):
            raise DlkError(f"predictions lack {missing}")


def laid(task: SmallTask, folder: Path) -> dict[str, Config]:
    """Return the task's configs, its rows laid beside them."""
    (folder / "data").mkdir()
    for split in ("train", "valid"):
        lines = "".join(json.dumps(row) + "\n" for row in task.rows)
        (folder / "data" / f"{split}.jsonl").write_text(lines)
    return configs_of(task, folder)


def disagreements(task: SmallTask, folder: Path, wanted: Sequence[Change]) -> list[str]:
    """Return the changes of which the check and the run do not say the same."""
    configs = laid(task, folder)
    found: list[str] = []
    for change in wanted:
        made = changed(configs, change)
        if made is None or made == configs:
            continue
        shutil.rmtree(folder / "processed", ignore_errors=True)
        said = problems_of(made, folder)
        failed = ""
        try:
            run(made, task, folder)
        except (DlkError, ValueError, KeyError, RuntimeError, TypeError, IndexError) as error:
            failed = f"{type(error).__name__}: {error}"
        if bool(said) != bool(failed):
            found.append(f"{change}: the check says {list(map(str, said))}, the run {failed!r}")
    return found


def everything(task: SmallTask, folder: Path) -> list[Change]:
    return [c for c in changes(configs_of(task, folder)) if not set(c[1]) & set(INSIDE)]


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_a_sound_task_passes_the_check_and_runs(task, tmp_path):
    configs = laid(task, tmp_path)
    assert not problems_of(configs, tmp_path)
    run(configs, task, tmp_path)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_the_check_refuses_what_cannot_run_and_nothing_else(task, tmp_path):
    sample = random.Random(task.name).sample(everything(task, tmp_path), 3)
    assert disagreements(task, tmp_path, sample) == []


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_each_name_renamed_or_taken_away_is_refused_or_runs(task, tmp_path):
    assert disagreements(task, tmp_path, everything(task, tmp_path)) == []
