"""What ``--help`` says, from what is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hydra._internal.utils import get_args_parser
from tests.cli.conftest import Command

from dws.cli.command import FLAGS
from dws.config import config_dir

COMMANDS = {
    "dws-fit-inrs": ("zoo", "fit", "engine", "scale"),
    "dws-train": ("task", "model", "experiment", "augment", "wandb", "scale"),
    "dws-evaluate": (),
    "dws-report": (),
}
NEED_NO_WORDS = ("task.name", "task.zoo", "model.name")  # as in the examples above


@pytest.mark.parametrize("name", COMMANDS)
def test_every_choice_and_setting_is_there_and_explained(
    name: str, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="0"):
        command(name, "--help")
    text = capsys.readouterr().out
    assert re.search(rf"^  {name}( -\S+)* [\w./]+=\S+", text, re.M)  # an example
    assert max(map(len, text.splitlines())) <= 100
    choices, settings = text.partition("\nSettings (")[::2]
    for group in COMMANDS[name]:
        folder = Path(config_dir(), group)
        there = {str(f.relative_to(folder))[: -len(".yaml")] for f in folder.rglob("*.yaml")}
        (listed,) = re.findall(rf"^  {group} (.*(?:\n    .*)*)", choices, re.M)
        assert set(listed.replace(",", " ").split()) == there
    lines = re.findall(r"^  (\S+)=(.*)", settings, re.M)
    assert len(lines) > 3
    silent = {name for name, rest in lines if not re.search(r" [^\W\d]", rest)}
    assert {name for name in silent if not name.startswith(NEED_NO_WORDS)} == set()


def test_the_flags_are_hydras() -> None:
    known = {flag for flag in get_args_parser()._option_string_actions if flag.startswith("--")}
    assert known == set(FLAGS)
