"""The one adapter to transformers: configs and encoders from a local folder or by a hub name.

Transformers is imported when it is first needed (``pip install "dlk-core[hf]"``). A folder is read
without any network; a name of the form ``org/name`` that is no folder is looked up on the hub,
because the config asked for it by that name. Weights are safetensors, never pickles.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from dlk.errors import DlkError, nearest
from dlk.nn.module.rotary import positions

if TYPE_CHECKING:
    from transformers import PretrainedConfig

__all__ = [
    "encode",
    "encode_layers",
    "hidden_size",
    "load_config",
    "load_encoder",
    "max_tokens",
    "num_layers",
    "takes_types",
]

_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
_POSITION_TABLES = ("position_embeddings", "embed_positions", "wpe")  # BERT's, BART's, GPT-2's
_LAST_NORMS = frozenset(  # as models call what stands behind their last block
    {"final_norm", "final_layer_norm", "layer_norm", "layernorm", "LayerNorm", "norm", "ln", "ln_f"}
    | {"emb_layer_norm_after"}
)
_TYPE_TABLES = ("token_type", "seg_embed")  # as parameters are called: BERT's kin, XLNet's


def load_config(path: str) -> PretrainedConfig:
    """Read a model's config.

    What costs time or memory and what nobody asked for is switched off: outputs of all layers,
    attention maps (which also switch off fast attention), caches of past states.

    Args:
        path: folder that holds config.json, or a hub name.

    Raises:
        DlkError: transformers is missing; there is no such folder or name; the folder holds no
            config that transformers knows.
    """
    transformers = _transformers()
    local = _is_folder(path)
    with _as_dlk_error(path, local=local), _quiet(transformers):
        config: PretrainedConfig = transformers.AutoConfig.from_pretrained(
            path, local_files_only=local
        )
    config.output_attentions = False
    config.output_hidden_states = False
    if hasattr(config, "use_cache"):
        config.use_cache = False
    return config


def num_layers(path: str) -> int:
    """Return how many blocks a model's encoder has, by its config; errors as `load_config`."""
    config = load_config(path)
    count = getattr(config, _layers_field(config), None)
    if not isinstance(count, int):
        raise DlkError(
            f'pretrained model: the config in "{path}" does not say how many layers there are '
            f"({type(config).__name__} has no num_hidden_layers), so none can be chosen."
        )
    return count


def load_encoder(path: str, *, pretrained: bool = True, layers: int | None = None) -> nn.Module:
    """Build a model that turns ids into states, in training mode and float32.

    An encoder-decoder (T5, BART) gives its encoder. A pooler, which nothing would read, is not
    built: its weights would get no gradient.

    Args:
        path: folder that holds config.json (and, with `pretrained`, model.safetensors), or a hub
            name.
        pretrained: read the weights; otherwise transformers draws start values, and no weight file
            is needed.
        layers: build only so many blocks, the lowest; None: all. What stands above would cost time
            and memory, and get no gradient. A model with a norm behind its last block keeps one
            block more, frozen as that norm is, so that `encode_layers` gives the block before it
            as the whole model would.

    Raises:
        DlkError: as `load_config`; or the weights are missing, are no safetensors, or leave
            parameters of the model without values.
    """
    transformers = _transformers()
    config = load_config(path)
    read: frozenset[str] | None = None
    local = _is_folder(path)
    with _as_dlk_error(path, local=local), _quiet(transformers):
        if layers is not None:
            read = _cut(transformers, config, layers)
        cls = type(_outline(transformers, config))
        more: dict[str, Any] = {}
        if "add_pooling_layer" in inspect.signature(cls.__init__).parameters:
            more["add_pooling_layer"] = False
        if pretrained:
            model, report = cls.from_pretrained(
                path,
                config=config,
                local_files_only=local,
                use_safetensors=True,
                output_loading_info=True,
                **more,
            )
        else:
            model, report = cls(config, **more), {}
    missing = sorted(report.get("missing_keys", ()))
    if missing:
        shown = ", ".join(missing[:5]) + (", …" if len(missing) > 5 else "")
        raise DlkError(
            f'the weights in "{path}" leave {len(missing)} parameters of {cls.__name__} without '
            f"values: {shown}. Are they of another model?"
        )
    encoder = _encoder_of(model, config)
    if read is not None:
        for name, parameter in encoder.named_parameters():
            parameter.requires_grad_(name in read)
    # Weights stored in half precision are trained in float32; from_pretrained returns eval mode.
    return encoder.float().train()


