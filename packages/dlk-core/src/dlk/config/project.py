"""The nearest ``.intc.json``: a project's own components (`src`) and config modules (`module`).

The file is looked for in the config's folder and above. `src` names folders, files or packages,
`module` folders of files ``type@name.json[c]`` (or yaml), all relative to the ``.intc.json``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from dlk.config import jsonc
from dlk.errors import ConfigError, Problem, close_to, did_you_mean

__all__ = ["FoundProject", "find_project"]

_NAMES = (".intc.json", ".intc.jsonc")
_KEYS = ("entry", "module", "src")  # "entry" is for editors, which find configs by it
EDITOR = "dlk.intc"  # named in "src" for the language server, which imports it: no folder
_MODULE_ENDINGS = (".json", ".jsonc", ".hjson", ".yaml", ".yml")


@dataclass(slots=True)
class FoundProject:
    """What a project's ``.intc.json`` names.

    Attributes:
        file: the file; empty where there is none.
        sources: absolute paths of folders and files with the project's components.
        modules: named config modules by type and name.
    """

    file: str = ""
    sources: list[str] = field(default_factory=list)
    modules: dict[tuple[str, str], jsonc.Document] = field(default_factory=dict)


def find_project(folder: str) -> FoundProject:
    """Read the nearest ``.intc.json`` at or above `folder`; empty where there is none."""
    here = os.path.abspath(folder)
    while True:
        for name in _NAMES:
            candidate = os.path.join(here, name)
            if os.path.isfile(candidate):
                return _read(candidate)
        above = os.path.dirname(here)
        if above == here:
            return FoundProject()
        here = above


def _near(path: str) -> str:
    """Return a path as a person in the working directory would write it."""
    here = os.getcwd() + os.sep
    return path.removeprefix(here) if path.startswith(here) else path


def _read(file: str) -> FoundProject:
    document = jsonc.read(_near(file))
    value = document.value
    if not isinstance(value, dict):
        raise ConfigError([document.problem((), "", "expected an object", code="project-file")])
    unknown = [key for key in value if key not in _KEYS]
    if unknown:
        raise ConfigError(
            [
                document.problem(
                    (key,),
                    key,
                    f"is no key. {did_you_mean(key, _KEYS)}",
                    key=True,
                    code="project-file",
                    suggestions=close_to(key, _KEYS),
                )
                for key in unknown
            ]
        )
    folder = os.path.dirname(file)
    found = FoundProject(file)
    for position, source in _strings(document, value, "src"):
        if source == EDITOR:
            continue
        found.sources.append(_existing(document, ("src", position), folder, source))
    problems: list[Problem] = []
    for position, source in _strings(document, value, "module"):
        path = _existing(document, ("module", position), folder, source)
        problems += _read_modules(path, found.modules)
    if problems:
        raise ConfigError(problems)
    return found


def _existing(document: jsonc.Document, where: tuple[str, int], folder: str, relative: str) -> str:
    """Return the path of a folder, a file, or a package: ``my_package.parts``."""
    dotted = relative.replace(".", os.sep)
    for name in (relative, f"{relative}.py", dotted, f"{dotted}.py"):
        path = os.path.normpath(os.path.join(folder, name))
        if os.path.exists(path):
            return path
    message = f'there is no folder or file "{relative}" in {folder}'
    raise ConfigError([document.problem(where, where[0], message, code="project-file")])


def _strings(document: jsonc.Document, value: dict[str, Any], key: str) -> list[tuple[int, str]]:
    items = value.get(key, [])
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        message = "expected a list of texts"
        raise ConfigError([document.problem((key,), key, message, code="project-file")])
    return list(enumerate(items))


def _read_modules(folder: str, modules: dict[tuple[str, str], jsonc.Document]) -> Iterator[Problem]:
    """Read the module files of a folder; yield what is wrong with them."""
    for root, folders, files in os.walk(folder):
        folders.sort()
        for file in sorted(files):
            stem, ending = os.path.splitext(file)
            if file.startswith(("_", ".")) or ending.lower() not in _MODULE_ENDINGS:
                continue
            path = _near(os.path.join(root, file))
            try:
                names, document = _read_module(path, stem, ending.lower())
            except ConfigError as error:
                yield from error.problems
                continue
            if names in modules:
                message = f"is defined in {modules[names].file} too"
                yield Problem("@".join(names), message, path, code="project-file")
            modules[names] = document


def _read_module(path: str, stem: str, ending: str) -> tuple[tuple[str, str], jsonc.Document]:
    """Return type and name of a module file, and what it says."""
    type_name, at, name = stem.partition("@")
    if not at or not name:
        message = 'a module file is named "type@name.jsonc"'
        raise ConfigError([Problem("", message, path, code="project-file")])
    document = _read_yaml(path) if ending in (".yaml", ".yml") else jsonc.read(path)
    value = document.value
    base = (value.get("_base") or value.get("_name")) if isinstance(value, dict) else None
    if not isinstance(base, str):
        message = 'a module file needs "_base", the name it builds on'
        raise ConfigError([document.problem((), stem, message, code="project-file")])
    return (type_name, name), document


def _read_yaml(path: str) -> jsonc.Document:
    try:
        import yaml  # type: ignore[import-untyped,unused-ignore]  # its stubs may be there or not
    except ImportError:
        message = 'YAML needs pyyaml, which is missing: pip install "dlk-core[yaml]"'
        raise ConfigError([Problem("", message, path, code="unreadable-file")]) from None
    try:
        with open(path, encoding="utf-8") as handle:
            loader = yaml.SafeLoader(handle)
            node = loader.get_single_node()
            document = jsonc.Document(None, file=path)
            repeated = list(_note_positions(document, node, (), {}))
            if repeated:
                raise ConfigError(repeated)
            document.value = None if node is None else loader.construct_document(node)
            return document
    except UnicodeDecodeError:
        message = "not UTF-8 text"
        raise ConfigError([Problem("", message, path, code="unreadable-file")]) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        message = f"not valid YAML: {getattr(error, 'problem', error)}"
        raise ConfigError([Problem("", message, path, line, column, "syntax")]) from None


def _note_positions(
    document: jsonc.Document, node: Any, path: tuple[str | int, ...], seen: dict[int, bool]
) -> Iterator[Problem]:
    """Note where the parts of a YAML node stand; yield a problem for each key that is repeated.

    What an alias stands for is noted once, where its anchor is; `seen` says of each node whether
    it is being walked.
    """
    if node is None:
        return
    document.values[path] = _position(node)
    if not isinstance(node.value, list):
        return
    if id(node) in seen:
        if seen[id(node)]:  # it is being walked
            at, message = _position(node), "an alias stands inside of what it stands for"
            yield Problem("", message, document.file, at.line, at.column, "syntax")
        return
    seen[id(node)] = True
    yield from _note_parts(document, node, path, seen)
    seen[id(node)] = False


def _note_parts(
    document: jsonc.Document, node: Any, path: tuple[str | int, ...], seen: dict[int, bool]
) -> Iterator[Problem]:
    if node.id == "sequence":
        for number, part in enumerate(node.value):
            yield from _note_positions(document, part, (*path, number), seen)
        return
    for key, part in node.value:
        here = (*path, str(key.value))
        if here in document.keys and key.value != "<<":
            message = f'the key "{key.value}" stands already in line {document.keys[here].line}'
            at = _position(key)
            yield Problem("", message, document.file, at.line, at.column, "repeated-key")
        document.keys[here] = _position(key)
        yield from _note_positions(document, part, here, seen)


def _position(node: Any) -> jsonc.Position:
    return jsonc.Position(node.start_mark.line + 1, node.start_mark.column + 1)
