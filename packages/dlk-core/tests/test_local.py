"""A project's own components: found without an import, imported under their project's names."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from dlk._local import scan

PART = """
from dlk.config import Base, IntField, cregister
from dlk.registry import register

@cregister("gadget", "{name}")
class GadgetConfig(Base):
    "A gadget.\\n\\nMore of it."
    size = IntField(1, help="s")

@register("gadget", "{name}")
class Gadget:
    def __init__(self, config):
        self.size = config.size
"""


class Home:
    """A project folder, and a process that works in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, path: str, text: str) -> str:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text))
        return str(file)

    def run(self, code: str) -> Any:
        head = (
            "import sys, json; out = []\n"
            "from dlk.errors import DlkError\n"
            "from dlk.config import load, make\n"
            "from dlk.registry import register\n"
            "def built(name, **values):\n"
            "    try:\n"
            "        config = load({f'@gadget@{name}': values}).one().root('gadget')\n"
            "        made = register.build(config)\n"
            "        return [type(made).__module__, made.size]\n"
            "    except DlkError as error:\n        return f'{type(error).__name__}: {error}'\n"
        )
        found = subprocess.run(
            [
                sys.executable,
                "-W",
                "error",
                "-c",
                head + textwrap.dedent(code) + "\nprint(json.dumps(out))",
            ],
            capture_output=True,
            text=True,
            cwd=self.folder,
            env={**os.environ, "PYTHONSAFEPATH": "1"},
        )
        assert found.returncode == 0, found.stderr
        return json.loads(found.stdout.splitlines()[-1])


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "home")
    made.write(".intc.json", '{"src": ["src"]}')
    return made


def test_files_of_a_plain_folder_are_found_and_built(home: Home) -> None:
    home.write("src/one.py", PART.format(name="one"))
    home.write("src/deep/two.py", PART.format(name="two"))
    assert home.run("out += [built('one', size=3), built('two')]") == [["one", 3], ["two", 1]]


def test_files_of_a_package_are_found_and_built_under_their_package(home: Home) -> None:
    home.write("src/__init__.py", "")
    home.write("src/part/__init__.py", PART.format(name="top"))
    home.write("src/part/one.py", "from src.part import Gadget as Top\n" + PART.format(name="one"))
    assert home.run("out += [built('one'), built('top')]") == [["src.part.one", 1], ["src.part", 1]]


def test_files_that_import_each_other_share_their_classes(home: Home) -> None:
    home.write("src/base_part.py", PART.format(name="base") + "\nLOADED = []\nLOADED.append(1)\n")
    home.write(
        "src/child_part.py",
        """
        from base_part import Gadget, GadgetConfig, LOADED
        from dlk.config import IntField, cregister
        from dlk.registry import register
        @cregister("gadget", "child")
        class ChildConfig(GadgetConfig):
            "A child."
            more = IntField(2, help="m")
        @register("gadget", "child")
        class Child(Gadget):
            pass
        """,
    )
    out = home.run(
        """
        out += [built("child"), built("base")]
        import base_part, child_part
        out += [issubclass(child_part.Child, register.get("gadget", "base")), base_part.LOADED]
        """
    )
    assert out == [["child_part", 1], ["base_part", 1], True, [1]]


@pytest.mark.parametrize("name", ["json", "typing", "attrs", "tomllib", "wave"])
def test_a_file_named_as_an_installed_module_works_and_hides_nothing(home: Home, name: str) -> None:
    home.write(f"src/{name}.py", PART.format(name="one"))
    (found, module, file) = home.run(
        f"""
        out.append(built("one"))
        import {name}
        out += [{name}.__name__, {name}.__file__]
        """
    )
    assert found[0].startswith(f"dlk_local.{name}_")
    assert module == name
    assert not file.startswith(str(home.folder))


def test_a_package_named_as_an_installed_one_is_refused(home: Home) -> None:
    home.write(".intc.json", '{"src": ["json"]}')
    home.write("json/__init__.py", "")
    home.write("json/one.py", PART.format(name="one"))
    (found,) = home.run("out.append(built('one'))")
    assert "has the name of an installed one; rename it" in found


def test_two_files_of_one_name_in_two_folders_are_two_modules(home: Home) -> None:
    home.write("src/a/part.py", PART.format(name="one"))
    home.write("src/b/part.py", PART.format(name="two"))
    home.write("src/a_part.py", PART.format(name="three"))
    (one, two, three) = home.run("out += [built(n, size=2) for n in ('one', 'two', 'three')]")
    assert one == ["part", 2]
    assert (two[0].startswith("dlk_local.part_"), two[1]) == (True, 2)
    assert three == ["a_part", 2]


def test_nothing_is_imported_until_it_is_asked_for(home: Home) -> None:
    home.write("src/one.py", PART.format(name="one") + "raise RuntimeError('imported')")
    out = home.run(
        """
        load({"@postprocessor@identity": {"outputs": ["logits"]}})
        own = [e for e in register.entries() if e.origin == "local"]
        out += [("gadget", "one") in register]
        out += [[(e.component.name, e.component.help, e.origin) for e in own]]
        out.append(built("one"))
        """
    )
    assert out[:2] == [True, [["one", "A gadget.", "local"]]]
    what = f'gadget "one" of {home.folder}/src/one.py (local)'
    assert f"{what} cannot be imported: RuntimeError: imported" in out[2]


