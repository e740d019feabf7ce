"""What ``--help`` lists: the choices that are there now, and every setting with what it is."""

from __future__ import annotations

import contextlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationKeyError

from dws.config import choices_of, class_of

WIDTH = 100
COLUMN = 36  # where explanations begin
NOT_FOR_USERS = ("hydra", "scale")  # groups whose settings are set together, by a choice


def register_resolvers() -> None:
    """Make ``${choices:task,model}`` and ``${settings:}`` mean something in a help's template."""
    OmegaConf.register_new_resolver("choices", list_choices, replace=True)
    OmegaConf.register_new_resolver("settings", list_settings, replace=True)


def list_choices(*groups: str) -> str:
    """A paragraph for each group."""
    return "\n".join(_paragraph(f"  {g}", 15, ", ".join(choices_of(g))) for g in groups)


def list_settings(*, _root_: DictConfig) -> str:
    """A line for each setting of a composed configuration: name, value, explanation."""
    return "\n".join(_settings(_root_)).replace("$", "$$")  # the template's own sign


def _settings(node: DictConfig, prefix: str = "") -> Iterator[str]:
    docs = _attributes(node)
    for key in map(str, node):
        if key in (*NOT_FOR_USERS, "_target_", "presets"):
            continue
        child = node._get_node(key)
        if isinstance(child, DictConfig) and child and child._metadata.ref_type is not dict:
            yield from _settings(child, f"{prefix}{key}.")
        else:
            value = "" if OmegaConf.is_missing(node, key) else _value(node, key)
            yield _paragraph(f"  {prefix}{key}={value}", COLUMN, docs.get(key, ""))


def _value(node: DictConfig, key: str) -> str:
    try:
        value: object = node[key]
    except InterpolationKeyError:  # such as a preset that the zoo does not have
        raw: Any = OmegaConf.to_container(node, resolve=False)
        value = raw[key]
    return "null" if value is None else str(value)


def _attributes(node: DictConfig) -> dict[str, str]:
    """What docstrings say of the settings of a node: its schema's, and that of what it builds."""
    kind = OmegaConf.get_type(node)
    documented: list[Any] = list(kind.__mro__) if isinstance(kind, type) else []
    if target := node.get("_target_"):
        with contextlib.suppress(ValueError):  # --help is of use even if the target is not
            documented.insert(0, class_of(target))
    docs: dict[str, str] = {}
    for each in documented:
        lines = inspect.getdoc(each) or ""
        for section in re.findall(r"^(?:Args|Attributes):\n((?:    .*\n?|\n)+)", lines, re.M):
            for name, text in re.findall(r"^    (\w+): (.*(?:\n     .*)*)", section, re.M):
                docs.setdefault(name, " ".join(text.split()).replace("``", ""))
    return docs


def _paragraph(label: str, column: int, text: str) -> str:
    first = label.ljust(column - 1) + " "
    return (
        textwrap.fill(
            text,
            WIDTH,
            initial_indent=first,
            subsequent_indent=" " * column,
            break_on_hyphens=False,
            break_long_words=False,
        )
        or label
    )
