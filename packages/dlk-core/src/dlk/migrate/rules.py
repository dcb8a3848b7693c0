"""Rewriting a config of dlk 0.1: by the table of names and fields, and by what no table can say."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from dlk.config._intc import fields_of
from dlk.config.expression import compile_lambda, is_expression
from dlk.config.keys import ModuleKey, is_module, join, parse_key
from dlk.config.tree import spec_of
from dlk.errors import ConfigError, Problem
from dlk.migrate import text
from dlk.migrate.table import COMPONENTS, FIELDS, NOT_YET, WRITTEN, Gone, Rename, Values
from dlk.migrate.text import Entry, Node
from dlk.registry import register

__all__ = ["TARGETS", "Migrated", "Note", "migrate"]

TARGETS = {"processor": "process.jsonc", "fit": "fit.jsonc", "display": "display.jsonc"}
"""Type of a config's root, and the file that it goes to."""
_OWN_KEYS = ("_base", "_name", "_anchor", "_search")


@dataclass(frozen=True, slots=True)
class Note:
    """One thing that changed.

    Attributes:
        kind: ``changed`` (it says the same in other words), ``gone`` (left out, nothing to do) or
            ``lost`` (could not be carried over: somebody has to see to it).
        path: config path in the old file.
        message: what happened, and what to do.
        file: the old file.
        line: line in it, from 1; 0 where it has no positions.
        column: column in it.
    """

    kind: str
    path: str
    message: str
    file: str
    line: int
    column: int

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{place} {self.path}: {self.message}"


@dataclass(frozen=True, slots=True)
class Migrated:
    """A rewritten config.

    Attributes:
        target: name of the file that it goes to.
        text: its text.
        notes: what changed, in the order of the old file.
    """

    target: str
    text: str
    notes: list[Note]


def migrate(source: str, file: str) -> Migrated:
    """Return a config of dlk 0.1 as ours.

    Args:
        source: text of the old config.
        file: its name, for the notes.

    Raises:
        ConfigError: the text cannot be read, or is neither a config of a process, a fit or a
            display, nor a module file.
    """
    document = text.parse(source, file)
    stem = os.path.splitext(os.path.basename(file))[0]
    if is_module(f"@{stem}") and document.node.find("_base") is not None:
        return _module(document, stem, file)
    types = [parse_key(e.key).type for e in document.node.items() if is_module(e.key)]
    target = next((TARGETS[t] for t in types if t in TARGETS), "")
    if not target:
        known = ", ".join(f'"@{t}"' for t in TARGETS)
        message = f"expected a config of dlk 0.1: one of {known}, or a module file type@name.jsonc"
        raise ConfigError([Problem("", message, file)])
    work = _Migration(file)
    work.begin(document)
    for entry in document.node.items():
        if is_module(entry.key):
            if parse_key(entry.key).type == "fit":
                _span_batches(work, entry)
                _tags(work, entry)
                _regression(work, entry)
                _single_texts(work, entry)
            work.component(entry, parse_key(entry.key).type, "")
    return work.done(document, target)


def _module(document: Entry, stem: str, file: str) -> Migrated:
    """Rewrite a module file, ``type@name.jsonc``, whose root is what `_base` says."""
    work = _Migration(file)
    work.begin(document)
    document.key = f"@{stem}"
    work.component(document, stem, "")
    return work.done(document, f"{stem}.jsonc")


