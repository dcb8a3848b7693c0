"""A project's own components: named by digest, copied where one asks, run where one says so."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dlk.bundle.contents import Contents
from dlk.bundle.pack import pack_code
from dlk.errors import BundleError

pytestmark = pytest.mark.once

SOURCE = '''
"""A postprocessor of a project."""
from dlk.config import Base, ListField, Signature, cregister
from dlk.postprocessor.identity import Identity
from dlk.registry import register
from own_words import WORD


@cregister("postprocessor", "own")
class OwnConfig(Base):
    """Says a word."""

    outputs = ListField(value=[], help="outputs")
    columns = ListField(value=[], help="columns")

    def signature(self):
        return Signature(reads=tuple(self.outputs))


@register("postprocessor", "own")
class Own(Identity):
    def decode(self, out, rows):
        return [{"word": WORD} for _ in super().decode(out, rows)]
'''
SERVE = """
import json, sys, warnings
from dlk.errors import BundleError
from dlk.server import Server
warnings.simplefilter("error")
bundle, options = sys.argv[1], json.loads(sys.argv[2])
try:
    print(json.dumps(Server(bundle, **options).fit({"sentence": "the cat"})))
except (BundleError, Warning) as error:
    print(f"{type(error).__name__}: {error}")
"""


@pytest.fixture
def sources(tmp_path):
    folder = tmp_path / "sources"
    folder.mkdir()
    (folder / "own.py").write_text(SOURCE)
    (folder / "own_words.py").write_text("WORD = 'hello'\n")
    return folder


@pytest.fixture
def own(small, seal, sources):
    """A bundle that needs the project's own postprocessor."""
    from dlk.io import sha256_of

    config = json.loads((small / "fit.json").read_text())
    imodel = config["@fit"]["@imodel@default"]
    imodel["@postprocessor@own"] = {**imodel.pop("@postprocessor@identity"), "_name": "own"}
    (small / "fit.json").write_text(json.dumps(config))
    need = {"type": "postprocessor", "name": "own", "distribution": "local", "file": "own.py"}
    manifest = json.loads((small / "bundle.json").read_text())
    needs = [each for each in manifest["needs"] if each["type"] != "postprocessor"]
    seal(small, needs=[*needs, {**need, "sha256": sha256_of(sources / "own.py")}])
    return small


def serve(bundle, **options):
    """Answer one row in a fresh process that knows no sources."""
    done = subprocess.run(
        [sys.executable, "-c", SERVE, str(bundle), json.dumps(options)],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=Path(bundle).parent,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_without_its_source_a_component_is_missed_by_name(own):
    said = serve(own)
    assert "own.py" in said
    assert "--src DIR" in said
    assert "--trust-code" not in said


def test_with_its_source_it_serves(own, sources):
    assert serve(own, src=[str(sources)]) == '{"word": "hello"}'


def test_a_source_that_was_changed_is_told(own, sources):
    (sources / "own.py").write_text(SOURCE + "\n# changed\n")
    said = serve(own, src=[str(sources)])
    assert said.startswith("ChangedSourceWarning")
    assert "own.py is not the file that made" in said


def test_a_copy_is_run_only_where_one_says_so(own, sources, tmp_path):
    names = pack_code(own, tmp_path / "packed", src=[str(sources)])
    assert names == ["code/0/own.py", "code/0/own_words.py"]
    shutil.rmtree(sources)
    assert "if you trust who made it (--trust-code)" in serve(tmp_path / "packed")
    assert serve(tmp_path / "packed", trust_code=True) == '{"word": "hello"}'
    Contents(tmp_path / "packed")  # running it left nothing in the bundle


def test_looking_at_a_copy_runs_none_of_it(own, sources, tmp_path):
    (sources / "own_words.py").write_text("raise SystemExit('it was run')\n")
    pack_code(own, tmp_path / "packed", src=[str(sources)])
    assert "code/0/own_words.py" in Contents(tmp_path / "packed").sizes
    assert "--trust-code" in serve(tmp_path / "packed")


def test_a_bundle_may_be_packed_in_place_and_again(own, sources):
    pack_code(own, own, src=[str(sources)])
    (sources / "own_words.py").unlink()
    assert pack_code(own, own, src=[str(sources)]) == ["code/0/own.py"]
    assert "code/0/own_words.py" not in Contents(own).sizes


def test_a_copy_that_was_changed_is_refused(own, sources):
    pack_code(own, own, src=[str(sources)])
    (own / "code" / "0" / "own_words.py").write_text("WORD = 'other'\n")
    with pytest.raises(BundleError, match=r"own_words\.py is not what was written"):
        Contents(own)


def test_a_source_that_is_not_what_made_it_is_not_packed(own, sources, tmp_path):
    (sources / "own.py").write_text(SOURCE + "\n")
    with pytest.raises(BundleError, match=r"was made by another own\.py"):
        pack_code(own, tmp_path / "packed", src=[str(sources)])
    (sources / "own.py").unlink()
    with pytest.raises(BundleError, match=r"is in own\.py, which is not below --src"):
        pack_code(own, tmp_path / "packed", src=[str(sources)])
    assert not (tmp_path / "packed").exists()


def test_a_bundle_that_needs_no_code_takes_none(kept, tmp_path, sources):
    with pytest.raises(BundleError, match="there is no code"):
        pack_code(kept, tmp_path / "packed", src=[str(sources)])


def test_a_bundle_without_code_has_none_to_trust(kept):
    from dlk.bundle import Bundle

    with pytest.raises(BundleError, match="brings no code that could be trusted"):
        Bundle(kept, trust_code=True)
