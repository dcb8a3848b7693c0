"""Options of the text postprocessors; imports no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dlk.config import (
    MISSING,
    AnyField,
    Base,
    BoolField,
    DictField,
    IntField,
    ListField,
    MapField,
    Signature,
    StrField,
    cregister,
)

CLASSIFICATION_METRICS = ("acc", "f1_macro", "f1_micro", "f1_weighted")
THRESHOLD_METRICS = (
    "threshold_best",
    "f1_micro_best",
    "threshold_best_macro",
    "f1_macro_best",
    "f1_macro_best_each",
)
POSITIVE_METRICS = ("precision", "recall", "f1")
BEST_METRICS = ("threshold_best", "f1_best")
SEARCHES = ("search", "search_macro", "search_each")
MATCH_METRICS = (
    "acc",
    "precision",
    "recall",
    "f1",
    "threshold_best",
    "f1_best",
    "average_precision",
    "auc",
)
REGRESSION_METRICS = ("mse", "mae", "pearson", "spearman")
ENTITY_METRICS = ("precision", "recall", "f1", "precision_macro", "recall_macro", "f1_macro")
RELATION_METRICS = tuple(
    f"{what}_{name}"
    for what in ("ent", "rel", "rel_boundary", "rel_given")
    for name in ENTITY_METRICS
)
# Columns of the rows, by the keys of `origin_input_map`; "" leaves the key of a prediction out.
TEXT_COLUMNS = {
    "uuid": "",
    "sentence": "sentence",
    "sentence_a": "sentence_a",
    "sentence_b": "sentence_b",
}
ENTITY_COLUMNS = {"unit_offsets": "unit_offsets", "entities_info": "entities_info"}
ONE_TEXT = {"uuid": "", "sentence": "sentence", **ENTITY_COLUMNS}


@cregister()
class TextConfig(Base):
    """What the predictions of all text tasks hold beside their own result."""

    data_type = StrField(
        value="single",
        options=["single", "pair"],
        help="whether a row has one text (sentence) or two (sentence_a, sentence_b)",
    )
    origin_input_map = MapField(
        TEXT_COLUMNS,
        help='raw column that each of these keys of a prediction copies; "" leaves the key out',
    )
    columns = ListField(
        value=[], help="further raw columns copied into each prediction under their own names"
    )
    predict_extend_return = DictField(
        value={},
        help="further keys of a prediction: {key: model output whose row it holds; of a text in "
        "windows, that of the first}",
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
        if not all(isinstance(name, str) and name for name in self.columns):
            yield "columns", f"expected names of columns, got {list(self.columns)}"
            return
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
    threshold = AnyField(
        value=None,
        help="multi_label: probability from which a label is given (null: 0.5): a number, {label: "
        "number} (0.5 for the others), a list in the vocabulary's order, or found on the validation"
        " data for the weights that are kept: search (by micro F1), search_macro (by macro F1), "
        "search_each (of each label, by its F1). With positive_label: probability from which that "
        "label is given, a number or search (null: where it is the most probable)",
    )
    positive_label = StrField(
        value="",
        help='the label that is looked for, as "spam": its precision, recall and f1 become metrics '
        'of these names; "": none',
    )

    def rules(self) -> Iterable[tuple[str, str]]:
        yield from TextConfig.rules(self)
        given = self.threshold
        if given is None:
            return
        if not self.multi_label and not self.positive_label:
            yield (
                "threshold",
                "of one label per row the most probable is given, whatever its probability: "
                "set multi_label or positive_label, or leave threshold out",
            )
        words = SEARCHES if self.multi_label else SEARCHES[:1]
        numbers = {"": given}
        if self.multi_label and isinstance(given, Mapping):
            numbers = {f' of "{name}"': number for name, number in given.items()}
        elif self.multi_label and isinstance(given, list):
            numbers = {f" at {place}": number for place, number in enumerate(given)}
        elif given in words:
            return
        for where, number in numbers.items():
            if not _is_probability(number):
                others = "" if where else f" or {', '.join(words)}"
                yield "threshold", f"expected a number in [0, 1]{where}{others}, got {number!r}"

    def own_keys(self) -> tuple[str, ...]:
        return ("labels", "predicts") if self.multi_label else ("label", "score", "predicts")

    def signature(self) -> Signature:
        return Signature(
            reads=tuple(dict.fromkeys((self.input_map["logits"], *self._extended()))),
            targets=(self.input_map["label_ids"],),
            metrics=(
                *CLASSIFICATION_METRICS,
                *(THRESHOLD_METRICS if self.multi_label else ()),
                *(POSITIVE_METRICS if self.positive_label else ()),
                *(BEST_METRICS if self.positive_label and not self.multi_label else ()),
            ),
            meta=(self.label_vocab,),
            columns=tuple(dict.fromkeys(self.copied_columns().values())),
            searched=("threshold",) if isinstance(self.threshold, str) else (),
            takes={self.input_map["logits"]: self.label_vocab},
        )


def _is_probability(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0.0 <= value <= 1.0


@cregister("postprocessor", "txt_match")
class TxtMatchConfig(TextConfig):
    """Whether two texts belong together; F1, the best threshold, and how well scores order."""

    data_type = StrField(
        value="pair",
        options=["single", "pair"],
        help="whether a row has two texts (sentence_a, sentence_b) or one (sentence)",
    )
    input_map = MapField(
        {"logits": "logits", "match": "match"},
        help="batch names of the logits, (B,) or (B, 1), and of the truth, the same: 1 or 0",
    )
    link = StrField(
        value="sigmoid",
        options=["sigmoid", "identity"],
        help="score of a logit: its sigmoid, in 0..1, or the logit itself: a cosine, in -1..1",
    )
    threshold = AnyField(
        value=0.5,
        help="score from which two texts match, or search: that of the best F1 on the validation "
        "data with the weights that are kept",
    )
    labels = ListField(
        value=["no", "match"], help="what a prediction says: of texts that do not match, and do"
    )

    def own_keys(self) -> tuple[str, ...]:
        return ("label", "score")

    def rules(self) -> Iterable[tuple[str, str]]:
        yield from TextConfig.rules(self)
        names = self.labels
        if len(names) != 2 or names[0] == names[1] or not all(isinstance(n, str) for n in names):
            yield "labels", f"expected two different names, got {names}"
        given = self.threshold
        if given == "search":
            return
        if isinstance(given, bool) or not isinstance(given, (int, float)) or abs(given) > 1:
            yield "threshold", f"expected a number in [-1, 1] or search, got {given!r}"
        elif self.link == "sigmoid" and given < 0:
            yield "threshold", f"a sigmoid lies in 0..1, got {given}"

    def signature(self) -> Signature:
        return Signature(
            reads=tuple(dict.fromkeys((self.input_map["logits"], *self._extended()))),
            targets=(self.input_map["match"],),
            metrics=MATCH_METRICS,
            columns=tuple(dict.fromkeys(self.copied_columns().values())),
            takes={self.input_map["logits"]: 1},
            searched=("threshold",) if self.threshold == "search" else (),
        )


@cregister("postprocessor", "txt_reg")
class TxtRegConfig(TextConfig):
    """A number per text; squared and absolute error, Pearson's and Spearman's correlation.

    The prediction is the model's number as it is, in the label's own unit. What maps it there is a
    matter of the model alone (the decoder `regression`), so training and prediction cannot differ.
    """

    input_map = MapField(
        {"logits": "logits", "value": "values"},
        help="batch names of the model's numbers, (B,) or (B, 1), and of the true ones, the same",
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
            takes={self.input_map["logits"]: 1},
        )


@cregister()
class EntitiesConfig(TextConfig):
    """What predictions of entities share: columns read, and which entities count as equal."""

    data_type = StrField(value="single", options=["single"], help="entities stand in one text")
    label_vocab = StrField(
        value=MISSING, help='vocabulary of the labels in the meta folder, as "label_vocab.json"'
    )
    origin_input_map = MapField(
        ONE_TEXT,
        help="raw columns: uuid and sentence are copied into predictions, unit_offsets say where "
        'units stand, entities_info is the truth of the metrics; "" for uuid or sentence: none',
    )
    ignore_labels = ListField(value=[], help="types of entities that are not predicted or counted")
    ignore_position = BoolField(
        value=False, help="metrics compare types and texts, wherever in its text an entity stands"
    )
    ignore_char = ListField(
        value=[], help="characters that do not count for the metrics at both ends of an entity"
    )

    def own_keys(self) -> tuple[str, ...]:
        return ("entities_info",)

    def entity_columns(self) -> tuple[str, ...]:
        """Raw columns that are read: those copied, and those that say where entities stand."""
        origin = self.origin_input_map
        named = (*self.copied_columns().values(), origin["unit_offsets"], origin["entities_info"])
        return tuple(dict.fromkeys(named))

    def rules(self) -> Iterable[tuple[str, str]]:
        yield from TextConfig.rules(self)
        if not all(isinstance(c, str) and c for c in self.ignore_char):
            yield "ignore_char", f"expected characters, got {list(self.ignore_char)}"
        if (self.ignore_char or self.ignore_position) and not self.origin_input_map["sentence"]:
            yield "origin_input_map", "metrics that compare texts need the column of the sentence"


@cregister("postprocessor", "seq_lab")
class SeqLabConfig(EntitiesConfig):
    """Entities that tags of pieces or words say, with probabilities; precision, recall, F1."""

    use_crf = BoolField(
        value=False, help="read the tags that linear_crf decoded, instead of logits (B, U, C)"
    )
    scheme = StrField(
        value="BIO", options=["BIO", "BIOES", "IO"], help="scheme of the tags in label_vocab"
    )
    strict = BoolField(
        value=False,
        help="only what the scheme would have written is an entity, as in seqeval's strict mode; "
        "false: I-x after O or another label begins one, as in conlleval",
    )
    aggregation_strategy = StrField(
        value="none",
        options=["none", "first", "average", "max"],
        help="one tag for the pieces of a word, by word_ids: that of the first, of the mean, or of "
        "the surest piece; none: each unit has its own",
    )
    input_map = MapField(
        {
            "logits": "logits",
            "predict_seq_label": "predict_seq_label",
            "predict_seq_marginal": "predict_seq_marginal",
            "predict_seq_conditional": "predict_seq_conditional",
        },
        help="batch names read: logits (B, U, C), or with use_crf the three of linear_crf, (B, U)",
    )
    origin_input_map = MapField(
        {**ONE_TEXT, "word_ids": "word_ids"},
        help="raw columns: uuid and sentence are copied into predictions, unit_offsets say where "
        "units stand, word_ids is read by aggregation_strategy, entities_info by the metrics; "
        '"" for uuid or sentence: none',
    )

    def outputs(self) -> tuple[str, ...]:
        """Names of the model's outputs that are decoded."""
        keys = ("predict_seq_label", "predict_seq_marginal", "predict_seq_conditional")
        return tuple(self.input_map[key] for key in (keys if self.use_crf else ("logits",)))

    def signature(self) -> Signature:
        words = () if self.aggregation_strategy == "none" else (self.origin_input_map["word_ids"],)
        return Signature(
            reads=tuple(dict.fromkeys((*self.outputs(), *self._extended()))),
            metrics=ENTITY_METRICS,
            meta=(self.label_vocab,),
            columns=tuple(dict.fromkeys((*self.entity_columns(), *words))),
            takes={} if self.use_crf else {self.input_map["logits"]: self.label_vocab},
        )

    def rules(self) -> Iterable[tuple[str, str]]:
        yield from EntitiesConfig.rules(self)
        if self.use_crf and self.aggregation_strategy != "none":
            yield (
                "aggregation_strategy",
                "a CRF has decided on one sequence of tags, so there is nothing to vote on: "
                'expected "none", or tags of words instead of pieces',
            )


