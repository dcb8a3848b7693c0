"""Trains a question classifier on TREC with all-MiniLM-L6-v2; `make demo` runs it."""

from pathlib import Path

from examples.end_to_end import run

QUESTIONS = [
    "Who wrote Hamlet ?",
    "How many moons does Jupiter have ?",
    "Where is the Louvre ?",
    "What does NASA stand for ?",
    "Why is the sky blue ?",
    "What sport do the Chicago Bulls play ?",
]

if __name__ == "__main__":
    run(Path(__file__).parent, ["trec", "minilm"], QUESTIONS)
