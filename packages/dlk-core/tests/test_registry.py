"""Names to components: plugins of every kind of brokenness, conflicts, building, laziness."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

import dlk.registry
from dlk.config import Base, IntField, cregister, make, many, one
from dlk.context import Setup
from dlk.errors import BundleError, ConfigError, DataError, DlkError, PluginError, Problem, RowError
from dlk.plugin import Component
from dlk.registry import Registry, register

TABLE = """
from dlk.plugin import Component, hookimpl
API = 1
@hookimpl
def dlk_components():
    return [{rows}]
"""


def row(type: str, name: str, module: str = "", cls: str = "Thing", more: str = "") -> str:
    module = module or f"{name}_part"
    places = f"config='{module}:{cls}Config', cls='{module}:{cls}'"
    return f"Component('{type}', '{name}', {places}, {more}),"


PART = """
from dlk.config import Base, IntField, cregister
from dlk.registry import register
@cregister("{type}", "{name}")
class ThingConfig(Base):
    "A thing."
    size = IntField(1, help="s")
@register("{type}", "{name}")
class Thing:
    def __init__(self, config):
        self.config = config
"""


class Machine:
    """A folder of fake distributions, put on the path of a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def plugin(self, name: str, source: str, *, version: str = "1.0", point: str = "") -> None:
        """Install a distribution with one plugin module of the given source."""
        module = f"{name.replace('-', '_')}_table"
        self.write(f"{module}.py", source)
        info = f"{name.replace('-', '_')}-{version}.dist-info"
        self.write(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        self.write(f"{info}/entry_points.txt", f"[dlk]\n{point or name} = {module}\n")

    def part(self, type: str, name: str, module: str = "") -> None:
        """Write the module of a component."""
        self.write(f"{module or name + '_part'}.py", PART.format(type=type, name=name))

    def write(self, path: str, text: str) -> None:
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_text(textwrap.dedent(text))

    def run(self, code: str, **environment: str) -> Any:
        """Run code that gives a list `out`; what is put there comes back."""
        head = (
            f"import sys, json; sys.path.insert(0, {str(self.folder)!r}); out = []\n"
            "from dlk.errors import DlkError, PluginError\n"
            "def why(function, *given):\n"
            "    try:\n        return repr(function(*given))\n"
            "    except DlkError as error:\n        return f'{type(error).__name__}: {error}'\n"
            "from dlk.registry import register\n"
        )
        import os

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
            env={**os.environ, **environment},
            cwd=self.folder,
        )
        assert found.returncode == 0, found.stderr
        return json.loads(found.stdout.splitlines()[-1])


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


STATES = """
others = [p for p in register.plugins if p.distribution not in ("dlk-core", "dlk-nlp")]
out += [[p.distribution, p.version, p.state, p.error, len(p.components)] for p in others]
"""


# Laziness ----------------------------------------------------------------------------------------


def test_listing_names_imports_no_component_and_nothing_heavy(machine: Machine) -> None:
    machine.plugin("lazy", TABLE.format(rows=row("embedding", "lazy")))
    machine.write("lazy_part.py", "raise SystemExit('imported')")
    out = machine.run(
        """
        names = register.names("embedding"), register.types(), register.entries(), register.plugins
        out.append("lazy" in names[0])
        heavy = "torch numpy pandas pyarrow lightning transformers tokenizers intc attrs".split()
        out.append([m for m in heavy if m in sys.modules])
        parts = ("dlk.nn", "dlk.data", "dlk.config")
        out.append(sorted(m for m in sys.modules if m.startswith(parts)))
        """
    )
    assert out == [True, [], []]


def test_a_component_is_imported_when_it_is_asked_for(machine: Machine) -> None:
    machine.plugin("lazy", TABLE.format(rows=row("thing", "one") + row("thing", "two")))
    machine.part("thing", "one")
    machine.part("thing", "two")
    out = machine.run(
        """
        from dlk.config import make
        out.append(["one_part" in sys.modules, "two_part" in sys.modules])
        thing = register.build(make("thing", "one", size=3))
        out.append([thing.config.size, "one_part" in sys.modules, "two_part" in sys.modules])
        """
    )
    assert out == [[False, False], [3, True, False]]


