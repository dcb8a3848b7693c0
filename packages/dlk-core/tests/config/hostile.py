"""Evaluates hostile expressions in a process with little memory and time: `hostile.py COUNT SEED`.

Prints one JSON object: how many were refused, how many gave a value, the slowest, the largest
memory. An audit hook ends the process (exit code 3) where an expression makes Python open, import,
run or send anything.
"""

from __future__ import annotations

import json
import os
import random
import re
import resource
import sys
import time
import unicodedata  # noqa: F401  # Python's parser imports it for names that are not ASCII
from pathlib import Path

from dlk.config.expression import compile_lambda, is_expression
from dlk.errors import ConfigError

MEMORY = 400 * 2**20
FORBIDDEN = ("open", "import", "exec", "os.", "subprocess.", "socket.", "shutil.", "ctypes.")

ATOMS = [
    "1", "0", "-1", "2.5", "1e308", "10**9", "2**4000", "'a'", "'%s'", "'{0.__class__}'", "[]",
    "()", "{}", "{'a': 1}", "[1, 2]", "x", "y", "None", "True", "...", "1j", "b'x'", "f'{x}'",
    "f'{x!r:>99999}'", "'\\N{BULLET}'", "0x" + "f" * 900, "9" * 900, "__builtins__", "__import__",
    "open", "eval", "exec", "globals()", "type", "object", "print", "ｌｅｎ", "ｅval", "х",
    "range(10**9)", "range(99999)", "'a' * 99999", "[0] * 99999", "(0,) * 99999",
    "lambda: 1", "(z := 1)", "*x", "**x", "{*x}", "{**y}", "x if x else y", "not x", "~x",
    "float('nan')", "str(x)", "int('9' * 5000)", "'@lamb' + 'da _: 1'",
]  # fmt: skip
SHAPES: list[str] = [
    "({a} + {b})", "({a} - {b})", "({a} * {b})", "({a} / {b})", "({a} // {b})", "({a} % {b})",
    "({a} ** {b})", "({a} ** {b} ** {c})", "({a} << {b})", "({a} >> {b})", "({a} @ {b})",
    "({a} & {b})", "({a} | {b})", "({a} == {b} < {c})", "({a} in {b})", "({a} is not {b})",
    "({a} and {b} or {c})", "({a} if {b} else {c})", "[{a}, {b}, {c}]", "({a}, {b})",
    "{{{a}: {b}}}", "{{{a}, {b}}}", "[*{a}, {b}]", "{{**{a}}}", "({a})[{b}]", "({a})[{b}:{c}]",
    "({a})[::{b}]", "({a})({b})", "({a})(*{b})", "({a})(**{b})", "({a}).__class__",
    "({a}).__class__.__mro__[1].__subclasses__()", "({a}).append({b})", "({a}).format({b})",
    "({a}).__getattribute__({b})", "[{a} for x in {b}]", "[{a} for x in {b} for y in {c}]",
    "[[{a} for x in {b}] for y in {c}]", "{{{a}: {b} for x in {c}}}", "({a} for x in {b} if {c})",
    "[{a} for x.y in {b}]", "[{a} for (x, y) in zip({b}, {c})]", "[(z := {a}) for x in {b}]",
    "[{a} async for x in {b}]", "(lambda x: {a})({b})", "(lambda f: f(f))(lambda f: f(f))",
    "(yield {a})", "(await {a})", "len({a})", "max({a}, {b})", "min({a}, key={b})", "sum({a}, {b})",
    "round({a}, {b})", "abs({a})", "int({a})", "int({a}, {b})", "float({a})", "str({a})",
    "bool({a})", "list({a})", "tuple({a})", "range({a}, {b}, {c})", "sorted({a}, key={b})",
    "sorted({a}, reverse={b})", "zip({a}, {b})", "enumerate({a}, {b})", "getattr({a}, {b})",
    "__import__({a}).system({b})", "open({a}, 'w')", "eval({a})", "({a}).__globals__", "print({a})",
    "f'{{{a}}}'", "'%s' % ({a},)", "'{{}}'.format({a})", "[x for x in [{a}] * 999]",
    "{{x: {a} for x in [tuple(range(9999))] * 9999}}", "[{a} in y for x in range(99999)]",
]  # fmt: skip
BOMBS = [
    "9**9**9**9", "(9**9)**(9**9)", "2**(2**(2**(2**(2**2))))", "'a' * 10**9", "[[]] * 10**9",
    "[[0] * 9999] * 9999", "[[[0] * 99] * 99] * 99", "str(10**4000) * 10**4",
    "[10**1000] * 99999", "str([10**1000] * 99999)", "sum([10**1200] * 99999)",
    "sorted([10**1000] * 99999)", "list(zip(*[[1] * 99999] * 99))",
    "zip([1] * 99999, [1] * 99999, [1] * 99999)", "enumerate(range(10**7))",
    "[sorted(range(99999)) for x in range(99999)]", "[x for x in range(10**12)]",
    "[0 for a in range(999) for b in range(999) for c in range(999)]",
    "{a: 1 for i in range(9999) for a in [tuple(range(90000))]}",
    "[{a: 1 for i in range(9999)} for a in [tuple(range(90000))]]",
    "[a in {} for a in [tuple(range(90000))] for i in range(99999)]",
    "[{}[a] for a in [tuple(range(90000))] for i in range(99999)]",
    "{'a': [a, a] for a in [tuple(range(90000))]}",
    "[a == b for a in [list(range(90000))] for b in [list(range(90000))] for i in range(99999)]",
    "[str(object=b) for b in ['a' * 90000] for i in range(99999)]",
    "('a' * 50000 + 'b') in ('a' * 99999)", "[('a' * 50000) in ('b' * 99999) for i in range(999)]",
    "'%999999999d' % 1", "'%s' * 9999 % (1,)", "f'{1:>999999999}'", "'{:>999999999}'.format(1)",
    "int('1' * 99999)", "int('z' * 99999, 36)", "float('9' * 99999)", "round(10**300, -10**9)",
    "round(1.5, 10**9)", "max([[0] * 999] * 99)", "1" + "0" * 4000, "-" * 4000 + "1",
    "not " * 1000 + "1", "(" * 1000 + ")" * 1000, "[" * 1900 + "]" * 1900, "x" + ".a" * 2000,
    "x" + "[0]" * 1300, "x" + "(1)" * 1300, "1" + "+1" * 2000, "1" + "**1" * 1300,
    "1" + "<1" * 2000, "1 if " * 500 + "1" + " else 1" * 400,
    "[x for x in " * 200 + "x" + "]" * 200,
    "'\\ud800'", "'\\x00' * 99999", "'\\U0010ffff' * 99999", "(lambda f: f(f))(lambda f: f(f))",
    "(lambda: (yield))()", "[a := 1, a ** a]", "[*range(10**9)]", "max(*range(10**9))",
    "len(range(10**30))", "().__class__.__base__.__subclasses__()", "[].__len__()", "x.__dict__",
    "'{0.__init__.__globals__}'.format(x)", "(1).__class__", "type(1)", "vars()", "dir()",
    "breakpoint()", "__import__('os').system('echo ran')", "__builtins__['open']('ran', 'w')",
    "ｅｖａｌ('1')", "о", "х",
]  # fmt: skip


