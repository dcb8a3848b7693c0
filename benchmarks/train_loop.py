"""What a training loop adds to each step: dlk, Lightning and a bare loop, on the same batches.

A tiny linear model, so that the step itself is next to nothing, through

- bare: forward, zero_grad, backward, clip_grad_norm_, AdamW;
- Lightning, defaults: a plain LightningModule that logs its loss each step, Trainer() as it comes;
- Lightning, lean: the same without logging, progress bar, checkpoints and summary;
- dlk: DefaultIModel with model, loss, optimizer and scheduler as components, LightningTrainer with
  the callbacks checkpoint, lr_monitor and early_stop, logging to both of its logs.

All take the same AdamW (fused), clip at the same norm and read the same prepared batches. Then a
small BERT (4 blocks, width 256, batch 32, length 64), bare and through dlk.

    python -m benchmarks.train_loop [--steps 500 --rounds 11] [--bert-steps 24]

CPU seconds of one thread, medians; rounds of the tiny model are interleaved, and single steps of
the BERT: a bare step after each of dlk's. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from dlk.config import make
from dlk.context import Setup
from dlk.registry import register

LR = 1e-3
CLIP = 5.0
ROWS, WIDTH, CLASSES = 8, 4, 2
BERT: dict[str, Any] = {
    "hidden_size": 256,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 1024,
    "vocab_size": 8000,
    "max_position_embeddings": 128,
}
LINEAR = {
    "@embedding@identity": {},
    "@decoder@linear": {"input_size": WIDTH, "output_size": CLASSES, "pool": None},
}
GOAL_MS, GOAL_BERT = 0.35, 0.98
GPU_CHECK = "PYTORCH_NVML_BASED_CUDA_CHECK"
Batch = Mapping[str, Tensor]


class Timed:
    """Batches that note the CPU time at which each is asked for, those of the warm-up aside."""

    def __init__(self, batches: list[dict[str, Tensor]], skip: int) -> None:
        self.batches = batches
        self.skip = skip
        self.times: list[float] = []

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        self.times = []
        for batch in self.batches:
            self.times.append(time.process_time())
            yield batch
        self.times.append(time.process_time())

    @property
    def mean(self) -> float:
        """Seconds of a step, what happens every so many steps included."""
        kept = self.times[self.skip :]
        return (kept[-1] - kept[0]) / (len(kept) - 1)


class Interleaved(Timed):
    """Batches between which another step is made, on the same batch; both are timed."""

    def __init__(
        self, batches: list[dict[str, Tensor]], skip: int, other: Callable[[Batch], None]
    ) -> None:
        super().__init__(batches, skip)
        self.other = other
        self.own: list[float] = []
        self.others: list[float] = []

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        for number, batch in enumerate(self.batches):
            start = time.process_time()
            yield batch
            middle = time.process_time()
            self.other(batch)
            if number >= self.skip:
                self.own.append(middle - start)
                self.others.append(time.process_time() - middle)


def bare(model: nn.Module, forward: Callable[[nn.Module, Batch], Tensor], timed: Timed) -> None:
    """Train in a plain loop."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, fused=True)
    model.train()
    for batch in timed:
        take_step(model, optimizer, forward(model, batch))


