"""Finds words, their parts of speech and the relations between them in Turkish sentences.

`make example-span_relation_extraction` runs it.
"""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table

from dlk.server import Server
from dlk.train import RunResult
from examples.end_to_end import by_type, own_sources, run

FOLDER = Path(__file__).parent
MEASURES = {
    "rel_f1": "test_rel_f1",
    "rel_boundary_f1": "test_rel_boundary_f1",
    "rel_given_f1": "test_rel_given_f1",
    "ent_f1": "test_ent_f1",
}
SENTENCES = [
    "Takım geçen yıl üç kupa kazandı.",
    "Şehrin en eski camisi bu tepede yer alır.",
    "Yazarın yeni kitabını dün akşam okudum.",
]


def relations(done: RunResult) -> Table:
    """Return what the server says of a few sentences."""
    table = Table("from", "relation", "to", "score", title="relations in a few sentences")
    server = Server(done.bundle, src=own_sources(FOLDER))
    for answer in server.fit([{"sentence": sentence} for sentence in SENTENCES]):
        words = {entity["entity_id"]: entity["text"] for entity in answer["entities_info"]}
        table.add_section()
        for relation in answer["relations_info"]:
            (label,) = relation["labels"]
            ends = words[relation["from"]], words[relation["to"]]
            table.add_row(ends[0], label, ends[1], f"{relation['score']:.2f}")
    return table


def both(done: RunResult) -> Table:
    """Show the relations of a few sentences, and return the scores by kind."""
    Console(width=100).print(relations(done))
    return by_type(FOLDER, done, most=12)


if __name__ == "__main__":
    run(FOLDER, ["turkish"], SENTENCES, measures=MEASURES, further=both)
