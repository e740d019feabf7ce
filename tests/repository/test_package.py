"""The source distribution is complete, and pinned versions match the requirements."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).parents[2]


def imported(file: Path) -> set[str]:
    """Top-level names of the modules that a file imports."""
    nodes = list(ast.walk(ast.parse(file.read_text())))
    modules = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    modules += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    return {module.partition(".")[0] for module in modules}


def test_source_distribution_contains_the_files_of_tests() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    included = {*project["tool"]["hatch"]["build"]["targets"]["sdist"]["include"], "pyproject.toml"}
    tests = [*(REPOSITORY / "tests").rglob("*.py")]
    text = "".join(file.read_text() for file in tests)
    folders = {name for file in tests for name in imported(file) if (REPOSITORY / name).is_dir()}
    files = {path.name for path in REPOSITORY.glob("[!.]*") if path.is_file() and path.name in text}
    assert {"scripts", "tests"} <= folders
    assert {"Makefile", "README.md"} <= files
    assert folders | files | {"src", "configs", "examples"} <= included


def test_pinned_versions_match_the_requirements() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    needed = [Requirement(line) for lines in (project["dependencies"], *extras) for line in lines]
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    pins = [Requirement(line) for line in lines if not line.startswith("#")]
    version = {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in pins}
    assert len(version) == len(pins)
    needed = [requirement for requirement in needed if requirement.name != project["name"]]
    assert len(needed) > 20
    wrong = {
        str(requirement): version.get(canonicalize_name(requirement.name))
        for requirement in needed
        if version.get(canonicalize_name(requirement.name)) is None
        or version[canonicalize_name(requirement.name)] not in requirement.specifier
    }
    assert wrong == {}
