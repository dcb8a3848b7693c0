"""Files and lines of classes are found without importing the class's module."""

from __future__ import annotations

import sys

import pytest

from dlk._sources import file_of, place_of


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package that cannot be imported."""
    folder = tmp_path / "unimportable"
    (folder / "deep").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError\n")
    (folder / "deep" / "__init__.py").write_text(
        "from .parts import One as Uno\nfrom unimportable.deep.parts import Two\n"
        "from .circle import Round\nThree = type('Three', (), {})\nFour: type = Three\n"
    )
    (folder / "deep" / "parts.py").write_text(
        "import unimportable\n\n@decorated\nclass One:\n    pass\n\n\nclass Two: ...\n"
    )
    (folder / "deep" / "circle.py").write_text("from . import Round\n")
    (folder / "deep" / "broken.py").write_text("class (\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return folder


@pytest.mark.parametrize(
    ("address", "file", "line"),
    [
        ("unimportable.deep.parts:One", "parts.py", 4),
        ("unimportable.deep.parts:Two", "parts.py", 8),
        ("unimportable.deep:Uno", "parts.py", 4),
        ("unimportable.deep:Two", "parts.py", 8),
        ("unimportable.deep:Three", "__init__.py", 4),
        ("unimportable.deep:Four", "__init__.py", 5),
    ],
)
def test_a_class_is_found_where_it_is_defined(package, address, file, line):
    place = place_of(address)
    assert (place.file, place.line) == (str(package / "deep" / file), line)
    assert str(place) == f"{place.file}:{line}"
    assert not any(name.startswith("unimportable") for name in sys.modules)


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("unimportable.deep.parts:Three", "parts.py has no Three"),
        ("unimportable.no_such:One", "there is no module unimportable.no_such"),
        ("unimportable.deep.parts.further:One", "there is no module"),
        ("no_such_package.part:One", "there is no module no_such_package.part"),
        ("unimportable.deep.broken:One", "cannot be read: "),
        ("unimportable.deep:Round", "is imported in a circle"),
    ],
)
def test_what_is_not_there_is_said(package, address, problem):
    place = place_of(address)
    assert problem in place.problem
    assert str(place) == place.problem
    assert place.line == 0


def test_a_module_without_a_source_has_no_line():
    place = place_of("math:sqrt")
    assert (place.line, place.problem if not place.file else "") in ((0, ""), (0, place.problem))


def test_files_are_found_without_importing_packages_above(package):
    assert file_of("unimportable.deep.parts") == str(package / "deep" / "parts.py")
    assert file_of("unimportable.deep") == str(package / "deep" / "__init__.py")
    assert file_of("unimportable.no_such") == file_of("no_such_package") == ""
    assert file_of("dlk") == ""  # a namespace
    assert file_of("dlk.plugin").endswith("/dlk/plugin.py")