@dataclass(slots=True)
class _Migration:
    file: str
    notes: list[Note] = field(default_factory=list)

    def begin(self, document: Entry) -> None:
        """Say what could not be read of the file."""
        if not text.has_positions(document):
            self.note("lost", document, "", "read as Hjson: comments and positions are not kept")

    def done(self, document: Entry, target: str) -> Migrated:
        """Return what came out."""
        notes = sorted(self.notes, key=lambda note: (note.line, note.column))
        return Migrated(target, text.write(document), notes)

    def note(self, kind: str, entry: Entry, path: str, message: str) -> None:
        self.notes.append(Note(kind, path, message, self.file, entry.line, entry.column))

    def component(self, entry: Entry, named: str, below: str) -> None:
        """Rewrite a component and what stands below it.

        Args:
            entry: the component.
            named: its config path, for the notes.
            below: what the config paths of its parts start with; empty for the root.
        """
        key, where = parse_key(entry.key), below or named
        name = self.rename(entry, key, where)
        reason = NOT_YET.get((key.type, name)) or NOT_YET.get((key.type, ""))
        if (key.type, name) not in register:
            if reason is None:
                reason = "no such component is installed; bring it over, or install what has it"
            what = f'{key.type} "{name}"' if name else key.type
            self.note("lost", entry, where, f"{what} is left as it is: {reason}")
            self.children(entry.node, None, where, below)
            self.expressions(entry, where)
            return
        node = entry.node
        if node.is_object:
            for fields in ((key.type, "*"), (key.type, name)):
                self.fields(node, fields, below)
            for part, value in WRITTEN.get((key.type, name), {}).items():
                if node.find(part) is None and node.find("_base") is None:
                    added = node.put(part, value)
                    added.behind = "// the default of dlk 0.1"
            special = _SPECIAL.get((key.type, name))
            if special is not None:
                special(self, entry, below)
            self.unknown(node, key.type, name, below)
            self.children(node, spec_of(key.type, name), f'{key.type} "{name}"', below)
        self.expressions(entry, where)

    def rename(self, entry: Entry, key: ModuleKey, where: str) -> str:
        """Give a component its new name, wherever it stands; return it."""
        chooser = entry
        if entry.node.is_object:
            chooser = entry.node.find("_base") or entry.node.find("_name") or entry
        elif entry.node.entries is None and isinstance(entry.node.value, str):
            old = entry.node.value
            new = COMPONENTS.get((key.type, old))
            if new:
                entry.node = text.node_of(new)
                self.note("changed", entry, where, f'"{old}" is called "{new}" now')
            return new or old
        old = key.name if chooser is entry else str(chooser.node.value)
        new = COMPONENTS.get((key.type, old))
        if not new:
            return old
        if chooser is entry:
            entry.key = str(ModuleKey(key.type, new, key.alias))
        else:
            chooser.node = text.node_of(new)
        self.note("changed", chooser, where, f'"{old}" is called "{new}" now')
        return new

    def fields(self, node: Node, table: tuple[str, str], where: str) -> None:
        """Do what the table says of the fields of a component."""
        for name, action in FIELDS.get(table, {}).items():
            outer, _, inner = name.partition(".")
            entry = node.find(outer)
            holder = node
            if entry is not None and inner:
                holder, entry = entry.node, entry.node.find(inner)
            if entry is not None:
                self.act(holder, entry, action, _under(where, name))
            emptied = node.find(outer) if inner else None
            if emptied is not None and emptied.node.entries == [] and not emptied.node.tail:
                node.drop(emptied)

    def act(self, holder: Node, entry: Entry, action: Rename | Gone | Values, where: str) -> None:
        value = entry.node.value
        if isinstance(action, Rename):
            if holder.find(action.to) is not None:
                holder.drop(entry)
                self.note("gone", entry, where, f'"{action.to}" stands there already')
            else:
                entry.key = action.to
                self.note("changed", entry, where, f'is called "{action.to}" now')
        elif isinstance(action, Values):
            for old, new in action.of:
                if value == old and isinstance(value, bool) == isinstance(old, bool):
                    entry.node = text.node_of(new)
                    shown = text.node_of(new).raw
                    self.note("changed", entry, where, f"is {shown} now: {action.why}")
                    return
        elif not action.usual or value in action.usual:
            holder.drop(entry)
            self.note("gone", entry, where, f"left out: {action.why}")
        else:
            self.set_aside(holder, entry, where, f"left out: {action.why}")

    def set_aside(self, holder: Node, entry: Entry, where: str, message: str) -> None:
        """Make a comment of what cannot be carried over, so that it is still there to be read."""
        assert holder.entries is not None
        place = holder.entries.index(entry)
        holder.drop(entry)
        lines = text.write(Entry(Node([entry], is_object=True))).split("\n")[1:-2]
        comments = [f"// dlk 0.1: {line.strip()}" for line in lines]
        if place < len(holder.entries):
            holder.entries[place].above[:0] = comments
        else:
            holder.tail[:0] = comments
        holder.is_inline = False
        self.note("lost", entry, where, message)

    def unknown(self, node: Node, type_name: str, name: str, where: str) -> None:
        """Set fields aside that we have not."""
        known = fields_of(register.config(type_name, name))
        for entry in node.items():
            if entry.key.startswith("@") or entry.key in _OWN_KEYS:
                continue
            if entry.key not in known:
                message = f'{type_name} "{name}" has no such field (any more)'
                self.set_aside(node, entry, _under(where, entry.key), message)
            elif known[entry.key]["type_name"] == "MapField":
                for part in entry.node.items():
                    if part.key not in known[entry.key]["default"]:
                        message = f'"{part.key}" is no name of {type_name} "{name}" (any more)'
                        place = _under(where, f"{entry.key}.{part.key}")
                        self.set_aside(entry.node, part, place, message)

    def children(self, node: Node, taken: Mapping[str, Any] | None, owner: str, below: str) -> None:
        """Rewrite the components below one; set those aside whose type it does not take."""
        for entry in node.items():
            if not entry.key.startswith("@"):
                continue
            if not is_module(entry.key):
                self.note("lost", entry, _under(below, entry.key), "is no component's key")
                continue
            key = parse_key(entry.key)
            where = join(below, entry.key, [e.key for e in node.items()])
            if taken is not None and key.type not in taken:
                why = NOT_YET.get((key.type, ""), f"{owner} takes no {key.type}")
                self.set_aside(node, entry, where, f"left out: {why}")
            else:
                self.component(entry, where, where)

    def expressions(self, entry: Entry, where: str) -> None:
        """Name the expressions that our language cannot compute."""
        for part, value in _texts(entry):
            if not is_expression(value):
                continue
            body = value.partition("@lambda")[2].strip()
            if body.startswith("@"):
                continue
            try:
                call = compile_lambda(f"lambda {body}")
                if body.startswith("_"):
                    call(None)
            except ConfigError as error:
                message = f"this expression cannot be computed: {error.problems[0].message}"
                self.note("lost", part, where, message)


