"""The expressions that configs and pages show mean what they mean in Python."""

from __future__ import annotations

import json
import re
from pathlib import Path

from dlk.config.expression import compile_lambda, is_expression
from dlk.errors import ConfigError

ROOT = Path(__file__).resolve().parent.parent


def test_every_expression_of_the_examples_and_the_docs_means_what_it_means_in_python() -> None:
    files = [*ROOT.glob("examples/**/*.jsonc"), *ROOT.glob("docs/**/*.md")]
    found = {
        text
        for file in files
        for text in re.findall(r'"(\s*@[^"\n]*@?lambda\b[^"\n]*)"', file.read_text("utf-8"))
        if is_expression(text)
    }
    assert len(found) > 8
    compared = 0
    for text in sorted(found):
        given_names, _, body = text.partition("@lambda")
        if body.strip().startswith("@"):
            continue  # a plain reference: nothing is computed
        count = 1 if not given_names.strip() else given_names.count(",") + 1
        try:
            value = compile_lambda(f"lambda {body}")(*[7] * count)
        except ConfigError:  # a page shows what is refused; Python is not asked either
            continue
        assert value == json.loads(json.dumps(eval(f"lambda {body}")(*[7] * count))), text
        compared += 1
    assert compared > 2
