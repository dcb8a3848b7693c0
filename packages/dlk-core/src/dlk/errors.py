"""Errors that a user can cause, and the words that help to mend them.

Everything here derives from `DlkError`: the command line prints its message and exits non-zero,
without a traceback. A wrong call from code stays a `ValueError` or `TypeError`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

__all__ = [
    "CODES",
    "BundleError",
    "CacheWarning",
    "ChangedSourceWarning",
    "ConfigError",
    "DataError",
    "DlkError",
    "EqualPointsWarning",
    "PluginError",
    "Problem",
    "RowError",
    "RunError",
    "StorageError",
    "close_to",
    "did_you_mean",
    "nearest",
    "redact",
]


CODES: Mapping[str, str] = {
    # the text
    "unreadable-file": "a file that is not there, or cannot be read as text",
    "syntax": "text that is not JSON with comments",
    "repeated-key": "a key or component that stands twice in one object",
    "top-level": "something other than components at the top of a config",
    "project-file": "a mistake in .intc.json or in the name of a module file",
    # names
    "component-key": "a key that is not written @type@name#alias",
    "unknown-component": "a component that nothing installed is called",
    "unusable-component": "a component that is known, but cannot be used here",
    "misnamed-component": "a key that says one component and a base that says another",
    "unknown-field": "a key that is no field of its component",
    # values
    "wrong-type": "a value of another type than its field's",
    "out-of-range": "a value of the right type that is too small, too large or misshapen",
    "unknown-option": "a value that is none of the options of its field",
    "not-allowed": "a value that the component itself refuses",
    "missing-value": "a value that has no default and is not given",
    "rule": "values that are sound alone and do not fit together",
    # components below components
    "missing-child": "a component that must stand below another and does not",
    "too-many-children": "more components of a type than may stand there",
    "child-not-allowed": "a component of a type that may not stand there",
    "nesting": "components nested deeper than any config needs",
    # bases
    "circle": "values or bases that lead back to themselves",
    "base-content": "a base that holds what only the config itself may hold",
    # references and expressions
    "anchor": "an anchor that is no name, names two components, or names none",
    "reference": "a reference or expression that is not written as one",
    "unknown-path": "a path that leads nowhere",
    "ambiguous-path": "a path that fits several components",
    "expression-syntax": "an expression that cannot be read",
    "expression-forbidden": "an expression that asks for what is not in the language",
    "expression-budget": "an expression that is too long, or takes too much work or memory",
    "expression-failed": "an expression that fails on the values given to it",
    "reserved-key": "a word of configs, such as _base, as a key of data",
    # search, overrides, globals
    "search": "a _search that is no object of paths and their values",
    "search-conflict": "a search that another one, or an override, undoes",
    "override": "a --set that is no path=value, or sets what cannot be set",
    "globals": "a _G that is no object, or holds a name that dlk fills in",
    "not-resolved": "something left to compute where only resolved values may stand",
    "several-runs": "a config that searches where one run is expected",
    # the experiment of both configs together
    "unknown-column": "a column that neither a step nor the data brings",
    "unknown-name": "a batch name or output that nothing before it writes",
    "unknown-metric": "a metric that nothing computes",
    "missing-meta": "a file or number of the meta folder that no step makes",
    "missing-file": "a file or folder that is not there",
    "sizes-disagree": "neighbours that are made for different sizes",
    "not-in-stage": "a column that is made in training only, and needed to predict",
    "no-validation": "a value that validation is to find where nothing is validated",
    "never-begins": "a part of training that would begin after its end",
    "split-twice": "two steps that make several records of a row",
    "folders-differ": "configs that name different folders of processed data",
}
"""What kinds of mistakes there are in configs; a code stays what it means."""


_LOGIN = re.compile(r"(?<=://)[^/\s\"']*@")
_SIGNED = re.compile(r"(\w://[^\s\"'?]*\?)[^\s\"']*")


def redact(text: str) -> str:
    """Return a text with no user, password or query in its URLs: they may let anybody in."""
    if "://" not in text:
        return text
    return _SIGNED.sub(r"\1***", _LOGIN.sub("***@", text))


class DlkError(Exception):
    """Base of all errors that a user can cause.

    The message says what was given, what was expected, and what to do; of URLs it tells neither
    user nor password.

    Attributes:
        where: config path of the component that raised it, put in front of the message; empty where
            no component was being built.
    """

    where: str = ""

    def __str__(self) -> str:
        text = redact(super().__str__())
        return f"{self.where}: {text}" if self.where else text

    def place(self, where: str) -> None:
        """Say which component raised it; the first to say so wins."""
        self.where = self.where or where


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a config.

    Attributes:
        path: config path, such as ``imodel.optimizer.lr``; empty for the whole file.
        message: what was given, what was expected, what would have worked.
        file: the file it stands in; empty where the config came from a dict.
        line: line of the value, from 1; 0 where there is no text.
        column: column of the value, from 1; 0 where there is no text.
        code: what kind of mistake it is: a key of `CODES`.
        suggestions: what could stand there instead, the nearest first.
        help: what the field is for.
        origin: where a value comes from that the text at this place does not hold, such as
            ``a default of linear`` or ``--set``.
    """

    path: str
    message: str
    file: str = ""
    line: int = 0
    column: int = 0
    code: str = ""
    suggestions: tuple[str, ...] = ()
    help: str = ""
    origin: str = ""

    def __str__(self) -> str:
        where = " ".join(part for part in (self.position, self.path) if part)
        text = f"{self.message} [{self.origin}]" if self.origin else self.message
        return redact(f"{where}: {text}" if where else text)

    @property
    def position(self) -> str:
        """``file:line:column``, as far as they are known."""
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


