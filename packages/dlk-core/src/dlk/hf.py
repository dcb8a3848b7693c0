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

from dlk.errors import DlkError, nearest

if TYPE_CHECKING:
    from transformers import PretrainedConfig

__all__ = ["encode", "hidden_size", "load_config", "load_encoder", "max_tokens", "takes_types"]

_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
_POSITION_TABLES = ("position_embeddings", "embed_positions")  # BERT's and BART's


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


def load_encoder(path: str, *, pretrained: bool = True) -> nn.Module:
    """Build a model that turns ids into states, in training mode and float32.

    An encoder-decoder (T5, BART) gives its encoder. A pooler, which nothing would read, is not
    built: its weights would get no gradient.

    Args:
        path: folder that holds config.json (and, with `pretrained`, model.safetensors), or a hub
            name.
        pretrained: read the weights; otherwise transformers draws start values, and no weight file
            is needed.

    Raises:
        DlkError: as `load_config`; or the weights are missing, are no safetensors, or leave
            parameters of the model without values.
    """
    transformers = _transformers()
    config = load_config(path)
    local = _is_folder(path)
    with _as_dlk_error(path, local=local), _quiet(transformers):
        cls = _model_class(transformers, config)
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
    encoder: nn.Module = model.get_encoder() if config.is_encoder_decoder else model
    # Weights stored in half precision are trained in float32; from_pretrained returns eval mode.
    return encoder.float().train()


def encode(
    model: nn.Module, input_ids: Tensor, attention_mask: Tensor, type_ids: Tensor | None = None
) -> Tensor:
    """Return the last layer's states, (B, T, D) float.

    Args:
        model: what `load_encoder` returned.
        input_ids: (B, T) int64.
        attention_mask: (B, T) bool, true where kept. A row that keeps nothing is read whole, so
            that no attention is over nothing; its states mean nothing.
        type_ids: (B, T) int64, passed on where the model knows types (see `takes_types`).

    Raises:
        DlkError: T is more than the model has positions for.
    """
    limit = max_tokens(model)
    if limit is not None and input_ids.shape[1] > limit:
        raise DlkError(
            f"a batch has rows of {input_ids.shape[1]} tokens, but {type(model).__name__} has "
            f"positions for {limit}: set the tokenizer's truncation.max_length to {limit} at most."
        )
    kept = attention_mask.bool()
    kept = kept | ~kept.any(dim=1, keepdim=True)
    inputs = {"input_ids": input_ids, "attention_mask": kept.long()}
    if type_ids is not None and takes_types(model):
        inputs["token_type_ids"] = type_ids
    states: Tensor = model(**inputs)[0]
    return states


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


_known: WeakKeyDictionary[nn.Module, _Facts] = WeakKeyDictionary()


def _facts(model: nn.Module) -> _Facts:
    found = _known.get(model)
    if found is None:
        accepted = "token_type_ids" in inspect.signature(model.forward).parameters
        several = getattr(model.config, "type_vocab_size", 2) > 1
        found = _known[model] = _Facts(accepted and several, _positions(model))
    return found


def _positions(model: nn.Module) -> int | None:
    for name, module in model.named_modules():
        if name.endswith(_POSITION_TABLES) and isinstance(module, nn.Embedding):
            # RoBERTa and its kin count positions from the one after padding's, BART's from 2.
            offset = 0 if module.padding_idx is None else module.padding_idx + 1
            return int(module.num_embeddings - getattr(module, "offset", offset))
    return None


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


def _model_class(transformers: Any, config: Any) -> Any:
    """Find the class that AutoModel takes for a config: built once without memory, then asked."""
    with torch.device("meta"):
        return type(transformers.AutoModel.from_config(config))


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
