"""What a reader is: it makes rows of a file that `dlk.data.inputs` does not know by itself.

A reader is registered under the ending of its files, without the dot: ``@register("reader",
"conllu")``, further endings being aliases. Whatever takes files (`Process`, `Predict`, the command
line) then takes these too.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

from dlk.config import Base

__all__ = ["Reader"]


class Reader(ABC):
    """Base of readers."""

    def __init__(self, config: Base) -> None:
        self.config = config

    @abstractmethod
    def read(self, path: str) -> Iterator[dict[str, Any]]:  # Any: values of a row, of many kinds
        """Yield the rows of a file in their order, as it is read. Called several times.

        Args:
            path: a file or, where the reader takes them, a URL.

        Raises:
            DataError: the file cannot be read, or a line of it; both are named.
        """
