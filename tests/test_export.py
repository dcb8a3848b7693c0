"""Graphs of every task's model: the outputs that its postprocessor reads, or why there is none."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from dlk.bundle.read import Bundle
from dlk.export.graph import ExportError
from dlk.export.write import export_bundle
from dlk.inference import infer
from tests.small_tasks import (
    SEQ_LAB,
    SEQ_LAB_CRF,
    SPAN_CLS,
    SPAN_RELATION,
    TXT_CLS,
    TXT_CLS_SETS,
    TXT_CLS_WORDS,
    TXT_MATCH_BI,
    TXT_REG,
)

BERT = {
    "model_type": "bert",
    "vocab_size": 400,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 64,
}


def outputs(manifest):
    return {each["name"]: each["axes"] for each in manifest["outputs"]}


@pytest.mark.parametrize("task", [TXT_REG, SEQ_LAB], ids=lambda task: task.name)
def test_a_program_of_pytorch_gives_what_the_postprocessor_reads(task, tmp_path):
    done = export_bundle(task.train(tmp_path), tmp_path / "out", format="torch_export").manifest
    axes = ["batch", None] if task is TXT_REG else ["batch", "length", None]
    assert outputs(done) == {"logits": axes}
    assert done["parity"]["largest_difference"] == 0


def test_a_crf_gives_its_scores_and_says_that_the_best_path_is_left_out(tmp_path):
    bundle = SEQ_LAB_CRF.train(tmp_path)
    done = export_bundle(bundle, tmp_path / "out", format="torch_export").manifest
    assert outputs(done) == {"logits": ["batch", "length", None]}
    assert "predict_seq_label" in done["not_exported"]["outputs"]
    assert "data-dependent" in done["not_exported"]["reason"]


def test_a_recurrent_encoder_is_refused_with_the_reason(tmp_path):
    bundle = TXT_CLS_WORDS.train(tmp_path)
    with pytest.raises(ExportError, match="the model cannot be traced as a graph: TypeError"):
        export_bundle(bundle, tmp_path / "out", format="torch_export")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "task", [TXT_CLS, TXT_CLS_SETS, SPAN_CLS, SPAN_RELATION, TXT_MATCH_BI], ids=lambda t: t.name
)
def test_onnx_gives_what_the_postprocessor_reads(task, tmp_path):
    done = export_bundle(task.train(tmp_path), tmp_path / "out", format="onnx").manifest
    assert done["not_exported"] == {}
    assert done["parity"]["largest_difference"] < 1e-5
    expected = {
        "span_cls": {"logits": ["batch", "length", "length", None]},
        "txt_match_bi": {"logits": ["batch"]},
    }
    assert outputs(done) == expected.get(task.name, outputs(done))


@pytest.mark.slow
def test_a_bert_in_onnx_gives_the_scores_of_the_bundle(tmp_path):
    import onnxruntime

    config = TXT_CLS.fit_config(tmp_path)
    encoder = tmp_path / "encoder"
    encoder.mkdir()
    (encoder / "config.json").write_text(json.dumps(BERT))
    model = config["@fit"]["@imodel@default"]["@model@basic"]
    del model["@embedding@random"]
    model["@embedding@bert_like"] = {
        "pretrained_model_path": str(encoder),
        "from_pretrain": False,
        "embedding_dim": 16,
        "input_map": {"type_ids": ""},
    }
    model["@decoder@linear"]["input_size"] = 16
    from dlk.train import Train

    rows = list(TXT_CLS.rows)
    TXT_CLS.process(tmp_path, {"train": rows, "valid": rows[:8]})
    (done,) = Train(config).run().runs
    manifest = export_bundle(done.bundle, tmp_path / "out", format="onnx").manifest
    assert outputs(manifest) == {"logits": ["batch", None]}
    session = onnxruntime.InferenceSession(str(tmp_path / "out" / "model.onnx"))
    engine = Bundle(done.bundle).engine()
    for texts in (["Who ?"], [row["sentence"] for row in rows], [rows[2]["sentence"] * 2] * 2):
        batch = engine.datamodule.batch(engine.prepare({"sentence": texts}).records)
        with torch.inference_mode():
            expected = infer(engine.model, batch)["logits"].numpy()
        given = {each["name"]: batch[each["name"]].numpy() for each in manifest["inputs"]}
        np.testing.assert_allclose(session.run(["logits"], given)[0], expected, rtol=0, atol=1e-5)