def take_step(model: nn.Module, optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """Go one step down."""
    optimizer.zero_grad()
    torch.autograd.backward(loss)
    nn.utils.clip_grad_norm_(model.parameters(), CLIP)
    optimizer.step()


class Plain(pl.LightningModule):
    """What a user of Lightning writes."""

    def __init__(self, *, logs: bool) -> None:
        super().__init__()
        self.model = nn.Linear(WIDTH, CLASSES)
        self.logs = logs

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss = linear_loss(self.model, batch)
        if self.logs:
            self.log("train_loss", loss)
        return loss

    def configure_optimizers(self) -> Any:
        return torch.optim.AdamW(self.parameters(), lr=LR, fused=True)


def linear_loss(model: nn.Module, batch: Batch) -> Tensor:
    return cross_entropy(model(batch["embedding"]), batch["label_ids"])


def run_bare(timed: Timed, _: str) -> None:
    """The plain loop, without what Lightning's import does to it (a look for GPUs each step)."""
    before = os.environ.pop(GPU_CHECK, "")
    bare(nn.Linear(WIDTH, CLASSES), linear_loss, timed)
    os.environ[GPU_CHECK] = before


def run_lightning(timed: Timed, folder: str) -> None:
    """Lightning as it comes, but for the folder, the device and the clipping."""
    trainer = pl.Trainer(
        default_root_dir=folder, accelerator="cpu", max_epochs=1, gradient_clip_val=CLIP
    )
    trainer.fit(Plain(logs=True), train_dataloaders=timed)


def run_lean(timed: Timed, folder: str) -> None:
    trainer = pl.Trainer(
        default_root_dir=folder,
        accelerator="cpu",
        max_epochs=1,
        gradient_clip_val=CLIP,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Plain(logs=False), train_dataloaders=timed)


class Prepared:
    """A datamodule with nothing but prepared training batches."""

    def __init__(self, timed: Timed) -> None:
        self.timed = timed

    def loader(self, name: str) -> Timed | None:
        return self.timed if name == "train" else None

    def set_epoch(self, epoch: int) -> None:
        """The order is the same in each epoch."""


def run_dlk(timed: Timed, folder: str, model: dict[str, Any] | None = None) -> None:
    """dlk's imodel and trainer, with the callbacks of the examples and two more."""
    setup = Setup.empty(pretrained=False)
    config = {
        "@model@basic": model or LINEAR,
        "@loss@cross_entropy": {"pred_truth_pair": {"logits": "label_ids"}},
        "@optimizer@adamw": {"lr": LR},
    }
    imodel = register.build(make("imodel", "default", config), setup)
    callbacks = {
        "@callback@checkpoint": {},
        "@callback@lr_monitor": {},
        "@callback@early_stop": {"monitor": "train_loss_epoch", "mode": "min"},
    }
    options = {"accelerator": "cpu", "max_epochs": 1, "gradient_clip_val": CLIP}
    trainer = register.build(
        make("trainer", "lightning", {**options, **callbacks}), setup, run_dir=folder
    )
    trainer.fit(imodel, Prepared(timed))


CASES: dict[str, Callable[[Timed, str], None]] = {
    "bare": run_bare,
    "Lightning, defaults": run_lightning,
    "Lightning, lean": run_lean,
    "dlk": run_dlk,
}


def overhead(args: argparse.Namespace) -> dict[str, float]:
    """Print and return milliseconds of a step over the bare loop's, by case."""
    generator = torch.Generator().manual_seed(args.seed)
    skip = 100
    batches = [
        {
            "embedding": torch.randn(ROWS, WIDTH, generator=generator),
            "label_ids": torch.randint(CLASSES, (ROWS,), generator=generator),
        }
        for _ in range(skip + args.steps)
    ]
    found: dict[str, list[float]] = {name: [] for name in CASES}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(args.rounds):
            for name, run in CASES.items():
                timed = Timed(batches, skip)
                quietly(run, timed, os.path.join(folder, f"{number}-{name}"))
                found[name].append(timed.mean * 1e3)
    middle = {name: statistics.median(times) for name, times in found.items()}
    over = {name: middle[name] - middle["bare"] for name in CASES}
    print(f"{'a step of nothing':22} {'ms':>7} {'over bare':>10} {'of Lightning':>13}", flush=True)
    for name in CASES:
        ratio = over[name] / over["Lightning, defaults"]
        print(f"{name:22} {middle[name]:7.3f} {over[name]:10.3f} {ratio:13.2f}", flush=True)
    verdict = "reached" if over["dlk"] <= GOAL_MS else "missed"
    print(f"goal: dlk at most {GOAL_MS} ms over bare, and at most Lightning's defaults: {verdict}")
    return over


def small_bert(args: argparse.Namespace) -> float:
    """Print and return the bare loop's time over dlk's, for a step of a small BERT."""
    from transformers import BertConfig, BertModel

    generator = torch.Generator().manual_seed(args.seed)
    shape = (32, 64)
    batches = [
        {
            "input_ids": torch.randint(1, 8000, shape, generator=generator),
            "attention_mask": torch.ones(shape, dtype=torch.bool),
            "label_ids": torch.randint(CLASSES, shape[:1], generator=generator),
        }
        for _ in range(2 + args.bert_steps)
    ]

    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bert = BertModel(BertConfig(**BERT), add_pooling_layer=False)
            self.head = nn.Linear(BERT["hidden_size"], CLASSES)

    def loss(model: Any, batch: Batch) -> Tensor:
        mask = batch["attention_mask"].long()
        states = model.bert(input_ids=batch["input_ids"], attention_mask=mask)[0]  # (B, T, D)
        weights = mask.unsqueeze(-1)
        pooled = (states * weights).sum(1) / weights.sum(1)
        return cross_entropy(model.head(pooled), batch["label_ids"])

    classifier = Classifier().train()
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=LR, fused=True)

    def step(batch: Batch) -> None:
        take_step(classifier, optimizer, loss(classifier, batch))

    timed = Interleaved(batches, skip=2, other=step)
    with tempfile.TemporaryDirectory() as folder:
        BertConfig(**BERT, architectures=["BertModel"]).save_pretrained(folder)
        model = {
            "@embedding@bert_like": {
                "pretrained_model_path": folder,
                "embedding_dim": BERT["hidden_size"],
                "input_map": {"type_ids": ""},
            },
            "@decoder@linear": {
                "input_size": BERT["hidden_size"],
                "output_size": CLASSES,
                "pool": "mean",
            },
        }
        quietly(run_dlk, timed, str(Path(folder) / "run"), model)
    middle = {"bare": statistics.median(timed.others), "dlk": statistics.median(timed.own)}
    ratio = middle["bare"] / middle["dlk"]
    verdict = "reached" if ratio >= GOAL_BERT else "missed"
    print(
        f"small BERT: bare {middle['bare'] * 1e3:.0f} ms, dlk {middle['dlk'] * 1e3:.0f} ms a step: "
        f"{ratio:.3f} of the bare loop's speed (goal {GOAL_BERT}: {verdict})"
    )
    return ratio


def quietly(run: Callable[..., None], *args: Any) -> None:
    """Run without Lightning's hints; its progress bar writes to a file, as in a batch job."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    out, err = sys.stdout, sys.stderr
    with open(os.devnull, "w", encoding="utf-8") as nothing, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sys.stdout = sys.stderr = nothing
        try:
            run(*args)
        finally:
            sys.stdout, sys.stderr = out, err


def main() -> None:
    """Measure both and print ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--bert-steps", type=int, default=24, help="0: no BERT")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    over = overhead(args)
    result = {name: round(value, 3) for name, value in over.items()}
    if args.bert_steps:
        result["small BERT"] = round(small_bert(args), 3)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