def _under(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _texts(entry: Entry) -> Iterator[tuple[Entry, str]]:
    """Yield the texts of a component's own values; those of its children are read with them."""
    node = entry.node
    if node.entries is None:
        value = node.value
        if isinstance(value, str):
            yield entry, value
        return
    for part in node.entries:
        if not part.key.startswith("@"):
            yield from _texts(part)


# What needs more than a table ----------------------------------------------------------------


def _gather(work: _Migration, entry: Entry, where: str) -> None:
    """0.1 never put the padding into a vocabulary; among labels it would be a label."""
    vocab = entry.node.find("token_vocab")
    is_of_labels = vocab is not None and "label" in str(vocab.node.value)
    pad = entry.node.find("pad")
    if is_of_labels and (pad is None or pad.node.value is not None):
        new = entry.node.put("pad", None)
        place = pad or entry
        work.note(
            "changed",
            place,
            _under(where, "pad"),
            "is null now: it was ignored, a label needs none",
        )
        new.line, new.column = place.line, place.column


def _processor(work: _Migration, entry: Entry, where: str) -> None:
    """Steps are called by their alias, or else by their name."""
    order = entry.node.find("feed_order")
    for item in (order.node.entries or []) if order is not None else []:
        value = item.node.value
        if isinstance(value, str) and ("#" in value or "@" in value):
            new = value.rpartition("#")[2] if "#" in value else value.rpartition("@")[2]
            item.node = text.node_of(new)
            work.note("changed", item, _under(where, "feed_order"), f'"{value}" is "{new}" now')


def _vectors(work: _Migration, entry: Entry, where: str) -> None:
    name = entry.node.find("token_embedding")
    value = name.node.value if name is not None else None
    if name is not None and isinstance(value, str) and not value.endswith(".npy"):
        name.node = text.node_of(f"{value}.npy")
        message = f'is "{value}.npy" now: a pickle runs code'
        work.note("changed", name, _under(where, "token_embedding"), message)


def _collate(work: _Migration, entry: Entry, where: str) -> None:
    pairs = entry.node.find("key_padding_pairs")
    index = pairs.node.find("gather_index") if pairs is not None else None
    if index is not None and index.node.value == 0:
        index.node = text.node_of(-1)
        place = _under(where, "key_padding_pairs.gather_index")
        work.note("changed", index, place, "is -1 now: 0 is a position")


def _table(vocab: str) -> Callable[[_Migration, Entry, str], None]:
    """Return what gives a table of vectors its size, and its file another form."""

    def change(work: _Migration, entry: Entry, where: str) -> None:
        file = entry.node.find("embedding_file")
        value = file.node.value if file is not None else None
        entry_of_meta = vocab
        if file is not None and isinstance(value, str) and not _is_array(value):
            if os.sep in value:
                message = "a pickle: write it as .npy, numpy.save(path, vectors)"
                work.note("lost", file, _under(where, "embedding_file"), message)
            else:
                entry_of_meta = value
                file.key, file.node = "embedding_meta", text.node_of(f"{value}.npy")
                message = f'is embedding_meta "{value}.npy" now, as token_embedding writes it'
                work.note("changed", file, _under(where, "embedding_file"), message)
        size = entry.node.find("vocab_size")
        if size is None or size.node.value == 0:
            expression = f"@lambda @_G.meta.{entry_of_meta}.size"
            entry.node.put("vocab_size", expression)
            work.note(
                "changed", size or entry, _under(where, "vocab_size"), f'is "{expression}" now'
            )

    return change


def _is_array(value: str) -> bool:
    """Return whether a file's name is of a form that runs no code, or computed."""
    return is_expression(value) or os.path.splitext(value)[1] in (".npy", ".safetensors")


def _words_and_chars(work: _Migration, entry: Entry, where: str) -> None:
    """One component with the options of two becomes two children."""
    node = entry.node
    if any(e.key.startswith("@embedding") for e in node.items()):
        return
    width: list[Any] = []
    for part, child in (("word", "static"), ("char", "static_char_cnn")):
        size, file = node.find(f"{part}_embedding_dim"), node.find(f"{part}_embedding_file")
        stem = str(file.node.value) if file is not None else f"{part}_embedding"
        made = {
            "embedding_meta": f"{stem}.npy",
            "vocab_size": f"@lambda @_G.meta.{stem}.size",
            "embedding_dim": size.node.value if size is not None else "???",
        }
        width.append(made["embedding_dim"])
        node.put(f"@embedding@{child}#{part}", made).node.is_inline = False
        for old in (size, file):
            if old is not None:
                node.drop(old)
                work.note("changed", old, _under(where, old.key), f"stands in embedding#{part} now")
    if all(isinstance(w, int) for w in width):
        node.put("embedding_dim", sum(width))
    names = node.find("input_map")
    if names is not None and all(e.key == e.node.value for e in names.node.items()):
        node.drop(names)
    elif names is not None:
        work.set_aside(node, names, _under(where, "input_map"), "left out: the children read")


def _scheduler(work: _Migration, entry: Entry, where: str) -> None:
    steps = entry.node.find("num_warmup_steps")
    value = steps.node.value if steps is not None else None
    if steps is not None and isinstance(value, float) and value >= 1:
        steps.node = text.node_of(int(value))
        message = f"is {int(value)} now: an integer is steps, a float a share"
        work.note("changed", steps, _under(where, "num_warmup_steps"), message)


def _average(work: _Migration, entry: Entry, where: str) -> None:
    """In 0.1 there was one way to average, that of SWA."""
    entry.node.put("method", "mean")
    work.note("changed", entry, _under(where, "method"), "is mean, as in SWA; ema is the default")


def _char_table(work: _Migration, entry: Entry, where: str) -> None:
    _table("char_vocab")(work, entry, where)
    names = entry.node.find("output_map")
    written = names.node.find("char_embedding") if names is not None else None
    if written is not None:
        written.key = "embedding"
        work.note(
            "changed", written, _under(where, "output_map.char_embedding"), "is `embedding` now"
        )


_SPECIAL: Mapping[tuple[str, str], Callable[[_Migration, Entry, str], None]] = {
    ("processor", "default"): _processor,
    ("callback", "weight_average"): _average,
    ("subprocessor", "token_gather"): _gather,
    ("subprocessor", "token_embedding"): _vectors,
    ("data_collate", "default"): _collate,
    ("data_collate", "span"): _collate,
    ("embedding", "random"): _table("token_vocab"),
    ("embedding", "static"): _table("token_vocab"),
    ("embedding", "static_char_cnn"): _char_table,
    ("embedding", "combine_word_char_cnn"): _words_and_chars,
    **{
        ("scheduler", name): _scheduler
        for name in ("constant_warmup", "cosine_warmup", "linear_warmup")
    },
}


def _find(node: Node, *types: str) -> Entry | None:
    """Return the first component of a type below the first of another, and so on."""
    here: Entry | None = None
    for type_name in types:
        below = (e for e in node.items() if is_module(e.key) and parse_key(e.key).type == type_name)
        here = next(below, None)
        if here is None:
            return None
        node = here.node
    return here


def _name_of(entry: Entry | None) -> str:
    """Return the name of a component as it stands in the config."""
    if entry is None:
        return ""
    chooser = entry.node.find("_base") or entry.node.find("_name")
    return str(chooser.node.value) if chooser is not None else parse_key(entry.key).name


def _span_batches(work: _Migration, fit: Entry) -> None:
    """Matrices of labels were columns of the data; now the collate `span` makes them of cells."""
    post = _find(fit.node, "imodel", "postprocessor")
    kind = _name_of(post)
    dataset = _find(fit.node, "datamodule", "dataset")
    collate = _find(fit.node, "datamodule", "data_collate")
    loss = _find(fit.node, "imodel", "loss")
    if kind not in ("span_cls", "span_relation"):
        return
    if dataset is None or collate is None or loss is None:
        return
    pairs = _truth(loss)
    relations = {name for output, name in pairs if "relation" in output}
    matrices = {
        name: {"cells": "relation_cells", "mask": "unit_mask", "layers": 2}
        if name in relations
        else {"cells": "span_cells", "mask": "unit_mask", "triangle": True}
        for _, name in pairs
    }
    types = dataset.node.find("key_type_pairs")
    for name in matrices:
        old = types.node.find(name) if types is not None else None
        if types is not None and old is not None:
            types.node.drop(old)
    if types is not None:
        for column in ("unit_mask", *(f"{c}_cells" for c in _cells(matrices))):
            types.node.put(column, "bool" if column == "unit_mask" else "long")
    for group in ("key_padding_pairs", "key_padding_pairs_2d", "key_padding_pairs_3d"):
        entry = collate.node.find(group)
        for name in matrices:
            old = entry.node.find(name) if entry is not None else None
            if entry is not None and old is not None:
                entry.node.drop(old)
        if entry is not None and entry.node.entries == []:
            collate.node.drop(entry)
    collate.key = str(ModuleKey("data_collate", "span", parse_key(collate.key).alias))
    collate.node.put("matrices", matrices).node.is_inline = False
    message = f'is "span" now: it makes {", ".join(matrices)} of cells'
    work.note("changed", collate, "datamodule.data_collate", message)


def _tags(work: _Migration, fit: Entry) -> None:
    """Tags of special tokens and of padding are no labels any more: losses pass over id -100."""
    post = _find(fit.node, "imodel", "postprocessor")
    vocab = post.node.find("label_vocab") if post is not None else None
    decoder = _find(fit.node, "imodel", "model", "decoder")
    size = decoder.node.find("output_size") if decoder is not None else None
    if vocab is not None and size is not None and type(size.node.value) is int:
        stem = os.path.splitext(str(vocab.node.value))[0]
        if stem.isidentifier() and _name_of(post) in ("seq_lab", "span_cls", "txt_cls"):
            expression = f"@lambda @_G.meta.{stem}.size"
            message = f'is "{expression}" now: typed in by hand it may differ'
            size.node = text.node_of(expression)
            work.note("changed", size, "imodel.model.decoder.output_size", message)
    if _name_of(post) != "seq_lab":
        return
    collate = _find(fit.node, "datamodule", "data_collate")
    pairs = collate.node.find("key_padding_pairs") if collate is not None else None
    loss = _find(fit.node, "imodel", "loss")
    for holder, name, place in (
        (pairs, "label_ids", "datamodule.data_collate.key_padding_pairs"),
        (loss, "ignore_index", "imodel.loss"),
    ):
        old = holder.node.find(name) if holder is not None else None
        if old is not None and old.node.value != -100:
            old.node = text.node_of(-100)
            message = "is -100 now: what losses pass over is no label"
            work.note("changed", old, f"{place}.{name}", message)


def _single_texts(work: _Migration, fit: Entry) -> None:
    """0.1 stored which text of a pair a token is of, for single texts too, where it is always 0."""
    post = _find(fit.node, "imodel", "postprocessor")
    embedding = _find(fit.node, "imodel", "model", "embedding")
    dataset = _find(fit.node, "datamodule", "dataset")
    collate = _find(fit.node, "datamodule", "data_collate")
    kind = post.node.find("data_type") if post is not None else None
    if kind is not None and kind.node.value == "pair":
        return
    if embedding is None or _name_of(embedding) != "bert_like" or not embedding.node.is_object:
        return
    types = dataset.node.find("key_type_pairs") if dataset is not None else None
    column = types.node.find("type_ids") if types is not None else None
    if types is None or column is None:
        return
    types.node.drop(column)
    pairs = collate.node.find("key_padding_pairs") if collate is not None else None
    padding = pairs.node.find("type_ids") if pairs is not None else None
    if pairs is not None and padding is not None:
        pairs.node.drop(padding)
    names = embedding.node.find("input_map") or embedding.node.put("input_map", {})
    names.node.put("type_ids", "")
    place = "datamodule.dataset.key_type_pairs.type_ids"
    work.note("changed", column, place, "left out: of single texts they are 0 and not stored")


def _cells(matrices: Mapping[str, Mapping[str, Any]]) -> list[str]:
    names = [str(matrix["cells"]).removesuffix("_cells") for matrix in matrices.values()]
    return list(dict.fromkeys(names))


def _truth(loss: Entry) -> list[tuple[str, str]]:
    """Return output and target of a loss, or of each of several."""
    found: list[tuple[str, str]] = []
    pair = loss.node.find("pred_truth_pair")
    if pair is not None:
        found += [(e.key, str(e.node.value)) for e in pair.node.items()]
    for entry in loss.node.items():
        if is_module(entry.key):
            found += _truth(entry)
    return found


def _regression(work: _Migration, fit: Entry) -> None:
    """A linear map to one number, squashed at prediction only, becomes the decoder `regression`."""
    post = _find(fit.node, "imodel", "postprocessor")
    decoder = _find(fit.node, "imodel", "model", "decoder")
    if post is None or decoder is None or not decoder.node.is_object:
        return
    if _name_of(post) != "txt_reg" or _name_of(decoder) != "linear":
        return
    squash = post.node.find("log_reg")
    if squash is not None:
        post.node.drop(squash)
        place = "imodel.postprocessor.log_reg"
        work.note("changed", squash, place, "is the link of the decoder now")
    link = "sigmoid" if squash is not None and squash.node.value is True else "identity"
    decoder.key = str(ModuleKey("decoder", "regression", parse_key(decoder.key).alias))
    for name in ("output_size", "bias"):
        old = decoder.node.find(name)
        if old is not None:
            decoder.node.drop(old)
    if decoder.node.find("pool") is None:
        decoder.node.put("pool", "first")
    decoder.node.put("link", link)
    message = 'is "regression" now: training and prediction are of the same number'
    work.note("changed", decoder, "imodel.model.decoder", message)
