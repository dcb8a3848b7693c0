"""What a bundle's ``bundle.json`` holds, and the names of its files."""

from __future__ import annotations

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
