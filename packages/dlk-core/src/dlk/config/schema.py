"""The JSON Schema (2020-12) of what is installed, for editors and for checks outside of dlk.

Each component has two definitions. ``TYPE.NAME.part`` says which keys there are and what each may
hold; it fits where a module file or a search brings what is missing. ``TYPE.NAME`` adds what must
be there. Beside them stand ``TYPE`` (any component of the type, chosen by ``_base``) and
``TYPE@NAME`` (what may stand under such a key).

A schema cannot say all that ``dlk check`` finds: references and expressions are taken for any text
with ``@lambda`` in it, two children where one may stand are let through, and so are rules between
fields.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dlk.config._intc import MISSING, fields_of
from dlk.config.jsonc import Document
from dlk.config.tree import spec_of
from dlk.errors import DlkError, PluginError, did_you_mean
from dlk.registry import Registry, register

__all__ = ["DIALECT", "Schema", "make_schema"]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
Json = dict[str, Any]

_LAMBDA = r"lambda(?![A-Za-z0-9_])"
_EXPRESSION = rf"^\s*@(?:{_LAMBDA}\s*(?:@|_\s*:)|(?!{_LAMBDA})[\s\S]*@{_LAMBDA})"
_ALIAS = r"(?:#[A-Za-z0-9_]+)?"
_NAME = r"[A-Za-z_][A-Za-z0-9_]*(?:-[A-Za-z0-9_]+)?"
_SELF = "self"  # stands for the name of a root such as `fit`, which has none
_TYPES = {
    "IntField": "integer",
    "FloatField": "number",
    "BoolField": "boolean",
    "StrField": "string",
    "ListField": "array",
    "DictField": "object",
    "MapField": "object",
}
_NAMED: Json = {"anyOf": [{"required": ["_base"]}, {"required": ["_name"]}]}
_SHARED: Json = {
    "expression": {
        "description": "computed when the config is read: @lambda _: …, or @reference @lambda x: …",
        "type": "string",
        "pattern": _EXPRESSION,
    },
    "missing": {"description": "to be given by a search, a base or --set", "const": MISSING},
    "given": {
        "description": "nothing in it is still to be given",
        "not": {"const": MISSING},
        "items": {"$ref": "#/$defs/given"},
        "additionalProperties": {"$ref": "#/$defs/given"},
    },
    "search": {
        "description": "paths below this component, each with the values to try",
        "type": "object",
        "additionalProperties": {
            "anyOf": [
                {"type": "array", "minItems": 1},
                {"type": "string", "pattern": rf"^@{_LAMBDA}"},
            ]
        },
    },
    "anchor": {
        "description": "a name by which references reach this component from anywhere: @name.field",
        "type": "string",
        "pattern": r"^(?!_G$|lambda$)[^\W\d]\w*$",
    },
}


@dataclass(frozen=True, slots=True)
class Schema:
    """A schema, and what could not be put into it.

    Attributes:
        value: the schema.
        unread: type, name and error of each component whose config class cannot be imported; the
            schema lets anything stand there.
    """

    value: Json
    unread: list[tuple[str, str, str]] = field(default_factory=list)


def make_schema(
    type_name: str = "",
    name: str = "",
    *,
    modules: Mapping[tuple[str, str], Document] | None = None,
    registry: Registry = register,
) -> Schema:
    """Return the schema of a config file, or of a file that holds one component.

    Args:
        type_name: the component's type, for a module file ``type@name.jsonc``; empty for a config.
        name: its registered name; empty where ``_base`` says it.
        modules: the project's named modules, as `dlk.config.project.find_project` gives them.
        registry: the components.

    Raises:
        PluginError: there is no such component.
    """
    writer = _Writer(registry, modules or {})
    root: Json
    if type_name:
        if type_name not in writer.names:
            hint = did_you_mean(type_name, writer.names)
            raise PluginError(f'there is no component type "{type_name}". {hint}')
        chosen = registry.primary(type_name, name) if name else ""
        definition = f"@{type_name}@{chosen}.part" if chosen else f"{type_name}.part"
        root = {"title": f"{type_name} {chosen}".strip(), "type": "object", **_ref(definition)}
    else:
        root = {
            "title": "a config of dlk",
            "type": "object",
            **_has_key("^@"),
            "properties": {
                "_G": {"type": "object", "description": "values that references reach as @_G.name"}
            },
            "patternProperties": {
                pattern: target
                for top in writer.roots()
                for pattern, target in writer.keys(top, "").items()
            },
            "additionalProperties": False,
        }
    definitions = writer.definitions()
    return Schema({"$schema": DIALECT, **root, "$defs": definitions}, writer.unread)


class _Writer:
    """Writes the definitions of all components that are registered."""

    def __init__(self, registry: Registry, modules: Mapping[tuple[str, str], Document]) -> None:
        self.registry = registry
        self.unread: list[tuple[str, str, str]] = []
        self.entries = {(e.component.type, e.component.name): e for e in registry.entries()}
        self.aliases = {key: list(e.component.aliases) for key, e in self.entries.items()}
        self.names = {type_name: self.own_names(type_name) for type_name in registry.types()}
        self.classes = {
            (type_name, name): self.config_class(type_name, name)
            for type_name, names in self.names.items()
            for name in names
        }
        self.modules = self.concrete(modules)

    def own_names(self, type_name: str) -> list[str]:
        """Return the names of a type; empty text is the name of a root such as ``fit``."""
        names = self.registry.names(type_name)
        return names if (type_name, "") not in self.registry else ["", *names]

    def config_class(self, type_name: str, name: str) -> Any:
        """Return the config class, None where it cannot be imported."""
        try:
            return self.registry.config(type_name, name)
        except DlkError as error:
            self.unread.append((type_name, name, str(error)))
            return None

    def concrete(self, modules: Mapping[tuple[str, str], Document]) -> dict[tuple[str, str], str]:
        """Return the registered name that each module file leads to; broken ones are left out."""
        found: dict[tuple[str, str], str] = {}
        for type_name, own in modules:
            name, seen = own, {own}
            while (type_name, name) in modules:
                value = modules[type_name, name].value
                name = str(value.get("_base") or value.get("_name") or "")
                if name in seen:
                    break
                seen.add(name)
            if (type_name, name) in self.registry:
                found[type_name, own] = self.registry.primary(type_name, name)
        return found

    def roots(self) -> list[str]:
        """Return the types that stand at the top: those that stand below no other component."""
        below = {child for key in self.classes for child in self.spec(*key) or ()}
        return [type_name for type_name in self.names if type_name not in below]

    def spec(self, type_name: str, name: str) -> Mapping[str, Any] | None:
        """Return the children that a component declares, None where any may stand below it."""
        return spec_of(type_name, name) if self.classes[type_name, name] is not None else None

    # What may be written where ------------------------------------------------------------------

    def keys(self, type_name: str, suffix: str) -> Json:
        """Return what stands under the keys of a type, by pattern.

        Args:
            type_name: the type.
            suffix: ``.part`` where something else brings what is missing.
        """
        patterns = {f"^@{type_name}{_ALIAS}$": _ref(f"{type_name}{suffix}")}
        known = [file for t, file in self.modules if t == type_name]
        for file in known:
            patterns[f"^@{type_name}@{file}{_ALIAS}$"] = _ref(f"@{type_name}@{file}{suffix}")
        for name in self.names[type_name]:
            for written in self.plain(type_name, name):
                if written not in known:
                    target = _ref(f"@{type_name}@{name}{suffix}")
                    patterns[f"^@{type_name}@{written}{_ALIAS}$"] = target
                    known.append(written)
        free = f"(?!(?:{'|'.join(known)})(?:#|$))" if known else ""
        patterns[f"^@{type_name}@{free}{_NAME}{_ALIAS}$"] = _ref(f"{type_name}{suffix}")
        return patterns

    def plain(self, type_name: str, name: str) -> list[str]:
        """Return the names by which ``_base`` means a registered component."""
        return [name, *self.aliases.get((type_name, name), [])] if name else []

    def files(self, type_name: str, name: str) -> list[str]:
        """Return the module files that lead to a registered component."""
        return [own for (t, own), n in self.modules.items() if (t, n) == (type_name, name)]

    def definitions(self) -> Json:
        """Return the definitions of all components, and of what may stand under their keys."""
        made = dict(_SHARED)
        for type_name, names in self.names.items():
            nameless = f"{type_name}.{_SELF}" if "" in names else ""
            files = [file for t, file in self.modules if t == type_name]
            for suffix in ("", ".part"):
                otherwise = nameless and f"{nameless}{suffix}"
                made[f"{type_name}{suffix}"] = self.by_value(type_name, names, suffix, otherwise)
                for file in files:
                    otherwise = _definition(type_name, self.modules[type_name, file], ".part")
                    made[f"@{type_name}@{file}{suffix}"] = self.by_value(
                        type_name, names, suffix, otherwise
                    )
                for name in names:
                    made |= self.component(type_name, name, suffix)
        return made

    def component(self, type_name: str, name: str, suffix: str) -> Json:
        """Return the definitions of one component, and of what stands under its own keys."""
        own = _definition(type_name, name, suffix)
        complete = self.complete if suffix == "" else self.part
        made: Json = {own: complete(type_name, name)}
        if name:
            head = name.partition("-")[0]
            alike = [n for n in self.names[type_name] if n.partition("-")[0] == head]
            made[f"@{type_name}@{name}{suffix}"] = self.by_value(type_name, alike, suffix, own)
        return made

    def by_value(self, type_name: str, names: Sequence[str], suffix: str, otherwise: str) -> Json:
        """Return the schema of a component whose ``_base`` or ``_name`` may choose it.

        Args:
            type_name: its type.
            names: the registered names that it may choose.
            suffix: as for `keys`.
            otherwise: the definition where it chooses none; empty where it must.
        """
        everything: list[str] = []
        alone: list[str] = []
        choices: list[Json] = []
        for name in names:
            plain, files = self.plain(type_name, name), self.files(type_name, name)
            everything += [*plain, *files]
            alone += [*(plain if suffix or self.is_complete(type_name, name) else []), *files]
            for written, ending in ((plain, suffix), (files, ".part")):
                if written:
                    target = _ref(_definition(type_name, name, ending))
                    choices.append({"if": _chosen(written), "then": target})
        chosen = {"if": {"not": _chosen(everything)}, "then": _one_of("_base", everything)}
        return {
            "type": ["object", "string"],
            "if": {"type": "string"},
            "then": {"enum": alone},
            "else": {
                "if": _NAMED,
                "then": {"allOf": [chosen, *choices]},
                "else": _ref(otherwise) if otherwise else {"required": ["_base"]},
            },
        }

    def is_complete(self, type_name: str, name: str) -> bool:
        """Return whether a component may stand there by its name alone."""
        return not self.required(type_name, name) and not self.needed(type_name, name)

    def required(self, type_name: str, name: str) -> list[str]:
        """Return the fields that have no default."""
        return [n for n, f in self.fields(type_name, name).items() if _is_missing(f)]

    def needed(self, type_name: str, name: str) -> list[str]:
        """Return the types of children that must be written: no default, or no complete one."""
        found = []
        for child, rule in (self.spec(type_name, name) or {}).items():
            default = (child, rule.default)
            if rule.default is None:
                must = bool(rule.minimum)
            elif default == (type_name, name) or default not in self.classes:
                must = False
            else:
                must = not self.is_complete(*default)
            if must:
                found.append(child)
        return found

    def fields(self, type_name: str, name: str) -> Mapping[str, Mapping[str, Any]]:
        config_class = self.classes[type_name, name]
        return fields_of(config_class) if config_class is not None else {}

    # Components ---------------------------------------------------------------------------------

    def part(self, type_name: str, name: str) -> Json:
        """Return what a component may hold."""
        title = f"{type_name} {name}".strip()
        if self.classes[type_name, name] is None:
            return {"title": title, "type": "object"}
        own: Json = {
            "_base": {"type": "string", "description": "the component or module it builds on"},
            "_name": {"type": "string", "description": "the registered name"},
            "_anchor": _ref("anchor"),
            "_search": _ref("search"),
        }
        own |= {n: _field(f) for n, f in self.fields(type_name, name).items()}
        found: Json = {
            "title": title,
            "description": self.about(type_name, name),
            "type": "object",
            "properties": own,
        }
        patterns = self.children(type_name, name, ".part")
        return {**found, "patternProperties": patterns, "additionalProperties": False}

    def complete(self, type_name: str, name: str) -> Json:
        """Return what a component must hold, unless a search may bring it."""
        if self.classes[type_name, name] is None:
            return {"type": "object"}
        children = self.children(type_name, name, "")
        must: Json = {
            "required": self.required(type_name, name),
            "allOf": [_has_key(f"^@{t}(?:[@#]|$)") for t in self.needed(type_name, name)],
            "patternProperties": {**children, "^[@_]": True},
            "additionalProperties": _ref("given"),
        }
        return {
            "$ref": _pointer(_definition(type_name, name, ".part")),
            "if": {"not": {"required": ["_search"]}},
            "then": {k: v for k, v in must.items() if v},
        }

    def children(self, type_name: str, name: str, suffix: str) -> Json:
        """Return the keys of the children that a component takes."""
        spec = self.spec(type_name, name)
        if spec is None:
            return {"^@": True}
        made: Json = {}
        for child in spec:
            known = child in self.names
            made |= self.keys(child, suffix) if known else {f"^@{child}(?:[@#]|$)": True}
        return made

    def about(self, type_name: str, name: str) -> str:
        entry = self.entries.get((type_name, name))
        text = (self.classes[type_name, name].__doc__ or "").strip().partition("\n")[0]
        if entry is None:
            return text
        return f"{text or entry.component.help} ({entry.origin} {entry.version}".rstrip() + ")"


def _definition(type_name: str, name: str, suffix: str) -> str:
    return f"{type_name}.{name or _SELF}{suffix}"


def _pointer(definition: str) -> str:
    return f"#/$defs/{definition}"


def _ref(definition: str) -> Json:
    return {"$ref": _pointer(definition)}


def _one_of(key: str, names: Sequence[str]) -> Json:
    return {"properties": {key: {"enum": list(names)}}, "required": [key]}


def _chosen(names: Sequence[str]) -> Json:
    """Return the test whether ``_base``, or ``_name`` without it, is one of the names."""
    by_name = {**_one_of("_name", names), "not": {"required": ["_base"]}}
    return {"anyOf": [_one_of("_base", names), by_name]}


def _has_key(pattern: str) -> Json:
    return {"not": {"propertyNames": {"not": {"pattern": pattern}}}}


def _is_missing(about: Mapping[str, Any]) -> bool:
    default = about.get("default")
    return isinstance(default, str) and default == MISSING


def _field(about: Mapping[str, Any]) -> Json:
    """Return the schema of a field: its values, expressions, and what an editor shows of it."""
    found: Json = {}
    if about.get("description"):
        found["description"] = str(about["description"])
    deprecated = about.get("deprecated")
    if deprecated:
        found["deprecated"] = True
        if isinstance(deprecated, str):
            found["description"] = f"{found.get('description', '')} (deprecated: {deprecated})"
    if about["type_name"] != "NestField" and not _is_missing(about):
        found["default"] = _plain(about["default"])
    if about.get("suggestions"):
        found["examples"] = _plain(about["suggestions"])
    options = about.get("enum") if about["type_name"] != "BoolField" else None
    if options is None and about["type_name"] == "AnyField":
        return found
    ways = [{"enum": _plain(options)} if options is not None else _values(about)]
    if about.get("additions"):
        ways.append({"enum": _plain(about["additions"])})
    if ways != [{"type": "string"}]:
        ways += [_ref("expression"), _ref("missing")]
    return found | (ways[0] if len(ways) == 1 else {"anyOf": ways})


def _values(about: Mapping[str, Any]) -> Json:
    """Return the schema of a field's plain values."""
    kind = about["type_name"]
    if kind == "NestField":
        inner = {n: _field(f) for n, f in fields_of(about["object_type"]).items()}
        return {"type": "object", "properties": inner, "additionalProperties": False}
    if kind not in _TYPES:
        return {}
    found: Json = {"type": _TYPES[kind]}
    limits = {
        "minimum": "minimum",
        "maximum": "maximum",
        "min_len": "minLength",
        "max_len": "maxLength",
    }
    found |= {limits[k]: v for k, v in about.items() if k in limits and v is not None}
    if about.get("pattern"):
        found["pattern"] = f"^(?:{about['pattern']})"
    if kind == "MapField":
        names = {n: {"type": "string", "default": v} for n, v in about["default"].items()}
        found |= {"properties": names, "additionalProperties": False}
    return found


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: tuples and sets become lists."""
    return json.loads(json.dumps(value, default=sorted))
