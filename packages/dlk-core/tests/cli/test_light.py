"""The tools around configs import neither torch nor numpy, whatever they do."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = ("torch", "numpy", "pandas", "transformers", "lightning", "pyarrow")
CODE = """
import json, sys
from dlk.cli import main
code = main(json.loads(sys.argv[1]))
print(json.dumps([code, sorted(set(json.loads(sys.argv[2])) & set(sys.modules))]))
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["resolve", "process.jsonc", "--origins"],
        ["diff", "process.jsonc", "process.jsonc"],
        ["schema", "-o", "schema.json"],
        ["migrate", "process.jsonc", "-o", "new"],
        ["new", "project", "light-start"],
        ["new", "plugin", "light"],
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_a_tool_imports_nothing_heavy(project, arguments):
    given = [json.dumps(arguments), json.dumps(HEAVY)]
    done = subprocess.run(
        [sys.executable, "-c", CODE, *given], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout.splitlines()[-1]) == [0, []]
