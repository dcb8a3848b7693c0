"""What the variants of the example change of process.jsonc and fit.jsonc."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict


class Changes(TypedDict):
    """Overrides of both configs, as the command line takes them."""

    process_set: Sequence[str]
    fit_set: Sequence[str]


FINE: Changes = {
    "process_set": (
        'processor.subprocessor@token_gather.gather_columns=["fine"]',
        'processor.subprocessor@token2id-label.input_map={"tokens": "fine"}',
    ),
    "fit_set": ("trainer.max_epochs=10",),
}
SMS: Changes = {
    "process_set": ("processor.subprocessor@fast_tokenizer.truncation.max_length=96",),
    "fit_set": (
        "trainer.max_epochs=2",
        "imodel.postprocessor.positive_label=spam",
        "trainer.callback.monitor=val_f1",
    ),
}
