"""Text of ``--help``: every setting with its default value and its meaning."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args, get_type_hints

from omegaconf import DictConfig, OmegaConf

from dws.settings import COMMANDS

WIDTH = 100
COLUMN = 36  # column at which explanations begin
NOT_LISTED = ("scale", "presets", "_target_")  # the config group scale sets these together


def register_help() -> None:
    """Register the resolver of ``${settings:train}`` in Hydra's help templates."""
    OmegaConf.register_new_resolver("settings", list_settings, replace=True)


def list_settings(command: str, *, _root_: DictConfig) -> str:
    """One entry per setting of a composed configuration: name, value and explanation."""
    values: Any = OmegaConf.to_container(_root_, resolve=False)
    lines = _settings({k: v for k, v in values.items() if k != "hydra"}, COMMANDS[command])
    return "\n".join(lines).replace("$", "$$")  # $ is special in the template


def _settings(
    node: Mapping[str, Any], kind: Any, prefix: str = "", more: Mapping[str, str] | None = None
) -> Iterator[str]:
    kind = next(filter(is_dataclass, get_args(kind)), kind)  # the dataclass of an Optional
    explained = {**(more or {}), **explanations(kind)}
    kinds = get_type_hints(kind) if is_dataclass(kind) else {}
    for key, value in node.items():
        if key in NOT_LISTED:
            continue
        if isinstance(value, Mapping) and value:
            target = str(value.get("_target_", ""))
            if target:
                yield _paragraph(f"  {prefix}{key}:", f"Arguments of {target}")
            more = arguments_explained(target)
            yield from _settings(value, kinds.get(key, Any), f"{prefix}{key}.", more)
        else:
            text = "" if value == "???" else "null" if value is None else value
            yield _paragraph(f"  {prefix}{key}={text}", explained.get(key, ""))


def explanations(kind: Any) -> dict[str, str]:
    """Explanations of the attributes of a class of ``dws.settings``, from its docstring."""
    explained: dict[str, str] = {}
    for each in inspect.getmro(kind) if isinstance(kind, type) else ():
        explained = {**_listed("Attributes", inspect.getdoc(each) or ""), **explained}
    return explained


def arguments_explained(target: str) -> dict[str, str]:
    """Explanations of the arguments of a class that ``_target_`` names, from its docstring.

    The docstring is parsed from the source file. Importing the class would load torch, and could
    execute code of a package that is not allowed.
    """
    package, name = target.partition(".")[0], target.rpartition(".")[2]
    spec = find_spec(package) if package.isidentifier() and name.isidentifier() else None
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for file in sorted(Path(folder).rglob("*.py")):
            text = file.read_text()
            if re.search(rf"^class {name}\b", text, re.M):
                classes = (node for node in ast.parse(text).body if isinstance(node, ast.ClassDef))
                docs = (ast.get_docstring(node) or "" for node in classes if node.name == name)
                return _listed("(?:Args|Attributes)", next(docs, ""))
    return {}


def _listed(section: str, docstring: str) -> dict[str, str]:
    """Names and descriptions in a section of a Google-style docstring."""
    explained = {}
    for content in re.findall(rf"^{section}:\n((?:    .*\n?|\n)+)", docstring, re.M):
        for name, text in re.findall(r"^    (\w+): (.*(?:\n     .*)*)", content, re.M):
            explained[name] = " ".join(text.split()).replace("``", "")
    return explained


def _paragraph(label: str, text: str) -> str:
    return (
        textwrap.fill(
            text,
            WIDTH,
            initial_indent=label.ljust(COLUMN - 1) + " ",
            subsequent_indent=" " * COLUMN,
            break_on_hyphens=False,
            break_long_words=False,
        )
        or label
    )
