"""Invalid input to commands gives a one-line error and changes no files."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.cli.conftest import Command

from dws.io.hashing import sha256
from dws.zoo import Zoo

MANIFEST, SHARD = Path("zoo/manifest.json"), Path("zoo/shard-00001.safetensors")
BEST, LAST = Path("run/checkpoint-best.pt"), Path("run/checkpoint-last.pt")
METRICS = Path("run/metrics.jsonl")
METRICS_LINE = '{"epoch": 1, "step": 5, "train_loss": 1, "seconds": 1, "networks_per_second": 1}\n'
CONFIG, RESULT = Path("run/config.yaml"), Path("run/result.json")
TRAIN = (
    "dws-train", "task=sine", "model=mlp", "model.hidden_features=[8]", "trainer.num_epochs=2",
    "trainer.batch_size=8", "wandb=disabled", "zoo.path=zoo", "run_dir=new",
)  # fmt: skip
AGAIN = (*TRAIN[:-1], "run_dir=run")
EVALUATE = ("dws-evaluate", "run=run", "wandb=disabled")
REPORT = ("dws-report", "runs=.")
INFO = ("dws-zoo", "info", "zoo")
Damage = Callable[[], object]


def on_linux(*values: object) -> Any:
    """A case for systems with /proc, where no files can be created."""
    return pytest.param(*values, marks=pytest.mark.skipif(sys.platform != "linux", reason="/proc"))


class Bomb:
    """An object whose pickle calls ``os.mkdir``."""

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, ("exploded",)


def put(file: Path, content: str | bytes) -> Damage:
    return lambda: file.write_bytes(content.encode() if isinstance(content, str) else content)


def remove(file: Path) -> Damage:
    return file.unlink


def cut(file: Path) -> Damage:
    return lambda: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip(file: Path) -> Damage:
    def damage() -> None:
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)

    return damage


def edit(file: Path, **changes: object) -> Damage:
    return lambda: file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def without(file: Path, key: str) -> Damage:
    def damage() -> None:
        content = json.loads(file.read_text())
        del content[key]
        file.write_text(json.dumps(content))

    return damage


def replace(file: Path, old: str, new: str) -> Damage:
    def damage() -> None:
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))

    return damage


def checkpoint(file: Path, content: object) -> Damage:
    return lambda: torch.save(content, file)


def change(file: Path, key: str, value: object) -> Damage:
    """Change an entry of a checkpoint; the last checkpoint becomes that of an unfinished run."""

    def damage() -> None:
        content = torch.load(file, weights_only=True)
        torch.save({**content, key: value, "finished": False}, file)

    return damage


def rename(file: Path, key: str) -> Damage:
    """Rename a tensor of a checkpoint."""

    def damage() -> None:
        content = torch.load(file, weights_only=True)
        content["reader"][f"x.{key}"] = content["reader"].pop(key)
        torch.save(content, file)

    return damage


def numbers(name: str, value: float) -> Damage:
    """Write a number into a shard and update its checksum."""

    def damage() -> None:
        tensors = load_file(SHARD)
        tensors[name][3, 0] = value
        save_file(tensors, SHARD)
        edit(MANIFEST, shards=[sha256(file) for file in sorted(SHARD.parent.glob("shard*"))])()

    return damage


@pytest.fixture(scope="module")
def world(sine_zoo: Zoo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a zoo and an evaluated run."""
    folder = tmp_path_factory.mktemp("world")
    shutil.copytree(sine_zoo.path, folder / "zoo")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, *arguments in (AGAIN, EVALUATE):
            patch.setattr("sys.argv", [name, *arguments])
            module = __import__(f"dws.cli.{name.removeprefix('dws-')}", fromlist=["main"])
            module.main()
    return folder


@pytest.fixture
def copy(world: Path, tmp_path: Path, command: Command) -> Path:
    """A copy of ``world`` as the working directory."""
    return Path(shutil.copytree(world, tmp_path, dirs_exist_ok=True))