def test_importing_the_registry_and_listing_takes_a_tenth_of_a_second_of_cpu() -> None:
    code = (
        "import time; start = time.process_time()\n"
        "from dlk.registry import register; register.entries()\n"
        "print(time.process_time() - start)"
    )
    command = [sys.executable, "-c", code]
    spent = [
        float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        for _ in range(3)
    ]
    assert min(spent) < 0.2  # 0.08 s alone; other tests may run beside


# Broken plugins -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "state", "error"),
    [
        ("raise RuntimeError('boom')", "failed", "RuntimeError: boom"),
        ("raise SystemExit(3)", "failed", "SystemExit: 3"),
        (
            "import no_such_module",
            "failed",
            "ModuleNotFoundError: No module named 'no_such_module'",
        ),
        ("def broken(:", "failed", "SyntaxError: "),
        ("API = 2", "incompatible", "speaks plugin protocol 2, this dlk speaks 1"),
        ("", "incompatible", "states no version of the plugin protocol: expected API = 1"),
        ("API = 1", "failed", "TypeError: implements no hook: expected dlk_components(), marked"),
        (
            TABLE.format(rows="").replace("@hookimpl", ""),
            "failed",
            "TypeError: implements no hook: expected dlk_components(), marked with @hookimpl",
        ),
        (
            TABLE.format(rows="").replace("dlk_components", "dlk_component"),
            "failed",
            "TypeError: implements no hook",
        ),
        (
            TABLE.format(rows="Component('thing', 'one', config='one_part.Thing')"),
            "failed",
            'ValueError: thing "one": expected config="module:Class", got "one_part.Thing"',
        ),
        (TABLE.format(rows="1 / 0"), "failed", "ZeroDivisionError: division by zero"),
        (TABLE.format(rows="exit(1)"), "failed", "SystemExit: 1"),
        (
            TABLE.format(rows="'name'"),
            "failed",
            "TypeError: dlk_components() gives dlk.plugin.Component, got str",
        ),
        (TABLE.format(rows="").replace("[]", "None"), "loaded", ""),
    ],
)
def test_a_plugin_that_fails_leaves_the_others_working_and_is_told(
    machine: Machine, source: str, state: str, error: str
) -> None:
    machine.plugin("broken", source)
    machine.plugin("good", TABLE.format(rows=row("thing", "one")))
    machine.part("thing", "one")
    *states, name, core = machine.run(
        STATES
        + "out.append(register.get('thing', 'one').__name__)\n"
        + "out.append(register.names('postprocessor'))"
    )
    (broken, good) = states
    assert broken[:3] == ["broken", "1.0", state]
    assert broken[3].startswith(error)
    assert good == ["good", "1.0", "loaded", "", 1]
    assert name == "Thing"
    assert "identity" in core


def test_asking_for_a_name_tells_of_plugins_that_were_not_read(machine: Machine) -> None:
    machine.plugin("broken", "raise RuntimeError('boom')")
    machine.plugin("old", "API = 0")
    ask = "out.append(why(register.get, 'loss', 'mine'))"
    (message,) = machine.run(ask)
    assert 'there is no loss "mine".' in message
    assert message.endswith(
        "Plugins that could not be read: "
        f"broken 1.0 (RuntimeError: boom, at {machine.folder}/broken_table.py:1); old 1.0 (speaks "
        f"plugin protocol 0, this dlk speaks 1, at {machine.folder}/old_table.py); see dlk plugins."
    )
    (message,) = machine.run(ask, DLK_DISABLE_PLUGINS="broken,old")
    assert message.endswith("Left out by DLK_DISABLE_PLUGINS: broken, old.")


