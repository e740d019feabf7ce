"""The source distribution is complete; pinned versions and version numbers match."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import dws
from dws.cli.command import EXTRAS

REPOSITORY = Path(__file__).parents[2]
FROM_TORCH = {"triton"}  # required by PyTorch where it supports CUDA, imported only there
NOT_IMPORTED = {"tabulate"}  # pandas uses it for Markdown tables


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


def test_the_changelog_describes_the_version_of_the_package() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    [described, *_] = re.findall(r"^## (\S+)", (REPOSITORY / "CHANGELOG.md").read_text(), re.M)
    assert described == project["version"] == dws.__version__


def names(requirements: list[str]) -> set[str]:
    """Canonical names of the required distributions."""
    return {canonicalize_name(Requirement(line).name) for line in requirements}


def test_imports_and_dependencies_match() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    dependencies = names(project["dependencies"])
    extras = {name: names(lines) for name, lines in project["optional-dependencies"].items()}
    users = set().union(*(found for name, found in extras.items() if name != "dev"))
    modules = set().union(*map(imported, (REPOSITORY / "src").rglob("*.py")))
    modules -= {*sys.stdlib_module_names, "dws", "hydra_plugins"} | FROM_TORCH
    homes = packages_distributions()
    found = {
        module: {canonicalize_name(home) for home in homes.get(module, ())} for module in modules
    }
    assert {module for module, home in found.items() if not home & (dependencies | users)} == set()
    assert dependencies - set().union(*found.values()) == NOT_IMPORTED


def test_extras_in_messages_and_documentation_exist() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    files = [
        REPOSITORY / "README.md",
        *(file for name in ("src", "workflow") for file in (REPOSITORY / name).rglob("*.py")),
        *(file for name in ("docs", "examples") for file in (REPOSITORY / name).rglob("*.md")),
    ]
    hints = [
        (project_name, extra)
        for file in files
        for project_name, listed in re.findall(
            r"pip install '([^'\[]+)\[([^\]]+)\]'", file.read_text()
        )
        for extra in listed.split(",")
    ]
    assert len(hints) > 5
    assert {name for name, _ in hints} == {project["name"]}
    named = {extra for _, extra in hints} - {"{extra}"} | set(EXTRAS.values())
    assert named <= {*project["optional-dependencies"]} - {"dev"}


def test_installation_page_lists_the_extras() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    page = (REPOSITORY / "docs/install.md").read_text()
    listed = re.findall(r"^\| `(\w+)` \|", page, re.M)
    assert listed == [extra for extra in project["optional-dependencies"] if extra != "dev"]


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
@pytest.mark.parametrize("constraints", ["constraints.txt", ""])
def test_builds_of_torch_are_chosen_with_and_without_constraints(
    constraints: str, tmp_path: Path
) -> None:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(REPOSITORY / name, tmp_path)
    words = ["make", "-n", ".venv/workflow", "TORCH=cpu", f"CONSTRAINTS={constraints}"]
    reader, writer = os.pipe()  # standard input stays open, as in a terminal
    try:
        done = subprocess.run(
            words,
            cwd=tmp_path,
            text=True,
            check=True,
            stdin=reader,
            capture_output=True,
            timeout=60,
        )
    finally:
        os.close(reader)
        os.close(writer)
    (line,) = [line for line in done.stdout.splitlines() if "download.pytorch.org" in line]
    chosen = line.split("whl/cpu ")[1].split()
    assert [name.partition("==")[0] for name in chosen] == ["torch", "torchvision"]
    assert all(("==" in name) == bool(constraints) for name in chosen)
