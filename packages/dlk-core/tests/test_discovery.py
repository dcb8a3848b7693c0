"""Plugins that misbehave: each is named with version, file and remedy, and everything else works.

Each distribution is real: metadata and modules in a folder, seen by a process of its own.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import dlk.registry

TABLE = """
from dlk.plugin import Component, hookimpl
API = 1
@hookimpl
def dlk_components():
    return []
"""


@pytest.mark.parametrize(
    ("source", "state", "error", "line", "advice"),
    [
        (
            "\nraise RuntimeError('boom')",
            "failed",
            "RuntimeError: boom",
            ":2",
            "pip install -U bad",
        ),
        ("raise SystemExit(3)", "failed", "SystemExit: 3", ":1", "DLK_DISABLE_PLUGINS=bad"),
        ("raise GeneratorExit", "failed", "GeneratorExit: ", ":1", "DLK_DISABLE_PLUGINS=bad"),
        (
            "class Panic(BaseException): pass\nraise Panic('of an extension')",
            "failed",
            "Panic: of an extension",
            ":2",
            "pip install -U bad",
        ),
        (
            "class Mute(Exception):\n    def __str__(self): raise ValueError\nraise Mute",
            "failed",
            "Mute: (its message cannot be shown)",
            ":3",
            "pip install -U bad",
        ),
        ("def broken(:", "failed", "SyntaxError: ", ":1", "pip install -U bad"),
        (
            "import lacking_package",
            "failed",
            "ModuleNotFoundError: No module named 'lacking_package'",
            ":1",
            "pip install lacking_package",
        ),
        (
            TABLE.replace("[]", "1 / 0"),
            "failed",
            "ZeroDivisionError: division by zero",
            ":6",
            "pip install -U bad",
        ),
        (TABLE.replace("[]", "exit(1)"), "failed", "SystemExit: 1", "", "pip install -U bad"),
        (
            TABLE.replace("API = 1", "API = 2"),
            "incompatible",
            "speaks plugin protocol 2, this dlk speaks 1",
            "",
            "pip install -U dlk-core",
        ),
        (
            TABLE.replace("API = 1", "API = 0"),
            "incompatible",
            "speaks plugin protocol 0, this dlk speaks 1",
            "",
            "pip install -U bad",
        ),
        (
            TABLE.replace("API = 1", "API = '1'"),
            "incompatible",
            "speaks plugin protocol '1', this dlk speaks 1",
            "",
            "pip install -U bad",
        ),
        (
            TABLE.replace("dlk_components", "dlk_before_fits"),
            "failed",
            'TypeError: implements no hook of dlk: "dlk_before_fits". Did you mean '
            '"dlk_before_fit" or ',
            "",
            "pip install -U bad",
        ),
        (
            TABLE + "@hookimpl\ndef dlk_before_fit(facts, more): ...",
            "failed",
            "PluginValidationError: ",
            "",
            "pip install -U bad",
        ),
        (
            TABLE + "@hookimpl\nasync def dlk_before_fit(facts): ...",
            "failed",
            'TypeError: "dlk_before_fit" is a coroutine: write a plain function',
            "",
            "pip install -U bad",
        ),
        (
            TABLE + "@hookimpl(wrapper=True)\ndef dlk_before_fit(facts):\n    return (yield)",
            "failed",
            'TypeError: "dlk_before_fit" is a wrapper: plugins are called one by one',
            "",
            "pip install -U bad",
        ),
    ],
)
def test_a_plugin_that_cannot_be_used_is_named_and_the_others_work(
    site, source, state, error, line, advice
):
    file = site.install("bad", source, version="2.3")
    site.brings("good", "thing.one")
    found = site.plugins()
    assert (found["bad"]["version"], found["bad"]["state"]) == ("2.3", state)
    assert found["bad"]["error"].startswith(error)
    assert found["bad"]["place"].endswith(line)
    assert advice in found["bad"]["advice"]
    assert (found["good"]["state"], found["good"]["components"]) == ("loaded", 1)
    listed = site.dlk("list")
    assert listed.returncode == 0
    assert "of good" in listed.stdout
    assert "identity" in listed.stdout
    assert "bad 2.3 could not be read: " in listed.stderr
    assert advice in listed.stderr
    if "exit(" not in source:  # which is of the module `site`
        assert str(file) in listed.stderr
    built = "from dlk.config import make\nfrom dlk.registry import register\n"
    built += "print(register.build(make('thing', 'one', size=5)).size)"
    assert site.run("-c", built).stdout == "5\n"


@pytest.mark.parametrize("address", ["???", "", "two words", "bad.plugin:"])
def test_an_entry_point_that_is_no_address_is_named(site, address):
    site.install("bad", TABLE, points=f"[dlk]\nbad = {address}\n")
    found = site.plugins()["bad"]
    assert found["state"] == "failed"
    assert f'expected "module", got "{address}"' in found["error"]
    assert "pip install -U bad" in found["advice"]
    assert site.dlk("list").returncode == 0


@pytest.mark.parametrize("points", [b"[dlk]\n\xff = x\n", b"[dlk]\nno equals sign\n"])
@pytest.mark.parametrize("command", ["plugins", "list", "--help"])
def test_damaged_metadata_of_any_distribution_stops_no_command(site, points, command):
    site.install("own", points="[dlk.commands]\nown = own.plugin:main\n")
    file = site.install("any", TABLE).parent.parent / "any-1.0.dist-info" / "entry_points.txt"
    file.write_bytes(points)
    done = site.dlk(command)
    assert done.returncode == 0, done.stderr
    assert command == "list" or "own" in done.stdout


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ("'loss', 'a b'", 'loss "a b": expected name as in a config\'s key'),
        ("'', 'x'", "expected type as in a config's key"),
        ("'loss', 'x', aliases=('y/z',)", "expected an alias as in a config's key"),
        ("'loss', 'x', cls='text'", 'expected cls="module:Class", got "text"'),
    ],
)
def test_a_row_that_no_config_could_name_is_refused_at_its_line(site, names, told):
    row = f"Component({names}, config='m:C')"
    site.install("bad", TABLE.replace("[]", f"[{row}]"))
    found = site.plugins()["bad"]
    assert found["state"] == "failed"
    assert told in found["error"]
    assert found["place"].endswith("bad/plugin.py:6")


def test_a_hook_that_this_dlk_does_not_have_may_be_optional(site):
    site.install("new", TABLE + "@hookimpl(optionalhook=True)\ndef dlk_of_tomorrow(): ...")
    assert site.plugins()["new"]["state"] == "loaded"


# Import that never ends ---------------------------------------------------------------------------

HANGS = "import time\nprint('began', flush=True)\ntime.sleep(60)\n"


@pytest.mark.parametrize(
    "command", [["--help"], ["--version"], ["info"], ["list", "--help"], ["own"]], ids=" ".join
)
def test_commands_that_need_no_names_import_no_plugin(site, command):
    points = "[dlk]\nhangs = hangs.plugin\n[dlk.commands]\nown = hangs_command:main\n"
    site.install("hangs", HANGS, points=points)
    site.write("hangs_command.py", "def main(arguments): print('ran')")
    done = site.dlk(*command)
    assert done.returncode == 0, done.stderr
    assert "began" not in done.stdout + done.stderr


def test_what_a_plugin_prints_at_import_spoils_no_result(site):
    site.install("chatty", "print('hello from chatty')\n" + TABLE)
    done = site.dlk("list", "--json")
    assert json.loads(done.stdout)
    assert done.stderr == "hello from chatty\n"


def test_a_plugin_whose_import_hangs_is_named_and_ctrl_c_names_it(site):
    site.install("hangs", HANGS, version="0.9")
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "import dlk._discovery; dlk._discovery.SLOW_S = 0.2\n"
        "from dlk.cli import main; raise SystemExit(main(['list']))\n"
    )
    environment = {"PYTHONPATH": str(site.folder)}
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    assert process.stderr is not None
    assert process.stderr.readline() == "began\n"
    note = process.stderr.readline()
    assert note == (
        "still importing plugin hangs of hangs 0.9 (hangs.plugin); "
        "Ctrl-C stops, DLK_DISABLE_PLUGINS=hangs leaves it out\n"
    )
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert error == (
        "interrupted while importing plugin hangs of hangs 0.9 (hangs.plugin); "
        "DLK_DISABLE_PLUGINS=hangs leaves it out\n"
    )


def test_a_component_whose_import_takes_long_is_named_and_ctrl_c_names_it(site):
    site.brings("slow", "thing.one", version="0.9")
    part = site.folder / "slow" / "one.py"
    part.write_text(f"import time\ntime.sleep(0.5)\nraise KeyboardInterrupt\n{part.read_text()}")
    code = (
        "import dlk.registry; dlk.registry.SLOW_S = 0.1\n"
        "try:\n    dlk.registry.register.get('thing', 'one')\n"
        "except KeyboardInterrupt as stop:\n    print(stop)\n"
    )
    done = site.run("-c", code)
    assert done.stderr == (
        'still importing the component thing "one" of slow 0.9 (slow.one); '
        "Ctrl-C stops, DLK_DISABLE_PLUGINS=slow leaves it out\n"
    )
    assert done.stdout == 'while importing thing "one" of slow 0.9 (slow.one)\n'


def test_what_hangs_can_be_left_out(site):
    site.install("hangs", HANGS)
    started = time.monotonic()
    assert site.plugins(DLK_DISABLE_PLUGINS="hangs")["hangs"]["state"] == "disabled"
    assert time.monotonic() - started < 30


def test_after_ctrl_c_the_next_look_reads_the_plugins_again(site):
    source = "import os\nif not os.environ.pop('CALM', ''): raise KeyboardInterrupt\n" + TABLE
    site.install("nervous", source)
    code = (
        "import os\nfrom dlk.registry import register\n"
        "try:\n    register.names('loss')\n"
        "except KeyboardInterrupt as stop:\n    print(stop)\n"
        "os.environ['CALM'] = 'yes'\n"
        "print([p.state for p in register.plugins if p.distribution == 'nervous'])\n"
    )
    first, second = site.run("-c", code).stdout.splitlines()
    assert first.startswith("while importing plugin nervous of nervous 1.0 (nervous.plugin)")
    assert second == "['loaded']"


@pytest.mark.parametrize("raised", ["SystemExit(0)", "RuntimeError('boom')", "GeneratorExit"])
def test_a_command_whose_module_raises_at_import_is_named(site, raised):
    points = "[dlk.commands]\nown = own.plugin:main\n"
    site.install("own", f"raise {raised}", points=points)
    done = site.dlk("own")
    assert done.returncode == 1
    kind = raised.partition("(")[0]
    assert f'error: the command "own" of own cannot be imported: {kind}: ' in done.stderr
    assert site.dlk("list").returncode == 0


def test_ctrl_c_names_a_command_whose_import_hangs(site):
    points = "[dlk.commands]\nown = own.plugin:main\n"
    site.install("own", "raise KeyboardInterrupt", points=points)
    done = site.dlk("own")
    assert done.returncode == 130
    assert done.stderr == 'interrupted while importing the command "own" of own\n'


# Installs that are broken ------------------------------------------------------------------


def test_an_editable_install_whose_folder_is_gone_says_so(site):
    site.install("moved-away", TABLE, version="3.1")
    url = {"url": "file:///nowhere/at%20all", "dir_info": {"editable": True}}
    site.write("moved_away-3.1.dist-info/direct_url.json", json.dumps(url))
    site.write("_editable_moved_away.pth", "/nowhere/at all/src\n")
    for part in (site.folder / "moved_away").iterdir():
        part.unlink()
    (site.folder / "moved_away").rmdir()
    site.brings("good", "thing.one")
    found = site.plugins()
    assert found["moved-away"]["state"] == "failed"
    assert found["moved-away"]["error"] == (
        "ModuleNotFoundError: No module named 'moved_away'; "
        "it is an editable install of /nowhere/at all, which is gone"
    )
    assert found["moved-away"]["advice"] == (
        "install it from where it is now, or pip uninstall moved-away"
    )
    assert found["good"]["state"] == "loaded"


def test_an_editable_install_without_the_module_is_installed_again(site, tmp_path):
    site.install("half", TABLE, points="[dlk]\nhalf = half_of_it.plugin\n")
    url = {"url": tmp_path.as_uri(), "dir_info": {"editable": True}}
    site.write("half-1.0.dist-info/direct_url.json", json.dumps(url))
    assert site.plugins()["half"]["advice"] == f"pip install -e {tmp_path}, or pip uninstall half"


def test_a_plugin_whose_module_is_gone_is_installed_again(site):
    site.install("gone", TABLE).unlink()
    found = site.plugins()["gone"]
    assert found["error"] == "ModuleNotFoundError: No module named 'gone.plugin'"
    assert found["advice"] == "pip install --force-reinstall gone, or pip uninstall gone"


def test_a_distribution_that_is_there_twice_counts_once(site):
    site.brings("my-dist", "thing.one")
    left = "my_dist-0.9.dist-info"  # what an installation that broke off leaves behind
    site.write(f"{left}/METADATA", "Metadata-Version: 2.1\nName: My.Dist\nVersion: 0.9\n")
    site.write(f"{left}/entry_points.txt", "[dlk]\nmy-dist = my_dist.plugin\n")
    found = site.plugins()["my-dist"]
    assert (found["state"], found["components"], found["error"]) == ("loaded", 1, "")


def test_one_module_declared_twice_claims_its_names_twice(site):
    points = "[dlk]\none = twice.plugin\ntwo = twice.plugin\n"
    site.brings("twice", "thing.one", points=points)
    done = site.dlk("why", "thing", "one")
    assert done.returncode == 1
    assert 'thing "one" is claimed by twice 1.0 and twice 1.0; neither is used.' in done.stderr


# An old dlk ------------------------------------------------------------------------------


def test_the_command_names_an_old_dlk_that_hides_parts(site):
    source = Path(dlk.registry.__file__).parent
    (site.folder / "dlk").mkdir()
    for item in source.iterdir():
        if item.suffix == ".py" or item.name in ("config", "cli"):
            (site.folder / "dlk" / item.name).symlink_to(item)
    site.write("dlk/__init__.py", "# of dlk 0.1.3")
    site.write("dlk-0.1.3.dist-info/METADATA", "Metadata-Version: 2.1\nName: dlk\nVersion: 0.1.3\n")
    done = site.dlk("--version")
    assert done.returncode == 1
    assert f"{site.folder}/dlk/__init__.py" in done.stderr
    assert "dlk 0.1.3" in done.stderr
    assert "pip uninstall dlk" in done.stderr
    assert "Traceback" not in done.stderr


# Remembered tables ---------------------------------------------------------------------------

COUNTS = "import os\nwith open({file!r}, 'a') as log: log.write('{name} ')\n"


def crowd(site, tmp_path, size=25):
    """Install many plugins that note each import; return a function that lists and gives them."""
    log = tmp_path / "imported"
    for number in range(size):
        name = f"crowd{number}"
        site.brings(name, f"thing.one{number}")
        file = site.folder / name / "plugin.py"
        file.write_text(COUNTS.format(file=str(log), name=name) + file.read_text())

    def listed(**environment):
        log.write_text("")
        done = site.dlk("list", "thing", "--json", **environment)
        assert done.returncode == 0, done.stderr
        return len(json.loads(done.stdout)), set(log.read_text().split())

    return listed


def test_tables_of_many_plugins_are_remembered_until_something_is_installed(site, tmp_path):
    listed = crowd(site, tmp_path)
    assert listed() == (25, {f"crowd{n}" for n in range(25)})
    assert listed() == (25, set())
    site.brings("crowd99", "thing.further")
    count, imported = listed()
    assert (count, len(imported)) == (26, 25)
    assert listed() == (26, set())


def test_a_plugin_that_was_changed_in_place_is_read_again(site, tmp_path):
    listed = crowd(site, tmp_path)
    listed()
    file = site.folder / "crowd7" / "plugin.py"
    file.write_text(file.read_text().replace("'one7'", "'another'"))
    assert listed() == (25, {"crowd7"})
    assert "another" in site.dlk("list", "thing").stdout


def test_what_is_editable_broken_or_left_out_is_not_remembered(site, tmp_path):
    listed = crowd(site, tmp_path)
    url = {"url": "file:///src", "dir_info": {"editable": True}}
    site.write("crowd3-1.0.dist-info/direct_url.json", json.dumps(url))
    broken = site.folder / "crowd4" / "plugin.py"
    broken.write_text(broken.read_text() + "raise RuntimeError\n")
    listed(DLK_DISABLE_PLUGINS="crowd5")
    assert listed() == (24, {"crowd3", "crowd4", "crowd5"})
    assert listed() == (24, {"crowd3", "crowd4"})
    assert listed(DLK_DISABLE_PLUGINS="crowd6") == (23, {"crowd3", "crowd4"})
    assert listed() == (24, {"crowd3", "crowd4", "crowd6"})


def test_memory_can_be_off_unreadable_or_damaged(site, tmp_path):
    listed = crowd(site, tmp_path)
    assert len(listed(DLK_PLUGIN_CACHE="off")[1]) == 25
    assert not site.cache.exists()
    site.cache.write_text("a file where a folder should be")
    assert len(listed()[1]) == 25
    site.cache.unlink()
    listed()
    (file,) = (site.cache / "dlk").iterdir()
    for damaged in ("", "[]", '{"format": [1, 1]}', file.read_text()[:-9], "\x00"):
        file.write_text(damaged)
        assert len(listed()[1]) == 25
        assert listed() == (25, set())


def test_a_hook_of_a_remembered_plugin_is_called(site, tmp_path):
    listed = crowd(site, tmp_path)
    file = site.folder / "crowd8" / "plugin.py"
    file.write_text(file.read_text() + "@hookimpl\ndef dlk_before_fit(facts): print(facts)\n")
    listed()
    code = (
        "import sys\nfrom dlk.registry import register\nregister.names('loss')\n"
        "print('crowd8.plugin' in sys.modules)\n"
        "((state, made),) = register.implementations('dlk_before_fit')\n"
        "print(state.distribution, 'crowd8.plugin' in sys.modules)\n"
        "made.function('called')\n"
    )
    assert site.run("-c", code).stdout.split() == ["False", "crowd8", "True", "called"]