def encode(
    model: nn.Module, input_ids: Tensor, attention_mask: Tensor, type_ids: Tensor | None = None
) -> Tensor:
    """Return the last layer's states, (B, T, D) float.

    Args:
        model: what `load_encoder` returned.
        input_ids: (B, T) int64.
        attention_mask: (B, T) bool, true where kept; padding may stand anywhere: positions are
            counted among the kept ones, wherever the model takes positions (BART's encoder does
            not: there padding must stand behind). A row that keeps nothing is read whole, so that
            no attention is over nothing; its states mean nothing.
        type_ids: (B, T) int64, passed on where the model knows types (see `takes_types`).

    Raises:
        DlkError: T is more than the model has positions for.
    """
    inputs = _inputs(model, input_ids, attention_mask, type_ids)
    states: Tensor = model(**inputs)[0]
    return states[:, : input_ids.shape[1]]


def encode_layers(
    model: nn.Module, input_ids: Tensor, attention_mask: Tensor, type_ids: Tensor | None = None
) -> list[Tensor]:
    """Return the states of all layers, each (B, T, D): the embeddings, then after each block.

    The last ones are those of `encode`, a last norm included. Arguments and errors are its own.
    """
    inputs = _inputs(model, input_ids, attention_mask, type_ids)
    out = model(**inputs, output_hidden_states=True)
    return [states[:, : input_ids.shape[1]] for states in (*out.hidden_states[:-1], out[0])]


def _inputs(
    model: nn.Module, input_ids: Tensor, attention_mask: Tensor, type_ids: Tensor | None
) -> dict[str, Tensor]:
    facts = _facts(model)
    limit = facts.max_tokens
    if limit is not None and input_ids.shape[1] > limit:
        raise DlkError(
            f"a batch has rows of {input_ids.shape[1]} tokens, but {type(model).__name__} has "
            f"positions for {limit}: set the tokenizer's truncation.max_length to {limit} at most."
        )
    if input_ids.shape[1] == 0:  # empty texts, no special tokens: models cannot read nothing
        input_ids, attention_mask = pad(input_ids, (0, 1)), pad(attention_mask, (0, 1))
        type_ids = None if type_ids is None else pad(type_ids, (0, 1))
    kept = attention_mask.bool()
    kept = kept | ~kept.any(dim=1, keepdim=True)
    inputs = {"input_ids": input_ids, "attention_mask": kept.long()}
    if type_ids is not None and facts.takes_types:
        inputs["token_type_ids"] = type_ids
    if facts.first_position is not None:
        inputs["position_ids"] = positions(kept) + facts.first_position
    return inputs


def hidden_size(model: nn.Module) -> int:
    """Return the width of the model's states."""
    config: Any = model.config
    return int(config.hidden_size)


def takes_types(model: nn.Module) -> bool:
    """Return whether type ids make a difference: the model reads them and knows more than one."""
    return _facts(model).takes_types


def max_tokens(model: nn.Module) -> int | None:
    """Return how long a row may be; None where the model has no table of positions."""
    return _facts(model).max_tokens


@dataclass(frozen=True, slots=True)
class _Facts:
    """What `encode` asks a model at every call, and what never changes."""

    takes_types: bool
    max_tokens: int | None
    first_position: int | None  # None: the model takes no positions, or has no table of them


_known: WeakKeyDictionary[nn.Module, _Facts] = WeakKeyDictionary()


def _facts(model: nn.Module) -> _Facts:
    found = _known.get(model)
    if found is None:
        accepted = inspect.signature(model.forward).parameters
        table = _positions(model)
        limit, first = (None, None) if table is None else table
        found = _known[model] = _Facts(
            takes_types="token_type_ids" in accepted and _knows_types(model),
            max_tokens=limit,
            first_position=first if "position_ids" in accepted else None,
        )
    return found


