"""Starts of projects, components and plugins, whose own tests pass as they are made."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import keyword
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable

from dlk.errors import DlkError, did_you_mean

__all__ = ["KINDS", "new_component", "new_plugin", "new_project"]

KINDS = ("encoder", "decoder", "embedding", "loss", "subprocessor")
"""Types of components that there is a start for."""

_HELP = {
    "encoder": "lets through of each vector what a learnt gate says",
    "decoder": "scores of a row's labels, from the mean of its vectors",
    "embedding": "a vector for each id, learnt from nothing",
    "loss": "cross entropy of scores and the ids of the right classes",
    "subprocessor": "texts in lower case, without space around them",
}
_PROJECT_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[-_][A-Za-z0-9]+)*")
_COMPONENT_NAME = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*")


def new_project(name: str, folder: str) -> list[str]:
    """Make a project in a new folder of its name; return the files, relative to `folder`.

    Raises:
        DlkError: the name cannot be one of a package, or the folder is there already.
    """
    package = _package_of(name)
    return _make(folder, name, _planned("project", name, {"name": name, "package": package}))


def new_component(kind: str, name: str, project_file: str, sources: list[str]) -> list[str]:
    """Make a component in a project; return the files, relative to the project.

    Args:
        kind: one of `KINDS`.
        name: its name in configs.
        project_file: the project's ``.intc.json``.
        sources: what it names as the project's own code.

    Raises:
        DlkError: the name is taken, or not one; a file is there already; the project names no
            folder for its code.
    """
    _check_component(kind, name)
    root = os.path.dirname(project_file)
    source = next((source for source in sources if os.path.isdir(source)), None)
    if source is None:
        raise DlkError(f'{project_file} names no folder for components: "src": ["dlk.intc", "src"]')
    holder, prefix = _package_in(source)
    words = {"name": name, "Name": _class_name(name), "module": prefix}
    planned: dict[str, str] = {}
    for path, text in _planned(kind, "", words).items():
        part = "tests" if path.startswith("test_") else os.path.relpath(holder, root)
        planned[os.path.join(part, path)] = text
    taken = [path for path in planned if os.path.exists(os.path.join(root, path))]
    if taken:
        raise DlkError(f"{', '.join(taken)} is there already; nothing was written")
    conftest = os.path.join("tests", "conftest.py")
    if not os.path.exists(os.path.join(root, conftest)):
        planned[conftest] = _text(_templates() / "project" / "tests" / "conftest.py.tmpl", {})
    return _write(root, planned)


def new_plugin(kind: str, name: str, folder: str) -> list[str]:
    """Make a distribution with a component in a new folder ``dlk-NAME``; return the files.

    Raises:
        DlkError: the name is taken, or not one; the folder is there already.
    """
    _check_component(kind, name)
    distribution = f"dlk-{name.replace('_', '-')}"
    package = _package_of(distribution)
    version = importlib.metadata.version("dlk-core").split(".")
    words = {
        "name": name,
        "Name": _class_name(name),
        "type": kind,
        "help": _HELP[kind],
        "distribution": distribution,
        "package": package,
        "module": f"{package}.",
        "version": ".".join(version[:2]),
        "next": f"{version[0]}.{int(version[1]) + 1}",
    }
    planned = _planned("plugin", distribution, words)
    for path, text in _planned(kind, "", words).items():
        part = "tests" if path.startswith("test_") else os.path.join("src", package)
        planned[os.path.join(distribution, part, path)] = text
    return _make(folder, distribution, planned)


def _planned(template: str, top: str, words: Mapping[str, str]) -> dict[str, str]:
    """Return the text of each file of a template by its path, below `top`."""
    planned: dict[str, str] = {}
    for path, source in _walk(_templates() / template, ""):
        *above, last = path.removesuffix(".tmpl").split("/")
        made = os.path.join(top, *above, last.removeprefix("dot"))
        for word in ("package", "name"):
            made = made.replace(f"__{word}__", words.get(word, ""))
        planned[made] = _text(source, words)
    return planned


def _templates() -> Traversable:
    return files("dlk.scaffold") / "templates"


def _walk(folder: Traversable, path: str) -> Iterator[tuple[str, Traversable]]:
    for part in sorted(folder.iterdir(), key=lambda part: part.name):
        below = f"{path}/{part.name}" if path else part.name
        if part.is_dir():
            yield from _walk(part, below)
        elif part.name.endswith(".tmpl"):
            yield below, part


def _text(source: Traversable, words: Mapping[str, str]) -> str:
    text = source.read_text(encoding="utf-8")
    for word, value in words.items():
        text = text.replace("{{" + word + "}}", value)
    assert "{{" not in text, f"a word of {source.name} is not filled in"
    return text


def _make(folder: str, top: str, planned: Mapping[str, str]) -> list[str]:
    """Write a new folder; it appears whole or not at all."""
    target = os.path.join(folder, top)
    if os.path.exists(target):
        raise DlkError(f"{target} is there already; nothing was written")
    aside = os.path.join(folder, f".{top}.new")
    shutil.rmtree(aside, ignore_errors=True)
    inner = {os.path.relpath(path, top): text for path, text in planned.items()}
    try:
        _write(aside, inner)
        os.replace(aside, target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return sorted(planned)


def _write(root: str, planned: Mapping[str, str]) -> list[str]:
    for path, text in planned.items():
        full = os.path.join(root, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "x", encoding="utf-8") as handle:
            handle.write(text)
    return sorted(planned)


def _package_of(name: str) -> str:
    """Return the package of a project or distribution; it must be free."""
    if not _PROJECT_NAME.fullmatch(name):
        raise DlkError(f'"{name}" is no name: expected letters and digits, joined by - or _')
    package = name.replace("-", "_").lower()
    spec = importlib.util.find_spec(package)
    is_taken = spec is not None and spec.origin is not None  # a plain folder takes no name
    if keyword.iskeyword(package) or is_taken:
        raise DlkError(f'"{name}" would be the package {package}, which Python has already')
    return package


def _check_component(kind: str, name: str) -> None:
    from dlk.registry import register

    if kind not in KINDS:
        raise DlkError(f'there is no start for "{kind}". {did_you_mean(kind, KINDS)}')
    if not _COMPONENT_NAME.fullmatch(name) or keyword.iskeyword(name):
        raise DlkError(f'"{name}" is no name: expected lower-case words joined by _, as my_{kind}')
    if (kind, name) in register:
        raise DlkError(f'there is the {kind} "{name}" already: dlk why {kind} {name}')


def _package_in(source: str) -> tuple[str, str]:
    """Return the folder that a component goes to, and what its modules' names start with."""
    if os.path.exists(os.path.join(source, "__init__.py")):
        return source, f"{os.path.basename(os.path.normpath(source))}."
    packages = [
        entry.name
        for entry in os.scandir(source)
        if entry.is_dir() and os.path.exists(os.path.join(entry.path, "__init__.py"))
    ]
    if len(packages) == 1:
        return os.path.join(source, packages[0]), f"{packages[0]}."
    return source, ""


def _class_name(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))
