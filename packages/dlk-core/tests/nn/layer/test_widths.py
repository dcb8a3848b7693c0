"""A part that is given vectors of another width than it was made for says so."""

import pytest
import torch

from dlk.config import make
from dlk.errors import DlkError
from dlk.registry import register


@pytest.mark.parametrize(
    ("family", "name", "config"),
    [
        ("decoder", "linear", {"pool": "mean"}),
        ("decoder", "linear", {}),
        ("encoder", "linear", {}),
        ("encoder", "lstm", {}),
    ],
)
def test_a_width_that_disagrees_is_named_with_both_numbers(family, name, config):
    part = register.build(make(family, name, {"input_size": 5, "output_size": 4, **config}))
    batch = {"embedding": torch.zeros(2, 3, 8), "embedding_mask": torch.ones(2, 3, dtype=bool)}
    with pytest.raises(DlkError, match=r'"embedding" of width 5 .* is given \(2, 3, 8\)'):
        part(batch)
    part({**batch, "embedding": torch.zeros(2, 3, 5)})
