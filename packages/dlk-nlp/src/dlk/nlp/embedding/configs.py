"""The options of dlk-nlp's embeddings."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from dlk.config import (
    MISSING,
    AssetField,
    Base,
    BoolField,
    Chain,
    Children,
    DictField,
    FloatField,
    IntField,
    ListField,
    MapField,
    Signature,
    StrField,
    children,
    cregister,
)
from dlk.nn.layer.embedding.configs import with_meta


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
    layer_pooling = StrField(
        value="last",
        options=["last", "mean", "mix"],
        help="the last layer's states, the mean over `layers`, or their learnt weighted sum",
    )
    layers = ListField(
        value=[],
        help="layers joined by mean or mix: 0 the embeddings, 1 … after each block, negative from "
        "the end; empty: all. Blocks above all layers that are read are not built (one is, frozen, "
        "in models with a norm behind the last block)",
    )
    gather = StrField(
        value="first",
        options=["first", "mean", "max"],
        help="a word's state from its pieces: the one at gather_index, or all that word_index "
        "gives the word",
    )
    gather_layer = DictField(
        value={}, help="further outputs: {batch name: number of the layer whose states it holds}"
    )
    input_map = MapField(
        {
            "input_ids": "input_ids",
            "attention_mask": "attention_mask",
            "type_ids": "type_ids",
            "gather_index": "",
            "word_index": "",
        },
        help='batch names read, "" for none; gather_index: positions to keep, padded with -1; '
        "word_index: the number of each position's word, -1 for none",
    )
    output_map = MapField(
        {"embedding": "embedding", "embedding_mask": "embedding_mask"}, help="batch names written"
    )

    def rules(self) -> Iterable[tuple[str, str]]:
        for field, numbers in (
            ("layers", list(self.layers)),
            ("gather_layer", list(self.gather_layer.values())),
        ):
            wrong = [n for n in numbers if not isinstance(n, int) or isinstance(n, bool)]
            if wrong:
                yield field, f"expected whole numbers of layers, got {wrong}."
        if self.layers and self.layer_pooling == "last":
            yield (
                "layers",
                'layer_pooling "last" reads the last layer alone: set it to "mean" or "mix", or '
                "leave layers out.",
            )
        taken = sorted(set(self.gather_layer) & set(self.output_map.values()))
        if taken:
            yield "gather_layer", f'"{taken[0]}" is written already: choose another name.'
        word = [name for name in ("gather_index", "word_index") if not self.input_map[name]]
        if self.gather != "first" and word:
            yield (
                "gather",
                f'"{self.gather}" needs gather_index and word_index in input_map; missing: '
                f"{', '.join(word)}.",
            )
        elif self.gather == "first" and self.input_map["word_index"]:
            yield (
                "gather",
                '"first" reads gather_index alone: set gather to "mean" or "max", or map '
                'word_index to "".',
            )

    def signature(self) -> Signature:
        plain = Base.signature(self)
        vectors = (self.output_map["embedding"], *self.gather_layer)
        return replace(
            plain,
            writes=(*plain.writes, *self.gather_layer),
            gives=dict.fromkeys(vectors, self.embedding_dim) if self.embedding_dim else {},
        )

    def surveyed(self) -> Signature:
        """The signature with the sizes that the folder's config.json tells."""
        plain = self.signature()
        shape = _shape(self.pretrained_model_path)
        width, count = shape.get("width"), shape.get("vocab_size")
        vectors = (self.output_map["embedding"], *self.gather_layer)
        return replace(
            plain,
            gives=dict.fromkeys(vectors, width) if width else plain.gives,
            ids={self.input_map["input_ids"]: count} if count else {},
        )


def _shape(folder: str) -> dict[str, int]:
    """Return what config.json of a local folder tells: width of the states, number of ids."""
    try:
        with open(os.path.join(folder, "config.json"), encoding="utf-8") as handle:
            plain = json.load(handle)
    except (OSError, ValueError):
        return {}  # a name on the hub, or a folder that the model itself will refuse
    names = {"width": ("hidden_size", "d_model", "dim"), "vocab_size": ("vocab_size",)}
    found: dict[str, int] = {}
    for what, keys in names.items():
        numbers = [plain[key] for key in keys if isinstance(plain, dict) and key in plain]
        if numbers and type(numbers[0]) is int:
            found[what] = numbers[0]
    return found


