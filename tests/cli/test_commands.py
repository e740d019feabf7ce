"""Complete workflows on the command line."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.cli.conftest import Command
from tests.conftest import SMALL_FIT, SMALL_INR, SMALL_SIGNALS, random_batch, run_block

from dws.cli.train import train
from dws.config import as_argument, compose_settings
from dws.experiment import load_trained
from dws.io.folders import hold_folder
from dws.signals import SineSignals
from dws.training import RunDir
from dws.training.checkpoint import load_checkpoint, save_checkpoint
from dws.weightspace import WeightSpaceSpec
from dws.zoo import Zoo, ZooConfig, build_zoo

LIBRARY = "docs/guides/library.md"
SMALL = [
    "trainer.num_epochs=3",
    "trainer.batch_size=8",
    "model.hidden_channels=4",
    "wandb=disabled",
]


def test_preset_is_identified_by_its_settings(command: Command, tmp_path: Path) -> None:
    small = ("zoo=sine", "zoo.limit=3", "inr.hidden=[4]", "fit.compile=never")
    presets = {}
    for name, setting in {
        "a": "fit=authors",
        "b": "fit=fast",
        "c": "fit.learning_rate=3e-3",
    }.items():
        command("dws-fit-inrs", *small, setting, f"zoo.path={name}")
        presets[name] = Zoo.open(tmp_path / name).manifest.fit_preset.content()
    assert presets["a"]["name"] == "authors"
    assert presets["b"]["name"] == "fast"
    assert presets["c"] == presets["b"]
    assert presets["a"]["hash"] != presets["b"]["hash"]


def test_fit_train_evaluate_report(command: Command, tmp_path: Path) -> None:
    fit = ("zoo=sine", "zoo.limit=60", "fit.num_steps=40", "inr.hidden=[8,8]", "zoo.shard_size=25")
    assert "60 INRs" in command("dws-fit-inrs", *fit)
    assert "is already complete" in command("dws-fit-inrs", *fit)
    zoo = tmp_path / "outputs/zoos/sine"
    assert (zoo / "reconstructions.png").is_file()
    assert Zoo.open(zoo).manifest.fit_preset.name == "custom"

    for model in ("dwsnet", "mlp"):
        small = SMALL if model == "dwsnet" else [s for s in SMALL if not s.startswith("model.")]
        command("dws-train", "task=sine", f"model={model}", *small)
        (run,) = (tmp_path / "outputs/runs/sine" / model).iterdir()
        assert len((run / "metrics.jsonl").read_text().splitlines()) == 3
        printed = command("dws-evaluate", f"run={run}")
        result = json.loads((run / "result.json").read_text())
        assert f"mse {result['test']['mse']:.4g}" in printed
        assert result["num_test"] == len(Zoo.open(zoo).split("test"))
        order_matters = abs(result["test_permuted"]["mse"] / result["test"]["mse"] - 1) > 1e-4
        assert order_matters == (model == "mlp")
        assert (result["permutation_change"] > 1e-6) == (model == "mlp")
        for picture in ("learning_curve.png", "tsne.png", "outcome.png"):
            assert (run / picture).read_bytes().startswith(b"\x89PNG")

    before = (run / "result.json").stat().st_mtime_ns
    assert "is already evaluated" in command("dws-evaluate", f"run={run}")
    assert (run / "result.json").stat().st_mtime_ns == before

    table = command("dws-report")
    shutil.rmtree(zoo)  # the report uses recorded facts about the zoo
    results = "outputs/report/results.json"
    command("dws-report", f"kept={results}", "report=again")
    for name in ("embeddings", "zoos"):
        first, again = (Path(f, "tables", f"{name}.csv") for f in ("outputs/report", "again"))
        assert again.read_text() == first.read_text()
    assert "| sine " in table
    assert "report with all tables and figures: outputs/report/index.html" in table
    assert "dwsnet" in table
    assert "mlp" in table


def test_debug_scale_runs_every_stage(command: Command) -> None:
    assert "60 INRs" in command("dws-fit-inrs", "scale=debug", "zoo=sine")
    command("dws-train", "scale=debug", "task=sine", "wandb=disabled")
    (run,) = Path("outputs/debug/runs/sine/dwsnet").iterdir()
    assert "test split" in command("dws-evaluate", f"run={run}", "wandb=disabled")
    printed = command("dws-report", "scale=debug")
    assert "report with all tables and figures: outputs/debug/report/index.html" in printed
    assert {path.name for path in Path("outputs").iterdir()} == {"debug"}


def lasting(run: Path) -> tuple[list[dict[str, float]], dict[str, torch.Tensor]]:
    """Files of a run, without times."""
    timing = ("seconds", "networks_per_second")
    rows = [{k: v for k, v in row.items() if k not in timing} for row in RunDir(run).metrics()]
    tensors = {
        f"{name}: {key}": value
        for name in ("checkpoint-best.pt", "checkpoint-last.pt")
        for key, value in load_checkpoint(run / name)["reader"].items()
    }
    return rows, tensors


@pytest.mark.parametrize(
    "settings",
    [
        ("task=sine", "model=dwsnet_sign", "optim=muon", "reconstruction.weight=1", "seed=3"),
        ("task=ssl", "model=mlp_permutation_augmentation", "trainer.ema_decay=0.9"),
        ("task=sine", "model=mlp_alignment", "task.num_train=20", "augment.noise=0.2"),
    ],
)
def test_config_file_of_a_run_reproduces_it_exactly(
    settings: tuple[str, ...], command: Command, sine_zoo: Zoo
) -> None:
    shutil.copytree(sine_zoo.path, "zoo")
    short = ("trainer.num_epochs=2", "trainer.batch_size=8", "wandb=disabled", "model.name=a")
    command("dws-train", *settings, *short, "zoo.path=zoo", "run_dir=run")
    command("dws-train", "--config-dir", "run", "--config-name", "config", "run_dir=again")
    (rows, tensors), (rows_again, tensors_again) = lasting(Path("run")), lasting(Path("again"))
    assert len(rows) == 2
    assert rows == rows_again
    assert tensors.keys() == tensors_again.keys()
    assert [name for name in tensors if not torch.equal(tensors[name], tensors_again[name])] == []
    assert RunDir(Path("run")).identity() == RunDir(Path("again")).identity()


def test_config_file_of_a_run_escapes_text_for_hydra(command: Command, sine_zoo: Zoo) -> None:
    shutil.copytree(sine_zoo.path, "${zoo}")
    short = ("trainer.num_epochs=1", "trainer.batch_size=8", "wandb=disabled", "model=mlp")
    text = (r'zoo.path="\${zoo}"', 'model.name="1e5"', "run_dir=run")
    command("dws-train", "task=sine", *short, *text)
    command("dws-train", "--config-dir", "run", "--config-name", "config", "run_dir=again")
    first, again = (RunDir(Path(folder)).record() for folder in ("run", "again"))
    assert (first.zoo.path, first.model["name"]) == ("${zoo}", "1e5")
    assert (again.zoo.path, again.model["name"]) == ("${zoo}", "1e5")
    assert first.outcome() == again.outcome()
    assert "test split" in command("dws-evaluate", "run=again")


@pytest.mark.parametrize("task", ["sine", "mnist"])
def test_training_returns_the_best_validation_metric(
    task: str, command: Command, pitches: Zoo
) -> None:
    more = ["task.num_classes=2"] if task == "mnist" else []
    words = [f"task={task}", "zoo.path=zoo", "run_dir=run", *SMALL, *more]
    value = train(compose_settings("train", words), "dws-train")
    name, best = ("val_accuracy", max) if task == "mnist" else ("val_mse", min)
    assert value == best(row[name] for row in RunDir(Path("run")).metrics())
    again = train(compose_settings("train", words), "dws-train")  # the run is complete
    assert again == value


@pytest.mark.parametrize(
    ("model", "more"),
    [
        ("dwsnet", ["model.hidden_channels=4"]),
        (
            "dwsnet_sign",
            ["model.hidden_channels=4", "reconstruction.weight=1", "optim.muon_lr=1e-2"],
        ),
        ("mlp_permutation_augmentation", ["model.hidden_features=[16]"]),
        ("mlp_alignment", ["model.hidden_features=[16]"]),
        ("inr2vec", ["model.hidden_features=[16]"]),
        ("transformer", ["model.hidden_features=8", "model.num_layers=1"]),
    ],
)
def test_contrastive_training_ends_with_a_linear_probe(
    model: str, more: list[str], command: Command, sine_zoo: Zoo, tmp_path: Path
) -> None:
    zoo = shutil.copytree(sine_zoo.path, tmp_path / "zoo")
    short = ["trainer.num_epochs=2", "trainer.batch_size=8", "wandb=disabled", "run_dir=run"]
    command("dws-train", "task=ssl", f"model={model}", f"zoo.path={zoo}", *short, *more)
    record = RunDir(tmp_path / "run").record()
    assert record.augment.permute == (model == "mlp_permutation_augmentation")
    is_aligned = model == "mlp_alignment"
    assert record.zoo.aligned == (tmp_path / "zoo.aligned").exists() == is_aligned
    assert record.model["name"] == model
    is_sign = model == "dwsnet_sign"
    assert record.reconstruction.weight == is_sign
    assert record.optim.muon_lr == (1e-2 if is_sign else None)
    assert "mse_amplitude" in command("dws-evaluate", "run=run")
    assert (tmp_path / "run/outcome-frequency.png").is_file()


class Pitches(SineSignals):
    """Sine waves, labelled as low or high."""

    def labels(self, ids: torch.Tensor) -> dict[str, torch.Tensor]:
        labels = super().labels(ids)
        return {**labels, "label": (labels["frequency"] > 5).long()}


@pytest.fixture
def pitches(command: Command) -> Zoo:
    """A zoo of ``Pitches`` in the working directory of ``command``."""
    common = {"zoo": ZooConfig(), "inr": SMALL_INR, "fit": SMALL_FIT}
    return build_zoo("zoo", Pitches(**SMALL_SIGNALS), **common)


def test_classification_has_confusion_matrix_and_plots(command: Command, pitches: Zoo) -> None:
    classes = ("task.num_classes=2", "zoo.path=zoo", "run_dir=run")
    command("dws-train", "task=mnist", *classes, *SMALL)
    printed = command("dws-evaluate", "run=run")
    result = json.loads(Path("run/result.json").read_text())
    counts, labels = torch.tensor(result["confusion"]), pitches.split("test").labels["label"]
    assert counts.sum(dim=1).tolist() == torch.bincount(labels, minlength=2).tolist()
    assert result["test"]["accuracy"] == pytest.approx(float(counts.diag().sum() / counts.sum()))
    recall = counts.diag() / counts.sum(dim=1)
    assert result["accuracy_by_class"] == pytest.approx(recall.tolist())
    assert f"accuracy {result['test']['accuracy']:.4g}" in printed
    assert sum(each["n"] for each in result["calibration"]["bins"]) == result["num_test"]
    assert sum(each["n"] for each in result["accuracy_by_psnr"]) == result["num_test"]
    for name in result["pictures"]:
        assert Path("run", name).read_bytes().startswith(b"\x89PNG")
    assert "% |" in command("dws-report", "runs=run")
    assert "Calibration and mistakes" in Path("outputs/report/index.html").read_text()


def test_zoo_survives_export_and_import(command: Command, complaint: Command, pitches: Zoo) -> None:
    assert "56 INRs of zoo to there; there/splits.json" in command(
        "dws-zoo", "export", "--format", "dwsnets", "zoo", "there"
    )
    imported = ("dws-zoo", "import", "--format", "dwsnets", "there/splits.json", "back")
    assert "zoo back: 56 INRs of widths (1, 8, 8, 1)" in command(*imported, "--grid", "50")
    for split in ("train", "val", "test"):
        back = Zoo.open("back").split(split).weights().flatten()
        assert torch.equal(back, pitches.split(split).weights().flatten())
    command("dws-zoo", "export", "--format", "parquet", "zoo", "zoo.parquet")
    assert Path("zoo.parquet").is_file()
    assert "--prefix applies to --format nfn" in complaint(*imported, "--prefix", "x")


class Rates(SineSignals):
    """Sine waves with a label whose name is not a valid file name."""

    def labels(self, ids: torch.Tensor) -> dict[str, torch.Tensor]:
        labels = super().labels(ids)
        return {**labels, "rate (1/s)": labels["frequency"]}


def test_labels_may_have_names_that_files_cannot_have(command: Command) -> None:
    signals = Rates(**SMALL_SIGNALS, amplitude=(1, 2))
    build_zoo("zoo", signals, zoo=ZooConfig(), inr=SMALL_INR, fit=SMALL_FIT)
    names = 'task.labels=["rate (1/s)",amplitude]'
    command("dws-train", "task=ssl", names, "zoo.path=zoo", "run_dir=run", *SMALL)
    assert "tsne-rate__1_s_-" in command("dws-evaluate", "run=run")
    assert "is already evaluated" in command("dws-evaluate", "run=run")
    assert "| ssl" in command("dws-report", "runs=run")


def test_run_is_evaluated_by_one_process_at_a_time(
    command: Command, complaint: Command, sine_zoo: Zoo
) -> None:
    command("dws-train", "task=sine", f"zoo.path={sine_zoo.path}", "run_dir=run", *SMALL)
    with hold_folder(Path("run")):
        assert "run is locked: process" in complaint("dws-evaluate", "run=run")


def test_report_lists_missing_runs_and_zoos(command: Command, sine_zoo: Zoo) -> None:
    shutil.copytree(sine_zoo.path, "zoo")
    for run in ("runs/read", "runs/not read"):
        (run_dir,) = shlex.split(as_argument("run_dir", run))
        command("dws-train", "task=sine", "zoo.path=zoo", run_dir, *SMALL)
    command("dws-evaluate", "run=runs/read")
    another = Path(shutil.copytree("runs/read", "runs/another"), "result.json")
    another.write_text(another.read_text().replace('"dwsnet"', '"mlp"'))
    shutil.move("zoo", "moved")
    stale = Path("outputs/report/tables/sizes-mnist.csv")
    stale.parent.mkdir(parents=True)
    stale.touch()
    printed = command("dws-report", "runs=runs")
    assert printed.count("No zoo found in zoo (no manifest.json)") == 1
    assert stale.exists()  # no report wrote it
    listed = printed.partition("because they have not been evaluated: 1\n")[2]
    command(*shlex.split(listed.splitlines()[0]), "zoo_path=moved")
    assert "not included" not in command("dws-report", "runs=runs")


def test_documented_layers_and_symmetry_checks_run(command: Command, sine_zoo: Zoo) -> None:
    shutil.copytree(sine_zoo.path, "outputs/demo/zoos/sine")
    assert run_block(LIBRARY, "logits")["logits"].shape == (8, 10)


def test_documented_use_of_trained_models_runs(command: Command) -> None:
    command("dws-fit-inrs", "zoo=sine", "zoo.limit=60", "fit.num_steps=5", "zoo.path=zoo")
    run = "outputs/demo/runs/sine/dwsnet/seed0-a37f4bf0"
    command("dws-train", "task=sine", "zoo.path=zoo", f"run_dir={run}", *SMALL)
    command("dws-evaluate", f"run={run}")
    names = run_block(LIBRARY, "load_trained")
    assert names["frequency"].shape == (1, 1)
    with torch.no_grad():
        again = names["model"](Zoo.open("zoo").split("test").weights())
    torch.testing.assert_close(again, load_file(f"{run}/predictions.safetensors")["outputs"])
    with pytest.raises(FileNotFoundError, match="No run found in there"):
        load_trained("there", names["spec"])


def test_loaded_model_has_the_widths_of_its_networks(command: Command, sine_zoo: Zoo) -> None:
    command("dws-train", "task=sine", f"zoo.path={sine_zoo.path}", "run_dir=run", *SMALL)
    weights = sine_zoo.split("test").weights()
    expected = load_trained("run")(weights)
    for same in (sine_zoo.spec, sine_zoo.spec.dims, [1, 8, 8, 1]):
        assert torch.equal(load_trained("run", same)(weights), expected)
    for dims in ((1, 16, 16, 1), (1, 200, 3, 1), (1, 8, 1), (2, 8, 8, 1)):
        with pytest.raises(ValueError, match=re.escape(f"(1, 8, 8, 1), not {dims}")):
            load_trained("run", WeightSpaceSpec(dims))
    other = WeightSpaceSpec((1, 16, 16, 1))
    with pytest.raises(ValueError, match=r"expected networks of widths \(1, 8, 8, 1\)"):
        load_trained("run")(random_batch(other, dtype=torch.float32))


def test_zoo_commands_describe_a_zoo(
    command: Command, complaint: Command, sine_zoo: Zoo, tmp_path: Path
) -> None:
    zoo = Path(shutil.copytree(sine_zoo.path, tmp_path / "zoo"))
    told = command("dws-zoo", "info", str(zoo))
    assert "40 INRs, rows 0 to 39" in told
    assert "widths (1, 8, 8, 1)" in told
    assert "3 shards, 56 INRs" in command("dws-zoo", "verify", str(zoo))
    command(
        "dws-zoo", "render", str(zoo), "--rows", "0", "55", "--magnify", "2",
        "--output", "new/drawn.png",
    )  # fmt: skip
    assert (tmp_path / "new/drawn.png").read_bytes().startswith(b"\x89PNG")
    assert "between 0 and 55, got [56]" in complaint("dws-zoo", "render", str(zoo), "--rows", "56")
    (zoo / "shard-00001.safetensors").write_bytes(b"")
    assert "of 3 shards" in complaint("dws-zoo", "verify", str(zoo))


def test_unfinished_run_is_not_evaluated(
    command: Command, complaint: Command, sine_zoo: Zoo, tmp_path: Path
) -> None:
    command("dws-train", "task=sine", f"zoo.path={sine_zoo.path}", "run_dir=run", *SMALL)
    last = load_checkpoint(tmp_path / "run/checkpoint-last.pt")
    save_checkpoint(tmp_path / "run/checkpoint-last.pt", {**last, "finished": False})
    assert "The run of 3 epochs in run is not complete" in complaint("dws-evaluate", "run=run")


def test_offline_wandb_files_are_readable_and_contain_no_secret(
    command: Command, sine_zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "5ec2e7" * 6 + "abcd"  # the length of a W&B key
    for name in ("WANDB_API_KEY", "AWS_SECRET_ACCESS_KEY", "PASSWORD"):
        monkeypatch.setenv(name, secret)
    offline = ["wandb=offline" if s == "wandb=disabled" else s for s in SMALL]
    offline.append("wandb.project=mine")
    command("dws-train", "task=sine", f"zoo.path={sine_zoo.path}", "run_dir=run", *offline)
    (trained,) = (tmp_path / "run/wandb").glob("offline-run-*/*.wandb")
    command("dws-evaluate", "run=run", "wandb=disabled")
    command("dws-evaluate", "run=run")  # logs the result, which has not been logged
    files = set((tmp_path / "run/wandb").glob("offline-run-*/*.wandb"))
    (evaluated,) = files - {trained}
    command("dws-evaluate", "run=run", "wandb.mode=offline")
    assert set((tmp_path / "run/wandb").glob("offline-run-*/*.wandb")) == files  # once
    assert evaluated.name == trained.name  # the same id
    assert json.loads((tmp_path / "run/wandb.json").read_text())["project"] == "mine"

    def read_back(file: Path) -> str:
        wandb = Path(sys.executable).with_name("wandb")
        inspect = [wandb, "leet", "inspect", "--json", file]
        return subprocess.run(inspect, capture_output=True, text=True, check=True).stdout

    lines = (tmp_path / "run/metrics.jsonl").read_text().splitlines()
    epochs = [json.loads(line) for line in lines]
    training, evaluation = read_back(trained), read_back(evaluated)
    assert str(epochs[-1]["val_mse"]) in training
    assert f"zoo-{sine_zoo.path.name}" in training
    result = json.loads((tmp_path / "run/result.json").read_text())
    assert str(result["test"]["mse"]) in evaluation
    for name in result["pictures"]:
        assert Path(name).stem in evaluation
    command("dws-report", "runs=run")
    written = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert len(written) > 20
    assert [file for file in written if secret.encode() in file.read_bytes()] == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ["task=mnsit"],
            "There is no task=mnsit. Did you mean mnist? Choices: adapt, adapt_cifar10, cifar10",
        ),
        (
            ["model=foo"],
            "There is no model=foo. Choices: dwsnet, dwsnet_550k, dwsnet_attention",
        ),
        (["optim.lr=abc"], "optim.lr=abc"),
        (["optim.lrr=1"], "optim.lrr"),
        (["optmi.lr=1"], "optmi"),
        (["optim.lr=-1"], "optim.lr=-1"),
        (["trainer.device=abacus"], "trainer.device=abacus is not an available device"),
        (["wandb.mode=perhaps"], "wandb.mode=perhaps: Input should be 'offline', 'online' or"),
        (["zoo.path=."], "No zoo found in . (no manifest.json). Create or resume it with: dws-fit"),
        (["task=sine"], "dws-fit-inrs zoo=sine zoo.path=outputs/zoos/sine scale=paper"),
        (["zoo=mnist"], "zoo"),
        (["experiment=mnist/mpl"], "There is no experiment=mnist/mpl."),
        (["nonsense"], "'nonsense'"),
    ],
)
def test_invalid_train_command_is_one_line(
    complaint: Command, arguments: list[str], expected: str
) -> None:
    assert expected in complaint("dws-train", *arguments)


def test_repeat_train_requires_num_train(complaint: Command, sine_zoo: Zoo) -> None:
    line = complaint(
        "dws-train", "task=sine", "task.repeat_train=true", f"zoo.path={sine_zoo.path}"
    )
    assert "task.num_train is not set" in line


def test_contrastive_batches_contain_no_duplicates(complaint: Command, sine_zoo: Zoo) -> None:
    line = complaint("dws-train", "task=ssl", "task.repeat_train=true", f"zoo.path={sine_zoo.path}")
    assert "Set task.repeat_train=false" in line


def test_graph_metanet_with_probes_evaluates_functions(command: Command, sine_zoo: Zoo) -> None:
    command(
        "dws-train", "task=sine", f"zoo.path={sine_zoo.path}", "run_dir=run", *SMALL,
        "model=scalegmn", "model.hidden_channels=4", "model.num_probes=3",
    )  # fmt: skip
    command("dws-evaluate", "run=run")
    assert json.loads(Path("run/result.json").read_text())["reads"] == "raw"


@pytest.mark.parametrize("model", [["model=probe"], ["model=gmn", "model.num_probes=3"]])
def test_probes_with_a_different_omega_0_are_rejected(
    model: list[str], complaint: Command, sine_zoo: Zoo
) -> None:
    line = complaint(
        "dws-train", "task=sine", f"zoo.path={sine_zoo.path}", *model, "model.omega_0=10"
    )
    assert "model.omega_0 is 10" in line
    assert "Set model.omega_0=30.0" in line


def test_target_outside_of_dws_is_rejected(complaint: Command, sine_zoo: Zoo) -> None:
    line = complaint(
        "dws-train", "task=sine", f"zoo.path={sine_zoo.path}", "model._target_=os.system"
    )
    assert "_target_=os.system is neither in dws nor in a plugin" in line


def test_evaluation_rejects_a_different_zoo(
    command: Command, complaint: Command, sine_zoo: Zoo, tmp_path: Path
) -> None:
    command("dws-train", "task=sine", f"zoo.path={sine_zoo.path}", "run_dir=run", *SMALL)
    other = shutil.copytree(sine_zoo.path, tmp_path / "other")
    manifest = json.loads((other / "manifest.json").read_text())
    manifest["zoo"]["seed"] = 7
    (other / "manifest.json").write_text(json.dumps(manifest))
    line = complaint("dws-evaluate", "run=run", "zoo_path=other")
    assert "other is not the zoo that run was trained on" in line
    again = Path(
        shutil.copytree(sine_zoo.path, tmp_path / "again")
    )  # same settings, other networks
    manifest = json.loads((again / "manifest.json").read_text())
    manifest["shards"][0] = "0" * 64
    (again / "manifest.json").write_text(json.dumps(manifest))
    refused = "The networks in again differ from those that run was started on"
    assert refused in complaint("dws-evaluate", "run=run", "zoo_path=again")
    assert "test split, 8 networks" in command("dws-evaluate", "run=run")


@pytest.mark.parametrize("name", ["frequency=3", "frequencies=[1,2]"])
def test_signals_with_invalid_arguments_are_rejected(complaint: Command, name: str) -> None:
    assert "fit dws.signals.SineSignals" in complaint(
        "dws-fit-inrs", "zoo=sine", f"++zoo.signals.{name}"
    )


def test_constant_label_is_rejected(complaint: Command, sine_zoo: Zoo) -> None:
    line = complaint("dws-train", "task=sine", f"zoo.path={sine_zoo.path}", "task.label=amplitude")
    assert "The label amplitude is 1 for every training network" in line


def test_zoo_folder_is_not_accepted_as_run(complaint: Command, sine_zoo: Zoo) -> None:
    assert "is a zoo, not a run" in complaint("dws-evaluate", f"run={sine_zoo.path}")


def test_printed_next_commands_can_be_pasted(command: Command, sine_zoo: Zoo) -> None:
    folder = "my run (ü) it's"
    arguments = ("task=sine", f"zoo.path={sine_zoo.path}", *SMALL)
    (run_dir,) = shlex.split(as_argument("run_dir", folder))
    printed = command("dws-train", *arguments, run_dir)
    after = shlex.split(printed.partition("next: ")[2].splitlines()[0])
    command(*after, "wandb=disabled")
    assert Path(folder, "result.json").is_file()


@pytest.mark.parametrize(
    "value",
    [
        *(
            "a b",
            "it's",
            'say "x"',
            "a\\b c",
            "end\\",
            'q\\"q',
            "a${seed}b",
            "ü",
            "a=b",
            "(1)",
            "a,b",
        ),
        *("null", "true", "1e3", "1_000", "007", "[1]", "{a: 1}", ".hidden", "../up", "/a/path"),
    ],
)
def test_quoted_argument_survives_shell_and_hydra(value: str) -> None:
    words = shlex.split(as_argument("run_dir", value))
    assert compose_settings("train", words).run_dir == value
    words = shlex.split(as_argument("tasks", [value, "sine"]))
    assert compose_settings("report", words).tasks == (value, "sine")


@pytest.mark.parametrize("first", [True, False])
def test_multirun_flag_may_precede_or_follow_settings(
    first: bool, command: Command, sine_zoo: Zoo
) -> None:
    words = ["task=sine", f"zoo.path={sine_zoo.path}", "seed=0,1", *SMALL, "trainer.num_epochs=1"]
    command("dws-train", *(["-m", *words] if first else [*words, "-m"]))
    assert len(list(Path("outputs/runs/sine/dwsnet").iterdir())) == 2


def test_fit_that_fails_at_start_leaves_no_files(complaint: Command, command: Command) -> None:
    small = ("zoo=sine", "zoo.limit=3", "inr.hidden=[4]", "fit.num_steps=3", "zoo.path=zoo")
    assert "fit.device=cuda:7" in complaint("dws-fit-inrs", *small, "fit.device=cuda:7")
    assert not Path("zoo").exists()
    printed = command("dws-fit-inrs", *small, "inr.omega_0=31")
    assert "warning: a PSNR below 15 dB" in printed


def test_complete_run_is_not_trained_again(command: Command, sine_zoo: Zoo) -> None:
    arguments = ("task=sine", f"zoo.path={sine_zoo.path}", "run_dir=run", *SMALL)
    command("dws-train", *arguments)
    assert "run run is already complete; next: dws-evaluate run=run" in command(
        "dws-train", *arguments
    )


def test_task_without_its_label_in_the_zoo_is_rejected(complaint: Command, sine_zoo: Zoo) -> None:
    line = complaint("dws-train", "task=mnist", f"zoo.path={sine_zoo.path}")
    assert "no label 'label'; its labels are amplitude, frequency" in line


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ["zoo=foo"],
            "There is no zoo=foo. Choices: cifar10, cifar10_classifiers, edited",
        ),
        (["zoo=sine", "zoo.limit=2"], "expected zoo.limit between 3 and 10000"),
        (["zoo=sine", "zoo.limit=99999"], "expected zoo.limit between 3 and 10000"),
        (["zoo=sine", "fit.num_steps=0"], "fit.num_steps=0"),
        (
            ["zoo=sine", "fit=fingerprint"],
            "The zoo sine does not have this fit preset. Available presets: authors, fast",
        ),
        (["zoo=sine", "zoo.part=7"], "zoo.part=7 and zoo.num_parts=1 are out of range"),
        (["zoo=sine", "zoo.num_parts=7"], "needs zoo.part. Set it to a value from 0 to 6"),
        (["zoo=sine", "engine=slurm"], "There is no engine=slurm. Choices: ray, workers"),
        (["zoo=sine", "inr.hidden=[]"], "inr.hidden=[]"),
        (["zoo=sine", "inr.hidden=[8,0]"], "inr.hidden.1=0"),
    ],
)
def test_invalid_fit_command_is_one_line(
    complaint: Command, arguments: list[str], expected: str
) -> None:
    assert expected in complaint("dws-fit-inrs", *arguments)


@pytest.mark.parametrize(
    ("name", "argument"), [("dws-evaluate", "run=nowhere"), ("dws-report", "runs=nowhere")]
)
def test_missing_input_names_the_command_that_creates_it(
    complaint: Command, name: str, argument: str
) -> None:
    assert "dws-train" in complaint(name, argument)


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_closed_pipe_is_not_an_error(sine_zoo: Zoo, unbuffered: str) -> None:
    program = Path(sys.executable).with_name("dws-zoo")
    info = f"PYTHONUNBUFFERED={unbuffered} {program} info {sine_zoo.path}"
    done = subprocess.run(
        ["bash", "-c", f"{info} | true; echo ${{PIPESTATUS[0]}}"], capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("141\n", "")


def test_installed_command_prints_no_traceback() -> None:
    script = Path(sys.executable).with_name("dws-train")
    done = subprocess.run(
        [script, "task=mnsit"], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