@cregister()
class SpansConfig(EntitiesConfig):
    """What predictions from scores of all spans share."""

    data_type = StrField(
        value="single",
        options=["single", "pair"],
        help="whether a row has one text, or two, and entities in the second (mask_first_sent)",
    )
    origin_input_map = MapField(
        {**TEXT_COLUMNS, **ENTITY_COLUMNS},
        help="raw columns: uuid and the texts are copied into predictions, unit_offsets say where "
        'units stand, entities_info is the truth of the metrics; "" for uuid or a text: none',
    )
    overlap = StrField(
        value="any",
        options=["any", "nested", "flat"],
        help="entities that may stand together, the most probable first: any; nested: none that "
        "cross; flat: none that share a character",
    )
    max_entities_per_unit = IntField(
        value=4,
        minimum=1,
        help="a row has at most so many entities per unit, the most probable; bounds what a model "
        "costs that calls every span an entity",
    )

    def text_column(self) -> str:
        """The raw column of the text that entities stand in; empty: none is read."""
        origin = self.origin_input_map
        return str(origin["sentence" if self.data_type == "single" else "sentence_b"])

    def own_keys(self) -> tuple[str, ...]:
        return ("entities_info", "left_out")

    def rules(self) -> Iterable[tuple[str, str]]:
        yield from EntitiesConfig.rules(self)
        if (self.ignore_char or self.ignore_position) and not self.text_column():
            yield "origin_input_map", "metrics that compare texts need the column of the text"


