"""``dlk schema``."""

from __future__ import annotations

import json

import pytest
from jsonschema import Draft202012Validator

from dlk.cli import main


def written(capsys, *arguments):
    assert main(["schema", *arguments]) == 0
    return Draft202012Validator(json.loads(capsys.readouterr().out))


def test_prints_a_schema_that_the_project_s_config_fits(project, capsys):
    check = written(capsys)
    config = json.loads((project / "process.jsonc").read_text())
    assert check.is_valid(config)
    config["@processor@default"]["chunk_sise"] = 3
    assert [error.message for error in check.iter_errors(config)] != []


def test_writes_a_file_and_says_so(project, capsys):
    assert main(["schema", "-o", "dlk.schema.json"]) == 0
    assert capsys.readouterr().out == "dlk.schema.json\n"
    assert json.loads((project / "dlk.schema.json").read_text())["$schema"].endswith("schema")


def test_of_one_component_it_is_for_a_module_file(project, capsys):
    check = written(capsys, "optimizer", "adamw")
    assert check.is_valid({"lr": 0.1})
    assert not check.is_valid({"lr": "fast"})
    assert written(capsys, "optimizer").is_valid({"_base": "sgd", "lr": 0.1})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["optimiser"], 'Did you mean "optimizer"'), (["optimizer", "adam"], 'Did you mean "adamw"')],
)
def test_an_unknown_name_gives_the_nearest(project, capsys, arguments, said):
    assert main(["schema", *arguments]) == 2
    assert said in capsys.readouterr().err


OWN = '''
from dlk.config import Base, IntField, cregister

@cregister("optimizer", "own_of_schema")
class OwnConfig(Base):
    """Steps as this project does."""
    size = IntField(value=1, help="of a step")
'''


def test_the_project_s_own_components_and_modules_are_in_it(project, capsys):
    (project / ".intc.json").write_text('{"src": ["own_for_schema.py"], "module": ["modules"]}')
    (project / "own_for_schema.py").write_text(OWN)
    (project / "modules").mkdir()
    (project / "modules" / "optimizer@mine.jsonc").write_text('{"_base": "own_of_schema"}')
    check = written(capsys, "imodel", "default")
    assert check.is_valid({"@optimizer@own_of_schema": {"size": 3}})
    assert check.is_valid({"@optimizer": "mine"})
    assert not check.is_valid({"@optimizer@own_of_schema": {"sise": 3}})
