"""Options of the text postprocessors; imports no torch."""

from __future__ import annotations

from collections.abc import Iterable

from dlk.config import (
    MISSING,
    Base,
    BoolField,
    DictField,
    FloatField,
    IntField,
    ListField,
    MapField,
    Signature,
    StrField,
    cregister,
)

CLASSIFICATION_METRICS = ("acc", "f1_macro", "f1_micro", "f1_weighted")
REGRESSION_METRICS = ("mse", "mae", "pearson", "spearman")


@cregister()
class TextConfig(Base):
    """What the predictions of all text tasks hold beside their own result."""

    data_type = StrField(
        value="single",
        options=["single", "pair"],
        help="whether a row has one text (sentence) or two (sentence_a, sentence_b)",
    )
    origin_input_map = MapField(
        {
            "uuid": "",
            "sentence": "sentence",
            "sentence_a": "sentence_a",
            "sentence_b": "sentence_b",
        },
        help='raw column that each of these keys of a prediction copies; "" leaves the key out',
    )
    columns = ListField(
        value=[], help="further raw columns copied into each prediction under their own names"
    )
    predict_extend_return = DictField(
        value={}, help="further keys of a prediction: {key: model output whose row it holds}"
    )

    def own_keys(self) -> tuple[str, ...]:
        """Keys of a prediction that the task itself fills."""
        return ()

    def copied_columns(self) -> dict[str, str]:
        """{key of a prediction: raw column it copies}."""
        texts = ("sentence",) if self.data_type == "single" else ("sentence_a", "sentence_b")
        origin = self.origin_input_map
        named = {key: origin[key] for key in ("uuid", *texts) if origin.get(key)}
        return named | {name: name for name in self.columns}

    def rules(self) -> Iterable[tuple[str, str]]:
        own, copied = set(self.own_keys()), set(self.copied_columns())
        for field, keys, taken in (
            ("columns", copied, own),
            ("predict_extend_return", set(self.predict_extend_return), own | copied),
        ):
            both = ", ".join(sorted(keys & taken))
            if both:
                yield field, f"a prediction already has the key {both}; rename it or leave it out"
        if not all(isinstance(v, str) and v for v in self.predict_extend_return.values()):
            yield "predict_extend_return", "each value must be the name of a model output"

    def _extended(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.predict_extend_return.values()))


@cregister("postprocessor", "txt_cls")
class TxtClsConfig(TextConfig):
    """Classes of texts: the best label, its probability, the others by theirs; accuracy and F1."""

    label_vocab = StrField(
        value=MISSING, help='vocabulary of the labels in the meta folder, as "label_vocab.json"'
    )
    input_map = MapField(
        {"logits": "logits", "label_ids": "label_ids"},
        help="batch names of the logits (B, C) and of the true ids, (B,) or, multi_label, (B, C)",
    )
    top_k = IntField(
        value=0, minimum=0, help="how many labels `predicts` lists, best first; 0: all of them"
    )
    multi_label = BoolField(
        value=False, help="any number of labels per row: sigmoid of each logit instead of softmax"
    )
    threshold = FloatField(
        value=0.5,
        minimum=0.0,
        maximum=1.0,
        help="multi_label: probability from which a label is given",
    )

    def own_keys(self) -> tuple[str, ...]:
        return ("labels", "predicts") if self.multi_label else ("label", "score", "predicts")

    def signature(self) -> Signature:
        return Signature(
            reads=tuple(dict.fromkeys((self.input_map["logits"], *self._extended()))),
            targets=(self.input_map["label_ids"],),
            metrics=CLASSIFICATION_METRICS,
            meta=(self.label_vocab,),
            columns=tuple(dict.fromkeys(self.copied_columns().values())),
        )


@cregister("postprocessor", "txt_reg")
class TxtRegConfig(TextConfig):
    """A number per text; squared and absolute error, Pearson's and Spearman's correlation.

    Predictions and metrics are on one scale, which must be the scale that training fits:

    - `log_reg` off: the prediction is the logit itself. Train with `mse` on the raw values.
    - `log_reg` on: the prediction is sigmoid(logit). Train with `bce`, which takes the same
      sigmoid inside; values must lie in 0..1. With `mse`, which would fit the raw logit, the
      prediction would be another number than the one that was trained.
    """

    input_map = MapField(
        {"logits": "logits", "value": "values"},
        help="batch names of the logits, (B,) or (B, 1), and of the true values, the same",
    )
    log_reg = BoolField(
        value=False, help="predict sigmoid(logit), as trained by bce, instead of the logit (mse)"
    )
    rank_cap = IntField(
        value=1_000_000,
        minimum=0,
        help="rows whose values are kept for spearman, a fixed sample of a larger set; 0: all",
    )

    def own_keys(self) -> tuple[str, ...]:
        return ("value",)

    def signature(self) -> Signature:
        return Signature(
            reads=tuple(dict.fromkeys((self.input_map["logits"], *self._extended()))),
            targets=(self.input_map["value"],),
            metrics=REGRESSION_METRICS,
            columns=tuple(dict.fromkeys(self.copied_columns().values())),
        )