DAMAGED = [
    # a zoo
    (remove(MANIFEST), TRAIN, "The zoo in zoo is unfinished (3 shards so far). Create or resume"),
    (put(MANIFEST, ""), INFO, "zoo/manifest.json is not valid JSON"),
    (cut(MANIFEST), INFO, "zoo/manifest.json is not valid JSON"),
    (put(MANIFEST, b"\xff\xfe\x00"), INFO, "zoo/manifest.json is not valid JSON"),
    (put(MANIFEST, "[1]"), INFO, "zoo/manifest.json: Input should be an object"),
    (
        edit(MANIFEST, format_version=99),
        INFO,
        "zoo/manifest.json has format version 99",
    ),
    (edit(MANIFEST, format_version="2"), INFO, "format_version: Input should be a valid integer"),
    (without(MANIFEST, "dims"), INFO, "dims: Field required"),
    (edit(MANIFEST, dims=[1, 0, 1]), INFO, "dims.1: Input should be greater than or equal to 1"),
    (edit(MANIFEST, dims=[1, 8, 1]), TRAIN, "networks in zoo have widths (1, 8, 8)"),
    (edit(MANIFEST, dims=[2, 8, 8, 1]), INFO, "the domain must have 2 inputs"),
    (edit(MANIFEST, num_rows=10**9), INFO, "3 shards instead of 50000000"),
    (edit(MANIFEST, splits={"train": [0, 99]}), INFO, "rows 0 to 99 for split train"),
    (edit(MANIFEST, labels=["../x"]), TRAIN, "File does not contain tensor label.../x"),
    (edit(MANIFEST, zoo={"shard_size": 20}), INFO, "zoo.seed: Field required"),
    (edit(MANIFEST, shards=[1, 2, 3]), INFO, "shards.0: Input should be a valid string"),
    (without(MANIFEST, "inr"), TRAIN, "needs one of inr, classifier and mlp"),
    (without(MANIFEST, "train_std"), INFO, "train_std: Field required"),
    (edit(MANIFEST, train_psnr="x"), INFO, "train_psnr"),
    (remove(SHARD), TRAIN, "zoo/shard-00001.safetensors is missing. Run dws-fit-inrs"),
    (put(SHARD, ""), TRAIN, "zoo/shard-00001.safetensors is damaged"),
    (cut(SHARD), TRAIN, "zoo/shard-00001.safetensors is damaged"),
    (flip(SHARD), TRAIN, "zoo/shard-00001.safetensors is damaged"),
    (lambda: shutil.copy("zoo/shard-00000.safetensors", SHARD), TRAIN, "belongs to another zoo"),
    (
        numbers("weight.0", float("nan")),
        TRAIN,
        "The training split contains NaN or infinite weights",
    ),
    (
        numbers("bias.1", float("inf")),
        TRAIN,
        "The training split contains NaN or infinite weights",
    ),
    # a checkpoint
    *(
        (remove(file), call, f"in run has completed 2 epochs, but {what} are missing")
        for file, what in ((BEST, BEST.name), (METRICS, "epochs of metrics.jsonl"))
        for call in (EVALUATE, AGAIN)
    ),
    (put(METRICS, METRICS_LINE), AGAIN, "but epochs of metrics.jsonl are missing"),
    *((remove(LAST), call, "checkpoint-last.pt is missing") for call in (EVALUATE, AGAIN)),
    (change(BEST, "metrics", {"epoch": 1.0}), EVALUATE, "val_mse: Field required"),
    (change(BEST, "metrics", None), EVALUATE, "metrics of the best epoch in run/checkpoint-best"),
    (
        change(LAST, "optimizers", []),
        AGAIN,
        "run/checkpoint-last.pt does not belong to this training",
    ),
    (change(LAST, "order", torch.zeros(3)), AGAIN, "does not belong to this training (TypeError"),
    (change(LAST, "epoch", None), AGAIN, "does not belong to this training (TypeError"),
    *(
        (damage(file), command, f"The checkpoint {file} is damaged")
        for damage in (cut, flip, lambda file: put(file, ""), lambda file: put(file, "hello"))
        for file, command in ((BEST, EVALUATE), (LAST, AGAIN))
    ),
    (put(BEST, pickle.dumps(Bomb())), EVALUATE, f"{BEST} is damaged"),
    (checkpoint(BEST, {"reader": Bomb()}), EVALUATE, f"{BEST} is damaged"),
    (checkpoint(LAST, {"finished": Bomb()}), AGAIN, f"{LAST} is damaged"),
    (
        checkpoint(BEST, [1]),
        EVALUATE,
        f"{BEST} is not a checkpoint of dws-train: it lacks reader, metrics",
    ),
    (
        checkpoint(LAST, {"x": 1}),
        AGAIN,
        f"{LAST} is not a checkpoint of dws-train: it lacks finished",
    ),
    (
        checkpoint(
            BEST, {"reader": {"a": torch.zeros(2)}, "metrics": {"epoch": 1.0, "val_mse": 1.0}}
        ),
        EVALUATE,
        "Missing key(s) in state_dict",
    ),
    (rename(BEST, "net.head.bias"), EVALUATE, '"net.head.bias". Unexpected key(s)'),
    (rename(BEST, "net.head.bias"), EVALUATE, '"x.net.head.bias"'),
    # a run's settings
    (remove(CONFIG), EVALUATE, "No run found in run: there is no config.yaml"),
    (put(CONFIG, ""), EVALUATE, "Invalid run settings in run/config.yaml"),
    (put(CONFIG, "- a"), AGAIN, "run/config.yaml contains ['a']"),
    (put(CONFIG, "a: [b"), EVALUATE, "run/config.yaml is not valid YAML"),
    (
        put(CONFIG, '!!python/object/apply:os.mkdir ["exploded"]'),
        EVALUATE,
        "run/config.yaml is not valid YAML (could not determine a constructor",
    ),
    *(
        (replace(CONFIG, "dws.metanets.MLP", target), EVALUATE, expected)
        for target, expected in {
            "os.mkdir": "_target_=os.mkdir is neither in dws nor in a plugin",
            "dws.io.folders.os.mkdir": "_target_=dws.io.folders.os.mkdir is not a class of dws",
            "dws.metanets.Foo": "_target_=dws.metanets.Foo cannot be imported",
            "dws.metanets.DWSNet": "do not fit dws.metanets.DWSNet: got an unexpected keyword",
        }.items()
    ),
    (replace(CONFIG, "seed: 0", "seed: abc"), EVALUATE, "seed: Input should be a valid integer"),
    (replace(CONFIG, "num_train: null", "num_train: x"), EVALUATE, "task.num_train: Input should"),
    (replace(CONFIG, "num_train: null", "num_train: 99"), EVALUATE, "between 1 and 40"),
    (replace(CONFIG, "label: frequency", "label: x"), EVALUATE, "no label 'x'; its labels are"),
    (
        replace(CONFIG, "resolution: 14", "resolution: 14\n  colour: 3"),
        EVALUATE,
        "reconstruction.colour: there is no such setting",
    ),
    (replace(CONFIG, "seed: 0", "seed: 1"), AGAIN, "seed: 1 (existing) vs 0 (requested)"),
    (lambda: shutil.move("zoo", "moved"), EVALUATE, "Set zoo_path if the zoo was moved"),
    # a result
    (put(RESULT, ""), REPORT, "run/result.json is not valid JSON"),
    (cut(RESULT), REPORT, "run/result.json is not valid JSON"),
    (put(RESULT, "[]"), REPORT, "Invalid result in run/result.json"),
    (put(RESULT, "{}"), REPORT, "task: Field required"),
    (edit(RESULT, test={}), REPORT, "run/result.json does not have mse"),
    (edit(RESULT, seed="x"), REPORT, "seed: Input should be a valid integer"),
    (edit(RESULT, embedding=3), REPORT, "embedding: Input should be an object"),
    (edit(RESULT, origin={}), REPORT, "origin.code: Field required"),
    (edit(RESULT, pictures=["outcome/../../../x.png"]), REPORT, "pictures.0: String should match"),
    (lambda: None, (*REPORT, "kept=zoo/manifest.json"), "scale: Field required"),
]


