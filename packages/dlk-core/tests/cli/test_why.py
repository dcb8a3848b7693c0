"""``dlk why``: which distribution, file and line supply a name."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys

import pytest

from dlk.cli import main


def line_of(file: str, line: int) -> str:
    with open(file, encoding="utf-8") as handle:
        return handle.read().splitlines()[line - 1]


@pytest.mark.parametrize("arguments", [["embedding", "static"], ["embedding.static"]])
def test_it_names_distribution_file_and_line(capsys, arguments):
    assert main(["why", *arguments, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    (claim,) = facts["claims"]
    assert (facts["used"], facts["problem"], facts["override"]) == (True, "", "")
    assert claim["distribution"] == "dlk-core"
    assert claim["version"] == importlib.metadata.version("dlk-core")
    assert claim["table"].endswith("/dlk/components.py")
    config, cls = claim["config"], claim["class"]
    assert line_of(config["file"], config["line"]).startswith("class StaticEmbeddingConfig(")
    assert line_of(cls["file"], cls["line"]).startswith("class StaticEmbedding(")


def test_it_writes_what_a_person_reads(capsys):
    assert main(["why", "loss", "focal_loss"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f'loss "focal" of dlk-core {importlib.metadata.version("dlk-core")}'
    assert "  is        cross entropy that fades easy examples" in lines
    assert "  asked as  focal_loss, an alias" in lines
    assert "  aliases   focal_loss" in lines
    assert "            dlk.nn.loss.focal:FocalLoss" in lines


def test_a_config_without_a_class_says_so(capsys):
    assert main(["why", "fit"]) == 0
    assert "class     none: it is a config only" in capsys.readouterr().out


def test_it_imports_neither_the_component_nor_anything_heavy():
    code = (
        "import sys\nfrom dlk.cli import main\nassert main(['why', 'embedding', 'static']) == 0\n"
        "heavy = 'torch numpy pandas pyarrow lightning transformers intc dlk.nn'.split()\n"
        "print([name for name in heavy if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["embedding", "sttic"], 'there is no embedding "sttic". Did you mean "static"?'),
        (["embeding.static"], 'there is no component type "embeding". Did you mean "embedding"?'),
        (["embedding"], "which embedding? Known: "),
    ],
)
def test_an_unknown_name_gives_the_nearest(capsys, arguments, said):
    assert main(["why", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_a_name_claimed_twice_shows_both_and_what_to_do(site):
    site.brings("one-dist", "thing.one")
    site.brings("two-dist", "thing.one", version="2.0")
    done = site.dlk("why", "thing", "one")
    assert done.returncode == 1
    assert 'thing "one" of one-dist 1.0: not used' in done.stdout
    assert 'thing "one" of two-dist 2.0: not used' in done.stdout
    for name in ("one_dist", "two_dist"):
        assert f"class     {site.folder}/{name}/one.py:9\n" in done.stdout
        assert f"table     {site.folder}/{name}/plugin.py\n" in done.stdout
    assert 'DLK_OVERRIDE="thing.one=one-dist"' in done.stderr


def test_an_override_is_shown_first_with_what_it_replaces(site):
    site.brings("one-dist", "thing.one")
    site.brings("two-dist", "thing.one", version="2.0")
    done = site.dlk("why", "thing", "one", DLK_OVERRIDE="thing.one=two-dist")
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.split("\n\n")
    assert first.startswith('thing "one" of two-dist 2.0\n')
    assert "  chosen by DLK_OVERRIDE (two-dist)" in first
    assert second.startswith('thing "one" of one-dist 1.0: overridden\n')


def test_a_project_s_own_component_is_local(site):
    site.brings("theirs", "thing.one")
    text = (site.folder / "theirs" / "one.py").read_text().replace('"one"', '"own"')
    site.write("../project/.intc.json", '{"src": ["own.py"]}')
    site.write("../project/own.py", text)
    done = site.dlk("why", "thing", "own")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith('thing "own" of this project (local)\n')
    assert f"  class     {site.project}/own.py:9\n" in done.stdout


def test_a_table_that_leads_nowhere_is_told_beside_it(site):
    site.brings("wrong", "thing.one")
    (site.folder / "wrong" / "one.py").write_text("")
    done = site.dlk("why", "thing", "one")
    assert f"class     {site.folder}/wrong/one.py has no Own" in done.stdout
    (site.folder / "wrong" / "one.py").unlink()
    assert "class     there is no module wrong.one" in site.dlk("why", "thing", "one").stdout


def test_a_name_of_a_package_that_is_not_installed_says_what_to_install(site):
    code = (
        "import importlib.metadata as m\nall_of = m.distributions\n"
        "m.distributions = lambda: (d for d in all_of() if d.name != 'dlk-nlp')\n"
        "from dlk.cli import main\nraise SystemExit(main(['why', 'decoder.linear_crf']))\n"
    )
    done = site.run("-c", code)
    assert done.returncode == 2
    assert "is part of dlk-nlp, which is not installed: pip install dlk-nlp" in done.stderr
