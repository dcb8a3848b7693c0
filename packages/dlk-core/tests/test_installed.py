"""Which distribution brings a module."""

from __future__ import annotations

import importlib.metadata

import pytest

from dlk import _installed
from dlk._installed import all_brought, brought_by


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Lay a distribution with modules into a folder on the path."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def lay(name, *modules):
        about = tmp_path / f"{name.replace('-', '_')}-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (about / "top_level.txt").write_text("\n".join(modules))
        for module in modules:
            (tmp_path / module).mkdir(exist_ok=True)
            (tmp_path / module / "__init__.py").touch()

    return lay


def test_it_says_what_the_look_through_all_distributions_says():
    everything = importlib.metadata.packages_distributions()
    for module in ("torch", "numpy", "pyarrow", "tokenizers", "google", "yaml", "nothing_of_this"):
        assert set(brought_by(module)) == set(everything.get(module, ())), module


def test_a_module_called_as_its_distribution_needs_no_look_through_all(monkeypatch):
    monkeypatch.setattr(_installed, "all_brought", lambda: pytest.fail("this takes half a second"))
    assert brought_by("torch") == ("torch",)
    assert brought_by("pyarrow") == ("pyarrow",)


def test_a_distribution_of_the_modules_name_need_not_be_the_one_that_brings_it(install):
    install("vapour", "installed_other")
    install("installed-real", "vapour_2")
    assert brought_by("vapour") == ()
    assert brought_by("installed_other") == ("vapour",)
    assert brought_by("vapour_2") == ("installed-real",)


def test_one_that_came_later_is_found(install):
    assert brought_by("installed_late") == ()
    install("installed-brings-late", "installed_late")
    assert brought_by("installed_late") == ("installed-brings-late",)


def test_all_distributions_are_looked_through_once(monkeypatch):
    all_brought()
    monkeypatch.setattr(
        importlib.metadata, "packages_distributions", lambda: pytest.fail("a second time")
    )
    assert all_brought()
