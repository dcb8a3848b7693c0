"""Graphs of eight bits: how near they come, what of them is written down, and what is refused."""

from __future__ import annotations

import json
import logging
import sys

import pytest
import torch

from dlk.bundle.read import Bundle
from dlk.export import quantize, write
from dlk.export.graph import ExportError, Graph
from dlk.export.quantize import compared, golden_answers
from dlk.export.write import export_bundle
from dlk.io import sha256_of


class Plain(torch.nn.Module):
    """Writes one output, the input times two; and one of whole numbers."""

    def forward(self, x):
        return {"logits": x["values"] * 2, "best": x["values"].argmax(-1)}


VALUES = torch.tensor([[1.0, -1.0], [3.0, float("-inf")]])
GRAPH = Graph(Plain(), ["values"], ["logits", "best"], predicts=False)


def off_by(share):
    """Return a call whose finite outputs are off by a share of themselves."""
    return lambda tensors: (tensors[0] * 2 * (1 + share), tensors[0].argmax(-1))


def test_outputs_are_compared_by_their_root_mean_square_over_all_batches():
    batches = [{"values": VALUES}, {"values": VALUES[:1]}]
    found = compared(GRAPH, off_by(0.05), batches)
    assert found["noise"] == pytest.approx(0.05, rel=1e-4)
    assert found["largest_difference"] == pytest.approx(0.05, rel=1e-4)
    half = [{"values": torch.tensor([[1.0, 0.0]])}, {"values": torch.tensor([[7.0, 0.0]])}]
    calls = iter([(torch.tensor([[2.5, 0.0]]), VALUES), (torch.tensor([[14.0, 0.0]]), VALUES)])
    ints = Graph(Plain(), ["values"], ["logits"], predicts=False)
    found = compared(ints, lambda tensors: next(calls)[:1], half)
    assert found["noise"] == pytest.approx(0.5 / (2**2 + 14**2) ** 0.5)
    assert found["largest_difference"] == pytest.approx(0.5 / 14)


def test_the_same_outputs_are_off_by_nothing():
    assert compared(GRAPH, off_by(0.0), [{"values": VALUES}])["noise"] == 0
    zeros = {"values": torch.zeros(2, 2)}
    assert compared(GRAPH, off_by(0.0), [zeros])["largest_difference"] == 0


def test_outputs_off_by_more_than_a_tenth_are_refused():
    compared(GRAPH, off_by(0.0999), [{"values": VALUES}])
    with pytest.raises(ExportError, match=r'changes "logits" by 10% .*without --quantize'):
        compared(GRAPH, off_by(0.102), [{"values": VALUES}])


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (torch.full((2, 2), float("nan")), '"logits" of the quantised graph is not finite'),
        (torch.zeros(2, 2), '"logits" of the quantised graph is not finite'),  # -inf is kept
        (torch.zeros(2, 3), r'gives "logits" as torch.float32 \(2, 3\), the model as .*\(2, 2\)'),
        (torch.zeros(2, 2).double(), "torch.float64"),
    ],
)
def test_outputs_of_another_kind_are_refused(made, message):
    with pytest.raises(ExportError, match=message):
        compared(GRAPH, lambda tensors: (made, tensors[0].argmax(-1)), [{"values": VALUES}])


def test_a_size_that_the_quantised_graph_refuses_is_named():
    def refuse(tensors):
        raise RuntimeError("no such size")

    with pytest.raises(ExportError, match=r"fails on sizes \[\(2, 2\)\]: RuntimeError: no such"):
        compared(GRAPH, refuse, [{"values": VALUES}])


@pytest.fixture(scope="module")
def engine(trained):
    return Bundle(trained.bundle).engine()


@pytest.fixture(scope="module")
def rows(trained):
    return [each["input"] for each in Bundle(trained.bundle).golden()]


def graph_of(engine):
    return Graph(engine.model, ["input_ids", "attention_mask"], ["logits"], predicts=False).eval()


def perturbed(engine, change):
    """Return a call that changes the logits of some calls: those with these numbers, from 0."""
    graph, number = graph_of(engine), iter(range(1000))

    def call(tensors):
        with torch.no_grad():
            (made,) = graph(*tensors)
        return (-made if next(number) in change else made * 1.01,)

    return call


def test_golden_rows_that_differ_in_scores_only_are_answered_alike(engine, rows):
    found = golden_answers(engine, graph_of(engine), perturbed(engine, {}), rows)
    assert found == {"rows": len(rows), "same": len(rows)}


def test_one_golden_row_may_be_answered_otherwise_and_two_of_eight_may_not(engine, rows):
    eight = [rows[number % len(rows)] for number in range(8)]
    found = golden_answers(engine, graph_of(engine), perturbed(engine, {3}), eight)
    assert found == {"rows": 8, "same": 7}
    with pytest.raises(ExportError, match=r"the answers of 2 of 8 golden rows: .*without"):
        golden_answers(engine, graph_of(engine), perturbed(engine, {3, 4}), eight)


