"""What the checks of all families share: building, and the checks of the config class."""

from __future__ import annotations

import contextlib
import json
import random
import sys
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
import torch

from dlk.config import MISSING, from_resolved, make, to_dict
from dlk.config._intc import default_of, fields_of
from dlk.config.check import check_value
from dlk.context import Setup
from dlk.errors import DlkError
from dlk.registry import register

DEFAULT_HELPS = frozenset(
    ("", *(f"{kind} field" for kind in ("int", "float", "bool", "str", "any", "list", "dict")))
) | {"the dict field", "the list field", "nest field"}
"""What a field's help is where nobody wrote one."""


class ConfigConformance:
    """Checks of a component's config class, for one that has no class of its own.

    Attributes:
        component: the two names it is registered under.
        config: values of its config, children included; where they need a file, a fixture with
            ``autouse=True`` may set ``self.config``.
    """

    component: tuple[str, str]
    config: Mapping[str, Any] = {}

    def make(self, **changes: Any) -> Any:
        """Return the frozen config object, with changes."""
        return make(*self.component, {**self.config, **changes})

    def test_its_row_in_the_table_is_true(self) -> None:
        """The addresses of the plugin's row lead to the classes that are registered."""
        for entry in register.entries():
            row = entry.component
            if (row.type, row.name) != self.component:
                continue
            addresses = {row.config: register.config(*self.component)}
            if row.cls:
                addresses[row.cls] = register.get(*self.component)
            for address, registered in addresses.items():
                module, _, attribute = address.partition(":")
                found = getattr(sys.modules.get(module), attribute, None)
                assert found is registered, (
                    f"{self._name}: its row in the table of {entry.origin} says {address}, but "
                    f"{registered.__module__}:{registered.__qualname__} is registered"
                )

    def test_config_survives_a_round_trip(self) -> None:
        """The resolved values are plain JSON, and give the same config again."""
        first = to_dict(self.make())
        written = json.dumps(first)
        (config,) = from_resolved(json.loads(written), folder=".").values()
        assert to_dict(config) == first, (
            f"{self._name}: the resolved config changes when it is written and read again: "
            "defaults and converters of its fields must give back what they were given"
        )

    def test_every_field_is_documented(self) -> None:
        """The config class and each field say what they are for; defaults are values allowed."""
        config_class = register.config(*self.component)
        assert (config_class.__doc__ or "").strip(), (
            f"{self._name}: give {config_class.__name__} a docstring, a sentence on what it is"
        )
        for name, field in _with_nested(self.fields):
            text = str(field.get("description") or "")
            helpful = len(text) >= 8 and text not in DEFAULT_HELPS
            assert helpful, f'{self._name}: give the field "{name}" a help=… that says what it does'
            default = default_of(field)
            mistakes = [m for _, m in check_value(field, default) if default != MISSING]
            assert not mistakes, (
                f'{self._name}: the default of "{name}" is not allowed by the field itself: '
                f"{'; '.join(mistakes)}"
            )

    @property
    def fields(self) -> Mapping[str, Mapping[str, Any]]:
        """The fields of the config class, each with its type, default, range and help."""
        config_class: Any = register.config(*self.component)
        return fields_of(config_class)

    @contextlib.contextmanager
    def refuses(
        self, what: str, kind: type[Exception] = DlkError, *, naming: Collection[str] = ()
    ) -> Iterator[None]:
        """Check that the block raises an error that a user can read.

        Args:
            what: what is given to the component.
            kind: the kind of error.
            naming: texts one of which must be in the message.
        """
        expected = f"raise a {kind.__name__} that says what was given and what was expected"
        try:
            yield
        except kind as error:
            if naming and not any(text in str(error) for text in naming):
                raise AssertionError(
                    f"{self._name}: the error of {what} does not name {' or '.join(naming)}: "
                    f"{error}"
                ) from error
        except Exception as error:
            raise AssertionError(
                f"{self._name}: {what} raises {type(error).__name__} ({error}): {expected}"
            ) from error
        else:
            raise AssertionError(f"{self._name} takes {what} without a word: {expected}")

    @property
    def _name(self) -> str:
        return f'{self.component[0]} "{self.component[1]}"'


class Conformance(ConfigConformance):
    """Base of the families' classes: names the component and builds it.

    Attributes:
        unread: fields that the component itself need not read, such as one for references only.
    """

    unread: tuple[str, ...] = ()

    def setup(self, *, pretrained: bool = True, seed: int = 0) -> Setup:
        """Return what the component may know when it is built; override it to bring meta."""
        return Setup.empty(pretrained=pretrained, seed=seed)

    def build(self, *, seed: int = 0, pretrained: bool = True, config: Any = None) -> Any:
        """Build the component, all sources of randomness seeded."""
        config = self.make() if config is None else config
        seed_all(seed)
        return register.build(config, self.setup(pretrained=pretrained, seed=seed))

    def exercise(self, component: Any) -> None:
        """Use the component once, so that all fields it ever reads are read."""

    def test_every_field_is_read(self) -> None:
        """An option that nothing reads is a promise nobody keeps."""
        config = self.make()
        read = _watch(config)
        self.exercise(self.build(config=config))
        unread = set(self.fields) - read - set(self.unread)
        assert not unread, (
            f"{self._name} never reads {', '.join(sorted(unread))}: use the field, remove it, or "
            "name it in `unread` of the test class if it is for references only"
        )


def _with_nested(
    fields: Mapping[str, Mapping[str, Any]], above: str = ""
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the fields, and those inside of a NestField, by dotted names."""
    for name, field in fields.items():
        yield f"{above}{name}", field
        if field.get("type_name") == "NestField":
            yield from _with_nested(fields_of(field["object_type"]), f"{above}{name}.")


def seed_all(seed: int) -> None:
    """Seed python, numpy and torch."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  # components of others may use the global generator
    torch.manual_seed(seed)


def _watch(config: Any) -> set[str]:
    """Return a set that fills with the names of attributes read from a config object."""
    cls: Any = type(config)
    read: set[str] = set()

    def note(self: Any, name: str) -> Any:
        read.add(name)
        return super(watched, self).__getattribute__(name)

    watched: Any = type(cls)(cls.__name__, (cls,), {"__getattribute__": note, "__slots__": ()})
    object.__setattr__(config, "__class__", watched)
    return read
