"""Settings as people write them: text that stays text, and hints that work when they are pasted."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
from dws.cli.arguments import is_text, prepare_arguments
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from tests.cli.conftest import Command

from dws.cli import entry
from dws.config import COMMANDS, config_dir, register_schemas
from dws.zoo import Zoo

NUMBERS = [
    "2026_11_26", "1e3", "1.50", "0x1F", "true", "False", "1_000", "007", "-5", "+5", ".5", "1.",
    "nan", "-inf", "NaN",
]  # fmt: skip
TEXTS = {
    "train": (
        "run_dir", "zoo.path", "paths.outputs", "paths.zoos", "paths.runs", "scale.outputs",
        "model.name", "task.name", "task.zoo", "task.label", "wandb.project",
    ),
    "fit_inrs": ("zoo.path", "zoo.name", "zoo.signals.root", "paths.data", "paths.outputs"),
    "evaluate": ("run", "zoo_path", "wandb.group"),
    "report": ("runs", "report", "kept", "paths.outputs"),
}  # fmt: skip


def composed(name: str, *arguments: str) -> Any:
    register_schemas()
    with initialize_config_dir(config_dir(), version_base="1.3"):
        return compose(name, [*prepare_arguments(arguments, COMMANDS[name])])


@pytest.mark.parametrize("value", NUMBERS)
def test_a_path_that_looks_like_a_number_stays_as_it_is(value: str) -> None:
    assert composed("train", f"run_dir={value}").run_dir == value


@pytest.mark.parametrize(("name", "key"), [(n, key) for n, keys in TEXTS.items() for key in keys])
def test_every_setting_that_is_text_is_known_as_such(name: str, key: str) -> None:
    more = ["zoo=mnist"] if name == "fit_inrs" else ["run=x"] if name == "evaluate" else []
    config = composed(name, *more, f"{key}=2026_11_26")
    assert OmegaConf.select(config, key) == "2026_11_26"


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("train", "seed"), ("train", "optim.lr"), ("train", "zoo.aligned"), ("train", "model"),
        ("train", "model.hidden_features"), ("train", "task.labels"), ("train", "nothing.there"),
        ("fit_inrs", "zoo.limit"), ("fit_inrs", "zoo.signals.num_val"), ("fit_inrs", "zoo.part"),
        ("train", "seed.x"),
    ],
)  # fmt: skip
def test_other_settings_are_no_text(name: str, key: str) -> None:
    assert not is_text(COMMANDS[name], key)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("run_dir=2026_11_26,2026_11_27", 'run_dir="2026_11_26","2026_11_27"'),
        ("run_dir=a,1e3,'1_0',null", "run_dir=a,\"1e3\",'1_0',null"),
        ("run_dir='1,2',1_0", "run_dir='1,2',\"1_0\""),
        ("run_dir=choice(1_0,b)", 'run_dir=choice("1_0",b)'),
        ("run_dir=null", "run_dir=null"),
        ("run_dir='1_0'", "run_dir='1_0'"),
        ("run_dir=${seed}", "run_dir=${seed}"),
        ("+run_dir=1_0", '+run_dir="1_0"'),
        ("++run_dir=1_0", '++run_dir="1_0"'),
        ("hydra.sweep.dir=1_0", 'hydra.sweep.dir="1_0"'),
        ("~run_dir=1_0", "~run_dir=1_0"),
        ("seed=1_0", "seed=1_0"),
        ("zoo.path=", "zoo.path="),
    ],
)
def test_what_is_quoted_and_what_is_left(given: str, expected: str) -> None:
    assert prepare_arguments([given, "-m"], COMMANDS["train"]) == ["-m", expected]


def test_runs_of_a_sweep_lie_where_they_were_asked_for(command: Command, sine_zoo: Zoo) -> None:
    command(
        "dws-train", "-m", "task=sine", "model=mlp", "model.hidden_features=[8]", "wandb=disabled",
        f"zoo.path={sine_zoo.path}", "trainer.num_epochs=1", "trainer.batch_size=8",
        "run_dir=2026_11_26,1e3",
    )  # fmt: skip
    assert {path.name for path in Path().iterdir()} >= {"2026_11_26", "1e3"}
    printed = command("dws-evaluate", "run=2026_11_26", "wandb=disabled", "device=cpu")
    assert "see 2026_11_26/" in printed
    assert Path("2026_11_26/result.json").is_file()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a,b", "a,b"),
        ("1_0,b", "1_0,b"),
        ("a=b", "a=b"),
        ("${x}", "${x}"),
        ("a/${x}/b", "a/${x}/b"),
        ("${oc.env:NOPE}", "other"),
        ("x/${oc.env:NOPE}", "x/other"),
        ("'${oc.env:NOPE}'", "other"),
        ("${nope:1}", "${nope:1}"),
        ("$HOME", "$HOME"),
        ("$OUT/a", "$OUT/a"),
        ("a{b", "a{b"),
        ("{a}", "{a}"),
        ("{a:b}", "{a:b}"),
        ("[a]", "[a]"),
        ("a(b)", "a(b)"),
        ("a#b", "a#b"),
        ("it's", "it's"),
        ("~/x", str(Path("~/x").expanduser())),
        ("${x", "${x"),
    ],
)
def test_the_argument_that_is_proposed_works_when_pasted(
    value: str, expected: str, complaint: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOPE", raising=False)
    line = complaint("dws-report", f"runs={value}")
    *_, last = shlex.split(line.rpartition(": ")[2] if ": " in line else line)
    assert last.startswith("runs=")
    assert composed("report", last).runs == expected


@pytest.mark.parametrize("value", ["a:b", "a b", "a+b", "a@b", "a%b", "a\\b", "a.b-c_d", "/x y/z"])
def test_such_paths_need_no_quotes(value: str) -> None:
    assert composed("train", f"run_dir={value}").run_dir == value


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("--model", "mlp"), "did you mean model=mlp?"),
        (("--task=mnist",), "did you mean task=mnist?"),
        (("--seed", "1"), "did you mean seed=1?"),
        (("--zoo.path", "x"), "did you mean zoo.path=x?"),
        (("--zoo.path", "a b"), "did you mean 'zoo.path=a b'?"),
        (("--run-dir", "x"), "did you mean run_dir=x?"),
        (("--lr=0.1",), "did you mean optim.lr=0.1?"),
        (("--num-epochs", "3"), "did you mean scale.num_epochs=3 or trainer.num_epochs=3?"),
        (("--modle", "mlp"), "did you mean model=mlp?"),
        (("--experiment", "sine/mlp"), "did you mean experiment=sine/mlp?"),
        (("--model", "--seed"), "did you mean model=...?"),
        (("--hlep",), "did you mean --help?"),
        (("mlp",), "did you mean model=mlp?"),
        (("sine/dwsnet",), "did you mean experiment=sine/dwsnet?"),
        (("-m", "3"), "as in -m seed=0,1"),
        (("-m=3",), "settings are written key=value"),
        (("-mseed=0,1",), "settings are written key=value"),
        (("-x",), "settings are written key=value"),
        (("--config-dir",), "settings are written key=value"),
    ],
)
def test_settings_like_flags_are_said_as_settings(
    arguments: tuple[str, ...], hint: str, complaint: Command
) -> None:
    assert hint in complaint("dws-train", *arguments)


@pytest.mark.parametrize("flag", ["--version", "--vers"])
@pytest.mark.parametrize("name", ["data", "fit-inrs", "zoo", "train", "evaluate", "report"])
def test_the_version_is_ours(
    name: str, flag: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", [f"/bin/dws-{name}", "x=1", flag])
    monkeypatch.setattr(entry.importlib, "import_module", None)  # which takes seconds
    getattr(entry, name.replace("-", "_"))()
    assert capsys.readouterr().out == f"dws-{name} {entry.dws.__version__}\n"


def test_a_setting_named_like_a_flag_of_hydra_is_meant(complaint: Command) -> None:
    assert "did you mean run=outputs/x?" in complaint("dws-evaluate", "--run", "outputs/x")


@pytest.mark.parametrize(
    ("file", "content", "expected"),
    [
        ("experiment/x.yaml", "# @package _global_\nrun_dir: 2026_11_26", "run_dir in"),
        ("experiment/x.yaml", "# @package _global_\nzoo: {path: 1e3}", "zoo.path in"),
        ("experiment/x.yaml", "# @package _global_\nwandb: {project: true}", "wandb.project in"),
        ("paths/x.yaml", "outputs: 1_0\ndata: a\nzoos: b\nruns: c", "paths.outputs in"),
    ],
)
def test_numbers_in_files_for_text_are_to_be_quoted(
    file: str, content: str, expected: str, complaint: Command, tmp_path: Path
) -> None:
    path = tmp_path / "my" / file
    path.parent.mkdir(parents=True)
    path.write_text(content)
    line = complaint("dws-train", "--config-dir", "my", f"{path.parent.name}=x", "task=sine")
    assert expected in line
    assert "in quotes" in line
    value = line.rpartition(": ")[2]
    path.write_text(content.replace(value.strip('"'), value))
    assert "in quotes" not in complaint(
        "dws-train", "--config-dir", "my", f"{path.parent.name}=x", "task=sine"
    )
