"""Trains text classifiers with all-MiniLM-L6-v2; `make demo` runs the first of them.

python -m examples.text_cls.main           # what kind of thing a question asks for
python -m examples.text_cls.main fine      # the same, in 50 kinds
python -m examples.text_cls.main sms       # whether a short message is spam
python -m examples.text_cls.main multi     # which kinds of names a tweet mentions, if any
"""

from __future__ import annotations

import sys
from pathlib import Path

from examples.end_to_end import run
from examples.text_cls.variants import FINE, MULTI, SMS

QUESTIONS = [
    "Who wrote Hamlet ?",
    "How many moons does Jupiter have ?",
    "Where is the Louvre ?",
    "What does NASA stand for ?",
    "Why is the sky blue ?",
    "What sport do the Chicago Bulls play ?",
]
MESSAGES = [
    "are you still coming tonight?",
    "WINNER!! Claim your free prize, call 09061701461 now",
]
TWEETS = [
    "Lady Gaga plays at Madison Square Garden in New York tonight",
    "just bought the new iPhone from the Apple store",
    "why is it so cold this morning",
]

if __name__ == "__main__":
    here = Path(__file__).parent
    variant = sys.argv[1] if len(sys.argv) > 1 else ""
    if variant == "fine":
        run(here, ["trec", "minilm"], QUESTIONS, variant="fine", **FINE)
    elif variant == "sms":
        scores = {"accuracy": "test_acc", "f1": "test_f1"}
        run(here, ["sms", "minilm"], MESSAGES, variant="sms", measures=scores, **SMS)
    elif variant == "multi":
        scores = {"f1_micro": "test_f1_micro", "f1_macro": "test_f1_macro"}
        run(here, ["kinds", "minilm"], TWEETS, variant="multi", measures=scores, **MULTI)
    elif not variant:
        run(here, ["trec", "minilm"], QUESTIONS)
    else:
        sys.exit(f"error: there is no variant {variant}: fine, sms, multi, or none")
