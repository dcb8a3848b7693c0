"""A name that several distributions bring is given to one of them on purpose."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dlk._override import canonical

PARTS = Path(__file__).parent / "toy"
BUILD = """
from dlk.config import ident, load, make
from dlk.registry import register
config = make("thing", "one", size=4)
print(type(register.build(config)).__module__, type(config).__module__, config.size)
"""


@pytest.fixture
def rivals(site):
    """Two distributions that bring ``thing.one``, and one that does not."""
    site.brings("first-dist", "thing.one", "thing.own")
    site.brings("Second.Dist", "thing.one", version="2.0")
    site.brings("third", "thing.other")
    return site


@pytest.mark.parametrize(
    ("chosen", "module"), [("first-dist", "first_dist"), ("second_dist", "Second.Dist")]
)
def test_the_chosen_one_gives_config_and_class(site, chosen, module):
    package = module.replace(".", "_")
    site.brings("first-dist", "thing.one=first_dist.part:One")
    site.brings("Second.Dist", "thing.one=Second_Dist.part:One")
    done = site.run("-c", BUILD, DLK_OVERRIDE=f" thing.one = {chosen},")
    assert done.stdout == f"{package}.part {package}.part 4\n", done.stderr


def test_a_component_of_core_is_replaced_even_where_its_module_is_imported_too(site):
    site.brings("mine", "postprocessor.identity")
    code = (
        "import dlk.postprocessor.identity, dlk.postprocessor.configs\n"
        "from dlk.registry import register\n"
        "print(register.get('postprocessor', 'identity').__module__,\n"
        "      register.config('postprocessor', 'identity').__module__)\n"
    )
    done = site.run("-c", code, DLK_OVERRIDE="postprocessor.identity=mine")
    assert done.stdout == "mine.identity mine.identity\n", done.stderr
    done = site.run("-c", code, DLK_OVERRIDE="postprocessor.identity=dlk-core")
    own = "dlk.postprocessor.identity dlk.postprocessor.configs\n"
    assert done.stdout == own, done.stderr


def test_the_class_alone_may_be_replaced(site):
    site.install(
        "mine",
        """
        from dlk.plugin import Component, hookimpl
        API = 1
        @hookimpl
        def dlk_components():
            row = Component("postprocessor", "identity", cls="mine.part:Mine",
                config="dlk.postprocessor.configs:IdentityConfig")
            return [row]
        """,
    )
    site.write(
        "mine/part.py",
        """
        from dlk.postprocessor.identity import Identity
        from dlk.registry import register
        @register("postprocessor", "identity")
        class Mine(Identity):
            pass
        """,
    )
    code = (
        "from dlk.config import make\nfrom dlk.registry import register\n"
        "print(type(register.build(make('postprocessor', 'identity'))).__module__)\n"
    )
    done = site.run("-c", code, DLK_OVERRIDE="postprocessor.identity=mine")
    assert done.stdout == "mine.part\n", done.stderr


def test_a_project_s_own_component_may_be_chosen(site):
    site.write("../project/.intc.json", '{"src": ["own.py"]}')
    site.brings("theirs", "thing.one")
    own = (site.folder / "theirs" / "one.py").read_text().replace("of theirs", "of the project")
    site.write("../project/own.py", own)
    refused = site.dlk("list", "thing", "one")
    assert 'Rename the project\'s own. Or choose one: DLK_OVERRIDE="thing.one=local".' in (
        refused.stderr
    )
    done = site.dlk("list", "thing", "one", DLK_OVERRIDE="thing.one=local")
    assert done.stdout.startswith("A component of the project.")


def test_nothing_is_overridden_in_silence(rivals):
    chosen = "thing.one=first-dist"
    found = rivals.plugins(DLK_OVERRIDE=chosen)
    told = 'thing "one" is used instead of that of Second.Dist 2.0, by DLK_OVERRIDE'
    assert found["first-dist"]["error"] == told
    assert found["Second.Dist"]["error"] == 'thing "one" is that of first-dist 1.0, by DLK_OVERRIDE'
    assert (found["first-dist"]["components"], found["Second.Dist"]["components"]) == (2, 0)
    said = rivals.dlk("plugins", DLK_OVERRIDE=chosen).stderr
    assert "DLK_OVERRIDE: thing.one is that of first-dist" in said
    assert "of first-dist" in rivals.dlk("list", "thing", DLK_OVERRIDE=chosen).stdout


def test_a_run_records_what_was_overridden(rivals):
    code = "from dlk.train import environment; import json; print(json.dumps(environment(1)))"
    done = rivals.run("-c", code, DLK_OVERRIDE="thing.one=first-dist")
    found = json.loads(done.stdout)
    assert found["overrides"] == {"thing.one": "first-dist"}
    assert found["versions"]["Second.Dist"] == "2.0"
    assert json.loads(rivals.run("-c", code).stdout)["overrides"] == {}


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ("thing.one=nobody", "which is not installed; it is claimed by Second.Dist 2.0 and "),
        ("thing.one=third", "which has no such name in its version 1.0; it is claimed by "),
        ("thing.one=local", "which has no such name; it is claimed by "),
        ("thing.own=third", "which has no such name in its version 1.0; it is claimed by first"),
    ],
)
def test_a_choice_that_cannot_be_kept_is_an_error_of_that_name_alone(rivals, chosen, message):
    name = chosen.partition("=")[0].removeprefix("thing.")
    code = (
        "from dlk.errors import PluginError\nfrom dlk.registry import register\n"
        "print(register.get('thing', 'other').__name__)\n"
        f"try:\n    register.get('thing', '{name}')\n"
        "except PluginError as error:\n    print(error)\n"
    )
    works, told = rivals.run("-c", code, DLK_OVERRIDE=chosen).stdout.splitlines()
    assert works == "Own"
    assert told.startswith(f'thing "{name}": DLK_OVERRIDE gives it to {chosen.split("=")[1]}, ')
    assert message in told


def test_a_chosen_distribution_that_fails_is_told_with_its_cause(rivals):
    rivals.install("third", "raise RuntimeError('boom')")
    done = rivals.dlk("why", "thing.one", DLK_OVERRIDE="thing.one=third")
    assert "which is failed: RuntimeError: boom, at " in done.stderr


def test_a_bundle_is_not_loaded_with_another_s_component_of_the_same_name(site, trained):
    site.brings("rival", "decoder.linear")
    code = (
        "from dlk.errors import BundleError\nfrom dlk.bundle.read import Bundle\n"
        f"try:\n    Bundle({str(trained.bundle)!r}, src=[{str(PARTS)!r}])\n    print('loaded')\n"
        "except BundleError as error:\n    print(error)\n"
    )
    choose = 'DLK_OVERRIDE="decoder.linear=dlk-core" chooses it'
    said = site.run("-c", code).stdout
    assert 'was made with other components: decoder "linear" of dlk-core' in said
    assert "here it is claimed by dlk-core" in said
    assert choose in said
    said = site.run("-c", code, DLK_OVERRIDE="decoder.linear=rival").stdout
    assert f"here it is that of rival 1.0: {choose}" in said
    assert site.run("-c", code, DLK_OVERRIDE="decoder.linear=dlk-core").stdout == "loaded\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("thing.one", 'expected TYPE.NAME=DISTRIBUTION, such as "embedding.static=my-dist"'),
        ("one=mine", 'got "one=mine"'),
        ("thing.one=", 'got "thing.one="'),
        ("thing.one=a,thing.one=b", "thing.one is given to a and to b"),
    ],
)
def test_a_choice_that_cannot_be_read_is_refused_before_anything_is_done(site, text, message):
    done = site.dlk("list", DLK_OVERRIDE=text)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: DLK_OVERRIDE: ")
    assert message in done.stderr
    assert site.dlk("--version", DLK_OVERRIDE=text).returncode == 0


def test_names_of_distributions_are_compared_as_indexes_do():
    assert canonical("My.Dist__of-it") == canonical("my-dist-of-it") == "my-dist-of-it"
