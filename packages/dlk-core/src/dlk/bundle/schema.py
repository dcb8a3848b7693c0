"""What a bundle's ``bundle.json`` holds, and the names of its files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

SCHEMA = 1
MANIFEST = "bundle.json"
PROCESS = "process.json"
FIT = "fit.json"
WEIGHTS = "model.safetensors"
META = "meta"
ASSETS = "assets"
GOLDEN = "golden.jsonl"

TOLERANCE = 1e-4
"""How far scores on another machine may be from the golden ones (fp32, other CPU kernels)."""

_UNSET = "0" * 64


def manifest_text(manifest: Mapping[str, Any]) -> str:
    """Return ``bundle.json`` with its own digest: SHA-256 of the text with zeros in its place."""
    text = json.dumps({**manifest, "digest": _UNSET}, indent=2, ensure_ascii=False) + "\n"
    return text.replace(_UNSET, _digest(text))


def is_whole(text: str, manifest: Mapping[str, Any]) -> bool:
    """Return whether the text of ``bundle.json`` is what was written."""
    digest = manifest.get("digest")
    if not isinstance(digest, str) or len(digest) != len(_UNSET) or text.count(digest) != 1:
        return False
    return _digest(text.replace(digest, _UNSET)) == digest


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
