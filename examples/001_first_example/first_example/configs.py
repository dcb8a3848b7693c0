"""The options of all three: a file without torch, so that `dlk check` answers at once."""

from __future__ import annotations

from dlk.config import MISSING, Base, FloatField, IntField, PathField, Signature, cregister

COLUMNS = ("input_ids", "label_ids")


@cregister("model", "bag_of_words")
class BagOfWordsConfig(Base):
    """The mean of the words' vectors, and one score for each label."""

    vocab_size = IntField(value=MISSING, minimum=1, help="number of words and pairs of words")
    num_labels = IntField(value=MISSING, minimum=2, help="number of labels")
    width = IntField(value=64, minimum=1, help="width of a word's vector")
    dropout = FloatField(value=0.0, minimum=0.0, maximum=1.0, help="share of the mean dropped")

    def signature(self) -> Signature:
        return Signature(reads=("input_ids", "attention_mask"), writes=("logits",))


@cregister("processor", "words_and_pairs")
class WordsAndPairsConfig(Base):
    """Words and pairs of neighbouring words, by their place in a vocabulary."""

    processed_data_dir = PathField("processed", help="folder that training reads")
    min_freq = IntField(value=2, minimum=1, help="words and pairs seen less often are unknown")
    seed = IntField(value=0, minimum=0, help="not used: nothing is drawn")

    def signature(self) -> Signature:
        return Signature(reads=("sentence",), targets=("labels",), writes=COLUMNS)


@cregister("datamodule", "padded_words")
class PaddedWordsConfig(Base):
    """Batches of word numbers padded to the longest question."""

    batch_size = IntField(value=64, minimum=1, help="questions in a batch")

    def signature(self) -> Signature:
        return Signature(reads=COLUMNS, writes=(*COLUMNS, "attention_mask", "_index"))
