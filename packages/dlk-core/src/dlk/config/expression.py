"""The small expression language behind ``@lambda``: evaluated by walking the tree, never by Python's ``eval``.

Arithmetic, comparisons, conditionals, indexing, literals, comprehensions and a few functions. No attributes, no
imports, no names beyond the arguments. Work, integers and containers are bounded, so a config from a stranger can
neither run code nor fill the memory.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from dlk.errors import ConfigError

__all__ = ["FUNCTIONS", "compile_lambda", "evaluate"]

MAX_OPERATIONS = 100_000
MAX_INTEGER_BITS = 4096
MAX_ITEMS = 100_000
MAX_SOURCE = 4096

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
_NUMBER = (int, float)


def _range(*bounds: int) -> list[int]:
    span = range(*bounds)
    if len(span) > MAX_ITEMS:
        raise ConfigError(f"range of {len(span)} items; at most {MAX_ITEMS} are allowed")
    return list(span)


def _str(value: Any = "") -> str:
    if isinstance(value, int) and value.bit_length() > MAX_INTEGER_BITS:
        raise ConfigError("this integer is too large to be written out")
    return str(value)


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "len": len,
    "max": max,
    "min": min,
    "sum": sum,
    "round": round,
    "abs": abs,
    "int": int,
    "float": float,
    "str": _str,
    "bool": bool,
    "list": lambda items=(): list(items),
    "tuple": lambda items=(): tuple(items),
    "range": _range,
    "sorted": lambda items, reverse=False: sorted(items, reverse=reverse),
    "zip": lambda *columns: list(zip(*columns, strict=False)),
    "enumerate": lambda items, start=0: list(enumerate(items, start)),
}
"""What an expression may call."""


def compile_lambda(source: str) -> Callable[..., Any]:
    """Return a callable for ``lambda a, b: expression``; nothing is evaluated yet.

    Raises:
        ConfigError: the text is no lambda with plain arguments, or uses something that is not in the language.
    """
    if len(source) > MAX_SOURCE:
        raise ConfigError(f"an expression of {len(source)} characters; at most {MAX_SOURCE} are allowed")
    try:
        tree = ast.parse(source.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ConfigError(f"cannot read the expression {source!r}: {error}") from None
    if not isinstance(tree, ast.Lambda):
        raise ConfigError(f"expected 'lambda arguments: expression', got {source!r}")
    arguments = tree.args
    if arguments.vararg or arguments.kwarg or arguments.kwonlyargs or arguments.defaults:
        raise ConfigError(f"{source!r}: only plain arguments are allowed")
    names = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args)]
    body = tree.body

    def call(*values: Any) -> Any:
        if len(values) != len(names):
            raise ConfigError(f"{source!r} takes {len(names)} values, got {len(values)}")
        return _run(body, dict(zip(names, values, strict=True)), source)

    return call


def evaluate(source: str, names: Mapping[str, Any] | None = None) -> Any:
    """Evaluate one expression with the given names."""
    return compile_lambda(f"lambda: {source}")() if not names else compile_lambda(
        f"lambda {', '.join(names)}: {source}"
    )(*names.values())


def _run(body: ast.expr, names: Mapping[str, Any], source: str) -> Any:
    machine = _Machine(source)
    try:
        return machine.eval(body, dict(names))
    except ConfigError:
        raise
    except (ArithmeticError, TypeError, ValueError, LookupError, RecursionError, MemoryError) as error:
        raise ConfigError(f"{source!r} failed: {type(error).__name__}: {error}") from None


class _Machine:
    def __init__(self, source: str) -> None:
        self.source = source
        self.left = MAX_OPERATIONS

    def refuse(self, what: str) -> ConfigError:
        allowed = ", ".join(FUNCTIONS)
        return ConfigError(f"{self.source!r}: {what}. Allowed are arithmetic, comparisons, and: {allowed}.")

    def spend(self, amount: int = 1) -> None:
        self.left -= amount
        if self.left < 0:
            raise ConfigError(f"{self.source!r}: needs more than {MAX_OPERATIONS} operations")

    def eval(self, node: ast.expr, names: dict[str, Any]) -> Any:
        self.spend()
        method = getattr(self, f"on_{type(node).__name__}", None)
        if method is None:
            raise self.refuse(f"{type(node).__name__} is not part of the expression language")
        return self.bounded(method(node, names))

    def bounded(self, value: Any) -> Any:
        if isinstance(value, bool) or value is None:
            return value
        if isinstance(value, int) and value.bit_length() > MAX_INTEGER_BITS:
            raise ConfigError(f"{self.source!r}: an integer of more than {MAX_INTEGER_BITS} bits")
        if isinstance(value, (str, list, tuple, dict, set)) and len(value) > MAX_ITEMS:
            raise ConfigError(f"{self.source!r}: more than {MAX_ITEMS} items")
        return value

    def on_Constant(self, node: ast.Constant, names: dict[str, Any]) -> Any:
        if node.value is None or isinstance(node.value, (bool, int, float, str)):
            return node.value
        raise self.refuse(f"{node.value!r} is no number, text, true, false or null")

    def on_Name(self, node: ast.Name, names: dict[str, Any]) -> Any:
        if node.id in names:
            return names[node.id]
        raise self.refuse(f'there is no name "{node.id}"')

    def on_BinOp(self, node: ast.BinOp, names: dict[str, Any]) -> Any:
        left, right = self.eval(node.left, names), self.eval(node.right, names)
        operation = _BINARY.get(type(node.op))
        if operation is None:
            raise self.refuse(f"the operator {type(node.op).__name__} is not part of the expression language")
        sized = (str, list, tuple)
        if isinstance(node.op, ast.Mod) and not (isinstance(left, _NUMBER) and isinstance(right, _NUMBER)):
            raise self.refuse("% works on numbers only")
        if isinstance(node.op, ast.Pow):
            if not (isinstance(left, _NUMBER) and isinstance(right, _NUMBER)):
                raise self.refuse("** works on numbers only")
            if isinstance(left, int) and isinstance(right, int) and left.bit_length() * abs(right) > MAX_INTEGER_BITS:
                raise ConfigError(f"{self.source!r}: a power of more than {MAX_INTEGER_BITS} bits")
        if isinstance(node.op, ast.Mult):
            for items, times in ((left, right), (right, left)):
                if isinstance(items, sized) and isinstance(times, int) and len(items) * times > MAX_ITEMS:
                    raise ConfigError(f"{self.source!r}: more than {MAX_ITEMS} items")
        if isinstance(left, sized):
            self.spend(len(left) // 8)
        return operation(left, right)

    def on_UnaryOp(self, node: ast.UnaryOp, names: dict[str, Any]) -> Any:
        operation = _UNARY.get(type(node.op))
        if operation is None:
            raise self.refuse(f"the operator {type(node.op).__name__} is not part of the expression language")
        return operation(self.eval(node.operand, names))

    def on_BoolOp(self, node: ast.BoolOp, names: dict[str, Any]) -> Any:
        stop = isinstance(node.op, ast.Or)
        value: Any = None
        for part in node.values:
            value = self.eval(part, names)
            if bool(value) is stop:
                return value
        return value

    def on_Compare(self, node: ast.Compare, names: dict[str, Any]) -> bool:
        left = self.eval(node.left, names)
        for operation, part in zip(node.ops, node.comparators, strict=True):
            right = self.eval(part, names)
            if isinstance(right, (list, tuple, str, dict)):
                self.spend(len(right) // 8)
            if not _COMPARE[type(operation)](left, right):
                return False
            left = right
        return True

    def on_IfExp(self, node: ast.IfExp, names: dict[str, Any]) -> Any:
        return self.eval(node.body if self.eval(node.test, names) else node.orelse, names)

    def on_List(self, node: ast.List, names: dict[str, Any]) -> list[Any]:
        return [self.eval(part, names) for part in node.elts]

    def on_Tuple(self, node: ast.Tuple, names: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(self.eval(part, names) for part in node.elts)

    def on_Dict(self, node: ast.Dict, names: dict[str, Any]) -> dict[Any, Any]:
        if any(key is None for key in node.keys):
            raise self.refuse("** in a dict is not part of the expression language")
        return {
            self.eval(key, names): self.eval(value, names)
            for key, value in zip(node.keys, node.values, strict=True)
            if key is not None
        }

    def on_Subscript(self, node: ast.Subscript, names: dict[str, Any]) -> Any:
        value = self.eval(node.value, names)
        if isinstance(node.slice, ast.Slice):
            bounds = [None if b is None else self.eval(b, names) for b in (node.slice.lower, node.slice.upper, node.slice.step)]
            return value[slice(*bounds)]
        return value[self.eval(node.slice, names)]

    def on_Call(self, node: ast.Call, names: dict[str, Any]) -> Any:
        if not isinstance(node.func, ast.Name) or node.func.id in names or node.func.id not in FUNCTIONS:
            raise self.refuse("only these functions can be called")
        if any(isinstance(argument, ast.Starred) for argument in node.args) or any(k.arg is None for k in node.keywords):
            raise self.refuse("* and ** in a call are not part of the expression language")
        arguments = [self.eval(argument, names) for argument in node.args]
        keywords = {str(k.arg): self.eval(k.value, names) for k in node.keywords}
        for argument in arguments:
            if isinstance(argument, (list, tuple, str, dict)):
                self.spend(len(argument))
        return FUNCTIONS[node.func.id](*arguments, **keywords)

    def on_ListComp(self, node: ast.ListComp, names: dict[str, Any]) -> list[Any]:
        return self.comprehend(node.generators, node.elt, names)

    def on_GeneratorExp(self, node: ast.GeneratorExp, names: dict[str, Any]) -> list[Any]:
        return self.comprehend(node.generators, node.elt, names)

    def comprehend(self, generators: list[ast.comprehension], element: ast.expr, names: dict[str, Any]) -> list[Any]:
        found: list[Any] = []

        def loop(depth: int, scope: dict[str, Any]) -> None:
            if depth == len(generators):
                found.append(self.eval(element, scope))
                self.bounded(found)
                return
            generator = generators[depth]
            items: Iterable[Any] = self.eval(generator.iter, scope)
            if not isinstance(items, (list, tuple, str, dict)):
                raise self.refuse("only lists, tuples, texts and dicts can be looped over")
            for item in items:
                self.spend()
                inner = {**scope, **self.bind(generator.target, item)}
                if all(self.eval(test, inner) for test in generator.ifs):
                    loop(depth + 1, inner)

        loop(0, dict(names))
        return found

    def bind(self, target: ast.expr, item: Any) -> dict[str, Any]:
        if isinstance(target, ast.Name):
            return {target.id: item}
        if isinstance(target, ast.Tuple) and isinstance(item, (list, tuple)) and len(item) == len(target.elts):
            bound: dict[str, Any] = {}
            for part, value in zip(target.elts, item, strict=True):
                bound |= self.bind(part, value)
            return bound
        raise self.refuse("this loop variable does not fit what is looped over")
