from dlk.testing import EncoderConformance


class TestConformance(EncoderConformance):
    component = ("encoder", "identity")