@pytest.mark.parametrize(("damage", "call", "expected"), DAMAGED)
def test_damaged_files_are_reported_by_name(
    damage: Damage, call: tuple[str, ...], expected: str, copy: Path, complaint: Command
) -> None:
    if call == EVALUATE:
        RESULT.unlink()
    damage()
    before = {file: file.read_bytes() for file in copy.rglob("*") if file.is_file()}
    assert expected in complaint(*call)
    assert not Path("exploded").exists()
    lost = [file for file, content in before.items() if file.read_bytes() != content]
    assert lost == []


@pytest.mark.parametrize(
    ("file", "note"),
    [
        (Path("run/predictions.safetensors"), "mlp is omitted"),
        (Path("run/outcome.png"), "no picture found in run/outcome.png; it is omitted"),
    ],
)
def test_report_continues_without_an_image(
    file: Path, note: str, copy: Path, command: Command
) -> None:
    remove(file)()
    printed = command(*REPORT)
    assert note in printed
    assert "report with all tables and figures" in printed


NEW_RUN = [  # rejected with their names and values
    "trainer.num_epochs=0", "trainer.batch_size=1", "trainer.eval_batch_size=-1",
    "trainer.ema_decay=1", "trainer.checkpoint_minutes=nan", "trainer.patience=0",
    "trainer.device=cuda:7", "trainer.precision=fp8", "optim.lr=nan", "optim.lr=inf",
    "optim.weight_decay=nan", "optim.muon_lr=0", "optim.clip_norm=0", "reconstruction.weight=-1",
    "task.num_train=0", "task.num_train=1.5", "seed=-1", "seed=99999999999999999999", "seed=null",
    "augment.noise=nan", "run_dir=2026_11_26",
]  # fmt: skip


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        *((setting, setting.replace("_11_", "11")) for setting in NEW_RUN),
        ("task.num_train=1", "expected at least 2 training networks, got 1"),
        ("task.num_train=41", "expected task.num_train between 1 and 40"),
        ("model.hidden_features=[0]", "expected hidden_features to be at least one width >= 1"),
        ("model.hidden_features=abc", "hidden_features='abc' does not fit dws.metanets.MLP"),
        (
            "model.hidden_channels=3",
            "There is no setting model.hidden_channels. Did you mean model.hidden_features?",
        ),
        ("+model.hidden_channels=3", "unexpected keyword argument 'hidden_channels'"),
        ("+task.colour=3", "unexpected keyword argument 'colour'"),
        ("task.label=3", "label=3 does not fit dws.tasks.Regression"),
        on_linux("run_dir=/proc/x/y", "/proc/x cannot be used"),
        ("run_dir=zoo/manifest.json", "zoo/manifest.json is a file, but a folder is needed"),
        (
            "run_dir=zoo",
            "zoo contains a zoo, not a run. Choose another run_dir",
        ),
        ("zoo.path=", "No zoo found in ."),
        ("task.name=../x", "but ../x/mlp leads out of it"),
        ("model.name=/x", "but /x leads out of it"),
        ("optim.lrr=1", "There is no setting optim.lrr. Did you mean optim.lr?"),
        ("model=[mlp,dwsnet]", "expected one choice of model, not a list, got model=[mlp,dwsnet]"),
        ("+nothing=1", "nothing: no such setting"),
        ("++trainer.foo=1", "trainer.foo: no such setting"),
        ("model._target_=dws.io.folders.os.system", "dws.io.folders.os.system is not a class"),
        ("model._target_=os.system", "_target_=os.system is neither in dws nor in a plugin"),
    ],
)
def test_invalid_training_setting_is_rejected_before_writing(
    setting: str, expected: str, copy: Path, complaint: Command
) -> None:
    call = TRAIN[:-1] if ".name=" in setting else TRAIN  # whose run_dir would override the name
    before = sorted(Path().rglob("*"))
    assert expected in complaint(*call, setting)
    assert sorted(Path().rglob("*")) == before


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("task.edit=dilate", "needs INRs of images, with two inputs; those in zoo have 1. Choose"),
        (
            "task.edit=smile",
            "edit='smile' does not fit dws.tasks.Editing: Input should be 'dilate'",
        ),
    ],
)
def test_invalid_edit_is_rejected(
    setting: str, expected: str, copy: Path, complaint: Command
) -> None:
    assert expected in complaint("dws-train", "task=edit", *TRAIN[2:], setting)
    assert not Path("new").exists()


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        *(
            (setting, setting)
            for setting in (
                "zoo.num_views=0", "zoo.shard_size=0", "zoo.seed=-1", "inr.omega_0=nan",
                "inr.output_offset=nan", "fit.learning_rate=inf", "fit.stop_mse=nan",
                "fit.stop_mse=inf", "fit.weight_decay=-1", "fit.chunk_size=0",
            )
        ),
        ("zoo.limit=-5", "expected zoo.limit between 3 and 10000"),
        ("zoo.signals.frequency=[1]", "expected ranges (low, high), got frequency=[1]"),
        ("zoo.signals.amplitude=[0,1,2]", "got frequency="),
        on_linux("zoo.path=/proc/x/y", "/proc/x cannot be used"),
        ("zoo.path=run", "run contains a run, not a zoo. Choose another zoo.path"),
        ("scale=huge", "There is no scale=huge"),
        ("+zoo.colour=3", "zoo.colour: no such setting"),
    ],
)  # fmt: skip
def test_invalid_fit_setting_is_rejected_before_writing(
    setting: str, expected: str, copy: Path, complaint: Command
) -> None:
    small = ("zoo=sine", "zoo.limit=6", "inr.hidden=[4]", "fit.num_steps=3", "zoo.path=made")
    before = sorted(Path().rglob("*"))
    assert expected in complaint("dws-fit-inrs", *small, setting)
    assert sorted(Path().rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("dws-zoo", "align", "run"), "No zoo found in run"),
        (("dws-zoo", "merge", "zoo", "new"), "Invalid part of a zoo in zoo"),
        (("dws-zoo", "combine", "zoo", "new"), "at least two zoos to combine, got 1"),
        (("dws-zoo", "combine", "zoo", "nothing", "new"), "No zoo found in nothing"),
        (("dws-zoo", "render", "zoo", "--rows", "-1"), "between 0 and 55, got [-1]"),
        (("dws-zoo", "render", "zoo", "--magnify", "0"), "magnify"),
        (("dws-zoo", "render", "zoo", "--magnify", str(10**11)), "Not enough memory: "),
        on_linux(("dws-zoo", "render", "zoo", "--output", "/proc/x/y.png"), "/proc/x cannot be"),
        (("dws-zoo", "export", "--format", "dwsnets", "zoo", "new"), "a label with integer values"),
        (("dws-zoo", "import", "--format", "nfn", "zoo", "new"), "no files such as"),
        (("dws-evaluate", "run=run", "device=cuda:7"), "device=cuda:7 is not an available device"),
        (("dws-evaluate", "run=run", "batch_size=0"), "batch_size=0"),
        (("dws-evaluate", "run=zoo"), "zoo is a zoo, not a run"),
        (("dws-evaluate", "runs=run"), "There is no setting runs. Did you mean run?"),
        on_linux(("dws-report", "runs=.", "report=/proc/x"), "/proc/x cannot be used"),
        (("dws-report", "runs=.", "kept=nowhere"), "nowhere cannot be used: No such file"),
        on_linux(("dws-data", "mnist", "--root", "/proc/x"), "/proc/x cannot be used"),
        (("dws-evaluate", "outputs/run"), "'outputs/run'"),
        (("dws-report", "report=ü x"), "report=ü x"),
        (("dws-report", "runs=it's"), "runs=it's"),
        (("dws-train", "lr=3"), "Did you mean optim.lr?"),
        (("dws-train", "fit=fast"), "dws-train has no choices of fit"),
        (("dws-train", "zoo=zoo"), "set zoo.path="),
        (("dws-evaluate", "run"), "Did you mean run=run?"),
        (("dws-train", "model=dwsnet_sing"), "Did you mean dwsnet_sign or"),
        (("dws-train", "trainer.epochs=3"), "Did you mean trainer.num_epochs?"),
        (("dws-train", "trainer.num_epoch=3"), "Did you mean trainer.num_epochs?"),
        (
            ("dws-train", "experiment=sine"),
            "There is no experiment=sine. Did you mean sine_best?",
        ),
        (("dws-train", "hydra/launcher=slrm"), "Choices: basic, joblib, submitit_local"),
        (("dws-train", "seed=0,1"), "'seed=0,1'"),
        (("dws-evaluate",), "run is not set. Set run=..."),
        (("dws-train", "task=sine", "task.zoo=sin"), "outputs/zoos/sin"),
        (
            ("dws-fit-inrs", "zoo=mnst"),
            "There is no zoo=mnst. Did you mean mnist? Choices: cifar10, cifar10_classifiers",
        ),
        (("dws-fit-inrs", "zoo=sine_ssl", "fit=fingerprint"), "Available presets: authors, fast"),
    ],
)
def test_impossible_request_is_one_line(
    arguments: tuple[str, ...], expected: str, copy: Path, complaint: Command
) -> None:
    RESULT.unlink() if arguments[0] == "dws-evaluate" else None
    assert expected in complaint(*arguments)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("dws-report", "--runs=x"), "--runs=x"),
        (("dws-train", "--hlep"), "did you mean --help?"),
        (("dws-train", "--optim.lr=1"), "without dashes, such as optim.lr=1"),
        (("dws-data", "minst"), "minst"),
        (("dws-zoo", "inof", "zoo"), "inof"),
        (("dws-zoo", "render"), "path"),
    ],
)
def test_unknown_flag_or_argument_is_named(
    arguments: tuple[str, ...], named: str, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        command(*arguments)
    assert named in capsys.readouterr().err.lower()


def test_paths_may_contain_spaces_and_non_ascii_letters(copy: Path, command: Command) -> None:
    zoo, run = "my zoo ü (1)", "läufe/first run"
    shutil.move("zoo", zoo)
    command(*TRAIN[:-2], f"zoo.path='{zoo}'", f"run_dir='{run}'")
    command("dws-evaluate", f"run='{run}'", "wandb=disabled")
    command("dws-report", "runs='läufe'", "report='the page'")
    assert (copy / "the page/index.html").is_file()


def test_names_cannot_inject_html_into_the_report(copy: Path, command: Command) -> None:
    script = "<script>alert(1)</script>"
    edit(RESULT, model=script, origin={"code": script, "machine": script, "command": script})()
    command(*REPORT)
    pages = [Path("outputs/report/index.html"), *Path("outputs/report/tables").glob("*.md")]
    assert len(pages) > 3
    assert not any(script in page.read_text() for page in pages)
