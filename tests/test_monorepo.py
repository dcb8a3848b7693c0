"""What holds across the repository's packages, documents and examples."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from dlk.config import jsonc

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = sorted(path.parent for path in ROOT.glob("packages/*/pyproject.toml"))
EXAMPLES = sorted(path.parent for path in ROOT.glob("examples/*/main.py"))
DOCUMENTS = sorted(
    path
    for pattern in (
        "*.md",
        "docs/**/*.md",
        "packages/*/*.md",
        "examples/*/*.md",
        "changelog.d/*.md",
    )
    for path in ROOT.glob(pattern)
)


def project(folder: Path) -> dict[str, object]:
    with (folder / "pyproject.toml").open("rb") as file:
        metadata: dict[str, object] = tomllib.load(file)["project"]
    return metadata


def requirements(folder: Path) -> list[Requirement]:
    metadata = project(folder)
    texts = list(metadata["dependencies"])  # type: ignore[call-overload]
    for extra in dict(metadata.get("optional-dependencies", {})).values():  # type: ignore[call-overload]
        texts += extra
    return [Requirement(text) for text in texts]


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_no_package_owns_the_namespace(package: Path) -> None:
    assert not (package / "src" / "dlk" / "__init__.py").exists()


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_a_package_has_code_tests_readme_and_the_licence(package: Path) -> None:
    assert list((package / "src" / "dlk").rglob("py.typed"))
    assert list((package / "tests").rglob("test_*.py"))
    assert (package / "README.md").stat().st_size > 200
    assert (package / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_all_distributions_have_one_version() -> None:
    assert {project(folder)["version"] for folder in [ROOT, *PACKAGES]} == {"0.2.0"}


def test_the_distribution_dlk_stands_for_all_packages() -> None:
    assert {item.name for item in requirements(ROOT)} == {package.name for package in PACKAGES}


def test_every_dependency_is_pinned_for_checks_and_tests() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {canonicalize_name(line.split("==")[0]) for line in lines if line and line[0] != "#"}
    wanted = {canonicalize_name(item.name) for folder in PACKAGES for item in requirements(folder)}
    with (ROOT / "pyproject.toml").open("rb") as file:
        tools = tomllib.load(file)["dependency-groups"]["dev"]
    wanted |= {canonicalize_name(Requirement(text).name) for text in tools}
    assert wanted - pinned == {package.name for package in PACKAGES if package.name == "dlk-core"}


def test_make_check_runs_every_check_and_ci_runs_checks_and_tests() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (recipe,) = re.findall(r"^check:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    commands = [line.removeprefix("\t$(BIN)/") for line in recipe.splitlines()]
    assert commands == ["ruff format --check .", "ruff check .", "mypy", "lint-imports"]
    with (ROOT / "pyproject.toml").open("rb") as file:
        tools = tomllib.load(file)["tool"]
    assert tools["mypy"]["strict"] is True
    sources = {f"packages/{package.name}/src/dlk" for package in PACKAGES}
    assert sources <= set(tools["mypy"]["files"])
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert [line for line in script if line.startswith("make ")] == ["make check", "make test"]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_complete(example: Path) -> None:
    for name in ("process*.jsonc", "fit*.jsonc", "README.md", ".intc.json"):  # * of a variant
        assert list(example.glob(name)), f"{example.name} lacks {name}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_in_documents_lead_somewhere(document: Path) -> None:
    text = re.sub(r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL)
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text)
    local = [link for link in links if not re.match(r"[a-z]+:", link)]
    assert [link for link in local if not (document.parent / link).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_code_in_documents_can_be_read(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for language, code in re.findall(r"```(\w+)\n(.*?)```", text, re.DOTALL):
        if language == "python":
            ast.parse(code)
        elif language in ("json", "jsonc"):
            jsonc.parse(code)
        elif language == "toml":
            tomllib.loads(code)


def test_both_readmes_have_the_same_sections_and_the_same_code() -> None:
    english, chinese = (
        (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README_zh.md")
    )
    code = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)
    assert _uncommented(code.findall(english)) == _uncommented(code.findall(chinese))
    levels = re.compile(r"^(#+) ", re.MULTILINE)
    assert levels.findall(code.sub("", english)) == levels.findall(code.sub("", chinese))


def test_a_change_is_named_by_topic_and_kind_and_starts_with_its_packages() -> None:
    names = {package.name for package in PACKAGES} | {"dlk"}
    for path in (ROOT / "changelog.d").iterdir():
        if path.name != "README.md":
            assert re.fullmatch(r"[a-z0-9-]+\.(added|changed|fixed|removed)\.md", path.name)
            packages = path.read_text(encoding="utf-8").split(":")[0].split(", ")
            assert set(packages) <= names, path.name


def _uncommented(blocks: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return code blocks without their comments, which each language writes in its own words."""
    return [
        (language, re.sub(r"[ \t]*(//|#(?!\w)).*", "", code).strip()) for language, code in blocks
    ]


@pytest.mark.parametrize("name", ["process.jsonc", "fit.jsonc"])
def test_the_readme_shows_the_configs_of_the_example(name: str) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = text.split(f"`{name}`:")[1].split("```jsonc\n")[1].split("```")[0]
    example = jsonc.read(str(ROOT / "examples" / "text_cls" / name))
    assert jsonc.parse(shown).value == example.value
