"""Names of files in a bundle: the same file on every system, and none outside of its folder."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

__all__ = ["MAX_PARTS", "clash", "flaw"]

MAX_NAME = 1024
MAX_PARTS = 16

_DEVICES = frozenset(
    ["con", "prn", "aux", "nul", *(f"{kind}{n}" for kind in ("com", "lpt") for n in range(10))]
)
_FORBIDDEN = frozenset('<>:"|?*\\')
# What loads such a file would run what is in it, or unpack what was not looked at.
_PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".bin", ".joblib", ".dill")
_PROGRAMS = (".so", ".pyd", ".dll", ".dylib", ".exe", ".pyc", ".pyo")
_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".whl", ".egg")


def flaw(name: str) -> str:
    """Return what is wrong with a name relative to a bundle's folder; "" where nothing is."""
    parts = name.split("/")
    leaves = not name or "\0" in name or "\\" in name or name.startswith("/") or ".." in parts
    if leaves or (len(name) > 1 and name[1] == ":"):
        return "leaves the bundle"
    if len(name) > MAX_NAME or len(parts) > MAX_PARTS:
        return f"has more than {MAX_NAME} characters or {MAX_PARTS} parts"
    if unicodedata.normalize("NFC", name) != name:
        return "is not the same text on all systems (it is not in Unicode's form NFC)"
    for part in parts:
        if part in ("", ".") or part != part.strip(" ") or part.endswith("."):
            return "has a part that is empty, or begins or ends with a space or dot"
        if part.partition(".")[0].lower() in _DEVICES:
            return "has a part that names a device on Windows"
        odd = [c for c in part if c in _FORBIDDEN or unicodedata.category(c) in _INVISIBLE]
        if odd:
            return f"has a character that names may not hold: {odd[0]!a}"
    ending = _ending(parts[-1])
    if ending in _PICKLES:
        return "could be a pickle, which runs code when it is read"
    if ending in _PROGRAMS:
        return "is a program"
    if ending in _ARCHIVES:
        return "is an archive in the bundle"
    if ending == ".py" and parts[0] != "code":
        return "is code, which stands in the folder code only"
    return ""


# control, format (direction marks), surrogates, private, not assigned, line and paragraph ends
_INVISIBLE = frozenset(["Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"])


def _ending(part: str) -> str:
    return f".{part.rpartition('.')[2].lower()}" if "." in part else ""


def clash(names: Iterable[str]) -> tuple[str, str] | None:
    """Return two names that are one file on a system that does not tell upper from lower case.

    A file whose name is another's folder is such a pair, too. None where there is none.
    """
    seen: dict[str, str] = {}
    folders: dict[str, str] = {}
    for name in sorted(names):
        key = _same(name)
        if key in seen:
            return seen[key], name
        seen[key] = name
        parts = name.split("/")[:-1]
        for count in range(1, len(parts) + 1):
            folder = "/".join(parts[:count])
            other = folders.setdefault(_same(folder), folder)
            if other != folder:
                return other, folder
    for key, folder in folders.items():
        if key in seen:
            return seen[key], folder
    return None


def _same(name: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
