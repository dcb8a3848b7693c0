"""Graphs of a bundle's model: what is written, that it computes the same, and what is refused."""

from __future__ import annotations

import json
import sys
import zipfile

import numpy as np
import pytest
import torch

from dlk.bundle.read import Bundle
from dlk.errors import BundleError
from dlk.export import write
from dlk.export.graph import ExportError, batches_of, edges_of, look
from dlk.export.write import export_bundle
from dlk.io import sha256_of
from dlk.nn.layer.decoder.linear import LinearDecoder
from dlk.nn.layer.embedding.random import RandomEmbedding


@pytest.fixture(scope="module")
def onnx(trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "onnx"
    return folder, export_bundle(trained.bundle, folder, format="onnx").manifest


@pytest.fixture(scope="module")
def program(trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "program"
    return folder, export_bundle(trained.bundle, folder, format="torch_export").manifest


def given(size, length):
    ids = torch.randint(2, 20, (size, length), generator=torch.Generator().manual_seed(size))
    mask = torch.arange(length) < torch.arange(length, length - size, -1).clamp(min=1)[:, None]
    return ids * mask, mask


@pytest.mark.parametrize(("size", "length"), [(1, 1), (1, 7), (2, 3), (5, 40), (13, 2)])
def test_the_graph_runs_on_sizes_that_were_never_tried(trained, onnx, program, size, length):
    import onnxruntime

    model = Bundle(trained.bundle).engine().model
    ids, mask = given(size, length)
    with torch.no_grad():
        expected = model({"input_ids": ids, "attention_mask": mask})["logits"]
        made = torch.export.load(program[0] / "model.pt2").module()(ids, mask)[0]
    session = onnxruntime.InferenceSession(str(onnx[0] / "model.onnx"))
    (other,) = session.run(["logits"], {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})
    torch.testing.assert_close(made, expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(other, expected.numpy(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["onnx", "program"])
def test_the_manifest_says_what_goes_in_and_comes_out(trained, request, kind):
    folder, manifest = request.getfixturevalue(kind)
    assert manifest == json.loads((folder / "export.json").read_text())
    assert manifest["inputs"] == [
        {"name": "input_ids", "dtype": "int64", "axes": ["batch", "length"]},
        {"name": "attention_mask", "dtype": "bool", "axes": ["batch", "length"]},
    ]
    assert manifest["outputs"] == [{"name": "logits", "dtype": "float32", "axes": ["batch", None]}]
    assert manifest["bundle"] == Bundle(trained.bundle).manifest["digest"]
    assert manifest["not_exported"] == {}
    shapes = manifest["parity"]["shapes"]
    assert {shape[0][0] for shape in shapes} == {1, 3, 8}
    assert len({shape[0][1] for shape in shapes}) > 3
    assert manifest["parity"]["largest_difference"] <= 1e-5


@pytest.mark.parametrize("kind", ["onnx", "program"])
def test_every_file_has_its_digest_and_the_texts_can_be_made_ids(request, kind):
    folder, manifest = request.getfixturevalue(kind)
    files = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert files == {*manifest["digests"], "export.json"}
    assert {"process.json", "meta/tokenizer.json", manifest["model"]} <= files
    for name, digest in manifest["digests"].items():
        assert sha256_of(folder / name) == digest


def test_a_program_holds_no_pickle(program):
    with zipfile.ZipFile(program[0] / "model.pt2") as archive:
        for name in archive.namelist():
            content = archive.read(name)
            assert not content.startswith((b"PK", b"\x80\x02", b"\x80\x04", b"\x80\x05")), name


@pytest.mark.parametrize("kind", ["onnx", "program"])
def test_a_graph_names_no_file_of_this_machine(request, kind):
    folder, manifest = request.getfixturevalue(kind)
    content = (folder / manifest["model"]).read_bytes()
    assert b"inference.py" not in content
    assert b"site-packages" not in content


def test_a_folder_that_no_export_made_is_not_replaced(trained, onnx, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ExportError, match=r"would be replaced, and holds no export\.json"):
        export_bundle(trained.bundle, tmp_path, format="onnx")
    with pytest.raises(ExportError, match="would be replaced"):
        export_bundle(trained.bundle, trained.bundle, format="onnx")
    assert (tmp_path / "mine.txt").read_text() == "mine"
    export_bundle(trained.bundle, onnx[0], format="onnx")  # an export is


def test_a_graph_that_computes_something_else_is_not_left_behind(trained, tmp_path, monkeypatch):
    real = write._read_program

    def wrong(file):
        call = real(file)
        return lambda tensors: [made + 1e-3 * made.abs().max() for made in call(tensors)]

    monkeypatch.setattr(write, "_read_program", wrong)
    with pytest.raises(ExportError, match=r'computes another "logits" on sizes .*off by'):
        export_bundle(trained.bundle, tmp_path / "out", format="torch_export")
    assert list(tmp_path.iterdir()) == []


def test_a_graph_that_fails_on_a_size_is_refused(trained, tmp_path, monkeypatch):
    real = write._read_program

    def picky(file):
        call = real(file)

        def refuse(tensors):
            if len(tensors[0]) == 1:
                raise ValueError("one row is none")
            return call(tensors)

        return refuse

    monkeypatch.setattr(write, "_read_program", picky)
    with pytest.raises(ExportError, match=r"fails on sizes \[\(1, .*one row is none"):
        export_bundle(trained.bundle, tmp_path / "out", format="torch_export")


def test_what_depends_on_values_is_refused_with_the_reason(trained, tmp_path, monkeypatch, capfd):
    real = RandomEmbedding.forward

    def forward(self, x):
        out = real(self, x)
        return {
            k: v * 2 if x["input_ids"].sum() > 3 and v.dtype.is_floating_point else v
            for k, v in out.items()
        }

    monkeypatch.setattr(RandomEmbedding, "forward", forward)
    with pytest.raises(ExportError, match=r"cannot be traced as a graph: GuardOnDataDependent"):
        export_bundle(trained.bundle, tmp_path / "out", format="torch_export")
    assert not (tmp_path / "out").exists()
    shown = capfd.readouterr()
    assert shown.out == shown.err == ""


def decoding(monkeypatch, predict):
    """Let the model's decoder write the postprocessor's logits in `predict` only."""
    real = LinearDecoder.forward
    monkeypatch.setattr(
        LinearDecoder, "forward", lambda self, x: {"scores": real(self, x)["logits"]}
    )
    monkeypatch.setattr(LinearDecoder, "predict", predict)


def test_decoding_is_part_of_the_graph_where_it_can_be(trained, tmp_path, monkeypatch):
    decoding(monkeypatch, lambda self, x: {"logits": x["scores"].cumsum(-1)})
    done = export_bundle(trained.bundle, tmp_path / "out", format="torch_export").manifest
    assert [each["name"] for each in done["outputs"]] == ["logits"]
    assert done["not_exported"] == {}


def test_where_decoding_cannot_be_its_scores_are_and_the_manifest_says_so(
    trained, tmp_path, monkeypatch
):
    def predict(self, x):
        return {"logits": x["scores"] * (2 if x["scores"].max() > 0.5 else 1)}

    decoding(monkeypatch, predict)
    done = export_bundle(trained.bundle, tmp_path / "out", format="torch_export").manifest
    assert [each["name"] for each in done["outputs"]] == ["scores"]
    assert done["not_exported"]["outputs"] == ["logits"]
    assert "cannot be traced" in done["not_exported"]["reason"]


def test_names_are_those_that_the_model_reads(trained):
    bundle = Bundle(trained.bundle)
    engine = bundle.engine()
    seen = look(engine, batches_of(engine, [each["input"] for each in bundle.golden()]))
    assert seen.inputs == seen.to_emit == ("input_ids", "attention_mask")
    assert seen.passed == seen.decoded == ()


def test_the_edges_are_tried_too(program, onnx):
    for _, manifest in (program, onnx):
        edges = [tuple(shape[0]) for shape in manifest["parity"]["edges"]]
        assert (1, 1) in edges  # one word
        assert {size for size, _ in edges} == {1, 3}
        assert max(length for _, length in edges) > max(
            shape[0][1] for shape in manifest["parity"]["shapes"]
        )
        assert manifest["parity"]["refused"] == []


def test_an_edge_that_the_graph_refuses_is_written_down(trained, tmp_path, monkeypatch):
    real = write._read_program

    def picky(file):
        call = real(file)

        def refuse(tensors):
            if tensors[0].shape[1] == 1:
                raise ValueError("one word is none")
            return call(tensors)

        return refuse

    monkeypatch.setattr(write, "_read_program", picky)
    done = export_bundle(trained.bundle, tmp_path / "out", format="torch_export").manifest
    assert done["parity"]["refused"][0] == [[1, 1], [1, 1]]


def test_an_edge_on_which_the_graph_computes_something_else_is_refused(
    trained, tmp_path, monkeypatch
):
    real = write._read_program

    def wrong(file):
        call = real(file)
        return lambda tensors: [made + (tensors[0].shape[1] == 1) for made in call(tensors)]

    monkeypatch.setattr(write, "_read_program", wrong)
    with pytest.raises(ExportError, match=r'computes another "logits" on sizes \[\(1, 1\)'):
        export_bundle(trained.bundle, tmp_path / "out", format="torch_export")


def test_what_the_model_itself_cannot_take_is_no_edge(trained, monkeypatch):
    real = RandomEmbedding.forward

    def forward(self, x):
        if not 1 < x["input_ids"].shape[1] < 50:
            raise IndexError("too short or too long")
        return real(self, x)

    monkeypatch.setattr(RandomEmbedding, "forward", forward)
    bundle = Bundle(trained.bundle)
    engine = bundle.engine()
    assert edges_of(engine, [each["input"] for each in bundle.golden()]) == []


def test_the_manifest_names_the_inputs_of_the_graph_and_its_opset(onnx, program):
    import onnx as format_of
    import onnxruntime

    folder, manifest = onnx
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
    assert {each["name"] for each in manifest["inputs"]} == {
        each.name for each in session.get_inputs()
    }
    model = format_of.load(folder / "model.onnx")
    assert manifest["opset"] in {each.version for each in model.opset_import}
    assert program[1]["opset"] is None


@pytest.mark.parametrize("place", ["BUNDLE/onnx", "BUNDLE/meta", "LINK/onnx"])
def test_nothing_is_written_into_the_bundle(trained, tmp_path, place):
    (tmp_path / "link").symlink_to(trained.bundle)
    out = place.replace("BUNDLE", str(trained.bundle)).replace("LINK", str(tmp_path / "link"))
    with pytest.raises(ExportError, match="is in the bundle: name a folder elsewhere"):
        export_bundle(trained.bundle, out, format="torch_export")
    Bundle(trained.bundle)


def test_a_url_and_a_file_are_no_folder_for_graphs(trained, tmp_path):
    with pytest.raises(ExportError, match="memory://out is a URL: name a local folder"):
        export_bundle(trained.bundle, "memory://out", format="torch_export")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ExportError, match="is a file: name a folder"):
        export_bundle(trained.bundle, tmp_path / "file", format="torch_export")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_bundle_that_changes_meanwhile_is_noticed(trained, tmp_path, monkeypatch):
    import shutil

    bundle = shutil.copytree(trained.bundle, tmp_path / "bundle")
    real = write._written

    def slow(*args):
        (bundle / "meta" / "label_vocab.json").write_text('{"words": ["x"]}')
        return real(*args)

    monkeypatch.setattr(write, "_written", slow)
    with pytest.raises(BundleError, match=r"label_vocab\.json was changed"):
        export_bundle(bundle, tmp_path / "out", format="torch_export")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["zip", "URL", "URL of a zip"])
def test_a_zip_and_a_url_are_exported_as_the_folder_is(trained, program, tmp_path, kind):
    import fsspec

    from dlk.bundle.pack import zip_bundle

    packed = str(tmp_path / "bundle.zip")
    zip_bundle(trained.bundle, packed)
    places = {
        "zip": packed,
        "URL": "memory://exported/b",
        "URL of a zip": "memory://exported/b.zip",
    }
    files = fsspec.filesystem("memory")
    if kind == "URL":
        files.put(f"{trained.bundle}/", "/exported/b/", recursive=True)
    elif kind != "zip":
        files.put(packed, "/exported/b.zip")
    done = export_bundle(places[kind], tmp_path / "out", format="torch_export").manifest
    for part in ("inputs", "outputs", "bundle", "parity"):
        assert done[part] == program[1][part]
    for name in ("process.json", "meta/tokenizer.json"):
        assert done["digests"][name] == program[1]["digests"][name]


def test_a_large_model_has_its_weights_in_a_file_beside_it(trained, onnx, tmp_path, monkeypatch):
    from torch.onnx._internal.exporter import _onnx_program

    monkeypatch.setattr(_onnx_program, "_LARGE_MODEL_THRESHOLD", 0)  # 1.5 GiB in truth
    done = export_bundle(trained.bundle, tmp_path / "out", format="onnx").manifest
    assert {"model.onnx", "model.onnx.data"} <= set(done["digests"])
    assert (tmp_path / "out" / "model.onnx").stat().st_size < (
        onnx[0] / "model.onnx"
    ).stat().st_size
    moved = (tmp_path / "out").rename(tmp_path / "elsewhere")
    import onnxruntime

    ids, mask = given(2, 3)
    named = {"input_ids": ids.numpy(), "attention_mask": mask.numpy()}
    (made,) = onnxruntime.InferenceSession(str(moved / "model.onnx")).run(["logits"], named)
    (other,) = onnxruntime.InferenceSession(str(onnx[0] / "model.onnx")).run(["logits"], named)
    np.testing.assert_array_equal(made, other)


def test_a_bundle_without_rows_is_refused(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(Bundle, "golden", lambda self: [])
    with pytest.raises(ExportError, match="keeps no golden rows"):
        export_bundle(trained.bundle, tmp_path / "out", format="torch_export")


def test_what_is_missing_is_named_with_its_extra(trained, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ExportError, match=r'needs onnxruntime.*pip install "dlk-core\[export\]"'):
        export_bundle(trained.bundle, tmp_path / "out", format="onnx")
    assert not (tmp_path / "out").exists()


def test_another_format_is_a_wrong_call(trained, tmp_path):
    with pytest.raises(ValueError, match="formats are onnx, torch_export"):
        export_bundle(trained.bundle, tmp_path / "out", format="tflite")


@pytest.mark.parametrize(
    ("mine", "other", "far"),
    [
        ([1.0, 2.0], [1.0, 2.5], 0.25),
        ([0.1], [0.2], 0.1),
        ([float("-inf"), 1.0], [float("-inf"), 1.0], 0.0),
        ([float("-inf"), 1.0], [-1e30, 1.0], float("inf")),
        ([float("inf")], [float("-inf")], float("inf")),
        ([1.0], [float("nan")], float("inf")),
    ],
)
def test_distance_is_by_the_greatest_value_and_keeps_what_is_not_finite(mine, other, far):
    assert write._distance(torch.tensor(mine), torch.tensor(other)) == pytest.approx(far)


def test_whole_numbers_must_be_the_same():
    assert write._distance(torch.tensor([1, 2]), torch.tensor([1, 2])) == 0
    assert write._distance(torch.tensor([1, 2]), torch.tensor([1, 3])) == float("inf")
    assert write._distance(torch.ones(2), torch.ones(3)) == float("inf")