def test_what_decoding_adds_to_exported_scores_is_compared(engine, rows, monkeypatch):
    graph = Graph(engine.model, ["input_ids", "attention_mask"], ["scores"], predicts=False).eval()
    decoder = type(engine.model.decoder)
    forward = decoder.forward
    monkeypatch.setattr(decoder, "forward", lambda self, x: {"scores": forward(self, x)["logits"]})
    monkeypatch.setattr(decoder, "predict", lambda self, x: {"logits": x["scores"]})
    assert golden_answers(engine, graph, graph_call(graph), rows)["same"] == len(rows)

    def wrong(tensors):
        return [-made for made in graph_call(graph)(tensors)]

    with pytest.raises(ExportError, match="golden rows"):
        golden_answers(engine, graph, wrong, rows)


def graph_call(graph):
    def call(tensors):
        with torch.no_grad():
            return graph(*tensors)

    return call


def test_only_onnx_is_quantised(trained, tmp_path):
    with pytest.raises(ExportError, match=r"--quantize int8 is for --format onnx.*torch_export"):
        export_bundle(trained.bundle, tmp_path / "out", format="torch_export", quantize="int8")
    with pytest.raises(ValueError, match="quantised to int8, got 'int4'"):
        export_bundle(trained.bundle, tmp_path / "out", format="onnx", quantize="int4")
    assert list(tmp_path.iterdir()) == []


def test_without_onnxruntime_the_extra_is_named(trained, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ExportError, match=r'needs onnxruntime.*pip install "dlk-core\[export\]"'):
        export_bundle(trained.bundle, tmp_path / "out", format="onnx", quantize="int8")


@pytest.fixture(scope="module")
def int8(trained, tmp_path_factory):
    """An exported folder, its manifest, and the handlers of the root logger before and after."""
    folder = tmp_path_factory.mktemp("exported") / "int8"
    root = logging.getLogger()
    kept, root.handlers = root.handlers, []  # a logger without any would be given one
    try:
        manifest = export_bundle(trained.bundle, folder, format="onnx", quantize="int8").manifest
        added = list(root.handlers)
    finally:
        root.handlers = kept
    return folder, manifest, added


@pytest.mark.slow
def test_the_manifest_says_how_near_int8_comes(int8):
    folder, manifest, added = int8
    assert manifest == json.loads((folder / "export.json").read_text())
    assert added == []
    quantized = manifest["quantized"]
    assert quantized["to"] == "int8"
    assert quantized["products"] >= 1
    assert quantized["tables"] >= 1
    assert 0 < quantized["difference"]["noise"] <= quantized["difference"]["limit"] == 0.1
    assert quantized["difference"]["largest_difference"] > 0
    assert quantized["golden"]["rows"] == quantized["golden"]["same"] > 0
    assert quantized["bytes"] == (folder / "model.onnx").stat().st_size
    assert manifest["parity"]["largest_difference"] <= 1e-5  # of the graph before
    files = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert files == {*manifest["digests"], "export.json"}
    assert manifest["digests"]["model.onnx"] == sha256_of(folder / "model.onnx")


@pytest.mark.slow
def test_weights_keep_seven_bits_and_each_channel_its_scale(int8):
    import onnx

    graph = onnx.load(int8[0] / "model.onnx").graph
    weights = {
        each.name: onnx.numpy_helper.to_array(each)
        for each in graph.initializer
        if each.data_type == onnx.TensorProto.INT8 and len(each.dims) == 2
    }
    assert weights
    assert all(abs(int(each.min())) <= 64 and each.max() <= 64 for each in weights.values())
    products = [node for node in graph.node if node.op_type == "MatMulInteger"]
    scales = {each.name: list(each.dims) for each in graph.initializer if "_scale" in each.name}
    for node in products:
        name = node.input[1]
        assert scales[name.removesuffix("_quantized") + "_scale"] == [weights[name].shape[1]]


@pytest.mark.slow
def test_a_model_whose_weights_lie_in_a_file_beside_it_is_quantised_whole(
    trained, int8, tmp_path, monkeypatch
):
    real = torch.onnx.ONNXProgram.save
    monkeypatch.setattr(
        torch.onnx.ONNXProgram, "save", lambda self, path: real(self, path, external_data=True)
    )
    folder = tmp_path / "out"
    done = export_bundle(trained.bundle, folder, format="onnx", quantize="int8").manifest
    assert done["quantized"]["golden"] == int8[1]["quantized"]["golden"]
    assert done["quantized"]["difference"] == int8[1]["quantized"]["difference"]
    assert not (folder / "float32").exists()


@pytest.mark.slow
def test_a_refusal_leaves_no_folder(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(quantize, "LIMIT", 1e-6)
    with pytest.raises(ExportError, match=r'int8 changes "logits"'):
        export_bundle(trained.bundle, tmp_path / "out", format="onnx", quantize="int8")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_graph_without_weights_to_multiply_is_refused(tmp_path):
    program = torch.export.export(Twice(), (torch.ones(2, 2),))
    write._save_onnx(program, Graph(Twice(), ["x"], ["y"], predicts=False), tmp_path / "a.onnx")
    with pytest.raises(ExportError, match="there is nothing to quantise"):
        quantize.quantize_onnx(tmp_path / "a.onnx", tmp_path / "b.onnx")


class Twice(torch.nn.Module):
    def forward(self, x):
        return (x * 2,)
