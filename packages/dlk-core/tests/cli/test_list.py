"""``dlk list``, ``dlk plugins`` and ``dlk info``."""

from __future__ import annotations

import importlib.metadata
import json

import pytest

from dlk.cli import main
from dlk.registry import register


def rows(capsys):
    return json.loads(capsys.readouterr().out)


def test_lists_every_component_with_its_origin(capsys):
    assert main(["list", "--json"]) == 0
    listed = rows(capsys)
    assert {
        "type": "postprocessor",
        "name": "identity",
        "from": f"dlk-core {importlib.metadata.version('dlk-core')}",
        "help": "gives the named outputs as they are and measures nothing",
    } in listed
    assert len(listed) == len(register.entries())


def test_a_type_lists_its_components_alone(capsys):
    assert main(["list", "postprocessor", "--json"]) == 0
    assert {row["type"] for row in rows(capsys)} == {"postprocessor"}


def test_a_component_lists_its_options(capsys):
    assert main(["list", "postprocessor", "identity"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("Gives the named outputs as they are")
    assert "outputs" in text
    assert "model outputs that each prediction holds" in text


def test_an_option_says_what_it_takes(capsys):
    assert main(["list", "decoder", "linear"]) == 0
    text = capsys.readouterr().out
    assert 'one of null, "first", "mean", "max"' in text
    assert "an integer >= 1" in text
    assert "a number from 0.0 to 1.0" in text


def test_a_type_without_names_lists_its_options(capsys):
    assert main(["list", "fit", "--json"]) == 0
    assert {"processed_data_dir", "seed"} <= {row["option"] for row in rows(capsys)}


def test_an_option_that_must_be_given_says_so(capsys):
    assert main(["list", "subprocessor", "token_gather", "--json"]) == 0
    options = {row["option"]: row["default"] for row in rows(capsys)}
    assert options["gather_columns"] == "required"
    assert options["min_freq"] == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["postprocesor"], 'no component type "postprocesor". Did you mean "postprocessor"'),
        (["postprocessor", "identty"], 'no postprocessor "identty". Did you mean "identity"?'),
    ],
)
def test_an_unknown_name_gives_the_nearest(capsys, arguments, said):
    assert main(["list", *arguments]) == 2
    assert said in capsys.readouterr().err


LOCAL = '''
import no_such_module
from dlk.config import Base, IntField, cregister
from dlk.registry import register


@cregister("embedding", "own_of_this_project")
class Config(Base):
    """Embeds as this project does."""


@register("embedding", "own_of_this_project")
class Embedding:
    pass
'''


def test_a_project_s_own_components_are_listed_without_importing_them(project, capsys):
    (project / ".intc.json").write_text('{"src": ["own"]}')
    (project / "own").mkdir()
    (project / "own" / "embedding.py").write_text(LOCAL)
    assert main(["list", "embedding", "--json"]) == 0
    assert {
        "type": "embedding",
        "name": "own_of_this_project",
        "from": "local",
        "help": "Embeds as this project does.",
    } in rows(capsys)


def test_a_project_s_file_that_cannot_be_read_is_told(project, capsys, monkeypatch):
    monkeypatch.setattr(register, "_broken", {})
    (project / ".intc.json").write_text('{"src": ["own"]}')
    (project / "own").mkdir()
    (project / "own" / "broken.py").write_text("class (")
    assert main(["list", "embedding", "--json"]) == 0
    assert "broken.py could not be read" in capsys.readouterr().err
    assert main(["plugins", "--json"]) == 0
    (own,) = (row for row in rows(capsys) if row["distribution"] == "local")
    assert own["state"] == "failed"
    assert own["plugin"].endswith("broken.py")


def test_a_broken_project_leaves_the_others_listed(project, capsys):
    (project / ".intc.json").write_text('{"src": ["nowhere"]}')
    assert main(["list", "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)
    assert "left out" in said.err


def test_plugins_are_shown_with_their_state(capsys):
    assert main(["plugins", "--json"]) == 0
    (core,) = (row for row in rows(capsys) if row["plugin"] == "core")
    assert core["distribution"] == "dlk-core"
    assert core["state"] == "loaded"
    assert core["components"] > 0


def test_a_plugin_that_fails_is_shown_with_its_error(monkeypatch, capsys):
    from dlk.registry import PluginState, Registry

    broken = [PluginState("bloom", "dlk-bloom", "1.0", "failed", "ImportError: no petals")]
    monkeypatch.setattr(Registry, "plugins", property(lambda self: broken))
    assert main(["plugins"]) == 0
    text = capsys.readouterr().out
    assert "bloom" in text
    assert "ImportError: no petals" in text


def test_info_names_versions_and_platform(capsys):
    assert main(["info"]) == 0
    text = capsys.readouterr().out
    for name in ("dlk-core", "python", "platform", "torch", "intc"):
        assert f"\n{name} " in f"\n{text}"


def test_info_lists_devices_when_asked(capsys):
    assert main(["info", "--devices", "--json"]) == 0
    assert rows(capsys)["torch threads"] >= 1
