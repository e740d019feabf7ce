"""What ``--help`` says, from what is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from dws.cli.arguments import FLAGS
from hydra._internal.utils import get_args_parser
from tests.cli.conftest import Command

from dws.config import config_dir

COMMANDS = {
    "dws-fit-inrs": ("zoo", "fit", "engine", "scale"),
    "dws-train": ("task", "model", "experiment", "augment", "wandb", "scale"),
    "dws-evaluate": (),
    "dws-report": (),
}
OTHERS = [
    *(("dws-train", f"task={task}") for task in ("sine", "ssl")),
    *(
        ("dws-train", f"model={m}")
        for m in ("dwsnet_sign", "probe", "mlp", "inr2vec", "transformer")
    ),
    *(("dws-fit-inrs", setting) for setting in ("zoo=sine", "zoo=cifar10", "engine=ray")),
]


def unexplained(settings: str) -> list[str]:
    lines = re.findall(r"^  (\S+)=(.*)", settings, re.M)
    assert len(lines) > 3
    return [name for name, rest in lines if not re.search(r" [^\W\d]", rest)]


@pytest.mark.parametrize(("name", "choice"), OTHERS)
def test_settings_of_other_choices_are_explained(
    name: str, choice: str, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="0"):
        command(name, "--help", choice)
    assert unexplained(capsys.readouterr().out.partition("\nSettings (")[2]) == []


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
    assert unexplained(settings) == []


def test_the_flags_are_hydras() -> None:
    known = {flag for flag in get_args_parser()._option_string_actions if flag.startswith("--")}
    assert known == set(FLAGS)
