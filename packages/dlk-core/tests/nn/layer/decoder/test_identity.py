from dlk.testing import DecoderConformance


class TestConformance(DecoderConformance):
    component = ("decoder", "identity")
