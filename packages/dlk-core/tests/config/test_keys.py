from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlk.config.keys import ModuleKey, is_module, join, locate, parse_key
from dlk.errors import ConfigError

TREE = {
    "@step@gather#one": {"size": 1},
    "@step@gather": {"size": 2},
    "@step@index-label#two": {"size": 3},
    "@model@basic": {"sizes": [1, [2, 3]], "step": 4},
}
NAME = st.from_regex(r"[a-z_][a-z0-9_]{0,3}", fullmatch=True)


@given(type=NAME, name=NAME | st.just(""), sub=NAME | st.just(""), alias=NAME | st.just(""))
def test_a_key_is_split_and_joined_again(type: str, name: str, sub: str, alias: str) -> None:
    key = ModuleKey(type, f"{name}-{sub}" if name and sub else name, alias)
    assert parse_key(str(key)) == key


@pytest.mark.parametrize(
    "key", ["model", "@", "@a@", "@a@b@c", "@a#", "@a b", "@a@b-c-d", "@1a", "@a#b#c"]
)
def test_what_is_no_component_key_is_refused(key: str) -> None:
    assert not is_module(key)
    with pytest.raises(ConfigError, match='expected "@type@name"'):
        parse_key(key)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("model", ("@model@basic",)),
        ("@model", ("@model@basic",)),
        ("@model@basic", ("@model@basic",)),
        ("model@basic", ("@model@basic",)),
        ("@@basic", ("@model@basic",)),
        ("@basic", ("@model@basic",)),
        ("#one.size", ("@step@gather#one", "size")),
        ("one.size", ("@step@gather#one", "size")),
        ("step#two", ("@step@index-label#two",)),
        ("@@index-label", ("@step@index-label#two",)),
        ("step@gather", ("@step@gather",)),
        ("step@gather#one", ("@step@gather#one",)),
        ("model.sizes.1.-1", ("@model@basic", "sizes", 1, 1)),
        ("model.step", ("@model@basic", "step")),
    ],
)
def test_a_path_finds_what_it_means(path: str, found: tuple[str | int, ...]) -> None:
    assert locate(TREE, path) == (found, [])


@pytest.mark.parametrize(
    ("path", "found", "rest"),
    [
        ("modle.size", (), ["modle", "size"]),
        ("model.nope.a", ("@model@basic",), ["nope", "a"]),
        ("model.step.a", ("@model@basic", "step"), ["a"]),
        ("step#three", (), ["step#three"]),
    ],
)
def test_a_path_that_leads_nowhere_gives_what_is_left(
    path: str, found: tuple[str, ...], rest: list[str]
) -> None:
    assert locate(TREE, path) == (found, rest)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("step", "fits 3 components: @step@gather, @step@gather#one, @step@index-label#two"),
        ("@@gather", "fits 2 components"),
        ("model.sizes.2", "no index into a list of 2"),
        ("model.sizes.a", "no index into a list of 2"),
        ("model..size", "no config path"),
        ("", "no config path"),
    ],
)
def test_a_path_that_means_several_things_or_none_is_refused(path: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        locate(TREE, path)


def test_the_path_that_messages_write_leads_back() -> None:
    for key in TREE:
        assert locate(TREE, join("", key, TREE)) == ((key,), [])


def test_a_type_alone_names_a_component_unless_two_are_alike() -> None:
    assert join("imodel", "@model@basic", TREE) == "imodel.model"
    assert join("", "@step@gather#one", TREE) == "step#one"
    assert join("", "@step@gather", TREE) == "step@gather"