def test_a_missing_part_of_a_package_that_is_there_is_not_to_be_installed(
    machine: Machine,
) -> None:
    machine.plugin("wrong", TABLE.format(rows=row("thing", "one", "pack.one_part")))
    machine.write("pack/__init__.py", "")
    machine.write("pack/one_part.py", "from pack.helper import nothing")
    (message,) = machine.run("out.append(why(register.get, 'thing', 'one'))")
    part = machine.folder / "pack" / "one_part.py"
    assert message.endswith(f"cannot be imported: No module named 'pack.helper' ({part}:1).")


def test_a_plugin_that_is_not_there_fails_alone(machine: Machine) -> None:
    machine.plugin("gone", "")
    (machine.folder / "gone_table.py").unlink()
    (state,) = machine.run(STATES)
    assert state[2:4] == ["failed", "ModuleNotFoundError: No module named 'gone_table'"]


def test_damaged_metadata_of_any_package_is_passed_over(machine: Machine) -> None:
    machine.plugin("damaged", "")
    machine.write("damaged-1.0.dist-info/entry_points.txt", "[dlk]\nno equals sign\n")
    machine.write("empty-1.0.dist-info/entry_points.txt", "[dlk]\nx = y\n")
    machine.plugin("good", TABLE.format(rows=row("thing", "one")))
    out = machine.run(STATES)
    assert ["good", "1.0", "loaded", "", 1] in out


def test_plugins_can_be_left_out_by_name_or_distribution(machine: Machine) -> None:
    machine.plugin("dist-a", TABLE.format(rows=row("thing", "one")), point="a")
    machine.plugin("dist-b", "raise SystemExit", point="b")
    out = machine.run(STATES, DLK_DISABLE_PLUGINS=" dist-a, b,")
    assert [state[2] for state in out] == ["disabled", "disabled"]


def test_a_plugins_module_may_ask_the_registry(machine: Machine) -> None:
    source = "from dlk.registry import register\nregister.names('loss')\n" + TABLE.format(
        rows=row("thing", "one")
    )
    machine.plugin("asking", source)
    names = "out.append(register.names('postprocessor'))"
    state, postprocessors = machine.run(STATES + names)
    assert state == ["asking", "1.0", "loaded", "", 1]
    assert "identity" in postprocessors


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (row("thing", "one"), row("thing", "one")),
        (row("thing", "one"), row("thing", "two", more="aliases=('one',)")),
        (
            row("thing", "two", more="aliases=('one',)"),
            row("thing", "three", more="aliases=('one',)"),
        ),
    ],
)
def test_a_name_that_two_plugins_claim_is_used_by_neither(
    machine: Machine, first: str, second: str
) -> None:
    machine.plugin("plug-a", TABLE.format(rows=first + row("thing", "own_a")))
    machine.plugin("plug-b", TABLE.format(rows=second + row("thing", "own_b")))
    machine.part("thing", "own_a")
    message, inside, names, works, *states = machine.run(
        "out += [why(register.get, 'thing', 'one'), ('thing', 'one') in register,"
        " register.names('thing'), why(register.get, 'thing', 'own_a')]\n" + STATES
    )
    assert message.startswith(
        'PluginError: thing "one" is claimed by plug-a 1.0 and plug-b 1.0; neither is used.'
    )
    assert "DLK_DISABLE_PLUGINS" in message
    assert 'DLK_OVERRIDE="thing.one=plug-a"' in message
    assert inside is False
    assert "one" not in names
    assert {"own_a", "own_b"} <= set(names)
    assert works == "<class 'own_a_part.Thing'>"
    assert [state[2] for state in states] == ["loaded", "loaded"]
    if first == second:
        told = 'thing "one" is claimed by plug-a 1.0 and plug-b 1.0'
        assert [state[3:] for state in states] == [[told, 1], [told, 1]]


def test_a_claimed_name_works_again_when_one_is_left_out(machine: Machine) -> None:
    for name in ("plug-a", "plug-b"):
        machine.plugin(name, TABLE.format(rows=row("thing", "one")))
    machine.part("thing", "one")
    out = machine.run("out.append(why(register.get, 'thing', 'one'))", DLK_DISABLE_PLUGINS="plug-b")
    assert out == ["<class 'one_part.Thing'>"]


