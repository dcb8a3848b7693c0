"""The `dlk` command. Importing this loads nothing; a command's module is imported when called."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        argv: the arguments after the program's name; None: those of this process.

    Returns:
        0: done; 1: the run failed; 2: a wrong argument or config; 130: interrupted by Ctrl-C;
        141: whoever read the output closed it.
    """
    from dlk.cli._app import run

    return run(argv)
