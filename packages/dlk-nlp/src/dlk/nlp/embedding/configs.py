"""The options of dlk-nlp's embeddings."""

from __future__ import annotations

from dlk.config import (
    MISSING,
    AssetField,
    Base,
    BoolField,
    FloatField,
    IntField,
    MapField,
    cregister,
)


@cregister("embedding", "bert_like")
class BertLikeEmbeddingConfig(Base):
    """The states of any encoder of transformers: BERT, RoBERTa, DistilBERT, ELECTRA, DeBERTa …"""

    pretrained_model_path = AssetField(
        MISSING,
        help="folder with config.json and model.safetensors, or a name on the hub",
        include=("config.json",),
        hub=True,
    )
    from_pretrain = BoolField(
        value=True, help="start from the stored weights; false: from fresh ones of the same shape"
    )
    freeze = BoolField(value=False, help="keep the encoder's weights as they are, without dropout")
    dropout = FloatField(
        value=0.0, minimum=0.0, maximum=1.0, help="share of state entries dropped in training"
    )
    embedding_dim = IntField(
        value=0,
        minimum=0,
        help="width of the states, for references; checked against the model; 0: not stated",
    )
    input_map = MapField(
        {
            "input_ids": "input_ids",
            "attention_mask": "attention_mask",
            "type_ids": "type_ids",
            "gather_index": "",
        },
        help='batch names read; type_ids "": none; gather_index: positions to keep, padded with -1',
    )
    output_map = MapField(
        {"embedding": "embedding", "embedding_mask": "embedding_mask"}, help="batch names written"
    )