# Components that cannot be used -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (
            None,
            'thing "one" of wrong 1.0: there is no module one_part; the table of wrong is wrong '
            "(FOLDER/wrong_table.py): pip install -U wrong",
        ),
        (
            "",
            'thing "one" of wrong 1.0: one_part has no Thing; the table of wrong is wrong '
            "(FOLDER/wrong_table.py): pip install -U wrong",
        ),
        (
            "class Thing: pass",
            'thing "one": one_part:Thing of wrong 1.0 is not registered under that name; '
            'expected @register("thing", "one") on the class (FOLDER/one_part.py:1)',
        ),
        (PART.format(type="thing", name="other"), "is not registered under that name"),
        (
            "import lacking_package.deep",
            "It needs lacking_package, which is missing: pip install lacking_package",
        ),
        ("from json import nope", "cannot import name 'nope' from 'json'"),
        (
            "raise RuntimeError('boom')",
            'thing "one" of wrong 1.0 cannot be imported: RuntimeError: boom '
            "(FOLDER/one_part.py:1)",
        ),
        (
            "raise SystemExit(2)",
            'thing "one" of wrong 1.0 cannot be imported: SystemExit: 2 (FOLDER/one_part.py:1)',
        ),
        (
            "class Panic(BaseException): pass\nraise Panic('of an extension')",
            "cannot be imported: Panic: of an extension (FOLDER/one_part.py:2)",
        ),
        ("from dlk.errors import DataError\nraise DataError('told')", "DataError: told"),
    ],
)
def test_a_component_that_cannot_be_had_says_why(
    machine: Machine, part: str | None, message: str
) -> None:
    machine.plugin("wrong", TABLE.format(rows=row("thing", "one")))
    if part is not None:
        machine.write("one_part.py", part)
    (found,) = machine.run("out.append(why(register.get, 'thing', 'one'))")
    assert message.replace("FOLDER", str(machine.folder)) in found


def test_a_config_that_cannot_be_had_says_why(machine: Machine) -> None:
    machine.plugin("wrong", TABLE.format(rows=row("thing", "one")))
    machine.write("one_part.py", "class ThingConfig: pass")
    found, listed = machine.run(
        "from dlk.config import load\n"
        "out += [why(register.config, 'thing', 'one'), why(load, {'@thing@one': {}})]"
    )
    told = (
        'thing "one": one_part:ThingConfig of wrong 1.0 is not registered under that name; '
        'expected @cregister("thing", "one")'
    )
    assert told in found
    assert listed.startswith("ConfigError: thing: " + told)


def test_a_missing_module_is_installed_by_the_extra_that_names_it(machine: Machine) -> None:
    machine.plugin("extra", TABLE.format(rows=row("thing", "one")))
    needs = "Requires-Dist: lacking-package>=2; extra == 'big'"
    metadata = f"Metadata-Version: 2.1\nName: extra\nVersion: 1.0\n{needs}\n"
    machine.write("extra-1.0.dist-info/METADATA", metadata)
    machine.write("one_part.py", "import lacking_package")
    (found,) = machine.run("out.append(why(register.get, 'thing', 'one'))")
    assert found.endswith('It needs lacking_package, which is missing: pip install "extra[big]"')


def test_a_config_without_a_class_is_told_from_an_unknown_name(machine: Machine) -> None:
    rows = "Component('thing', 'plain', config='plain_part:ThingConfig'),"
    machine.plugin("plain", TABLE.format(rows=rows))
    machine.part("thing", "plain")
    (found,) = machine.run("out.append(why(register.get, 'thing', 'plain'))")
    assert found == 'PluginError: thing "plain" is a config only; it has no class to build'


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ("postprocessor", "identiy"),
            'there is no postprocessor "identiy". Did you mean "identity"?',
        ),
        (
            ("postprocesor", "identity"),
            'there is no component type "postprocesor". Did you mean "postprocessor"',
        ),
        (("postprocessor", ""), "which postprocessor? Known: identity"),
    ],
)
def test_an_unknown_name_lists_the_nearest(names: tuple[str, str], message: str) -> None:
    for look_up in (register.get, register.config):
        with pytest.raises(PluginError) as caught:
            look_up(*names)
        assert str(caught.value).startswith(message)
    assert names not in register


