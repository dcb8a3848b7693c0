from __future__ import annotations

import json
from pathlib import Path

import pytest

from dlk.config import load
from dlk.config.project import find_project
from dlk.errors import ConfigError


def test_the_nearest_file_above_the_config_counts(folder: Path) -> None:
    below = folder / "a" / "b"
    below.mkdir(parents=True)
    assert find_project(str(below)).file == ""
    (folder / ".intc.json").write_text('{"src": ["parts"]} // with a comment')
    (folder / "parts").mkdir()
    found = find_project(str(below))
    assert (found.file, found.sources) == (str(folder / ".intc.json"), [str(folder / "parts")])
    (folder / "a" / ".intc.jsonc").write_text("{}")
    assert find_project(str(below)).sources == []


def test_sources_are_folders_files_and_packages(folder: Path) -> None:
    (folder / "pkg" / "parts").mkdir(parents=True)
    (folder / "one.py").write_text("")
    (folder / ".intc.json").write_text(
        '{"src": ["pkg", "pkg.parts", "one.py", "one", "./pkg"], "entry": ["."]}'
    )
    pkg, one = str(folder / "pkg"), str(folder / "one.py")
    assert find_project(str(folder)).sources == [pkg, f"{pkg}/parts", one, one, pkg]


def test_a_key_that_nobody_reads_is_refused(folder: Path) -> None:
    (folder / ".intc.json").write_text('{"srcs": ["pkg"]}')
    with pytest.raises(ConfigError, match=r'json:1:2 srcs: is no key. Did you mean "src"\?'):
        find_project(str(folder))


def test_module_files_are_read_whatever_their_format(folder: Path) -> None:
    modules = folder / "m" / "deep"
    modules.mkdir(parents=True)
    (folder / ".intc.json").write_text('{"module": ["m"]}')
    (modules / "lamp@a.jsonc").write_text('{"_base": "bulb", "watts": 1} // comment')
    (modules / "lamp@b.json").write_text('{"_base": "bulb", "watts": 2}')
    (modules / "lamp@c.yaml").write_text("_base: bulb\nwatts: 3\n")
    (modules / "_note.json").write_text("not read")
    (modules / "note.txt").write_text("not read")
    for name, watts in {"a": 1, "b": 2, "c": 3}.items():
        assert load({f"@lamp@{name}": {}}).one().root("lamp").watts == watts


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (".intc.json", "{", r"\.intc\.json:1:1: this \{ is never closed"),
        (".intc.json", "[]", "expected an object"),
        (".intc.json", '{"src": "parts"}', r"\.intc\.json:1:9 src: expected a list of texts"),
        (".intc.json", '{"src": ["nowhere"]}', r':1:10 src: there is no folder or file "nowhere"'),
        (
            ".intc.json",
            '{"module": ["nowhere"]}',
            r':1:13 module: there is no folder or file "nowhere"',
        ),
        ("m/lamp.json", "{}", 'a module file is named "type@name.jsonc"'),
        ("m/lamp@a.json", "{", r"lamp@a\.json:1:1: this \{ is never closed"),
        ("m/lamp@a.json", '{"watts": 1}', 'a module file needs "_base"'),
        ("m/lamp@a.json", "[]", 'a module file needs "_base"'),
        ("m/lamp@a.yaml", "_base: bulb\nwatts: &a [*a]", r"a\.yaml:2:8: an alias stands inside"),
        ("m/lamp@a.yaml", "a: [1", r"lamp@a\.yaml:\d+:\d+: not valid YAML"),
    ],
)
def test_a_broken_project_file_is_named(
    folder: Path, file: str, content: str, message: str
) -> None:
    (folder / "m").mkdir()
    (folder / ".intc.json").write_text('{"module": ["m"]}')
    (folder / file).write_text(content)
    with pytest.raises(ConfigError, match=message):
        load({"@house": {}})


def test_a_module_that_two_files_define_is_refused(folder: Path) -> None:
    for name in ("x", "y"):
        (folder / "m" / name).mkdir(parents=True)
        (folder / "m" / name / "lamp@a.json").write_text(json.dumps({"_base": "bulb"}))
    (folder / ".intc.json").write_text('{"module": ["m"]}')
    with pytest.raises(
        ConfigError, match=r"y/lamp@a\.json lamp@a: is defined in .*x/lamp@a\.json too"
    ):
        find_project(str(folder))


def test_a_mistake_in_a_yaml_file_is_named_where_it_stands(folder: Path) -> None:
    (folder / ".intc.json").write_text('{"module": ["m"]}')
    (folder / "m").mkdir()
    (folder / "m" / "room@lit.yaml").write_text(
        "_base: kitchen\n"
        "sizes: [1, '???']\n"
        "widht: 3\n"
        "'@lamp@tube':\n"
        "  watts: &w 0\n"
        "oven:\n"
        "  watts: *w\n"
    )
    with pytest.raises(ConfigError) as caught:
        load({"@house": {"@room@lit": {}}})
    found = [(p.file, p.line, p.column, p.path) for p in caught.value.problems]
    assert found == [
        ("m/room@lit.yaml", 2, 12, "room.sizes.1"),
        ("m/room@lit.yaml", 3, 1, "room.widht"),
        ("m/room@lit.yaml", 5, 10, "room.oven.watts"),  # where the alias' anchor is
        ("m/room@lit.yaml", 5, 10, "room.lamp.watts"),
    ]


def test_a_repeated_key_of_a_yaml_file_is_refused(folder: Path) -> None:
    (folder / ".intc.json").write_text('{"module": ["m"]}')
    (folder / "m").mkdir()
    (folder / "m" / "room@lit.yaml").write_text("_base: kitchen\nwidth: 3\nwidth: 4\n")
    with pytest.raises(
        ConfigError, match=r'lit\.yaml:3:1: the key "width" stands already in line 2'
    ):
        load({"@house": {}})


def test_an_empty_yaml_file_needs_a_base(folder: Path) -> None:
    (folder / ".intc.json").write_text('{"module": ["m"]}')
    (folder / "m").mkdir()
    (folder / "m" / "room@lit.yaml").write_text("")
    with pytest.raises(ConfigError, match='a module file needs "_base"'):
        load({"@house": {}})


def test_all_broken_files_are_named_with_the_config(folder: Path) -> None:
    (folder / ".intc.json").write_text('{"module": ["m"]}')
    (folder / "m").mkdir()
    (folder / "m" / "lamp@a.json").write_text("{")
    (folder / "m" / "lamp@b.yaml").write_text("watts: 1")
    (folder / "m" / "lamp.json").write_text("{}")
    (folder / "c.jsonc").write_text('{"@house": {"floors": nul}}')
    with pytest.raises(ConfigError) as caught:
        load("c.jsonc")
    assert [(p.file, p.code) for p in caught.value.problems] == [
        ("c.jsonc", "syntax"),
        ("m/lamp.json", "project-file"),
        ("m/lamp@a.json", "syntax"),
        ("m/lamp@b.yaml", "project-file"),
    ]
