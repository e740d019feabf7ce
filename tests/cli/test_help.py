"""The texts of ``--help``."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.cli.conftest import Command

from dws.config import config_dir

COMMANDS = {
    "dws-fit-inrs": ("zoo", "fit", "engine", "scale"),
    "dws-train": ("task", "model", "experiment", "augment", "optim", "wandb", "scale"),
    "dws-evaluate": (),
    "dws-report": (),
}
OTHERS = [
    *(("dws-train", f"task={task}") for task in ("sine", "ssl")),
    *(
        ("dws-train", f"model={m}")
        for m in ("dwsnet_attention", "dwsnet_sign", "probe", "mlp", "inr2vec", "transformer")
    ),
    *(("dws-fit-inrs", setting) for setting in ("zoo=sine", "zoo=cifar10", "engine=ray")),
]
Help = Command


@pytest.fixture
def help_of(command: Command, capsys: pytest.CaptureFixture[str]) -> Help:
    """Run a command with ``--help`` and further arguments; returns the text."""

    def run(name: str, *arguments: str) -> str:
        with pytest.raises(SystemExit, match=r"^0$"):
            command(name, "--help", *arguments)
        return capsys.readouterr().out

    return run


def settings_in(text: str) -> str:
    return text.partition("== Settings")[2]


def unexplained(settings: str) -> list[str]:
    lines = re.findall(r"^  (\S+)=(.*)", settings, re.M)
    assert len(lines) > 3
    return [name for name, rest in lines if not re.search(r" [^\W\d]", rest)]


@pytest.mark.parametrize(("name", "choice"), OTHERS)
def test_help_explains_settings_of_other_choices(name: str, choice: str, help_of: Help) -> None:
    assert unexplained(settings_in(help_of(name, choice))) == []


@pytest.mark.parametrize("name", COMMANDS)
def test_help_lists_every_choice_and_explains_every_setting(name: str, help_of: Help) -> None:
    text = help_of(name)
    assert re.search(rf"^  {name}( -\S+)* [\w./]+=\S+", text, re.M)  # an example
    assert "HYDRA_FULL_ERROR=1" in text
    for group in COMMANDS[name]:
        folder = Path(config_dir(), group)
        expected = {str(f.relative_to(folder))[: -len(".yaml")] for f in folder.rglob("*.yaml")}
        (listed,) = re.findall(rf"^{group}: (.*)", text, re.M)
        assert set(listed.split(", ")) == expected
    assert unexplained(settings_in(text)) == []
    assert max(map(len, settings_in(text).splitlines())) <= 100


def test_help_shows_the_values_of_the_given_choices(help_of: Help) -> None:
    text = help_of("dws-train", "task=mnist", "model=dwsnet_sign", "seed=7")
    assert {"  optim.muon_lr=0.01", "  reconstruction.weight=10.0", "  seed=7"} <= {
        line.partition("   ")[0] for line in text.splitlines()
    }


def test_help_imports_no_plugins_and_accepts_invalid_targets(
    help_of: Help, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "evil.py").write_text("print('imported')")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/__init__.py").write_text('"""Bad."""\nprint("imported")\nclass Net:\n    x\n')
    monkeypatch.syspath_prepend(tmp_path)
    for target in ("evil", "evil.Net", "bad.Net", "bad", "dws.nope.Net", "nowhere.Net", "..", "1"):
        text = help_of("dws-train", f"model._target_={target}")
        assert "trainer.num_epochs=" in text
        assert "imported" not in text


def test_help_explains_arguments_of_plugin_classes(
    help_of: Help, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets/__init__.py").touch()
    code = (
        '"""Nets."""\n\n\nclass Net:\n    """A net.\n\n    Args:\n        depth: Layers.\n    """\n'
    )
    (tmp_path / "nets/deep.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    text = help_of("dws-train", "model._target_=nets.Net", "+model.depth=3")
    assert re.search(r"^  model\.depth=3 +Layers\.$", text, re.M)
