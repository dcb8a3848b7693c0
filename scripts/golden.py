"""Golden runs: what tiny trainings of the examples' configs predict, exactly.

    python -m scripts.golden                         # make all of them anew
    python -m scripts.golden span_cls text_reg       # or some

Only where a change of predictions is meant: the difference in `tests/fixtures/golden` is read like
code. `tests/test_golden.py` trains the same and compares.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import BertConfig, BertModel

from dlk.preprocess import Process
from dlk.server import Server
from dlk.train import RunResult, Train

ROOT = Path(__file__).resolve().parent.parent
FIXTURES = ROOT / "tests" / "fixtures"
SPLITS = ("train", "valid", "test")
TEXTS = ("sentence", "sentence_a", "sentence_b")
DIGITS = 5
ASKED = {"train": (2, 21, 52), "test": (1, 7, 10)}
# Other CPUs add in another order: MKL's and PyTorch's paths for SSE4.1 and for AVX2 differ by less
# than 1e-4 in all that is kept here (1e-3 in a rating of -4..4).
TOLERANCE = 1e-3
WIDTH = 32  # of the encoder that stands in MiniLM's place

Row = dict[str, Any]
Overrides = Mapping[str, Any]


@dataclass(frozen=True)
class Golden:
    """A training whose predictions are kept.

    Attributes:
        name: of the file that keeps them.
        configs: folder of the configs, below the repository.
        fixture: folder of its rows, below `tests/fixtures`.
        metrics: those that are kept.
        asked: of each split, the numbers of the rows that are asked for predictions.
        process: name of the config.
        fit: name of the config.
        process_set: what is changed of it.
        fit_set: what is changed of it.
        width: of the encoder that stands in MiniLM's place; 0: none does.
        kinds_of_names: the rows are of entities, and learnt are their types, as labels of the text.
    """

    name: str
    configs: str
    fixture: str
    metrics: tuple[str, ...]
    asked: Mapping[str, Sequence[int]] = field(default_factory=lambda: dict(ASKED))
    process: str = "process.jsonc"
    fit: str = "fit.jsonc"
    process_set: Overrides = field(default_factory=dict)
    fit_set: Overrides = field(default_factory=dict)
    width: int = WIDTH
    kinds_of_names: bool = False

    @property
    def file(self) -> Path:
        """Where the predictions are kept."""
        return FIXTURES / "golden" / f"{self.name}.json"

    def rows(self, split: str) -> list[Row]:
        """Return the rows of a split; a fixture that has none knows the same ones everywhere."""
        folder = FIXTURES / self.fixture
        file = folder / f"{split}.jsonl"
        lines = (file if file.is_file() else folder / "rows.jsonl").read_text(encoding="utf-8")
        rows: list[Row] = [json.loads(line) for line in lines.splitlines()]
        if not self.kinds_of_names:
            return rows
        return [
            {
                "sentence": row["sentence"],
                "labels": sorted(
                    {label for one in row["entities_info"] for label in one["labels"]}
                ),
            }
            for row in rows
        ]

    def questions(self) -> list[Row]:
        """Return the texts whose predictions are kept, without the truth."""
        return [self.texts(split)[n] for split, numbers in self.asked.items() for n in numbers]

    def texts(self, split: str) -> list[Row]:
        """Return the rows of a split as a client sends them."""
        return [{key: row[key] for key in TEXTS if key in row} for row in self.rows(split)]

    def train(self, folder: Path) -> RunResult:
        """Copy the configs into a new folder, process and train."""
        leftovers = shutil.ignore_patterns("data", "processed", "logs", "__pycache__")
        shutil.copytree(ROOT / self.configs, folder, ignore=leftovers)
        if self.width:
            tokenizer = FIXTURES / self.fixture / "tokenizer.json"
            small_bert(folder / "data" / "minilm", tokenizer, width=self.width)
        data = {split: self.rows(split) for split in SPLITS}
        Process(folder / self.process, overrides=self.process_set).run(data)
        (done,) = Train(folder / self.fit, overrides=self.fit_set).run().runs
        if done.state != "done":
            raise RuntimeError(f"the golden run {self.name} failed: {done.error}")
        return done

    def found(self, done: RunResult) -> Row:
        """Return what is kept of a run: some metrics, and the predictions of some rows."""
        answers = Server(done.bundle).fit(self.questions())
        return {
            "metrics": {name: _short(done.metrics[name]) for name in self.metrics},
            "answers": _short(answers),
        }


def small_bert(folder: Path, tokenizer: Path, *, width: int) -> None:
    """Write an encoder of one layer that has learnt nothing, and its tokenizer; always the same."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=Tokenizer.from_file(str(tokenizer)).get_vocab_size(),
        hidden_size=width,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    shutil.copy(tokenizer, folder)


def _short(value: Any) -> Any:  # Any: a part of a prediction
    """Return a prediction as it is kept: rounded, probabilities of labels by label.

    Labels that are about as probable may change places on another machine.
    """
    if isinstance(value, float):
        return round(value, DIGITS)
    if isinstance(value, list):
        return [_short(item) for item in value]
    if not isinstance(value, dict):
        return value
    made = {key: _short(item) for key, item in value.items()}
    if "predicts" in made:
        made["predicts"] = dict(sorted((p["label"], p["score"]) for p in made["predicts"]))
    return made


