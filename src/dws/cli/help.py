"""What ``--help`` lists beside Hydra's groups: every setting, with its value and its meaning."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from typing import Any, get_type_hints

from omegaconf import DictConfig, OmegaConf

from dws.settings import COMMANDS

WIDTH = 100
COLUMN = 36  # where explanations begin
NOT_LISTED = ("scale", "presets", "_target_")  # sizes are set together, by scale=...


def register_help() -> None:
    """Make ``${settings:train}`` mean something in the template of a help."""
    OmegaConf.register_new_resolver("settings", list_settings, replace=True)


def list_settings(command: str, *, _root_: DictConfig) -> str:
    """A line for each setting of a composed configuration: name, value, explanation."""
    values: Any = OmegaConf.to_container(_root_, resolve=False)
    lines = _settings({k: v for k, v in values.items() if k != "hydra"}, COMMANDS[command])
    return "\n".join(lines).replace("$", "$$")  # the template's own sign


def _settings(node: Mapping[str, Any], kind: Any, prefix: str = "") -> Iterator[str]:
    explained = explanations(kind)
    kinds = get_type_hints(kind) if is_dataclass(kind) else {}
    for key, value in node.items():
        if key in NOT_LISTED:
            continue
        if isinstance(value, Mapping) and value:
            of = f"Arguments of {value['_target_']}" if "_target_" in value else ""
            if of:
                yield _paragraph(f"  {prefix}{key}:", of)
            yield from _settings(value, kinds.get(key, Any), f"{prefix}{key}.")
        else:
            text = "" if value == "???" else "null" if value is None else value
            yield _paragraph(f"  {prefix}{key}={text}", explained.get(key, ""))


def explanations(kind: Any) -> dict[str, str]:
    """What the docstring of a class of ``dws.settings`` says of its attributes."""
    explained: dict[str, str] = {}
    for each in inspect.getmro(kind) if isinstance(kind, type) else ():
        for section in re.findall(
            r"^Attributes:\n((?:    .*\n?|\n)+)", inspect.getdoc(each) or "", re.M
        ):
            for name, text in re.findall(r"^    (\w+): (.*(?:\n     .*)*)", section, re.M):
                explained.setdefault(name, " ".join(text.split()).replace("``", ""))
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
