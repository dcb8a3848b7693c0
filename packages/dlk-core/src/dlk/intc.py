"""What the language server of intc (``intc-lsp``) reads of dlk: to be named in ``.intc.json``.

::

    {"entry": [""], "src": ["dlk.intc", "my_components"], "module": ["modules"]}

The server imports what ``src`` names. Importing this module fills intc's tables, from which the
server completes, explains and finds definitions: with every component that is installed, with those
of the project around, and with its module files. Nothing else imports it, and it imports config
classes alone: neither torch nor numpy.
"""

from __future__ import annotations

import copy
import json
import os
import sys
from collections.abc import Mapping
from typing import Any

from dlk.config._intc import MISSING, editor_tables, fields_of
from dlk.config.project import FoundProject, find_project
from dlk.config.tree import spec_of
from dlk.errors import DlkError
from dlk.registry import register

__all__ = ["UNREAD", "publish"]

UNREAD: dict[tuple[str, str], str] = {}
"""Components that the server does not know, since their config class cannot be imported, and why;
under an empty name what is wrong with the project's ``.intc.json``."""

Help = dict[str, Any]


def publish(project: FoundProject) -> None:
    """Fill the tables of intc's language server.

    Args:
        project: whose own components and module files are added to what is installed.
    """
    register.add_local(project.sources)
    values, helps, names = editor_tables()
    for entry in register.entries():
        component = entry.component
        key = (component.type, component.name)
        try:
            config_class: Any = register.config(*key)
        except DlkError as error:
            UNREAD[key] = str(error)
            continue
        about = _about(*key, config_class)
        helps[key] = about
        values[key] = {"_name": component.name} if component.name else {}
        names.setdefault(component.type, set()).add(component.name)
        for alias in component.aliases:  # explained, but not proposed
            helps[component.type, alias] = about
            values[component.type, alias] = values[key]
    for type_name, own in project.modules:
        _publish_module(project, type_name, own)


def _publish_module(project: FoundProject, type_name: str, own: str) -> None:
    """Add a module file: the help of what it builds on, and the files as its definition."""
    values, helps, names = editor_tables()
    files: list[str] = []
    name = own
    while (type_name, name) in project.modules and len(files) <= len(project.modules):
        document = project.modules[type_name, name]
        files.append(os.path.abspath(document.file))
        name = str(document.value.get("_base") or document.value.get("_name") or "")
    if (type_name, name) in helps:
        helps[type_name, own] = {**copy.copy(helps[type_name, name]), "inter_files": files}
        values[type_name, own] = project.modules[type_name, own].value
        names.setdefault(type_name, set()).add(own)


def _about(type_name: str, name: str, config_class: Any) -> Help:
    """Return what the server shows of a component: intc's own description, and its children."""
    about: Help = dict(config_class.__meta__)
    about["description"] = config_class.__doc__ or "no description"
    properties: Help = {}
    for field, of_intc in about["properties"].items():
        properties[field] = dict(of_intc)
    for field, facts in fields_of(config_class).items():
        properties[field] = _shown(facts, properties.get(field, {}))
    for child, rule in (spec_of(type_name, name) or {}).items():
        properties[f"@{child}"] = {
            "type": "object",
            "type_name": "SubModule",
            "description": _how_many(child, rule),
            "properties": {},
            "default": {"_base": rule.default} if rule.default else {},
        }
    return {**about, "properties": properties}


def _shown(facts: Mapping[str, Any], of_intc: Help) -> Help:
    """Return the description of a field as the server can show it.

    It cannot show lists and objects as values to propose: they become the text that stands for
    them. A required field proposes nothing.
    """
    made = {**of_intc, **{k: v for k, v in facts.items() if k != "object_type"}}
    default = made.get("default")
    if isinstance(default, str) and default == MISSING:
        del made["default"]
    elif isinstance(default, (list, dict, tuple)):
        made["default"] = json.dumps(default, ensure_ascii=False)
    if facts["type_name"] == "MapField":
        made["properties"] = {
            key: {"type": "string", "type_name": "name", "default": value, "description": ""}
            for key, value in facts["default"].items()
        }
    for key in ("enum", "suggestions"):
        items = made.get(key)
        if items is not None:
            made[key] = [item if _is_plain(item) else json.dumps(item) for item in items]
    return made


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, (str, int, float, bool))


def _how_many(child: str, rule: Any) -> str:
    if rule.maximum == 1:
        text = f"one {child}" if rule.minimum else f"at most one {child}"
    else:
        text = f"any number of {child}" + (f", at least {rule.minimum}" if rule.minimum else "")
    return f"{text}; {rule.default} by default" if rule.default else text


def _project() -> FoundProject:
    """Return the project that the server works on: it put its folder on the path last."""
    folder = next((p for p in reversed(sys.path) if _has_settings(p)), os.getcwd())
    try:
        return find_project(folder)
    except DlkError as error:
        UNREAD["", ""] = str(error)
        return FoundProject()


def _has_settings(folder: str) -> bool:
    return any(os.path.isfile(os.path.join(folder, f".intc.{e}")) for e in ("json", "jsonc"))


publish(_project())
