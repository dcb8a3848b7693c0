"""Make the golden run of sequence labelling anew: what `tests/test_sequence_labeling.py` expects.

    python -m scripts.sequence_labeling_golden

Only where a change of predictions is meant; the difference in `golden.json` is read like code.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from transformers import BertConfig, BertModel

from dlk.preprocess import Process
from dlk.server import Server
from dlk.train import RunResult, Train

FIXTURES = Path(__file__).resolve().parent.parent / "tests" / "fixtures"
GOLDEN = FIXTURES / "sequence_labeling" / "golden.json"
SPLITS = ("train", "valid", "test")
METRICS = ("val_loss", "test_loss", "test_f1", "test_precision", "test_recall")
ASKED = (
    "JV soccer leads 4-1 after Benitez scores again , less than 7 mins to play",
    "Its 3 o'clock on my first day in Vegas and I am already drunk "
    "and just sang meatloaf at karoke .",
    "Salty i broke one of my favorite Betsey Johnson necklaces today !!",
    "watching the VMA in Austin with Jimmie Johnson",
    "Now time too do my hair ! New look on deck !",
)


def small_bert(folder: Path, width: int) -> None:
    """Write an encoder of one layer that knows the fixture's pieces; always the same."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=400,
        hidden_size=width,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)


def train(folder: Path) -> RunResult:
    """Put the fixture into a new folder, process and train."""
    shutil.copytree(FIXTURES / "sequence_labeling", folder)
    shutil.copytree(FIXTURES / "tweets", folder / "data")
    shutil.move(folder / "data" / "tokenizer.json", folder)
    small_bert(folder / "encoder", 32)
    data = {split: str(folder / "data" / f"{split}.jsonl") for split in SPLITS}
    Process(folder / "process.jsonc").run(data)
    (done,) = Train(folder / "fit.jsonc").run().runs
    return done


def entities(bundle: str) -> dict[str, list[list[str]]]:
    """Return text and type of each entity that a bundle finds in the texts asked."""
    found: Any = Server(bundle).fit([{"sentence": text} for text in ASKED])
    return {
        row["sentence"]: [[e["text"], *e["labels"]] for e in row["entities_info"]] for row in found
    }


def main() -> None:
    """Train and write what came out."""
    with tempfile.TemporaryDirectory() as scratch:
        done = train(Path(scratch) / "task")
        golden = {
            "metrics": {name: round(done.metrics[name], 3) for name in METRICS},
            "entities": entities(done.bundle),
        }
    GOLDEN.write_text(json.dumps(golden, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