def test_a_name_of_a_package_that_is_missing_broken_or_old_says_so(machine: Machine) -> None:
    look = "out.append(why(register.get, 'embedding', 'bert_like'))"
    hide = (
        "import importlib.metadata as m\nall_of = m.distributions\n"
        "m.distributions = lambda: (d for d in all_of() if d.name != 'dlk-nlp')\n"
    )
    (found,) = machine.run(hide + look)
    assert found.endswith(
        'embedding "bert_like" is part of dlk-nlp, which is not installed: pip install dlk-nlp'
    )
    machine.plugin("dlk-nlp", TABLE.format(rows=""), version="9.9")  # core's tests have no real one
    (found,) = machine.run(look, DLK_DISABLE_PLUGINS="dlk-nlp")
    assert found.endswith('"bert_like" is part of dlk-nlp, which is disabled')
    machine.plugin("dlk-nlp", "raise RuntimeError('boom')", version="9.9")
    (found,) = machine.run(look)
    table = machine.folder / "dlk_nlp_table.py"
    assert found.endswith(
        f'"bert_like" is part of dlk-nlp, which is failed: RuntimeError: boom, at {table}:1. '
        "pip install -U dlk-nlp, or DLK_DISABLE_PLUGINS=dlk-nlp to do without"
    )
    machine.plugin("dlk-nlp", TABLE.format(rows=""), version="9.9")
    (found,) = machine.run(look)
    assert found.endswith("is part of dlk-nlp, but not of its version 9.9: pip install -U dlk-nlp")


# Aliases, sub-names, double names -----------------------------------------------------------------


def test_an_alias_stands_for_its_component(machine: Machine) -> None:
    machine.plugin("alias", TABLE.format(rows=row("thing", "one", more="aliases=('uno', 'eins')")))
    machine.part("thing", "one")
    out = machine.run(
        """
        from dlk.config import make, ident
        out += [register.primary("thing", "uno"), register.names("thing")]
        config = make("thing", "eins", size=4)
        out += [ident(config), register.build(config).config.size]
        out += [why(register.get, "thing", "enis")]
        """
    )
    assert out[:4] == ["one", ["one"], ["thing", "one"], 4]
    assert 'Did you mean "eins"?' in out[4]


def test_the_part_after_the_dash_picks_a_config_of_the_same_class(machine: Machine) -> None:
    rows = (
        row("thing", "one")
        + "Component('thing', 'one-big', config='big_part:BigConfig', cls='one_part:Thing',"
        + " aliases=('big',)),"
    )
    machine.plugin("sub", TABLE.format(rows=rows))
    machine.part("thing", "one")
    machine.write(
        "big_part.py",
        """
        from dlk.config import Base, IntField, cregister
        @cregister("thing", "one-big")
        class BigConfig(Base):
            "Larger."
            size = IntField(9, help="s")
        """,
    )
    out = machine.run(
        """
        from dlk.config import make
        for name in ("one", "one-big", "big"):
            thing = register.build(make("thing", name))
            out.append([type(thing).__module__, thing.config.size])
        """
    )
    assert out == [["one_part", 1], ["one_part", 9], ["one_part", 9]]


def test_two_classes_cannot_have_one_name_and_one_class_may_come_twice() -> None:
    registry = Registry()
    first = registry("a", "b")(type("First", (), {}))
    registry("a", "b")(type("First", (), {}))  # the same module, run again as in a notebook
    with pytest.raises(
        PluginError,
        match=r'a "b" is registered already by \S*test_registry:First; \S*test_registry:Second',
    ):
        registry("a", "b")(type("Second", (), {}))
    assert registry.get("a", "b").__name__ == first.__name__
    assert ("a", "b") in registry


# Building ----------------------------------------------------------------------------------------


@cregister("part", "inner")
class InnerConfig(Base):
    """What a part is built from."""

    size = IntField(1, help="s")


