"""How good dlk's examples are, beside the same training in plain PyTorch and transformers.

Each job is trained once per system and seed, in a process of its own: with the example's two config
files (dlk), and with the script ``benchmarks/TASK_baseline.py`` (plain). Results are appended to a
file as they come; what is there already is not run again, so a table may be made over several days.

    python -m benchmarks.quality --jobs 'trec-coarse@*' sms --seeds 1 2 3
    python -m benchmarks.quality --table
    python -m benchmarks.quality --table --out benchmarks/quality.jsonl  # as in docs/results.md
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from statistics import fmean, stdev

from examples.data import DOMAINS
from examples.text_cls.variants import FINE, MULTI, SMS

ROOT = Path(__file__).resolve().parent.parent
SYSTEMS = ("dlk", "plain")
# Student's t, 0.975 quantile, for 1 to 30 degrees of freedom.
T_975 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
    2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip

Numbers = dict[str, float]


@dataclass(frozen=True, slots=True)
class Job:
    """One thing to train, by two systems.

    Attributes:
        name: ``GROUP`` or ``GROUP@PART``: the table has one line per group, over all its parts.
        dlk: trains by the example's configs with a seed, and returns its numbers.
        plain: the same in plain PyTorch.
        measures: the numbers shown; both systems return them all. The first has the target.
        target: what the group's mean should reach.
    """

    name: str
    dlk: Callable[[int], Numbers]
    plain: Callable[[int], Numbers]
    measures: tuple[str, ...]
    target: float | None = None

    @property
    def group(self) -> str:
        """The line of the table that the job is part of."""
        return self.name.partition("@")[0]


def example(
    name: str,
    *,
    data: str,
    models: Sequence[str] = ("minilm",),
    measures: Mapping[str, str],
    split: int = 0,
    hold_out: str | None = None,
    process: str = "process.jsonc",
    fit: str = "fit.jsonc",
    process_set: Sequence[str] = (),
    fit_set: Sequence[str] = (),
    further: Callable[[str, Path], Numbers] | None = None,
) -> Callable[[int], Numbers]:
    """Return what trains an example by its own two config files.

    Args:
        name: folder below ``examples``.
        data: the data set of `examples.data`, put into a fresh folder.
        models: further names of `examples.data`, linked into the example's own ``data`` folder.
        measures: {name in the table: name in the run's metrics}, such as ``{"f1": "test_f1"}``.
        split: which of the hash splits.
        hold_out: vader: the domain that is the test.
        process: the process config in the folder.
        fit: the fit config in the folder.
        process_set: overrides of the process config.
        fit_set: overrides of the fit config.
        further: makes more numbers, given the bundle and the test's rows (a jsonl file).
    """

    def run(seed: int) -> Numbers:
        from dlk.preprocess import Process
        from dlk.train import Train
        from examples.data import put_all

        folder = ROOT / "examples" / name
        build = ROOT / "build"
        build.mkdir(exist_ok=True)
        put_all(models, folder / "data")
        scratch = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=build))
        try:
            put_all([data], scratch / "data", split=split, hold_out=hold_out)
            processed = f"processed_data_dir={scratch / 'processed'}"
            Process(folder / process, overrides=[f"processor.{processed}", *process_set]).run(
                {
                    part: str(scratch / "data" / f"{part}.jsonl")
                    for part in ("train", "valid", "test")
                }
            )
            places = [f"fit.{processed}", f"fit.log_dir={scratch / 'logs'}", f"fit.seed={seed}"]
            started = time.perf_counter()
            (done,) = Train(folder / fit, overrides=[*places, *fit_set]).run().runs
            seconds = time.perf_counter() - started
            if done.state != "done":
                raise SystemExit(f"{name}, seed {seed}: {done.state}: {done.error}")
            found = {mine: done.metrics[theirs] for mine, theirs in measures.items()}
            if further is not None:
                found |= further(done.bundle, scratch / "data" / "test.jsonl")
            return {**found, "seconds": round(seconds, 1)}
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    return run


def script(module: str, **options: object) -> Callable[[int], Numbers]:
    """Return what calls ``run(seed=…, **options)`` of a module of benchmarks."""

    def run(seed: int) -> Numbers:
        found: Numbers = importlib.import_module(f"benchmarks.{module}").run(seed=seed, **options)
        return found

    return run


def text_cls_jobs() -> Iterable[Job]:
    """Yield questions by five splits, coarse and fine, short messages, and kinds in tweets."""
    for split in range(5):
        yield Job(
            f"trec-coarse@{split}",
            dlk=example("text_cls", data="trec", split=split, measures={"accuracy": "test_acc"}),
            plain=script("text_cls_baseline", data="trec", split=split),
            measures=("accuracy",),
            target=0.95,
        )
        yield Job(
            f"trec-fine@{split}",
            dlk=example(
                "text_cls", data="trec", split=split, measures={"accuracy": "test_acc"}, **FINE
            ),
            plain=script("text_cls_baseline", data="trec", split=split, labels="fine"),
            measures=("accuracy",),
            target=0.84,
        )
    scores = {"f1": "test_f1", "accuracy": "test_acc"}
    yield Job(
        "sms",
        dlk=example("text_cls", data="sms", measures=scores, **SMS),
        plain=script("text_cls_baseline", data="sms"),
        measures=("f1", "accuracy"),
        target=0.97,
    )
    scores = {"f1_micro": "test_f1_micro", "f1_macro": "test_f1_macro"}
    for split in range(3):
        yield Job(
            f"tweet-kinds@{split}",
            dlk=example("text_cls", data="kinds", split=split, measures=scores, **MULTI),
            plain=script("text_cls_multi_baseline", split=split),
            measures=("f1_micro", "f1_macro"),
        )


def text_match_jobs() -> Iterable[Job]:
    """Yield pairs of records, by both kinds of model."""
    for kind in ("cross", "bi"):
        yield Job(
            f"matching-{kind}",
            dlk=example(
                "text_match",
                data="matching",
                measures={"f1": "test_f1", "accuracy": "test_acc"},
                process=f"process_{kind}.jsonc",
                fit=f"fit_{kind}.jsonc",
            ),
            plain=script("text_match_baseline", variant=kind),
            measures=("f1", "accuracy"),
            target=0.93,
        )


def by_domain(bundle: str, test: Path) -> Numbers:
    """Return Pearson's correlation for each domain of rated sentences."""
    import numpy as np

    from dlk.predict import Predict

    rows = [json.loads(line) for line in test.read_text(encoding="utf-8").splitlines()]
    found = Predict(bundle).run(rows)
    assert isinstance(found, list)  # no file was asked for
    made: Numbers = {}
    for domain in sorted({row["domain"] for row in rows}):
        pairs = [
            (answer["value"], row["values"])
            for answer, row in zip(found, rows, strict=True)
            if row["domain"] == domain
        ]
        made[f"pearson_{domain}"] = float(np.corrcoef(np.array(pairs).T)[0, 1])
    return made


def text_reg_jobs() -> Iterable[Job]:
    """Yield rated sentences: a random test with each domain's part, and each domain unseen."""
    scores = {"pearson": "test_pearson", "mae": "test_mae"}
    yield Job(
        "vader",
        dlk=example("text_reg", data="vader", measures=scores, further=by_domain),
        plain=script("text_reg_baseline"),
        measures=("pearson", "mae", *(f"pearson_{domain}" for domain in DOMAINS)),
        target=0.84,
    )
    for domain in DOMAINS:
        yield Job(
            f"vader-without-{domain}",
            dlk=example("text_reg", data="vader", hold_out=domain, measures=scores),
            plain=script("text_reg_baseline", hold_out=domain),
            measures=("pearson", "mae"),
        )


def sequence_labeling_jobs() -> Iterable[Job]:
    """Yield names in tweets, each variant on three splits."""
    scores = ("f1", "precision", "recall", "f1_macro")
    for variant in ("first_piece", "crf", "lstm", "lstm_crf", "words"):
        units = "words" if variant == "words" else "pieces"
        for split in range(3):
            yield Job(
                f"tweets-{variant}@{split}",
                dlk=example(
                    "sequence_labeling",
                    data="ner",
                    models=("glove",) if variant == "words" else ("minilm",),
                    split=split,
                    measures={name: f"test_{name}" for name in scores},
                    process=f"process_{units}.jsonc",
                    fit=f"fit_{variant}.jsonc",
                ),
                plain=script("sequence_labeling_baseline", variant=variant, split=split),
                measures=scores,
            )


def span_jobs() -> Iterable[Job]:
    """Yield names in tweets by spans on three splits, and words with their relations."""
    scores = ("f1", "precision", "recall")
    for split in range(3):
        yield Job(
            f"tweet-spans@{split}",
            dlk=example(
                "span_cls",
                data="ner",
                split=split,
                measures={name: f"test_{name}" for name in scores},
            ),
            plain=script("span_cls_baseline", split=split),
            measures=scores,
        )
    scores = ("rel_f1", "rel_given_f1", "ent_f1")
    yield Job(
        "turkish-relations",
        dlk=example(
            "span_relation_extraction",
            data="turkish",
            models=(),
            measures={name: f"test_{name}" for name in scores},
        ),
        plain=script("span_relation_baseline"),
        measures=scores,
    )


JOBS: tuple[Job, ...] = (
    *text_cls_jobs(),
    *text_match_jobs(),
    *text_reg_jobs(),
    *sequence_labeling_jobs(),
    *span_jobs(),
)


@dataclass(frozen=True, slots=True)
class Result:
    """What one system came to on one job with one seed.

    Attributes:
        numbers: by measure, and the seconds of training: of the plain scripts that alone, of dlk
            also its test and its bundle.
        commit: of the tree that was run, with a ``+`` where it was changed.
    """

    job: str
    system: str
    seed: int
    numbers: Numbers
    commit: str = ""

    @property
    def key(self) -> tuple[str, str, int]:
        """What makes a second run of it needless."""
        return self.job, self.system, self.seed


def read(path: Path) -> list[Result]:
    """Return the results in a file, the last one of each key; none where there is no file."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    found = [Result(**json.loads(line)) for line in lines if line.strip()]
    return list({result.key: result for result in found}.values())


def commit_of_tree() -> str:
    """Return the commit that is checked out, with a ``+`` where files differ from it."""
    command = ["git", "describe", "--always", "--exclude=*", "--dirty=+"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def measure(job: Job, system: str, seed: int, out: Path) -> None:
    """Run once in a fresh process and append the result; a failure is told and leaves no result."""
    print(f"{job.name}, {system}, seed {seed} …", file=sys.stderr, flush=True)
    commit = commit_of_tree()
    command = [sys.executable, "-m", "benchmarks.quality", "--one", job.name, system, str(seed)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
        print(f"{job.name}, {system}, seed {seed} failed:\n{tail}", file=sys.stderr, flush=True)
        return
    numbers = json.loads(done.stdout.splitlines()[-1])
    print(f"  {numbers}", file=sys.stderr, flush=True)
    line = asdict(Result(job.name, system, seed, numbers, commit))
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean and the half width of its 95 % interval by Student's t; nan for one value."""
    if len(values) < 2:
        return fmean(values), math.nan
    t = T_975[len(values) - 2] if len(values) - 2 < len(T_975) else 1.96
    return fmean(values), t * stdev(values) / math.sqrt(len(values))


def table(jobs: Sequence[Job], results: Sequence[Result]) -> str:
    """Return a Markdown table: one line per group and measure.

    A pair is the two systems on one part with one seed; the difference is over pairs alone, the
    means over all that was run.
    """
    lines = [
        "| job | measure | runs | dlk | plain | dlk - plain, 95 % | target |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    groups: dict[str, list[Job]] = {}
    for job in jobs:
        groups.setdefault(job.group, []).append(job)
    for group, parts in groups.items():
        names = {job.name for job in parts}
        found = {s: _by_place(results, names, s) for s in SYSTEMS}
        if not any(found.values()):
            continue
        for number, name in enumerate(parts[0].measures):
            lines.append(_line(group, name, found, parts[0].target if number == 0 else None))
    return "\n".join(lines)


def _by_place(
    results: Iterable[Result], names: set[str], system: str
) -> dict[tuple[str, int], Numbers]:
    kept = (r for r in results if r.job in names and r.system == system)
    return {(r.job, r.seed): r.numbers for r in kept}


def _line(
    group: str,
    measure: str,
    found: Mapping[str, Mapping[tuple[str, int], Numbers]],
    target: float | None,
) -> str:
    dlk, plain = found["dlk"], found["plain"]
    pairs = [dlk[place][measure] - plain[place][measure] for place in sorted(dlk.keys() & plain)]
    difference = ""
    if pairs:
        mean, half = interval(pairs)
        difference = f"{mean:+.4f}" if math.isnan(half) else f"{mean:+.4f} ± {half:.4f}"
    cells = [
        group,
        measure,
        f"{len(dlk)}/{len(plain)}",
        _mean(dlk, measure),
        _mean(plain, measure),
        difference,
        "" if target is None else f"{target:g}",
    ]
    return f"| {' | '.join(cells)} |"


def _mean(found: Mapping[tuple[str, int], Numbers], measure: str) -> str:
    values = [numbers[measure] for numbers in found.values() if measure in numbers]
    return f"{fmean(values):.4f}" if values else ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is missing, then print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=__doc__)
    parser.add_argument("--jobs", nargs="+", default=["*"], metavar="NAME", help="names or globs")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "quality.jsonl")
    parser.add_argument("--table", action="store_true", help="print the table and run nothing")
    parser.add_argument("--list", action="store_true", help="print the names of the jobs")
    parser.add_argument("--one", nargs=3, metavar=("JOB", "SYSTEM", "SEED"), help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.one:
        name, system, seed = chosen.one
        (job,) = (job for job in JOBS if job.name == name)
        print(json.dumps((job.dlk if system == "dlk" else job.plain)(int(seed))))
        return 0
    jobs = [job for job in JOBS if any(_fits(job, pattern) for pattern in chosen.jobs)]
    if not jobs or chosen.list:
        print("\n".join(job.name for job in JOBS))
        return 0 if chosen.list else 1
    if not chosen.table:
        there = {result.key for result in read(chosen.out)}
        for seed in chosen.seeds:
            for job in jobs:
                for system in chosen.systems:
                    if (job.name, system, seed) not in there:
                        measure(job, system, seed, chosen.out)
    print(table(jobs, read(chosen.out)))
    return 0


def _fits(job: Job, pattern: str) -> bool:
    return fnmatchcase(job.name, pattern) or fnmatchcase(job.group, pattern)


if __name__ == "__main__":
    sys.exit(main())
