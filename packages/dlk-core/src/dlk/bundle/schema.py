"""What a bundle's ``bundle.json`` holds, and the names of its files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from dlk.errors import BundleError

SCHEMA = 2
MANIFEST = "bundle.json"
PROCESS = "process.json"
FIT = "fit.json"
WEIGHTS = "model.safetensors"
META = "meta"
ASSETS = "assets"
CODE = "code"
GOLDEN = "golden.jsonl"

MAX_TEXT = 32 << 20
"""Bytes of one of the texts above that are read."""

TOLERANCE = 1e-4
"""How far scores on another machine may be from the golden ones (fp32, other CPU kernels)."""

_UNSET = "0" * 64


def manifest_text(manifest: Mapping[str, Any]) -> str:
    """Return ``bundle.json`` with its own digest: SHA-256 of the text with zeros in its place."""
    others = {name: value for name, value in manifest.items() if name != "digest"}
    text = json.dumps({**others, "digest": _UNSET}, indent=2, ensure_ascii=False) + "\n"
    before, _, after = text.rpartition(_UNSET)  # the last thing in it: a label may be zeros, too
    return f"{before}{_digest(text)}{after}"


def is_whole(text: str, manifest: Mapping[str, Any]) -> bool:
    """Return whether the text of ``bundle.json`` is what was written."""
    digest = manifest.get("digest")
    if not isinstance(digest, str) or len(digest) != len(_UNSET) or text.count(digest) != 1:
        return False
    return _digest(text.replace(digest, _UNSET)) == digest


def check(manifest: Mapping[str, Any], where: str) -> None:
    """Refuse a manifest whose fields are not what they should be.

    Raises:
        BundleError: one is not.
    """
    digests = manifest.get("digests")
    if not isinstance(digests, Mapping):
        raise BundleError(f"{where}: bundle.json has no digests")
    for field, texts, others in (
        ("needs", ("type", "name"), ("distribution", "version", "file", "sha256")),
        ("inputs", ("name",), ("type",)),
    ):
        given = manifest.get(field, [])
        if not isinstance(given, list) or not all(_has(each, texts, others) for each in given):
            raise BundleError(f'{where}: bundle.json holds no proper "{field}"')
    for field in ("metrics", "prediction", "distributions", "environment"):
        if not isinstance(manifest.get(field, {}), Mapping):
            raise BundleError(f'{where}: bundle.json holds no proper "{field}"')
    tolerance = manifest.get("tolerance", TOLERANCE)
    if type(tolerance) not in (int, float) or not 0 <= tolerance <= 1:
        raise BundleError(f'{where}: bundle.json holds no proper "tolerance"')
    if not isinstance(manifest.get("task", ""), str):
        raise BundleError(f'{where}: bundle.json holds no proper "task"')


def _has(entry: object, texts: Sequence[str], others: Sequence[str]) -> bool:
    """Return whether an entry is an object with these texts in it, and of others texts only."""
    return (
        isinstance(entry, Mapping)
        and all(isinstance(entry.get(name), str) for name in texts)
        and all(isinstance(entry.get(name, ""), str) for name in others)
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def prediction_of(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return the form of a prediction as a JSON Schema; {} where nothing is known of it."""
    kept = manifest.get("prediction", {})
    if manifest.get("schema") != 1:
        found = kept.get("schema", {})
        return dict(found) if isinstance(found, Mapping) else {}
    names = {name: _NAMES_OF_1.get(str(kind)) for name, kind in kept.items()}
    properties = {name: {"type": kind} if kind else {} for name, kind in names.items()}
    return {"type": "object", "properties": properties} if properties else {}


# Schema 1 kept the names of Python's types.
_NAMES_OF_1 = {
    "str": "string",
    "bool": "boolean",
    "int": "integer",
    "float": "number",
    "list": "array",
    "dict": "object",
}
