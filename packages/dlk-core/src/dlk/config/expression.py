"""The small expression language behind ``@lambda``: evaluated by walking the tree, never by Python.

Arithmetic, comparisons, conditionals, indexing, literals, comprehensions and a few functions. No
attributes, no imports, no names beyond the arguments. Work, integers and containers are bounded, so
a config from a stranger can neither run code nor fill the memory.
"""

from __future__ import annotations

import ast
import math
import operator
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from dlk.errors import ConfigError

__all__ = ["FUNCTIONS", "Budget", "compile_lambda", "evaluate", "is_expression", "short"]

MAX_WORK = 1_000_000
MAX_INTEGER_BITS = 4096
MAX_ITEMS = 100_000
MAX_SOURCE = 4096
MAX_TOTAL = 10 * MAX_WORK  # of all expressions of one config
_WORD = 64  # bits of an integer that count as one item
_KEY_BITS = 60  # larger integers may share their hash, and a dict of such takes forever
_KEPT = 10  # an item of a result is checked, frozen and copied after this
_STEP = 8  # a step of the walk costs about as much as looking at this many items
_MAX_DIGITS = 400  # beyond what a float can hold; `round(1, -10**9)` would compute 10**(10**9)

_EXPRESSION = re.compile(r"\s*@(?:lambda\b|.*@lambda\b)", re.DOTALL)
_SURROGATE = re.compile("[\ud800-\udfff]")
_SIZED = (str, list, tuple, dict)

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Not: operator.not_,
}
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
}


def is_expression(value: object) -> bool:
    """Return whether a value of a config is computed: ``@lambda …`` or ``@reference @lambda …``."""
    return isinstance(value, str) and _EXPRESSION.match(value) is not None


def _range(*bounds: int) -> list[int]:
    span = range(*bounds)
    if len(span) > MAX_ITEMS:
        raise ValueError(f"{len(span)} items, at most {MAX_ITEMS} are allowed")
    return list(span)


def _sum(items: Any, start: Any = 0) -> Any:
    if not all(isinstance(item, (int, float)) for item in (start, *items)):
        raise TypeError("sum adds numbers only")
    return sum(items, start)


def _round(number: Any, digits: int | None = None) -> Any:
    if digits is not None and not -_MAX_DIGITS <= digits <= _MAX_DIGITS:
        raise ValueError(f"round to {digits} digits")
    return round(number, digits)


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "len": len,
    "max": max,
    "min": min,
    "sum": _sum,
    "round": _round,
    "abs": abs,
    "int": int,
    "float": float,
    "str": str,
    "bool": bool,
    "list": lambda items=(): list(items),
    "tuple": lambda items=(): tuple(items),
    "range": _range,
    "sorted": lambda items, reverse=False: sorted(items, reverse=reverse),
    "zip": lambda *columns: list(zip(*columns, strict=False)),
    "enumerate": lambda items, start=0: list(enumerate(items, start)),
}
"""What an expression may call."""


class Budget:
    """The work that all expressions of one config may take together; their results count too."""

    def __init__(self) -> None:
        self.left = MAX_TOTAL

    def spend(self, amount: int) -> None:
        self.left -= amount
        if self.left < 0:
            raise _TooMuchError("all expressions together need too much work")


