"""The variants of the example: what they change of both configs, or configs of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict


class Configs(TypedDict):
    """Names of both configs in this folder."""

    process: str
    fit: str


class Changes(TypedDict):
    """Overrides of both configs, as the command line takes them."""

    process_set: Sequence[str]
    fit_set: Sequence[str]


FINE: Changes = {
    "process_set": (
        'processor.subprocessor@token_gather.gather_columns=["fine"]',
        'processor.subprocessor@token2id-label.input_map={"tokens": "fine"}',
    ),
    "fit_set": ("trainer.max_epochs=6",),
}
SMS: Changes = {
    "process_set": ("processor.subprocessor@fast_tokenizer.truncation.max_length=96",),
    "fit_set": (
        "trainer.max_epochs=2",
        "imodel.postprocessor.positive_label=spam",
        "trainer.callback.monitor=val_f1",
    ),
}
MULTI: Configs = {"process": "process_multi.jsonc", "fit": "fit_multi.jsonc"}
