"""The command's frame: help, exit codes, errors, plugins' commands, and what is not imported."""

from __future__ import annotations

import importlib.metadata
import os
import signal
import subprocess
import sys
import types

import pytest

import dlk.cli._app as app
from dlk.cli import main
from dlk.cli.command import info
from dlk.errors import BundleError, ConfigError, DataError, PluginError, Problem, RunError

HEAVY = ("torch", "numpy", "pandas", "pyarrow", "lightning", "transformers", "datasets", "rich")


@pytest.fixture
def failing(monkeypatch):
    """Make `dlk info` raise."""

    def raise_from_info(error):
        def run(args, terminal):
            raise error

        monkeypatch.setattr(info, "run", run)

    return raise_from_info


@pytest.fixture
def plugin_commands(monkeypatch):
    """Pretend that distributions declare commands: {name: module:function}."""

    def declare(*points):
        made = []
        for name, value, distribution in points:
            about = types.SimpleNamespace(name=distribution, version="1.0")
            made.append(importlib.metadata.EntryPoint(name, value, app.GROUP)._for(about))
        monkeypatch.setattr(app, "commands_of_plugins", lambda: made)

    return declare


def measure(*arguments: str) -> tuple[int, float, list[str], str]:
    """Run the command in a fresh process: exit code, CPU seconds, heavy modules, output."""
    code = (
        "import sys, time\n"
        "from dlk.cli import main\n"
        f"code = main({list(arguments)!r})\n"
        f"heavy = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "print('MEASURED', code, time.process_time(), ','.join(heavy), sep='|')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    output, _, measured = done.stdout.rpartition("MEASURED|")
    exit_code, seconds, heavy = measured.strip().split("|")
    return int(exit_code), float(seconds), [name for name in heavy.split(",") if name], output


@pytest.mark.parametrize("arguments", [["--help"], ["list"], ["--version"], ["train", "--help"]])
def test_answers_at_once_without_heavy_imports(arguments):
    runs = [measure(*arguments) for _ in range(3)]
    assert {code for code, *_ in runs} == {0}
    assert runs[0][2] == []
    assert min(seconds for _, seconds, *_ in runs) <= 0.25
    assert runs[0][3]


@pytest.mark.parametrize("arguments", [["plugins"], ["info"], ["check", "--help"]])
def test_other_commands_import_nothing_heavy_either(arguments):
    code, _, heavy, _ = measure(*arguments)
    assert (code, heavy) == (0, [])


def test_help_and_version_import_no_plugin():
    code = (
        "import sys\nfrom dlk.cli import main\n"
        "assert main(['--help']) == 0 and main(['--version']) == 0\n"
        "plugins = {'dlk.components', 'dlk.nlp.components', 'dlk.registry'}\n"
        "assert not plugins & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)


def test_importing_the_package_imports_no_command():
    code = "import sys, dlk.cli; assert not [n for n in sys.modules if n.startswith('dlk.cli.')]"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_python_m_is_the_same_command():
    done = subprocess.run(
        [sys.executable, "-m", "dlk.cli", "--version"], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, f"dlk {importlib.metadata.version('dlk-core')}\n")


def test_help_lists_every_command(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for name in app.COMMANDS:
        assert f"\n    {name} " in text


@pytest.mark.parametrize("name", list(app.COMMANDS))
def test_every_command_explains_itself(name, capsys):
    assert main([name, "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: dlk {name}")
    assert "--debug" in text


def test_no_command_is_a_usage_error_that_shows_the_help(capsys):
    assert main([]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "usage: dlk" in said.err


@pytest.mark.parametrize(
    "arguments",
    [["train"], ["list", "--wrong"], ["--wrong"], ["process", "x", "--stage", "online"]],
)
def test_wrong_arguments_exit_with_2(arguments, capsys):
    assert main(arguments) == 2
    assert "usage: dlk" in capsys.readouterr().err


def test_an_unknown_command_names_the_nearest(capsys):
    assert main(["trian"]) == 2
    assert 'no command "trian". Did you mean "train"?' in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (DataError("no such file"), 1, "error: no such file\n"),
        (RunError("no data"), 1, "error: no data\n"),
        (BundleError("damaged"), 1, "error: damaged\n"),
        (PluginError("claimed twice"), 1, "error: claimed twice\n"),
        (
            ConfigError([Problem("a.b", "wrong", "fit.jsonc", 3, 7), Problem("c", "bad")]),
            2,
            "fit.jsonc:3:7 a.b: wrong\nc: bad\n",
        ),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (SystemExit("stopped"), 1, "stopped\n"),
        (SystemExit(4), 4, ""),
        (SystemExit(), 0, ""),
    ],
)
def test_each_kind_of_error_has_its_message_and_exit_code(failing, capsys, error, code, said):
    failing(error)
    assert main(["info"]) == code
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", said)


def test_an_unexpected_error_is_short_and_says_where(failing, capsys):
    failing(ValueError("odd"))
    assert main(["info"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ValueError: odd (")
    assert "test_app.py:" in said
    assert "--debug shows the traceback" in said
    assert "Traceback" not in said


def test_a_full_disk_or_a_folder_that_may_not_be_written_is_no_surprise(failing, capsys):
    failing(PermissionError(13, "Permission denied", "/data/processed"))
    assert main(["info"]) == 1
    said = capsys.readouterr().err
    reason = "[Errno 13] Permission denied: '/data/processed'"
    assert said == f"error: cannot read or write: {reason}\n"


@pytest.mark.parametrize("arguments", [["--debug", "info"], ["info", "--debug"]])
def test_debug_shows_the_traceback_wherever_it_stands(failing, capsys, arguments):
    failing(DataError("no such file"))
    assert main(arguments) == 1
    said = capsys.readouterr().err
    assert "error: no such file" in said
    assert "Traceback (most recent call last)" in said


def test_ctrl_c_in_a_process_exits_with_130():
    code = (
        "import os, signal, sys\nfrom dlk.cli.command import info\nfrom dlk.cli import main\n"
        # A process that a script starts in its background would ignore it.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "info.run = lambda *_: os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.exit(main(['info']))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (130, b"interrupted\n")
    assert signal.SIGINT + 128 == 130


def test_ctrl_c_while_training_says_how_to_go_on(monkeypatch, capsys):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("dlk.train.Train", stopped_train := lambda *_, **__: stopped_train)
    monkeypatch.setattr(stopped_train, "run", stopped, raising=False)
    assert main(["train", "fit.jsonc"]) == 130
    assert capsys.readouterr().err == "interrupted (dlk train fit.jsonc --resume goes on)\n"


def test_a_reader_that_leaves_ends_the_command_quietly():
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "dlk.cli", "list"], stdout=write, stderr=subprocess.PIPE, timeout=60
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_plugin_s_command_is_listed_from_metadata_alone(plugin_commands, capsys):
    plugin_commands(("bloom", "no_such_module:main", "dlk-bloom"))
    assert main(["--help"]) == 0
    assert "bloom" in capsys.readouterr().out


def test_a_plugin_s_command_gets_its_arguments_and_gives_its_code(plugin_commands, monkeypatch):
    module = types.ModuleType("bloom_cli")
    seen = []
    module.main = lambda arguments: seen.append(arguments) or 3
    monkeypatch.setitem(sys.modules, "bloom_cli", module)
    plugin_commands(("bloom", "bloom_cli:main", "dlk-bloom"))
    assert main(["-q", "bloom", "--port", "1", "train"]) == 3
    assert seen == [["--port", "1", "train"]]
    module.main = lambda arguments: None
    assert main(["bloom"]) == 0


def test_a_plugin_s_command_that_cannot_be_imported_says_so(plugin_commands, capsys):
    plugin_commands(("bloom", "no_such_module:main", "dlk-bloom"))
    assert main(["bloom"]) == 1
    said = capsys.readouterr().err
    assert '"bloom" of dlk-bloom cannot be imported: ModuleNotFoundError' in said


def test_a_command_claimed_twice_is_used_by_neither(plugin_commands, capsys):
    plugin_commands(("bloom", "a:main", "dlk-b"), ("bloom", "b:main", "dlk-a"))
    assert main(["bloom"]) == 1
    assert "claimed by dlk-a and dlk-b" in capsys.readouterr().err


def test_a_plugin_cannot_replace_a_command(plugin_commands, capsys):
    plugin_commands(("list", "no_such_module:main", "dlk-bloom"))
    assert main(["list"]) == 0
    assert main(["plugins"]) == 0
    assert "dlk has a command of this name" in capsys.readouterr().out


def test_an_old_dlk_beside_this_one_is_named(monkeypatch, capsys):
    monkeypatch.setattr(sys.modules["dlk"], "__file__", "/somewhere/dlk/__init__.py")
    assert main(["list"]) == 1
    said = capsys.readouterr().err
    assert "/somewhere/dlk/__init__.py" in said
    assert "pip uninstall dlk" in said