def compile_lambda(source: str, budget: Budget | None = None) -> Callable[..., Any]:
    """Return a callable for ``lambda a, b: expression``; nothing is evaluated yet.

    What it computes is taken from the budget, if there is one. The callable gives plain JSON
    (tuples become lists), and raises a `ConfigError` for whatever goes wrong.

    Raises:
        ConfigError: the text is no lambda with plain arguments.
    """
    if len(source) > MAX_SOURCE:
        raise ConfigError(
            f"an expression of {len(source)} characters, at most {MAX_SOURCE} are allowed",
            code="expression-budget",
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd escapes: Python's advice for Python
            tree = ast.parse(source.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else type(error).__name__
        raise ConfigError(
            f'cannot read the expression "{short(source)}": {reason}', code="expression-syntax"
        ) from None
    if not isinstance(tree, ast.Lambda):
        raise ConfigError(
            f'expected "lambda arguments: expression", got "{short(source)}"',
            code="expression-syntax",
        )
    arguments = tree.args
    if arguments.vararg or arguments.kwarg or arguments.kwonlyargs or arguments.defaults:
        raise ConfigError(
            f'"{short(source)}": only plain arguments are allowed', code="expression-forbidden"
        )
    names = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args)]
    body = tree.body

    def call(*values: Any) -> Any:
        if len(values) != len(names):
            raise ConfigError(
                f'"{short(source)}" takes {len(names)} values, but {len(values)} are referred to',
                code="reference",
            )
        try:
            machine = _Machine(budget or Budget())
            found = machine.eval(body, dict(zip(names, values, strict=True)))
            machine.budget.spend(_KEPT * _size(found))
            return _plain(found)
        except _RefusedError as error:
            code = "expression-forbidden"
            if isinstance(error, _TooMuchError):
                code = "expression-budget"
            elif isinstance(error, _UselessError):
                code = "expression-failed"
            raise ConfigError(f'"{short(source)}": {error}', code=code) from None
        except (
            ArithmeticError,
            TypeError,
            ValueError,
            LookupError,
            RecursionError,
            MemoryError,
        ) as error:
            raise ConfigError(
                f'"{short(source)}" failed: {type(error).__name__}: {short(str(error))}',
                code="expression-budget" if isinstance(error, _ENDLESS) else "expression-failed",
            ) from None

    return call


def evaluate(source: str, names: Mapping[str, Any] | None = None) -> Any:
    """Evaluate one expression with the given names."""
    names = names or {}
    return compile_lambda(f"lambda {', '.join(names)}: {source}")(*names.values())


class _RefusedError(Exception):
    """The expression asks for something that is not in the language."""


class _TooMuchError(_RefusedError):
    """The expression asks for too much work or memory."""


class _UselessError(_RefusedError):
    """The expression comes to something that no config can hold."""


_ENDLESS = (RecursionError, MemoryError)