class ConfigError(DlkError):
    """One or more mistakes in a config, all of them named.

    Attributes:
        problems: the mistakes, in the order of the text.
    """

    def __init__(
        self, problems: str | Sequence[Problem], *, code: str = "", suggestions: Sequence[str] = ()
    ) -> None:
        if isinstance(problems, str):
            one = Problem("", problems, code=code, suggestions=tuple(suggestions))
            problems = [one]
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)

    def place(self, where: str) -> None:
        """Give the config path to the mistakes that have neither path nor file of their own."""
        self.problems = tuple(
            problem if problem.path or problem.file else replace(problem, path=where)
            for problem in self.problems
        )


class EqualPointsWarning(UserWarning):
    """Two points of a search come to the same config; the later one is left out."""


class ChangedSourceWarning(UserWarning):
    """A project's own component is not from the file that made the bundle which needs it."""


class StateWarning(UserWarning):
    """The state of a run could not be kept, or was taken up under other conditions."""


class CacheWarning(UserWarning):
    """What steps made cannot be kept for the next time; all else goes on."""


class DataError(DlkError):
    """Input data that cannot be used: a missing file or column, unequal lengths, a wrong type."""


class RowError(DlkError):
    """One bad row: the rest of the data is fine.

    Attributes:
        row: number of the row in its split (or in the request), from 0.
        column: the column with the value.
        value: what was found there.
        reason: what is wrong with it.
    """

    def __init__(self, row: int, column: str, value: object, reason: str) -> None:
        self.row = row
        self.column = column
        self.value = value
        self.reason = reason
        shown = repr(value)
        if len(shown) > 120:
            shown = shown[:117] + "..."
        super().__init__(f"row {row}, column {column!r}: {reason}; got {shown}")

    def __reduce__(self) -> tuple[type[RowError], tuple[int, str, object, str], dict[str, str]]:
        return type(self), (self.row, self.column, self.value, self.reason), {"where": self.where}


class BundleError(DlkError):
    """A bundle that is damaged, hostile, or made for something that is not installed."""


class PluginError(DlkError):
    """A plugin or component that is missing, broken or claimed twice."""


class StorageError(DlkError, OSError):
    """A file system that cannot be reached, refuses, or failed half-way; nothing half is left."""


class RunError(DlkError):
    """A run that cannot start or go on: no data, a folder in use, a checkpoint that misfits."""


def nearest(word: str, known: Iterable[str], n: int = 3) -> list[str]:
    """Return up to `n` of the known words that are close to `word`, nearest first."""
    import difflib  # takes milliseconds to load, and most commands never need it

    candidates = sorted({str(k) for k in known})
    folded = {c.lower(): c for c in reversed(candidates)}
    found = difflib.get_close_matches(word.lower(), list(folded), n=n, cutoff=0.6)
    return [folded[f] for f in found]


def close_to(word: str, known: Iterable[str]) -> tuple[str, ...]:
    """Return the known words that are close to `word`, as the suggestions of a `Problem`."""
    return tuple(nearest(word, known))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return the end of an unknown-name message: the nearest names, then what is known."""
    names = sorted({str(k) for k in known})
    close = nearest(word, names)
    parts = []
    if close:
        parts.append("Did you mean " + " or ".join(f'"{c}"' for c in close) + "?")
    if names:
        shown = ", ".join(names[:20]) + (f", … ({len(names)} in all)" if len(names) > 20 else "")
        parts.append(f"Known: {shown}.")
    return " ".join(parts)