@cregister("part", "outer")
class OuterConfig(Base):
    """Holds parts."""

    children = {"part": many(), "core": one(optional=True)}


@cregister("part", "plain")
class PlainConfig(Base):
    """Takes the config alone."""


@register("part", "plain")
class Plain:
    def __init__(self, config: Any) -> None:
        self.config = config


@register("part", "inner")
class Inner:
    raises: Exception | None = None

    def __init__(self, config: Any, setup: Setup, *, extra: str = "none") -> None:
        if Inner.raises is not None:
            raise Inner.raises
        self.given = (config.size, setup, extra)


@register("part", "outer")
class Outer:
    def __init__(self, config: Any, setup: Setup) -> None:
        self.parts = register.build_children(config, "part", setup, extra="more", unknown=1)
        self.core = register.build_child(config, "core", setup)


SETUP = Setup.empty(seed=5)


def test_setup_and_further_keywords_go_where_they_are_named() -> None:
    made = register.build(
        make("part", "outer", {"@part@inner#a": {"size": 2}, "@part@plain": {}}), SETUP
    )
    assert list(made.parts) == ["a", "plain"]
    assert made.parts["a"].given == (2, SETUP, "more")
    assert made.parts["plain"].config.__class__.__name__ == "PlainConfig"
    assert made.core is None
    alone = register.build(make("part", "inner")).given[1]
    assert (alone.pretrained, alone.seed) == (True, 0)


@pytest.mark.parametrize(
    "error",
    [
        DlkError("is wrong"),
        DataError("is wrong"),
        BundleError("is wrong"),
        ConfigError("is wrong"),
        RowError(1, "c", 2, "is wrong"),
    ],
    ids=lambda e: type(e).__name__,
)
def test_an_error_in_a_constructor_keeps_its_type_and_tells_the_path(
    monkeypatch: pytest.MonkeyPatch, error: DlkError
) -> None:
    monkeypatch.setattr(Inner, "raises", error)
    with pytest.raises(type(error)) as caught:
        register.build(make("part", "outer", {"@part@inner#a": {}}), SETUP)
    assert caught.value is error
    assert str(error).startswith("part: ")
    assert str(error).count("part: ") == 1
    assert "is wrong" in str(error)


def test_mistakes_that_have_a_path_keep_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Inner, "raises", ConfigError([Problem("a.b", "is wrong")]))
    with pytest.raises(ConfigError, match=r"^a\.b: is wrong$"):
        register.build(make("part", "inner"), SETUP)


def test_an_error_of_code_gets_a_note_with_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Inner, "raises", ValueError("is a bug"))
    with pytest.raises(ValueError, match=r"^is a bug") as caught:
        register.build(make("part", "outer", {"@part@inner#a": {}}), SETUP)
    assert caught.value.__notes__ == [
        'while building part "inner" of part',
        'while building part "outer" of part',
    ]


# An old dlk ---------------------------------------------------------------------------------------


def test_an_old_dlk_in_the_same_folder_is_noticed(tmp_path: Path) -> None:
    source = Path(dlk.registry.__file__).parent
    (tmp_path / "dlk").mkdir()
    for item in source.iterdir():
        if item.suffix == ".py" or item.name == "config":
            (tmp_path / "dlk" / item.name).symlink_to(item)
    (tmp_path / "dlk" / "__init__.py").write_text("# of dlk 0.1.3")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\nimport dlk.registry"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.returncode == 1
    last = found.stderr.splitlines()[-1]
    assert last.startswith(
        f"dlk.errors.PluginError: {tmp_path}/dlk/__init__.py makes dlk one plain package"
    )
    assert "pip uninstall dlk" in last


# The tables -------------------------------------------------------------------------------------


def test_rows_of_core_are_all_in_use() -> None:
    (core,) = [plugin for plugin in register.plugins if plugin.distribution == "dlk-core"]
    assert (core.state, core.error) == ("loaded", "")
    assert core.components
    assert all(isinstance(row, Component) for row in core.components)