@cregister("embedding", "static_char_cnn")
class StaticCharCnnConfig(Base):
    """A vector of each word from its characters: table, convolution, maximum."""

    vocab_size = IntField(value=MISSING, minimum=1, help="number of characters, rows of the table")
    embedding_dim = IntField(value=MISSING, minimum=1, help="width of a character's vector")
    output_size = IntField(
        value=0,
        minimum=0,
        help="width of a word's vector, shared evenly by the kernels; 0: as embedding_dim",
    )
    kernel_sizes = ListField(
        [3], help="characters that each convolution sees, odd numbers; joined side by side"
    )
    embedding_file: str | None = AssetField(
        None,
        additions=[None],
        help="start values (vocab_size, embedding_dim): .npy, or .safetensors that holds one "
        "tensor; null: random ones, or embedding_meta",
        bundle=False,
    )
    embedding_meta: str | None = StrField(
        None,
        additions=[None],
        help="start values from a file of the meta folder, as token_embedding writes it",
    )
    freeze = BoolField(value=False, help="keep the characters' vectors as they are in the file")
    dropout = FloatField(
        value=0.0,
        minimum=0.0,
        maximum=1.0,
        help="share of the entries of characters' vectors dropped in training",
    )
    padding_idx: int | None = IntField(
        value=0,
        minimum=0,
        additions=[None],
        help="id that fills up words: no character; null: none is, so char_mask says it",
    )
    input_map = MapField(
        {"char_ids": "char_ids", "attention_mask": "attention_mask", "char_mask": ""},
        help='batch names read; char_mask "": kept is what is not padding_idx',
    )
    output_map = MapField(
        {"embedding": "embedding", "embedding_mask": "embedding_mask"}, help="batch names written"
    )

    def signature(self) -> Signature:
        """What the maps name, the file of the meta folder, the sizes."""
        plain = replace(
            Base.signature(self),
            ids={self.input_map["char_ids"]: self.vocab_size},
            gives={self.output_map["embedding"]: self.output_size or self.embedding_dim},
        )
        return with_meta(plain, self.embedding_meta)

    def rules(self) -> Iterable[tuple[str, str]]:
        """Yield what does not fit among kernels, sizes and start values."""
        sizes = self.kernel_sizes
        if not sizes or not all(type(size) is int and size > 0 and size % 2 for size in sizes):
            yield "kernel_sizes", f"expected odd numbers above 0, got {list(sizes)}"
        elif (self.output_size or self.embedding_dim) % len(sizes):
            yield (
                "output_size",
                f"{len(sizes)} kernels cannot share a width of "
                f"{self.output_size or self.embedding_dim} evenly",
            )
        if self.padding_idx is not None and self.padding_idx >= self.vocab_size:
            yield (
                "padding_idx",
                f"expected an id below vocab_size ({self.vocab_size}) or null, "
                f"got {self.padding_idx}",
            )
        if self.padding_idx is None and not self.input_map["char_mask"]:
            yield "padding_idx", "without it, input_map must name a char_mask"
        if self.embedding_file and self.embedding_meta:
            yield "embedding_file", "expected embedding_file or embedding_meta, got both"
        if self.freeze and not self.embedding_file and not self.embedding_meta:
            yield "freeze", "random vectors have to learn: freeze is for those of a file"


@cregister("embedding", "combine_word_char_cnn")
class CombineWordCharCnnConfig(Base):
    """The vectors of `embedding#word` and `embedding#char`, joined."""

    children = {"embedding": Children(minimum=2, maximum=2)}  # a declaration

    embedding_dim = IntField(
        value=0,
        minimum=0,
        help="width of both together, for references; checked against them; 0: not stated",
    )
    dropout = FloatField(
        value=0.0, minimum=0.0, maximum=1.0, help="share of the joined entries dropped in training"
    )
    output_map = MapField(
        {"embedding": "embedding", "embedding_mask": "embedding_mask"}, help="batch names written"
    )

    def signature(self) -> Signature:
        """Reads what the parts read, needs their meta files, writes the joined vectors."""
        parts = [part.signature() for part in children(self, "embedding").values()]
        name = self.output_map["embedding"]
        return Signature(
            reads=tuple(dict.fromkeys(name for part in parts for name in part.reads)),
            writes=tuple(name for name in self.output_map.values() if name),
            meta=tuple(dict.fromkeys(name for part in parts for name in part.meta)),
            gives={name: self.embedding_dim} if self.embedding_dim else {},
        )

    def surveyed(self) -> Signature:
        """The signature with the width that the parts have together."""
        plain = self.signature()
        widths = [self._width(part) for part in children(self, "embedding").values()]
        name = self.output_map["embedding"]
        return replace(plain, gives={name: sum(w for w in widths if w)} if all(widths) else {})

    @staticmethod
    def _width(part: Any) -> int | None:
        """Return the width of a part's vectors, None where it does not tell."""
        vectors = getattr(part, "output_map", {}).get("embedding", "embedding")
        tell = getattr(part, "surveyed", part.signature)
        width: int | None = tell().gives.get(vectors)
        return width

    def chains(self) -> tuple[Chain, ...]:
        return tuple(
            Chain((part,), inner=dict.fromkeys(self._read_of(part)), private=True)
            for part in children(self, "embedding").values()
        )

    @staticmethod
    def _read_of(part: Any) -> tuple[str, ...]:
        names = getattr(part, "output_map", {})
        return tuple(names.get(name, name) for name in ("embedding", "embedding_mask"))

    def rules(self) -> Iterable[tuple[str, str]]:
        """Yield a problem unless the parts are called word and char."""
        names = list(children(self, "embedding"))
        if sorted(names) != ["char", "word"]:
            yield "", f"expected embedding#word and embedding#char, got {', '.join(names)}"