def expression(random: random.Random, depth: int) -> str:
    """Return a random expression built of nasty parts."""
    if depth == 0 or random.random() < 0.15:
        return random.choice(ATOMS)
    parts = {name: expression(random, depth - 1) for name in "abc"}
    return random.choice(SHAPES).format(**parts)


def generated(random: random.Random) -> str:
    """Return a hostile source: built of parts, a mangled one, or a bomb inside of something."""
    kind = random.random()
    if kind < 0.1:
        return random.choice(SHAPES).format(a=random.choice(BOMBS), b="x", c="y")
    source = expression(random, random.randint(1, 4))
    if kind < 0.25:
        at = random.randrange(len(source) + 1)
        return source[:at] + random.choice("()[]{}:=*'\"\\\0\n @#ａ.") + source[at:]
    return source


def forbid() -> list[int]:
    """Install the audit hook; it watches while the list that it returns holds anything."""
    watching: list[int] = []

    def hook(event: str, arguments: object) -> None:
        if watching and event.startswith(FORBIDDEN):
            os.write(2, f"an expression caused {event} {arguments}\n".encode())
            os._exit(3)

    sys.addaudithook(hook)
    return watching


def is_plain(value: object) -> bool:
    if isinstance(value, list):
        return all(map(is_plain, value))
    if isinstance(value, dict):
        return all(isinstance(k, str) and is_plain(v) for k, v in value.items())
    return value is None or (
        isinstance(value, (bool, int, float, str)) and not is_expression(value)
    )


def main(count: int, seed: int) -> None:
    rng = random.Random(seed)
    sources = [*BOMBS, *(generated(rng) for _ in range(count))]
    watching = forbid()
    compile_lambda("lambda x: x + 1")(1)  # what Python imports at its first parse is imported
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    seconds = 30 + count // 20
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    watching.append(1)
    found = {"refused": 0, "evaluated": 0, "slowest": 0.0, "slowest_source": ""}
    for source in sources:
        started = time.process_time()
        try:
            value = compile_lambda(f"lambda x, y: {source}")([1, 2, "a"], {"a": [1]})
        except ConfigError:
            found["refused"] += 1
        else:
            assert is_plain(value), source
            json.dumps(value).encode()
            found["evaluated"] += 1
        spent = time.process_time() - started
        if spent > found["slowest"]:
            found |= {"slowest": spent, "slowest_source": source[:200]}
    watching.clear()
    # not ru_maxrss: it counts the process that this one was forked from
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    found["peak_mb"] = int(peak) // 1024
    print(json.dumps(found))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
