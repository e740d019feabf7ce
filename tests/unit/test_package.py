"""What is distributed holds what its tests need."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def imported(file: Path) -> set[str]:
    """First names of the modules that a file imports."""
    nodes = list(ast.walk(ast.parse(file.read_text())))
    modules = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    modules += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    return {module.partition(".")[0] for module in modules}


def test_the_source_distribution_holds_what_the_tests_use() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    included = {*project["tool"]["hatch"]["build"]["targets"]["sdist"]["include"], "pyproject.toml"}
    tests = [*(REPOSITORY / "tests").rglob("*.py")]
    text = "".join(file.read_text() for file in tests)
    folders = {name for file in tests for name in imported(file) if (REPOSITORY / name).is_dir()}
    files = {path.name for path in REPOSITORY.glob("[!.]*") if path.is_file() and path.name in text}
    assert {"scripts", "tests"} <= folders
    assert {"Makefile", "README.md"} <= files
    assert folders | files | {"src", "configs"} <= included