class _Machine:
    """Walks the tree of one expression, with a method for each kind of node in the language."""

    def __init__(self, budget: Budget) -> None:
        self.left = MAX_WORK
        self.budget = budget

    def spend(self, amount: int) -> None:
        self.left -= amount
        if self.left < 0:
            raise _TooMuchError("needs too much work")
        self.budget.spend(amount)

    def eval(self, node: ast.expr, names: dict[str, Any]) -> Any:
        self.spend(_STEP)
        method = getattr(self, f"on_{type(node).__name__}", None)
        if method is None:
            raise _unknown(type(node).__name__)
        return method(node, names)

    def made(self, value: Any) -> Any:
        """Return a new value, after looking at all of its parts.

        Parts that are shared count as often as they are reached: a list of lists of one list may be
        small in memory and take forever to compare or to write.
        """
        if isinstance(value, int):
            if value.bit_length() > MAX_INTEGER_BITS:
                raise _TooMuchError(f"an integer of more than {MAX_INTEGER_BITS} bits")
        elif isinstance(value, complex):
            raise _UselessError("the result is no real number")
        elif isinstance(value, _SIZED):
            self.look(value)
        return value

    def look(self, value: Any) -> None:
        """Spend as much work as a value has parts; more than the allowed number is refused."""
        size, stack = 0, [value]
        while stack:
            part = stack.pop()
            if isinstance(part, int):
                size += part.bit_length() // _WORD
            elif not isinstance(part, _SIZED):
                continue
            else:
                size += len(part)
            if size > MAX_ITEMS:
                raise _TooMuchError(f"more than {MAX_ITEMS} items")
            if isinstance(part, dict):
                stack += part.values()
                stack += part
            elif isinstance(part, (list, tuple)):
                stack += part
        self.spend(size)

    def on_Constant(self, node: ast.Constant, names: dict[str, Any]) -> Any:
        if node.value is None or isinstance(node.value, (int, float, str)):
            return self.made(node.value)
        raise _RefusedError(f"{node.value!r} is no number, text, True, False or None")

    def on_Name(self, node: ast.Name, names: dict[str, Any]) -> Any:
        if node.id in names:
            return names[node.id]
        raise _RefusedError(f'there is no name "{node.id}"; an argument stands before the colon')

    def on_BinOp(self, node: ast.BinOp, names: dict[str, Any]) -> Any:
        left, right = self.eval(node.left, names), self.eval(node.right, names)
        operation = _BINARY.get(type(node.op))
        if operation is None:
            raise _unknown(type(node.op).__name__)
        numbers = isinstance(left, (int, float)) and isinstance(right, (int, float))
        if isinstance(node.op, (ast.Mod, ast.Pow)) and not numbers:
            raise _RefusedError("% and ** work on numbers only")
        if isinstance(node.op, ast.Pow):
            _refuse_power(left, right)
        if isinstance(node.op, ast.Mult):
            _refuse_repetition(left, right)
            _refuse_repetition(right, left)
        return self.made(operation(left, right))

    def on_UnaryOp(self, node: ast.UnaryOp, names: dict[str, Any]) -> Any:
        operation = _UNARY.get(type(node.op))
        if operation is None:
            raise _unknown(type(node.op).__name__)
        return operation(self.eval(node.operand, names))

    def on_BoolOp(self, node: ast.BoolOp, names: dict[str, Any]) -> Any:
        stops_at = isinstance(node.op, ast.Or)
        value: Any = None
        for part in node.values:
            value = self.eval(part, names)
            if bool(value) is stops_at:
                return value
        return value

    def on_Compare(self, node: ast.Compare, names: dict[str, Any]) -> bool:
        left = self.eval(node.left, names)
        for operation, part in zip(node.ops, node.comparators, strict=True):
            right = self.eval(part, names)
            self.look(left)  # `in` may hash it, once for each turn of a loop
            self.look(right)
            if not _COMPARE[type(operation)](left, right):
                return False
            left = right
        return True

    def on_IfExp(self, node: ast.IfExp, names: dict[str, Any]) -> Any:
        return self.eval(node.body if self.eval(node.test, names) else node.orelse, names)

    def on_List(self, node: ast.List, names: dict[str, Any]) -> list[Any]:
        found: list[Any] = self.made([self.eval(part, names) for part in node.elts])
        return found

    def on_Tuple(self, node: ast.Tuple, names: dict[str, Any]) -> tuple[Any, ...]:
        found: tuple[Any, ...] = self.made(tuple(self.eval(part, names) for part in node.elts))
        return found

    def on_Dict(self, node: ast.Dict, names: dict[str, Any]) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                raise _unknown("** in a dict")
            found[self.key(key, names)] = self.eval(value, names)
        self.look(found)
        return found

    def key(self, node: ast.expr, names: dict[str, Any]) -> Any:
        """Return a key or index; hashing one takes as long as it is large."""
        value = self.eval(node, names)
        self.look(value)
        _refuse_large_key(value)
        return value

    def on_Subscript(self, node: ast.Subscript, names: dict[str, Any]) -> Any:
        value = self.eval(node.value, names)
        if not isinstance(node.slice, ast.Slice):
            return value[self.key(node.slice, names)]
        bounds = (node.slice.lower, node.slice.upper, node.slice.step)
        return self.made(
            value[slice(*(None if b is None else self.eval(b, names) for b in bounds))]
        )

    def on_Call(self, node: ast.Call, names: dict[str, Any]) -> Any:
        if (
            not isinstance(node.func, ast.Name)
            or node.func.id in names
            or node.func.id not in FUNCTIONS
        ):
            raise _RefusedError(f"only these functions can be called: {', '.join(FUNCTIONS)}")
        arguments = [self.eval(argument, names) for argument in node.args]
        keywords: dict[str, Any] = {}
        for keyword in node.keywords:
            if keyword.arg is None:
                raise _unknown("** in a call")
            keywords[keyword.arg] = self.eval(keyword.value, names)
        for argument in (*arguments, *keywords.values()):
            self.look(argument)
        return self.made(FUNCTIONS[node.func.id](*arguments, **keywords))

    def on_ListComp(
        self, node: ast.ListComp | ast.GeneratorExp, names: dict[str, Any]
    ) -> list[Any]:
        found = [self.eval(node.elt, scope) for scope in self.loop(node.generators, names)]
        self.look(found)
        return found

    def on_GeneratorExp(self, node: ast.GeneratorExp, names: dict[str, Any]) -> list[Any]:
        return self.on_ListComp(node, names)

    def on_DictComp(self, node: ast.DictComp, names: dict[str, Any]) -> dict[Any, Any]:
        found = {
            self.key(node.key, scope): self.eval(node.value, scope)
            for scope in self.loop(node.generators, names)
        }
        self.look(found)
        return found

    def loop(
        self, generators: list[ast.comprehension], names: dict[str, Any]
    ) -> Iterator[dict[str, Any]]:
        """Yield the names of each turn of a comprehension."""
        if not generators:
            yield names
            return
        first, *others = generators
        items = self.eval(first.iter, names)
        if not isinstance(items, _SIZED):
            raise _RefusedError("only lists, tuples, texts and dicts can be looped over")
        for item in items:
            inner = {**names, **self.bind(first.target, item)}
            self.spend(_STEP + len(inner))
            if all(self.eval(test, inner) for test in first.ifs):
                yield from self.loop(others, inner)

    def bind(self, target: ast.expr, item: Any) -> dict[str, Any]:
        if isinstance(target, ast.Name):
            return {target.id: item}
        if (
            isinstance(target, ast.Tuple)
            and isinstance(item, (list, tuple))
            and len(item) == len(target.elts)
        ):
            bound: dict[str, Any] = {}
            for part, value in zip(target.elts, item, strict=True):
                bound |= self.bind(part, value)
            return bound
        raise _RefusedError("the loop's variables do not fit what is looped over")


