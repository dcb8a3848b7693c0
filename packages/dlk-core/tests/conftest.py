"""What the engine's tests share: a tiny task whose words decide the class, and one run of it."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

PARTS = Path(__file__).parent / "toy"
WORDS = {
    "animal": ["cat", "dog", "bird", "cow"],
    "food": ["bread", "milk", "rice", "soup"],
    "place": ["town", "lake", "hill", "park"],
}
FILLERS = ["the", "a", "near", "with", "some", "big", "old", "my"]
SIZES = {"train": 90, "valid": 22, "test": 21}


@dataclass(frozen=True)
class Toy:
    """A project folder: configs, tokenizer, rows, and (once processed) data."""

    folder: Path

    @property
    def process_config(self) -> Path:
        return self.folder / "process.jsonc"

    @property
    def fit_config(self) -> Path:
        return self.folder / "fit.jsonc"

    @property
    def processed(self) -> Path:
        return self.folder / "processed"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    def rows(self, split: str) -> list[dict[str, Any]]:
        """The raw rows of a split; always the same."""
        return make_rows(split)

    def process(self, *splits: str, overrides: Sequence[str] = ()) -> None:
        """Process the named splits (all of them where none is named)."""
        from dlk.preprocess import Process

        data = {split: self.rows(split) for split in splits or SIZES}
        Process(self.process_config, overrides=overrides).run(data)

    def drop(self, *splits: str) -> None:
        """Take splits out of the processed data."""
        for split in splits:
            shutil.rmtree(self.processed / split)

    def edit(self, changes: Mapping[str, Any]) -> None:
        """Change the fit config: by path of keys joined by ``/``; None removes a key."""
        config = json.loads(self.fit_config.read_text())
        for path, value in changes.items():
            here = config["@fit"]
            *keys, last = path.split("/")
            for key in keys:
                here = here.setdefault(key, {})
            if value is None:
                del here[last]
            else:
                here[last] = value
        self.fit_config.write_text(json.dumps(config))

    def train(self, *overrides: str, **options: Any) -> Any:
        """Train; the result of the one run."""
        from dlk.train import Train

        (done,) = Train(self.fit_config, overrides=overrides, **options).run().runs
        return done

    def metrics(self, run: str = "0") -> list[dict[str, Any]]:
        """The lines of a run's metrics.jsonl."""
        text = (self.logs / run / "metrics.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines()]


def make_rows(split: str) -> list[dict[str, Any]]:
    rng = random.Random(split)
    rows = []
    for number in range(SIZES[split]):
        label = rng.choice(sorted(WORDS))
        words = rng.choices(FILLERS, k=rng.randint(1, 6)) + rng.choices(WORDS[label], k=2)
        rng.shuffle(words)
        rows.append({"uid": f"{split}-{number}", "sentence": " ".join(words), "label": label})
    return rows


def make_tokenizer(path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = ["[PAD]", "[UNK]", *FILLERS, *(word for group in WORDS.values() for word in group)]
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(path))


PROCESS = {
    "@processor@default": {
        "processed_data_dir": "processed",
        "@subprocessor@fast_tokenizer": {"tokenizer_path": "tokenizer.json"},
        "@subprocessor@token_gather": {
            "gather_columns": ["label"],
            "token_vocab": "label_vocab.json",
            "pad": None,
            "unk": None,
        },
        "@subprocessor@token2id-label": {"input_map": {"tokens": "label"}},
    }
}
FIT = {
    "@fit": {
        "processed_data_dir": "processed",
        "log_dir": "logs",
        "seed": 1,
        "@trainer@lightning": {
            "accelerator": "cpu",
            "max_epochs": 2,
            "log_every_n_steps": 4,
            "@callback@checkpoint": {"monitor": "val_acc", "mode": "max"},
        },
        "@datamodule@default": {
            "train_batch_size": 8,
            "predict_batch_size": 8,
            "@dataset@default": {"key_type_pairs": {"input_ids": "long", "label_ids": "long"}},
            "@data_collate@default": {
                "key_padding_pairs": {"input_ids": 0},
                "gen_mask": {"input_ids": "attention_mask"},
            },
        },
        "@imodel@default": {
            "@model@basic": {
                "@embedding@random": {
                    "vocab_size": "@lambda @_G.meta.tokenizer.size",
                    "embedding_dim": 8,
                },
                "@decoder@linear": {
                    "input_size": 8,
                    "output_size": "@lambda @_G.meta.label_vocab.size",
                    "pool": "mean",
                    "dropout": 0.1,
                },
            },
            "@loss@cross_entropy": {"pred_truth_pair": {"logits": "label_ids"}},
            "@optimizer@adamw": {"lr": 0.05},
            "@scheduler@linear_warmup": {"num_warmup_steps": 2},
            "@postprocessor@toy_labels": {},
        },
    }
}


def make_toy(folder: Path) -> Toy:
    """Return the tiny task in a folder of its own, nothing run yet."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".intc.json").write_text(json.dumps({"src": [str(PARTS)]}))
    make_tokenizer(folder / "tokenizer.json")
    (folder / "process.jsonc").write_text(json.dumps(PROCESS))
    (folder / "fit.jsonc").write_text(json.dumps(FIT))
    return Toy(folder)


@pytest.fixture(scope="session")
def parts() -> Path:
    """The folder with the components of the tiny task's project."""
    return PARTS


@pytest.fixture(scope="session")
def _processed(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    toy = make_toy(tmp_path_factory.mktemp("processed") / "toy")
    toy.process()
    return toy


@pytest.fixture
def raw_toy(tmp_path: Path) -> Toy:
    """The tiny task, nothing run yet."""
    return make_toy(tmp_path / "toy")


@pytest.fixture
def toy(_processed: Toy, tmp_path: Path) -> Toy:
    """The tiny task, processed, in a folder of its own."""
    shutil.copytree(_processed.folder, tmp_path / "toy")
    return Toy(tmp_path / "toy")


@dataclass(frozen=True)
class Trained:
    """The tiny task after its run."""

    toy: Toy
    result: Any

    @property
    def dir(self) -> Path:
        return Path(self.result.dir)

    @property
    def bundle(self) -> Path:
        return Path(self.result.bundle)

    @property
    def checkpoint(self) -> str:
        return str(self.dir / "checkpoint" / "last.ckpt")


@pytest.fixture(scope="session")
def trained(_processed: Toy, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """The tiny task, processed and trained once for all tests; nobody changes its folder."""
    folder = tmp_path_factory.mktemp("trained") / "toy"
    shutil.copytree(_processed.folder, folder)
    toy = Toy(folder)
    return Trained(toy, toy.train())


class Site:
    """A folder of tiny distributions, as an installer leaves them, and processes that see them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "site"
        self.cache = folder / "cache"
        self.project = folder / "project"
        for each in (self.folder, self.project):
            each.mkdir()

    def write(self, path: str, text: str) -> Path:
        """Write a file of the folder, its text dedented."""
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text))
        return file

    def install(
        self, name: str, source: str = "", *, version: str = "1.0", more: str = "", points: str = ""
    ) -> Path:
        """Install a distribution whose plugin module has the given source; return its file."""
        package = re.sub(r"[-.]", "_", name)
        info = f"{package}-{version}.dist-info"
        head = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        self.write(f"{info}/METADATA", f"{head}{more}\nA distribution of a test.\n")
        self.write(f"{info}/entry_points.txt", points or f"[dlk]\n{name} = {package}.plugin\n")
        self.write(f"{package}/__init__.py", "")
        return self.write(f"{package}/plugin.py", source)

    def brings(self, name: str, *components: str, **options: Any) -> None:
        """Install a distribution that works and brings components: ``type.name``, or with
        ``=module:Class`` of its own."""
        package = re.sub(r"[-.]", "_", name)
        rows = []
        for component in components:
            names, _, address = component.partition("=")
            type_name, own = names.split(".")
            module, _, cls = (address or f"{package}.{own.replace('-', '_')}:Own").partition(":")
            rows.append(
                f"Component('{type_name}', '{own}', config='{module}:{cls}Config', "
                f"cls='{module}:{cls}', help='of {name}')"
            )
            self.write(
                f"{module.replace('.', '/')}.py",
                f"""
                from dlk.config import Base, IntField, cregister
                from dlk.registry import register
                @cregister("{type_name}", "{own}")
                class {cls}Config(Base):
                    "A component of {name}."
                    size = IntField(1, help="how large it is")
                @register("{type_name}", "{own}")
                class {cls}:
                    def __init__(self, config):
                        self.size = config.size
                """,
            )
        source = "from dlk.plugin import Component, hookimpl\nAPI = 1\n"
        source += f"@hookimpl\ndef dlk_components():\n    return [{', '.join(rows)}]\n"
        self.install(name, source, **options)

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a Python command in the project's folder; it sees the distributions."""
        path = os.pathsep.join([str(self.folder), *filter(None, [os.environ.get("PYTHONPATH")])])
        variables = {"PYTHONPATH": path, "XDG_CACHE_HOME": str(self.cache), **environment}
        return subprocess.run(
            [sys.executable, *command],
            capture_output=True,
            text=True,
            timeout=120,
            cwd=self.project,
            env={**os.environ, **variables},
        )

    def dlk(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the command ``dlk``."""
        return self.run("-m", "dlk.cli", *arguments, **environment)

    def plugins(self, **environment: str) -> dict[str, dict[str, Any]]:
        """Return what ``dlk plugins`` says of the distributions here, by distribution."""
        done = self.dlk("plugins", "--json", **environment)
        assert done.returncode == 0, done.stderr
        rows = json.loads(done.stdout)
        return {row["distribution"]: row for row in rows if row["distribution"][:4] != "dlk-"}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """An empty folder for distributions."""
    return Site(tmp_path)
