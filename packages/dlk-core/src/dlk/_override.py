"""``DLK_OVERRIDE``: which distribution supplies a name that several claim, chosen on purpose.

    DLK_OVERRIDE="embedding.static=my-dist,loss.focal=local"

It is read once in a process. ``local`` stands for the project's own files.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Mapping

from dlk.errors import PluginError

__all__ = ["canonical", "overrides", "shown_overrides"]

VARIABLE = "DLK_OVERRIDE"
_CHOICE = re.compile(r"([^\s.=]+)\.([^\s=]+)\s*=\s*([A-Za-z0-9][A-Za-z0-9._-]*)")


@functools.cache
def overrides() -> Mapping[tuple[str, str], str]:
    """Return the distribution chosen for each (type, name), its name in canonical form.

    Raises:
        PluginError: the variable cannot be read, or chooses twice for one name.
    """
    found: dict[tuple[str, str], str] = {}
    for text in filter(None, (part.strip() for part in os.environ.get(VARIABLE, "").split(","))):
        choice = _CHOICE.fullmatch(text)
        if choice is None:
            raise PluginError(
                f'{VARIABLE}: expected TYPE.NAME=DISTRIBUTION, such as "embedding.static=my-dist" '
                f'(several: with commas), got "{text}"'
            )
        key, wanted = (choice[1], choice[2]), canonical(choice[3])
        if found.setdefault(key, wanted) != wanted:
            raise PluginError(
                f"{VARIABLE}: {choice[1]}.{choice[2]} is given to {found[key]} and to {wanted}"
            )
    return found


def shown_overrides() -> dict[str, str]:
    """Return the choices as they are written: ``type.name`` to distribution."""
    return {f"{type_name}.{name}": wanted for (type_name, name), wanted in overrides().items()}


def canonical(distribution: str) -> str:
    """Return a distribution's name as package indexes compare names."""
    return re.sub(r"[-_.]+", "-", distribution).lower()
