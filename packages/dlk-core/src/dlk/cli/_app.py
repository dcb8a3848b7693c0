"""From arguments to a command, and from its errors to messages and exit codes."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.metadata
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from dlk._known import shadow
from dlk.cli._arguments import UsageError
from dlk.cli._terminal import Terminal, without_bars
from dlk.errors import (
    CacheWarning,
    ChangedSourceWarning,
    ConfigError,
    DlkError,
    EqualPointsWarning,
    PluginError,
    StateWarning,
    did_you_mean,
)

__all__ = ["COMMANDS", "commands_of_plugins", "distribution_of", "run"]

OK, FAILED, USAGE, INTERRUPTED, CLOSED_PIPE = 0, 1, 2, 130, 141
GROUP = "dlk.commands"
_OWN = (CacheWarning, ChangedSourceWarning, EqualPointsWarning, StateWarning)

COMMANDS = {
    "process": "prepare data: process.jsonc and raw files to Arrow files and meta",
    "train": "train what fit.jsonc describes, on processed data",
    "run": "process and train in one go",
    "evaluate": "measure a bundle on labelled data",
    "predict": "predict with a bundle: a file to jsonl or parquet",
    "bundle": "verify, inspect or zip a bundle",
    "export": "write a bundle's model as ONNX or as a program of PyTorch",
    "check": "check configs and report all mistakes, without running anything",
    "resolve": "print a config with all defaults, references and expressions filled in",
    "diff": "compare two configs, once they are resolved",
    "schema": "print the JSON Schema of configs, for editors",
    "migrate": "rewrite configs of dlk 0.1",
    "new": "start a project, a component or a plugin",
    "list": "list component types, components, or the options of one",
    "plugins": "list plugins: distribution, version, state and error",
    "why": "say which distribution, file and line supply a name",
    "info": "versions, platform and devices, for a bug report",
}


def run(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; see `dlk.cli.main`."""
    arguments = [_with_path(word) for word in (sys.argv[1:] if argv is None else argv)]
    at = next((k for k, word in enumerate(arguments) if not word.startswith("-")), len(arguments))
    name = arguments[at] if at < len(arguments) else ""
    terminal = Terminal()
    try:
        _refuse_old_dlk()
        if not name:
            return _without_command(arguments)
        if name not in COMMANDS:
            _configure(terminal, _parser().parse_args(arguments[:at]))
            return _external(name)(arguments[at + 1 :]) or OK
        command = importlib.import_module(f"dlk.cli.command.{name}")
        parser = _parser(name, command)
        args = parser.parse_args(arguments)
        _configure(terminal, args)
        bars = without_bars() if terminal.quiet else contextlib.nullcontext()
        with bars, _plain_warnings(terminal):
            code: int | None = command.run(args, terminal)
        sys.stdout.flush()
        return code or OK
    except SystemExit as stop:  # argparse's --help and usage errors, or a plugin's command
        return _code_of(stop, terminal)
    except KeyboardInterrupt as stop:
        terminal.error(f"interrupted {stop}".rstrip())
        return _failed(INTERRUPTED, terminal)
    except BrokenPipeError:
        # Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED_PIPE
    except ConfigError as error:
        terminal.problems(error.problems)
        return _failed(USAGE, terminal)
    except DlkError as error:
        terminal.error(f"error: {error}")
        return _failed(USAGE if isinstance(error, UsageError) else FAILED, terminal)
    except OSError as error:  # no space, no permission, no such folder
        terminal.error(f"error: cannot read or write: {error}")
        return _failed(FAILED, terminal)
    except Exception as error:  # noqa: BLE001 - a user's component or dlk itself may raise anything
        terminal.error(f"error: {type(error).__name__}: {error}{_place_of(error)}")
        if not terminal.debug:
            terminal.error("dlk did not foresee this; dlk --debug shows the traceback")
        return _failed(FAILED, terminal)


@contextlib.contextmanager
def _plain_warnings(terminal: Terminal) -> Iterator[None]:
    """Tell what dlk itself warns of without a line of its source."""
    with warnings.catch_warnings():
        shown = warnings.showwarning

        def show(
            message: Warning | str, category: type[Warning], *more: Any, **others: Any
        ) -> None:
            if issubclass(category, _OWN):
                terminal.note(f"warning: {message}")
            else:
                shown(message, category, *more, **others)

        warnings.showwarning = show
        yield


def _with_path(word: str) -> str:
    """Return an argument, with the path where it names a file or folder of this machine by URL."""
    option, _, value = word.partition("=") if word.startswith("--") else ("", "", word)
    if not value.startswith("file://"):
        return word
    from dlk.io import local_path

    return f"{option}={local_path(value)}" if option else local_path(value)


