"""What became of the names and fields of dlk 0.1: data for `dlk.migrate.rules`.

`docs/migration.md` says the same to people, with more reasons. A component or field that is not
named here is carried over as it is, where we have one of that name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["COMPONENTS", "FIELDS", "NOT_YET", "WRITTEN", "Gone", "Rename", "Values"]


@dataclass(frozen=True, slots=True)
class Rename:
    """The field has another name."""

    to: str


@dataclass(frozen=True, slots=True)
class Gone:
    """The field is left out, and nothing is to be done.

    Attributes:
        why: where its meaning went.
        usual: the values that this is true of; any, if empty. Another one is lost, and somebody
            has to see to it.
    """

    why: str
    usual: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Values:
    """Some values mean something else.

    Attributes:
        of: pairs of an old value and the new one.
        why: why.
    """

    of: tuple[tuple[Any, Any], ...]
    why: str


Action = Rename | Gone | Values
Fields = Mapping[str, Action]

COMPONENTS: Mapping[tuple[str, str], str] = {
    ("callback", "prograss_bar"): "progress_bar",
    ("loss", "focal_loss"): "focal",
    ("display", "txt_match_reg"): "txt_match",
}
"""Type and old name to the new one; the type stays."""

NOT_YET: Mapping[tuple[str, str], str] = {
    ("adv_method", ""): "adversarial methods are not here yet",
    ("model", "token_enc_dec"): "generation is not here yet",
    ("model", "media_enc_token_dec"): "generation is not here yet",
    ("token_gen_decoder", ""): "generation is not here yet",
    ("token_sample", ""): "generation is not here yet",
    ("postprocessor", "token_generate"): "generation is not here yet",
    ("display", "summary"): "generation is not here yet",
    ("display", "img_caption"): "generation is not here yet",
    ("display", "img_cls"): "images are not here yet",
    ("postprocessor", "img_cls"): "images are not here yet",
    ("embedding", "vit"): "images are not here yet",
    ("subprocessor", "image_process"): "images are not here yet",
    ("optimizer", "adan"): "it is not here yet",
    ("scheduler", "warmup_rec_decay"): "it is not here yet",
    ("scheduler", "cosine_restart"): "it is not here yet",
    ("module", ""): "a decoder, encoder or embedding builds its parts from its own options",
}
"""What we have no component for, and why; under an empty name for a whole type."""

_SEEN = Gone("the kind of input is seen from the input")
_FOLDER = Gone("all stands in processed_data_dir")
_WRITTEN_BY_PREDICT = Gone("predictions are written by dlk predict")
_ENGINE = Gone("predictions are matched to rows by themselves")
_UNITS = Gone("unit_offsets, which the labelling steps write, say where units stand")
_FROM_TEXT = Gone("predictions are cut from the text")
_MASK = Gone("embedding_mask, which every embedding writes, is read instead")
_PROGRESS = Gone("runs keep their progress in checkpoints")
_NULL = Values((("", None),), "an empty text is a word, too; null stands for none")
_NO_SPECIAL_LABELS = Gone("special tokens carry the word `ignore`, which losses pass over")
_ALL = Values(((1.0, None), (1, None)), "a float is a share, an integer batches, null all")
_CELLS = Gone("cells of spans, which the collate `span` makes matrices of")

FIELDS: Mapping[tuple[str, str], Fields] = {
    ("processor", "default"): {
        "data_root": Gone("raw data is named by --data, or lies in the folder `data`"),
        "train_data_type": _SEEN,
        "valid_data_type": _SEEN,
        "test_data_type": _SEEN,
        "predict_data_type": _SEEN,
        "online_data_type": _SEEN,
        "meta_dir": _FOLDER,
        "do_save": _FOLDER,
        "meta_collection_on_train": _FOLDER,
        "load_meta_on_start": _FOLDER,
    },
    ("subprocessor", "token2id"): {
        "predict": Rename("predict_data_set"),
        "online": Rename("online_data_set"),
    },
    ("subprocessor", "token2id-label"): {
        "predict": Rename("predict_data_set"),
        "online": Rename("online_data_set"),
    },
    ("subprocessor", "token2charid"): {
        "predict": Rename("predict_data_set"),
        "online": Rename("online_data_set"),
    },
    ("subprocessor", "token_gather"): {"ignore": _NULL, "update": _NULL},
    ("subprocessor", "char_gather"): {"ignore": _NULL, "update": _NULL},
    ("subprocessor", "fast_tokenizer"): {
        "output_map.overflowing": Gone("expand_examples makes a record of each window"),
    },
    ("subprocessor", "seq_lab_relabel"): {
        "start_label": _NO_SPECIAL_LABELS,
        "end_label": _NO_SPECIAL_LABELS,
        "input_map.word_ids": Gone("the text and its offsets are read"),
    },
    ("subprocessor", "seq_lab_firstpiece_relabel"): {
        "start_label": _NO_SPECIAL_LABELS,
        "end_label": _NO_SPECIAL_LABELS,
        "output_map.word_word_ids": Gone("word_index says which word a piece belongs to"),
        "output_map.word_offsets": Gone("unit_offsets say where words stand"),
    },
    ("subprocessor", "span_cls_relabel"): {
        "output_map.label_ids": _CELLS,
        "output_map.processed_entities_info": Gone("entity_units say where entities stand"),
    },
    ("subprocessor", "span_relation_relabel"): {
        "strict": Gone("relations of entities that are not there are counted"),
        "input_map.word_ids": _UNITS,
        "input_map.offsets": _UNITS,
        "input_map.processed_entities_info": Gone("entity_units say where entities stand"),
        "output_map.label_ids": _CELLS,
    },
    ("subprocessor", "piece_rerank_relabel"): {
        "mask_fill": Gone("the collate `span` fills: matrices.….fill", (-100,)),
        "input_map.offsets": _UNITS,
        "output_map.label_ids": _CELLS,
    },
    ("datamodule", "default"): {"online_batch_size": Gone("a request is batched like the rest")},
    ("dataset", "default"): {
        "repeat_for_valid": Gone("it repeated training rows on each device", (True, False)),
    },
    ("imodel", "default"): {
        "gather_metrics": Gone("one device trains so far"),
        "validate_names": Gone("there is one validation split", (["val"],)),
        "test_names": Gone("there is one test split", (["test"],)),
    },
    ("encoder", "linear"): {
        "pool": Gone("an encoder gives a vector per position; pool in the decoder", (None,)),
    },
    ("encoder", "lstm"): {"input_map.attention_mask": _MASK},
    ("decoder", "linear_crf"): {"input_map.attention_mask": _MASK},
    ("decoder", "biaffine"): {
        "max_seq_len": Gone("there is no longest row"),
        "hidden_size": Values(((0, 150),), "0 stood for the width that was read"),
    },
    ("loss", "*"): {"reduction": Gone("a loss is the mean of what counts", ("mean",))},
    ("scheduler", "*"): {"last_epoch": _PROGRESS},
    ("scheduler", "constant"): {"num_warmup_steps": Gone("constant_warmup warms up")},
    ("callback", "checkpoint"): {
        "every_n_epochs": Values(((1, None),), "null saves where the metric is measured"),
        "save_on_train_epoch_end": Values(
            ((False, None),), "null saves where the metric is measured"
        ),
    },
    ("callback", "weight_average"): {
        "use_swa": Gone("method names the average"),
        "swa_lrs": Gone("rates are the scheduler's alone"),
        "swa_epoch_start": Gone("start_epoch, a number of epochs", (0.8,)),
        "annealing_epochs": Gone("rates are the scheduler's alone"),
        "annealing_strategy": Gone("rates are the scheduler's alone"),
        "device": Gone("the average lies where the weights do"),
    },
    ("callback", "early_stop"): {
        "check_on_train_epoch_end": Values(((False, None),), "null looks where it is measured"),
    },
    ("callback", "progress_bar"): {
        "theme": Gone("there is one"),
        "process_position": Gone("there is one bar"),
    },
    ("postprocessor", "*"): {
        "meta_dir": Gone("vocabularies are found in processed_data_dir"),
        "save_root_path": _WRITTEN_BY_PREDICT,
        "save_dir": _WRITTEN_BY_PREDICT,
        "start_save_step": _WRITTEN_BY_PREDICT,
        "start_save_epoch": _WRITTEN_BY_PREDICT,
        "input_map.index": _ENGINE,
    },
    ("postprocessor", "seq_lab"): {
        "tokenizer_path": _FROM_TEXT,
        "word_ready": Gone("after seq_lab_firstpiece_relabel the units are words"),
        "origin_input_map.input_ids": _UNITS,
        "origin_input_map.offsets": _UNITS,
        "origin_input_map.special_tokens_mask": _UNITS,
        "aggregation_strategy": Values((("simple", "none"),), "the scheme reads entities"),
    },
    ("postprocessor", "span_cls"): {
        "tokenizer_path": _FROM_TEXT,
        "origin_input_map.input_ids": _UNITS,
        "origin_input_map.offsets": _UNITS,
        "origin_input_map.special_tokens_mask": _UNITS,
        "origin_input_map.word_ids": _UNITS,
    },
    ("postprocessor", "span_relation"): {
        "tokenizer_path": _FROM_TEXT,
        "entity_label_vocab": Rename("label_vocab"),
        "origin_input_map.input_ids": _UNITS,
        "origin_input_map.offsets": _UNITS,
        "origin_input_map.special_tokens_mask": _UNITS,
        "origin_input_map.word_ids": _UNITS,
    },
    ("postprocessor", "txt_reg"): {
        "log_reg": Gone("the decoder `regression` has the link: sigmoid", (False,)),
    },
    ("trainer", "lightning"): {
        "logger": Gone("a run writes its logs to its folder"),
        "plugins": Gone("extra takes further options of Lightning", (None,)),
        "use_distributed_sampler": Gone("the datamodule sees to it"),
        "limit_predict_batches": Gone("predicting needs no Lightning"),
        "limit_train_batches": _ALL,
        "limit_val_batches": _ALL,
        "limit_test_batches": _ALL,
        "val_check_interval": _ALL,
        "devices": Values((("auto", 1), (-1, 1)), "one device trains so far"),
    },
    ("display", "*"): {
        "render_type": Gone("each display draws one kind of picture"),
        "hold.entities_info": Gone("nothing of the truth is asked of a request"),
        "hold.relations_info": Gone("nothing of the truth is asked of a request"),
    },
}
"""What becomes of fields, by type and (new) name; under ``*`` for a whole type. ``a.b`` is a part
of an object."""

WRITTEN: Mapping[tuple[str, str], Mapping[str, Any]] = {
    ("trainer", "lightning"): {"max_epochs": 1000},
    ("loss", "focal"): {"gamma": 1.0},
    ("subprocessor", "span_cls_relabel"): {"drop": "shorter"},
    ("subprocessor", "span_relation_relabel"): {
        "sym": True,
        "vocab": "label_vocab#relation.json",
    },
    ("subprocessor", "token_norm"): {"tokenizer_path": "tokenizer.json"},
    ("postprocessor", "span_relation"): {"sym": True},
}
"""Defaults of 0.1 that decide what comes out and are others now: they are written where a config
left them out."""