def differences(found: Any, expected: Any, where: str = "") -> list[str]:  # Any: as above
    """Return where two runs differ by more than `TOLERANCE`, or at all in what is no number."""
    if isinstance(found, float) and isinstance(expected, float):
        if abs(found - expected) <= TOLERANCE:
            return []
    elif isinstance(found, dict) and isinstance(expected, dict) and set(found) == set(expected):
        return [
            d for key in found for d in differences(found[key], expected[key], f"{where}.{key}")
        ]
    elif isinstance(found, list) and isinstance(expected, list) and len(found) == len(expected):
        pairs = enumerate(zip(found, expected, strict=True))
        return [d for n, (a, b) in pairs for d in differences(a, b, f"{where}[{n}]")]
    elif found == expected:
        return []
    return [f"{where}: expected {expected!r}, found {found!r}"]


def _learning(epochs: int, rate: float) -> Row:
    """Return the overrides of a short training of all parts together, evaluated at its end."""
    return {
        "trainer.max_epochs": epochs,
        "trainer.check_val_every_n_epoch": epochs,
        "datamodule.train_batch_size": 8,
        "imodel.optimizer": {"_base": "adamw", "lr": rate, "weight_decay": 0.01},
    }


SMALL = {"imodel.model.embedding.embedding_dim": WIDTH}
RELATIONS = "imodel.model.decoder.decoder#relation"
ENTITIES = ("test_loss", "test_precision", "test_recall", "test_f1", "test_f1_macro")
CLASSES = ("test_loss", "test_acc", "test_f1_macro", "test_f1_micro")
GOLDENS = {
    golden.name: golden
    for golden in (
        Golden(
            "text_cls",
            "examples/text_cls",
            "trec",
            CLASSES,
            fit_set={**SMALL, **_learning(8, 5e-3)},
        ),
        Golden(
            "text_cls_multi_label",
            "examples/text_cls",
            "tweets",
            (*CLASSES, "test_threshold_best", "test_f1_micro_best"),
            fit_set={
                **SMALL,
                **_learning(20, 5e-3),
                "trainer.callback.monitor": "val_f1_micro",
                "datamodule.data_collate.key_multi_hot": {
                    "label_ids": "@lambda @_G.meta.label_vocab.size"
                },
                "imodel.loss": {"_base": "bce", "pred_truth_pair": {"logits": "label_ids"}},
                "imodel.postprocessor.multi_label": True,
                "imodel.postprocessor.threshold": {"person": 0.6},
            },
            kinds_of_names=True,
        ),
        Golden(
            "text_match_cross",
            "examples/text_match",
            "pairs",
            (*CLASSES, "test_precision", "test_recall", "test_f1"),
            process="process_cross.jsonc",
            fit="fit_cross.jsonc",
            fit_set={**SMALL, **_learning(8, 3e-3)},
        ),
        Golden(
            "text_match_bi",
            "examples/text_match",
            "pairs",
            ("test_loss", "test_acc", "test_f1", "test_threshold_best", "test_auc"),
            process="process_bi.jsonc",
            fit="fit_bi.jsonc",
            fit_set={**SMALL, **_learning(8, 3e-3)},
        ),
        Golden(
            "text_reg",
            "examples/text_reg",
            "ratings",
            ("test_loss", "test_mae", "test_pearson", "test_spearman"),
            fit_set={**SMALL, **_learning(5, 2e-3)},
        ),
        Golden(
            "sequence_labeling",
            "tests/fixtures/sequence_labeling",
            "tweets",
            ("val_loss", *ENTITIES),
        ),
        Golden(
            "span_cls",
            "examples/span_cls",
            "tweets",
            ENTITIES,
            fit_set={**SMALL, **_learning(30, 5e-3), "imodel.model.decoder.hidden_size": 64},
        ),
        Golden(
            "span_relation_extraction",
            "examples/span_relation_extraction",
            "treebank",
            (
                "test_loss",
                "test_ent_f1",
                "test_rel_f1",
                "test_rel_boundary_f1",
                "test_rel_given_f1",
            ),
            fit_set={
                **_learning(40, 8e-3),
                "imodel.model.encoder.num_layers": 1,
                "imodel.model.encoder.output_size": 64,
                "imodel.model.decoder.decoder#entity.input_size": 64,
                f"{RELATIONS}.input_size": 64,
                f"{RELATIONS}.hidden_size": 64,
            },
            process_set={"processor.subprocessor@token_gather.min_freq": 1},
            asked={"train": (1, 7, 20)},
            width=0,
        ),
    )
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, and write what comes out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*GOLDENS, []], metavar="name")
    for name in parser.parse_args(arguments).names or GOLDENS:
        golden = GOLDENS[name]
        with tempfile.TemporaryDirectory() as scratch:
            found = golden.found(golden.train(Path(scratch) / "task"))
        text = json.dumps(found, indent=1, ensure_ascii=False)
        golden.file.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