def test_a_config_of_a_local_component_goes_to_another_process(home: Home, tmp_path: Path) -> None:
    home.write("src/one.py", PART.format(name="one"))
    home.run(
        """
        import pickle
        with open("c.pkl", "wb") as handle:
            pickle.dump(make("gadget", "one", size=4), handle)
        """
    )
    (tmp_path / "elsewhere").mkdir()
    code = f"""
        import pickle
        with open({str(home.folder / "c.pkl")!r}, "rb") as handle:
            out.append(register.build(pickle.load(handle)).size)
        """
    assert Home(tmp_path / "elsewhere").run(code) == [4]


def test_a_file_that_is_no_python_is_told_and_leaves_the_others_working(home: Home) -> None:
    home.write("src/bad.py", "x = 1\ndef broken(:\n")
    (home.folder / "src" / "latin.py").write_bytes(b"x = '\xff'")
    home.write("src/one.py", PART.format(name="one"))
    out = home.run(
        """
        out += [built("one"), built("two")]
        own = [p for p in register.plugins if p.distribution == "local"]
        out += [[p.distribution, p.state, p.error] for p in own]
        """
    )
    assert out[0] == ["one", 1]
    assert 'there is no gadget "two"' in out[1]
    assert (
        f"Not read, since it is no valid Python: {home.folder}/src/bad.py:2: invalid syntax"
        in out[1]
    )
    assert [state[:2] for state in out[2:]] == [["local", "failed"]] * 2
    assert out[2][2].startswith(f"{home.folder}/src/bad.py:2: ")


def test_the_project_is_found_above_the_config_wherever_the_work_is_done(
    home: Home, tmp_path: Path
) -> None:
    home.write("src/one.py", PART.format(name="one"))
    config = home.write("below/deep/c.jsonc", '{"@gadget@one": {}}')
    (tmp_path / "elsewhere").mkdir()
    other = Home(tmp_path / "elsewhere")
    out = other.run(f"out += [built('one'), load({config!r}).one().resolved, built('one')]")
    assert out[0].startswith("ConfigError: gadget: there is no component type")
    assert out[1] == {"@gadget@one": {"_name": "one", "size": 1}}


@pytest.mark.parametrize("same_file", [True, False])
def test_a_name_that_is_defined_twice_is_used_by_neither(home: Home, same_file: bool) -> None:
    home.write("src/one.py", PART.format(name="one") * (2 if same_file else 1))
    if not same_file:
        home.write("src/two.py", PART.format(name="one"))
    (found,) = home.run("out.append(built('one'))")
    assert (
        f'gadget "one" is claimed by {home.folder}/src/one.py (local) and {home.folder}/src/'
        in found
    )


def test_a_name_of_an_installed_plugin_is_not_taken_over_in_silence(home: Home) -> None:
    home.write(
        "src/one.py",
        PART.format(name="one").replace("gadget", "postprocessor").replace('"one"', '"identity"'),
    )
    (found,) = home.run(
        """
        try:
            make("postprocessor", "identity")
        except DlkError as error:
            out.append(str(error))
        """
    )
    version = importlib.metadata.version("dlk-core")
    claimed = f"is claimed by {home.folder}/src/one.py (local) and dlk-core {version};"
    assert f"{claimed} neither is used. Rename the project's own. Or choose one: " in found
    assert 'DLK_OVERRIDE="postprocessor.identity=local"' in found


def test_only_plain_names_in_the_two_decorators_are_read(tmp_path: Path) -> None:
    source = tmp_path / "parts.py"
    source.write_text(
        "@cregister('a', 'b')\nclass AConfig: 'Help.'\n"
        "@dlk.config.cregister('a', 'b-sub')\nclass SubConfig: pass\n"
        "@registry.register('a', 'b')\nclass A: pass\n"
        "@cregister('root')\nclass Root: pass\n"
        "@cregister(TYPE, 'c')\nclass C: pass\n"
        "@cregister()\nclass D: pass\n"
        "@cregister\nclass E: pass\n"
        "@cregister('a', 'b', 'c')\nclass F: pass\n"
        "@other('a', 'd')\nclass G: pass\n"
        "@register('a', 'lonely')\nclass H: pass\n"
        "def f():\n    @cregister('inner', 'x')\n    class I: pass\n"
    )
    rows = {
        (r.type, r.name): (r.config.rpartition(":")[2], r.cls.rpartition(":")[2], r.help)
        for r in scan(str(source)).components
    }
    assert rows == {
        ("a", "b"): ("AConfig", "A", "Help."),
        ("a", "b-sub"): ("SubConfig", "A", ""),
        ("root", ""): ("Root", "", ""),
        ("inner", "x"): ("I", "", ""),
    }


def test_folders_that_hold_no_sources_are_passed_over(tmp_path: Path) -> None:
    text = "@cregister('a', '{}')\nclass A: pass\n"
    places = ["", "deep", ".hidden", "__pycache__", "logs", "build", "node_modules", "venv"]
    for number, place in enumerate(places):
        (tmp_path / place).mkdir(exist_ok=True)
        (tmp_path / place / "x.py").write_text(text.format(f"n{number}"))
    (tmp_path / "venv" / "pyvenv.cfg").touch()
    (tmp_path / "note.txt").write_text(text)
    assert [row.name for row in scan(str(tmp_path)).components] == ["n0", "n1"]