@cregister("postprocessor", "span_cls")
class SpanClsConfig(SpansConfig):
    """Entities from scores of all spans, nested ones too; precision, recall and F1."""

    input_map = MapField(
        {"logits": "logits"}, help="batch name of the scores of spans, (B, L, L, C)"
    )

    def signature(self) -> Signature:
        return Signature(
            reads=tuple(dict.fromkeys((self.input_map["logits"], *self._extended()))),
            metrics=ENTITY_METRICS,
            meta=(self.label_vocab,),
            columns=self.entity_columns(),
            takes={self.input_map["logits"]: self.label_vocab},
        )


@cregister("postprocessor", "span_relation")
class SpanRelationConfig(SpansConfig):
    """Entities and relations between them; precision, recall and F1 of both."""

    label_vocab = StrField(
        value="entity_vocab.json", help="vocabulary of the entities' types in the meta folder"
    )
    relation_label_vocab = StrField(
        value="relation_vocab.json", help="vocabulary of the relations' types in the meta folder"
    )
    input_map = MapField(
        {"entity_logits": "entity_logits", "relation_logits": "relation_logits"},
        help="batch names of the scores: of spans, (B, L, L, E), and of pairs of units, "
        "(B, 2, L, L, R), or with G relation_groups (B, 2G, L, L, 2)",
    )
    origin_input_map = MapField(
        {**TEXT_COLUMNS, **ENTITY_COLUMNS, "relations_info": "relations_info"},
        help="raw columns: uuid and the texts are copied into predictions, unit_offsets say where "
        "units stand, entities_info and relations_info are the truth of the metrics; "
        '"" for uuid or a text: none',
    )
    entities = StrField(
        value="predicted",
        options=["predicted", "given"],
        help="relations are looked for among the entities that the model finds, or among those of "
        "the row (entities_info), which must then be there",
    )
    sym = BoolField(
        value=False,
        help="relations have no direction, as sym of span_relation_relabel trains them",
    )
    relation_groups = IntField(
        value=1,
        minimum=1,
        help="pairs of matrices: 1: one, whose labels are the types; else one for each type (label"
        "_seperate of span_relation_relabel): the number of types",
    )
    unrelated_entity = BoolField(
        value=True, help="predictions hold entities that are in no relation too"
    )
    ignore_relations = ListField(
        value=[], help="types of relations that are not predicted or counted"
    )
    max_relations_per_unit = IntField(
        value=32,
        minimum=1,
        help="a row has at most so many relations per unit, the most probable",
    )

    def own_keys(self) -> tuple[str, ...]:
        return ("entities_info", "relations_info", "left_out")

    def signature(self) -> Signature:
        names = ["relation_logits"]
        if self.entities == "predicted":
            names.insert(0, "entity_logits")
        classes: dict[str, int | str] = {
            "entity_logits": self.label_vocab,
            "relation_logits": self.relation_label_vocab if self.relation_groups == 1 else 2,
        }
        return Signature(
            reads=tuple(
                dict.fromkeys((*(self.input_map[name] for name in names), *self._extended()))
            ),
            metrics=RELATION_METRICS,
            meta=tuple(dict.fromkeys((self.label_vocab, self.relation_label_vocab))),
            columns=tuple(
                dict.fromkeys((*self.entity_columns(), self.origin_input_map["relations_info"]))
            ),
            takes={self.input_map[name]: classes[name] for name in names},
        )
