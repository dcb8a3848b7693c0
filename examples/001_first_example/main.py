"""Trains a bag of words with this project's own processor, model and datamodule."""

from pathlib import Path

from examples.end_to_end import run

QUESTIONS = ["Who wrote Hamlet ?", "How many moons does Jupiter have ?", "Where is the Louvre ?"]

if __name__ == "__main__":
    run(Path(__file__).parent, ["trec"], QUESTIONS)