def _knows_types(model: nn.Module) -> bool:
    """Return whether there are several types; where the config is silent, whether any is learnt.

    GPT-2's config is silent, and its model adds the vectors of the *words* 0 and 1 for types.
    """
    count = getattr(model.config, "type_vocab_size", None)
    if count is not None:
        return int(count) > 1
    return any(part in name for name, _ in model.named_parameters() for part in _TYPE_TABLES)


def _positions(model: nn.Module) -> tuple[int, int] | None:
    """Return how long a row may be, and the number of its first position; None without a table."""
    for name, module in model.named_modules():
        if name.endswith(_POSITION_TABLES) and isinstance(module, nn.Embedding):
            # RoBERTa and its kin count positions from the one after padding's, BART's from 2.
            first = 0 if module.padding_idx is None else module.padding_idx + 1
            first = int(getattr(module, "offset", first))
            return int(module.num_embeddings) - first, first
    return None


def _cut(transformers: Any, config: Any, layers: int) -> frozenset[str] | None:
    """Set how many blocks are built, so that the states after the first `layers` can be read.

    Returns:
        The encoder's parameters that these states come from; None: all that are built.
    """
    count = getattr(config, _layers_field(config))
    _set_layers(config, layers)
    encoder = _encoder_of(_outline(transformers, config), config)
    norms = [name for name, _ in encoder.named_modules() if _is_last_norm(name, encoder)]
    if not norms or layers >= count:
        return None
    _set_layers(config, layers + 1)
    names = (name for name, _ in encoder.named_parameters())
    return frozenset(name for name in names if name.rpartition(".")[0] not in norms)


def _set_layers(config: Any, layers: int) -> None:
    try:
        setattr(config, _layers_field(config), layers)
    except (AttributeError, NotImplementedError) as error:  # a number made of others, as Funnel's
        raise DlkError(
            f"{type(config).__name__} cannot be built with its lowest {layers} layers alone: "
            "read its last one as well."
        ) from error


def _is_last_norm(name: str, encoder: nn.Module) -> bool:
    """Return whether a module is a norm behind the last block, by its name and place."""
    parent, _, own = name.rpartition(".")
    if own not in _LAST_NORMS or any(part.isdigit() or "emb" in part for part in parent.split(".")):
        return False
    # DeBERTa's norm beside its blocks is that of its relative positions.
    return not hasattr(encoder.get_submodule(parent), "rel_embeddings")


def _layers_field(config: Any) -> str:
    """Return what a config calls the number of its encoder's blocks."""
    return "encoder_layers" if hasattr(config, "encoder_layers") else "num_hidden_layers"


def _transformers() -> Any:
    try:
        import transformers
    except ModuleNotFoundError as error:
        if error.name != "transformers":
            raise
        raise DlkError(
            'this model needs transformers, which is missing: pip install "dlk-core[hf]"'
        ) from error
    return transformers


def _outline(transformers: Any, config: Any) -> Any:
    """Build the model that AutoModel takes for a config, without memory for its weights."""
    with torch.device("meta"):
        return transformers.AutoModel.from_config(config)


def _encoder_of(model: Any, config: Any) -> nn.Module:
    encoder: nn.Module = model.get_encoder() if config.is_encoder_decoder else model
    return encoder


def _is_folder(path: str) -> bool:
    """Return whether `path` is a folder; false for what may be a hub name.

    Raises:
        DlkError: it is neither.
    """
    folder = Path(path)
    if folder.is_dir():
        return True
    beside = folder.parent != Path() and folder.parent.is_dir()
    if not folder.exists() and not beside and _HUB_NAME.fullmatch(path):
        return False
    what = "is a file, not a folder" if folder.exists() else "does not exist"
    siblings = [p.name for p in folder.parent.iterdir() if p.is_dir()] if beside else []
    close = nearest(folder.name, siblings)
    hint = f' Did you mean "{folder.parent / close[0]}"?' if close else ""
    raise DlkError(f'pretrained model: "{path}" {what}.{hint}')


@contextmanager
def _as_dlk_error(path: str, *, local: bool) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError, ImportError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        where = "the folder" if local else "no folder of that name is here; the hub's"
        raise DlkError(f'pretrained model: {where} "{path}" cannot be used: {reason}') from error


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Keep progress bars and advice of transformers off the screen."""
    logging = transformers.utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