def _refuse_power(base: Any, exponent: Any) -> None:
    whole = isinstance(base, int) and isinstance(exponent, int) and abs(base) > 1
    if whole and base.bit_length() * exponent > MAX_INTEGER_BITS:
        raise _TooMuchError(f"an integer of more than {MAX_INTEGER_BITS} bits")


def _refuse_large_key(value: Any) -> None:
    if isinstance(value, int) and value.bit_length() > _KEY_BITS:
        raise _TooMuchError(f"a key or index of more than {_KEY_BITS} bits")
    if isinstance(value, tuple):
        for part in value:
            _refuse_large_key(part)


def _refuse_repetition(items: Any, times: Any) -> None:
    if isinstance(items, _SIZED) and isinstance(times, int) and len(items) * times > MAX_ITEMS:
        raise _TooMuchError(f"more than {MAX_ITEMS} items")


def _size(value: Any) -> int:
    """Return how many items a value has, those of its parts included: what a copy of it takes."""
    if isinstance(value, dict):
        return len(value) + sum(map(_size, value.values()))
    if isinstance(value, (list, tuple)):
        return len(value) + sum(_size(part) for part in value if isinstance(part, _SIZED))
    return len(value) if isinstance(value, str) else 0


def _unknown(what: str) -> _RefusedError:
    return _RefusedError(
        f"{what} is not part of the expression language: arithmetic, comparisons, conditionals, "
        f"comprehensions and {', '.join(FUNCTIONS)}"
    )


def _plain(value: Any) -> Any:
    """Return the value as JSON has it."""
    if isinstance(value, float) and not math.isfinite(value):
        raise _UselessError(f"the result is {value}")
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise _UselessError("the keys of an object are texts")
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if is_expression(value):
        raise _RefusedError("an expression may not compute an expression")
    if isinstance(value, str) and not value.isascii() and _SURROGATE.search(value):
        raise _UselessError("the result holds half of a surrogate pair, which is no character")
    return value


def short(text: str, width: int = 120) -> str:
    """Return a text on one line, cut to a width."""
    text = " ".join(text.split())
    return text if len(text) <= width else text[: width - 3] + "..."
