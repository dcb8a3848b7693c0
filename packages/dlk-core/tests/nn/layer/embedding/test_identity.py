import torch

from dlk.config import make
from dlk.context import Setup
from dlk.registry import register
from dlk.testing import EmbeddingConformance


class TestConformance(EmbeddingConformance):
    component = ("embedding", "identity")


def test_a_batch_of_vectors_reaches_the_decoder():
    parts = {"@embedding@identity": {}, "@decoder@linear": {"input_size": 3, "output_size": 2}}
    model = register.build(make("model", "basic", parts), Setup.empty())
    assert model({"embedding": torch.ones(2, 5, 3)})["logits"].shape == (2, 5, 2)