def _configure(terminal: Terminal, args: argparse.Namespace) -> None:
    terminal.quiet, terminal.debug = args.quiet, args.debug


def _failed(code: int, terminal: Terminal) -> int:
    if terminal.debug:
        traceback.print_exc()
    return code


def _code_of(stop: SystemExit, terminal: Terminal) -> int:
    if stop.code is None or isinstance(stop.code, int):
        return stop.code or OK
    terminal.error(str(stop.code))
    return FAILED


def _place_of(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f" ({frames[-1].filename}:{frames[-1].lineno} in {frames[-1].name})" if frames else ""


def _without_command(arguments: list[str]) -> int:
    parser = _parser(everything=True)
    parser.parse_args(arguments)  # leaves by itself for --help, --version and unknown options
    parser.print_help(sys.stderr)
    return USAGE


def _parser(
    name: str = "", command: Any = None, *, everything: bool = False
) -> argparse.ArgumentParser:  # Any: a module of `dlk.cli.command`
    """Return the parser; only the named command's own arguments are declared.

    Args:
        name: the command that is called; empty for none.
        command: its module.
        everything: list all commands, also those of plugins, as `--help` does.
    """
    parser = argparse.ArgumentParser(
        prog="dlk",
        description="Process data, train, evaluate and predict from one pair of configs.",
        epilog="`dlk COMMAND --help` explains a command.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, help="print the version and leave")
    _add_flags(parser, default=False)
    if name or everything:
        commands = parser.add_subparsers(metavar="COMMAND", dest="command")
        for known, about in COMMANDS.items():
            if everything or known == name:
                own = commands.add_parser(
                    known, help=about, description=_sentence(about), allow_abbrev=False
                )
                if command is not None:
                    command.arguments(own)
                    _add_flags(own, default=argparse.SUPPRESS)
        if everything:
            for point in commands_of_plugins():
                if point.name not in COMMANDS:
                    commands.add_parser(point.name, help=f"from {distribution_of(point)}")
    return parser


def _add_flags(parser: argparse.ArgumentParser, *, default: Any) -> None:  # Any: bool or SUPPRESS
    parser.add_argument(
        "-q", "--quiet", action="store_true", default=default, help="results and errors only"
    )
    parser.add_argument(
        "--debug", action="store_true", default=default, help="show the traceback of a failure"
    )


class _Version(argparse.Action):
    """Looks the version up when it is asked for."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(f"dlk {importlib.metadata.version('dlk-core')}")
        parser.exit()


def _sentence(about: str) -> str:
    return f"{about[0].upper()}{about[1:]}."


def commands_of_plugins() -> list[importlib.metadata.EntryPoint]:
    """Return what installed distributions declare, from their metadata: nothing is imported."""
    points: dict[str, list[importlib.metadata.EntryPoint]] = {}
    for distribution in importlib.metadata.distributions():
        try:
            found = list(distribution.entry_points.select(group=GROUP))
            name = distribution.name if found else ""
        except Exception:  # noqa: BLE001, S112  # damaged metadata of any package raises many kinds
            continue
        if found:
            points.setdefault(name, found)  # of one that lies in two places, the first counts
    return sorted(
        (point for each in points.values() for point in each), key=lambda point: point.name
    )


def distribution_of(point: importlib.metadata.EntryPoint) -> str:
    """Return the name of the distribution that declares an entry point."""
    return point.dist.name if point.dist else "an unknown distribution"


def _external(name: str) -> Callable[[Sequence[str]], int | None]:
    """Return the command that a plugin brings: called with its arguments, it returns its exit code.

    Raises:
        UsageError: there is no such command.
        PluginError: it cannot be imported, or two distributions bring it.
    """
    points = commands_of_plugins()
    found = [point for point in points if point.name == name]
    if not found:
        known = [*COMMANDS, *(point.name for point in points)]
        raise UsageError(f'there is no command "{name}". {did_you_mean(name, known)}')
    if len(found) > 1:
        claimants = " and ".join(sorted(distribution_of(point) for point in found))
        raise PluginError(f'the command "{name}" is claimed by {claimants}; uninstall one')
    try:
        loaded: Callable[[Sequence[str]], int | None] = found[0].load()
    except KeyboardInterrupt as error:
        what = f'while importing the command "{name}" of {distribution_of(found[0])}'
        raise KeyboardInterrupt(what) from error
    except BaseException as error:  # a plugin's module may raise anything
        raise PluginError(
            f'the command "{name}" of {distribution_of(found[0])} cannot be imported: '
            f"{type(error).__name__}: {error}"
        ) from error
    return loaded


def _refuse_old_dlk() -> None:
    if shadow():
        raise DlkError(shadow())
