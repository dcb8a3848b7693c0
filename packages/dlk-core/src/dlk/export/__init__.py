"""A bundle's model as a graph that runs without dlk: ONNX, or PyTorch's own exported program."""
