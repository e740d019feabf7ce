"""The commands as a user calls them."""

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


def test_a_preset_is_known_by_its_settings(command: Command, tmp_path: Path) -> None:
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
        for picture in ("learning_curve.png", "tsne.png", "outcome.png"):
            assert (run / picture).read_bytes().startswith(b"\x89PNG")

    before = (run / "result.json").stat().st_mtime_ns
    assert "is already evaluated" in command("dws-evaluate", f"run={run}")
    assert (run / "result.json").stat().st_mtime_ns == before

    table = command("dws-report")
    shutil.rmtree(zoo)  # what was known of it is kept
    results = "outputs/report/results.json"
    command("dws-report", f"kept={results}", "report=again")
    for name in ("embeddings", "zoos"):
        first, again = (Path(f, "tables", f"{name}.csv") for f in ("outputs/report", "again"))
        assert again.read_text() == first.read_text()
    assert "| sine " in table
    assert "report with all tables and figures: outputs/report/index.html" in table
    assert "dwsnet" in table
    assert "mlp" in table


def test_the_debug_scale_runs_every_stage(command: Command) -> None:
    assert "60 INRs" in command("dws-fit-inrs", "scale=debug", "zoo=sine")
    command("dws-train", "scale=debug", "task=sine", "wandb=disabled")
    (run,) = Path("outputs/debug/runs/sine/dwsnet").iterdir()
    assert "test split" in command("dws-evaluate", f"run={run}", "wandb=disabled")
    printed = command("dws-report", "scale=debug")
    assert "report with all tables and figures: outputs/debug/report/index.html" in printed
    assert {path.name for path in Path("outputs").iterdir()} == {"debug"}


def lasting(run: Path) -> tuple[list[dict[str, float]], dict[str, torch.Tensor]]:
    """What a run has left, but for times."""
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
def test_the_config_of_a_run_repeats_it_exactly(
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


def test_the_config_of_a_run_repeats_it_with_text_that_hydra_would_change(
    command: Command, sine_zoo: Zoo
) -> None:
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
def test_training_returns_the_best_monitored_metric_of_validation(
    task: str, command: Command, pitches: Zoo
) -> None:
    more = ["task.num_classes=2"] if task == "mnist" else []
    words = [f"task={task}", "zoo.path=zoo", "run_dir=run", *SMALL, *more]
    value = train(compose_settings("train", words), "dws-train")
    name, best = ("val_accuracy", max) if task == "mnist" else ("val_mse", min)
    assert value == best(row[name] for row in RunDir(Path("run")).metrics())
    again = train(compose_settings("train", words), "dws-train")  # a run that is complete
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
def test_an_embedding_is_learned_and_probed(
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
    """Sines, low or high."""

    def labels(self, ids: torch.Tensor) -> dict[str, torch.Tensor]:
        labels = super().labels(ids)
        return {**labels, "label": (labels["frequency"] > 5).long()}


@pytest.fixture
def pitches(command: Command) -> Zoo:
    """In the current folder, which ``command`` makes."""
    common = {"zoo": ZooConfig(), "inr": SMALL_INR, "fit": SMALL_FIT}
    return build_zoo("zoo", Pitches(**SMALL_SIGNALS), **common)


def test_classes_are_read_counted_and_drawn(command: Command, pitches: Zoo) -> None:
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
    for name in result["pictures"]:
        assert Path("run", name).read_bytes().startswith(b"\x89PNG")
    assert "% |" in command("dws-report", "runs=run")


def test_a_zoo_comes_through_the_format_of_others(
    command: Command, complaint: Command, pitches: Zoo
) -> None:
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
    """Sines with a label whose name no file can have."""

    def labels(self, ids: torch.Tensor) -> dict[str, torch.Tensor]:
        labels = super().labels(ids)
        return {**labels, "rate (1/s)": labels["frequency"]}


def test_labels_may_have_any_name(command: Command) -> None:
    signals = Rates(**SMALL_SIGNALS, amplitude=(1, 2))
    build_zoo("zoo", signals, zoo=ZooConfig(), inr=SMALL_INR, fit=SMALL_FIT)
    names = 'task.labels=["rate (1/s)",amplitude]'
    command("dws-train", "task=ssl", names, "zoo.path=zoo", "run_dir=run", *SMALL)
    assert "tsne-rate__1_s_-" in command("dws-evaluate", "run=run")
    assert "is already evaluated" in command("dws-evaluate", "run=run")
    assert "| ssl" in command("dws-report", "runs=run")


def test_a_run_is_evaluated_by_one_process_at_a_time(
    command: Command, complaint: Command, sine_zoo: Zoo
) -> None:
    command("dws-train", "task=sine", f"zoo.path={sine_zoo.path}", "run_dir=run", *SMALL)
    with hold_folder(Path("run")):
        assert "run is locked: process" in complaint("dws-evaluate", "run=run")


def test_a_report_names_what_it_is_without(command: Command, sine_zoo: Zoo) -> None:
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
    assert printed.count("no zoo found in zoo (no manifest.json)") == 1
    assert stale.exists()  # no report wrote it
    listed = printed.partition("1 runs are not included, because they are not evaluated:\n")[2]
    command(*shlex.split(listed.splitlines()[0]), "zoo_path=moved")
    assert "not included" not in command("dws-report", "runs=runs")


def test_documented_layers_and_symmetry_checks_run(command: Command, sine_zoo: Zoo) -> None:
    shutil.copytree(sine_zoo.path, "outputs/demo/zoos/sine")
    assert run_block(LIBRARY, "Zoo.open")["logits"].shape == (8, 10)


def test_documented_use_of_a_trained_model_runs(command: Command) -> None:
    command("dws-fit-inrs", "zoo=sine", "zoo.limit=60", "fit.num_steps=5", "zoo.path=zoo")
    run = "outputs/demo/runs/sine/dwsnet/seed0-a37f4bf0"
    command("dws-train", "task=sine", "zoo.path=zoo", f"run_dir={run}", *SMALL)
    command("dws-evaluate", f"run={run}")
    names = run_block(LIBRARY, "load_trained")
    assert names["frequency"].shape == (1, 1)
    with torch.no_grad():
        again = names["model"](Zoo.open("zoo").split("test").weights())
    torch.testing.assert_close(again, load_file(f"{run}/predictions.safetensors")["outputs"])
    with pytest.raises(FileNotFoundError, match="expected a run folder with"):
        load_trained("there", names["spec"])


def test_a_trained_model_knows_the_widths_of_its_networks(command: Command, sine_zoo: Zoo) -> None:
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


def test_looking_at_a_zoo(
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


def test_an_unfinished_run_is_not_evaluated(
    command: Command, complaint: Command, sine_zoo: Zoo, tmp_path: Path
) -> None:
    command("dws-train", "task=sine", f"zoo.path={sine_zoo.path}", "run_dir=run", *SMALL)
    last = load_checkpoint(tmp_path / "run/checkpoint-last.pt")
    save_checkpoint(tmp_path / "run/checkpoint-last.pt", {**last, "finished": False})
    assert "the run of 3 epochs in run is not complete" in complaint("dws-evaluate", "run=run")


def test_wandb_offline_can_be_read_back_and_holds_no_secret(
    command: Command, sine_zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "5ec2e7" * 6 + "abcd"  # as long as a key of W&B
    for name in ("WANDB_API_KEY", "AWS_SECRET_ACCESS_KEY", "PASSWORD"):
        monkeypatch.setenv(name, secret)
    offline = ["wandb=offline" if s == "wandb=disabled" else s for s in SMALL]
    offline.append("wandb.project=mine")
    command("dws-train", "task=sine", f"zoo.path={sine_zoo.path}", "run_dir=run", *offline)
    (trained,) = (tmp_path / "run/wandb").glob("offline-run-*/*.wandb")
    command("dws-evaluate", "run=run", "wandb=disabled")
    command("dws-evaluate", "run=run")  # logs what was not logged
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
            "'task': adapt adapt_cifar10 cifar10 edit edit_fashion_mnist fashion_mnist mnist",
        ),
        (
            ["model=foo"],
            "'model': dwsnet dwsnet_550k dwsnet_attention dwsnet_sign dwsnet_sign_310k gmn ",
        ),
        (["optim.lr=abc"], "optim.lr=abc"),
        (["optim.lrr=1"], "optim.lrr"),
        (["optmi.lr=1"], "optmi"),
        (["optim.lr=-1"], "optim.lr=-1"),
        (["trainer.device=abacus"], "expected a device that is there"),
        (["wandb.mode=perhaps"], "wandb.mode=perhaps: Input should be 'offline', 'online' or"),
        (["zoo.path=."], "no zoo found in . (no manifest.json); create or resume it with: dws-fit"),
        (["task=sine"], "dws-fit-inrs zoo=sine zoo.path=outputs/zoos/sine scale=paper"),
        (["zoo=mnist"], "zoo"),
        (["experiment=mnist/mpl"], "'experiment/mnist/mpl'"),
        (["nonsense"], "'nonsense'"),
    ],
)
def test_train_complains_in_one_line(
    complaint: Command, arguments: list[str], expected: str
) -> None:
    assert expected in complaint("dws-train", *arguments)


def test_repeating_needs_a_number(complaint: Command, sine_zoo: Zoo) -> None:
    line = complaint(
        "dws-train", "task=sine", "task.repeat_train=true", f"zoo.path={sine_zoo.path}"
    )
    assert "task.num_train is not set" in line


def test_networks_are_not_repeated_in_one_contrastive_batch(
    complaint: Command, sine_zoo: Zoo
) -> None:
    line = complaint("dws-train", "task=ssl", "task.repeat_train=true", f"zoo.path={sine_zoo.path}")
    assert "set task.repeat_train=false" in line


def test_a_graph_network_with_probes_computes_functions(command: Command, sine_zoo: Zoo) -> None:
    command(
        "dws-train", "task=sine", f"zoo.path={sine_zoo.path}", "run_dir=run", *SMALL,
        "model=scalegmn", "model.hidden_channels=4", "model.num_probes=3",
    )  # fmt: skip
    command("dws-evaluate", "run=run")
    assert json.loads(Path("run/result.json").read_text())["reads"] == "raw"


@pytest.mark.parametrize("model", [["model=probe"], ["model=gmn", "model.num_probes=3"]])
def test_probes_with_another_frequency_factor_are_refused(
    model: list[str], complaint: Command, sine_zoo: Zoo
) -> None:
    line = complaint(
        "dws-train", "task=sine", f"zoo.path={sine_zoo.path}", *model, "model.omega_0=10"
    )
    assert "model.omega_0 is 10" in line
    assert "set model.omega_0=30.0" in line


def test_a_target_outside_the_project_is_refused(complaint: Command, sine_zoo: Zoo) -> None:
    line = complaint(
        "dws-train", "task=sine", f"zoo.path={sine_zoo.path}", "model._target_=os.system"
    )
    assert "_target_=os.system is neither in dws nor in a plugin" in line


def test_another_zoo_at_the_same_place_is_refused(
    command: Command, complaint: Command, sine_zoo: Zoo, tmp_path: Path
) -> None:
    command("dws-train", "task=sine", f"zoo.path={sine_zoo.path}", "run_dir=run", *SMALL)
    other = shutil.copytree(sine_zoo.path, tmp_path / "other")
    manifest = json.loads((other / "manifest.json").read_text())
    manifest["zoo"]["seed"] = 7
    (other / "manifest.json").write_text(json.dumps(manifest))
    line = complaint("dws-evaluate", "run=run", "zoo_path=other")
    assert "other is not the zoo that run was trained on" in line
    again = Path(shutil.copytree(sine_zoo.path, tmp_path / "again"))  # fitted as the first, but
    manifest = json.loads((again / "manifest.json").read_text())
    manifest["shards"][0] = "0" * 64
    (again / "manifest.json").write_text(json.dumps(manifest))
    refused = "expected the networks that run was begun on"
    assert refused in complaint("dws-evaluate", "run=run", "zoo_path=again")
    assert "test split, 8 networks" in command("dws-evaluate", "run=run")


@pytest.mark.parametrize("name", ["frequency=3", "frequencies=[1,2]"])
def test_signals_with_bad_arguments_are_refused(complaint: Command, name: str) -> None:
    assert "fit dws.signals.SineSignals" in complaint(
        "dws-fit-inrs", "zoo=sine", f"++zoo.signals.{name}"
    )


def test_a_label_without_spread_is_refused(complaint: Command, sine_zoo: Zoo) -> None:
    line = complaint("dws-train", "task=sine", f"zoo.path={sine_zoo.path}", "task.label=amplitude")
    assert "expected values of amplitude that differ, got 1" in line


def test_a_zoo_is_not_taken_for_a_run(complaint: Command, sine_zoo: Zoo) -> None:
    assert "invalid run settings in" in complaint("dws-evaluate", f"run={sine_zoo.path}")


def test_what_comes_next_can_be_pasted(command: Command, sine_zoo: Zoo) -> None:
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
def test_an_argument_comes_through_the_shell_and_hydra_as_it_is(value: str) -> None:
    words = shlex.split(as_argument("run_dir", value))
    assert compose_settings("train", words).run_dir == value
    words = shlex.split(as_argument("tasks", [value, "sine"]))
    assert compose_settings("report", words).tasks == (value, "sine")


@pytest.mark.parametrize("first", [True, False])
def test_a_sweep_is_asked_for_before_or_after_the_settings(
    first: bool, command: Command, sine_zoo: Zoo
) -> None:
    words = ["task=sine", f"zoo.path={sine_zoo.path}", "seed=0,1", *SMALL, "trainer.num_epochs=1"]
    command("dws-train", *(["-m", *words] if first else [*words, "-m"]))
    assert len(list(Path("outputs/runs/sine/dwsnet").iterdir())) == 2


def test_a_fit_that_cannot_begin_leaves_nothing_behind(
    complaint: Command, command: Command
) -> None:
    small = ("zoo=sine", "zoo.limit=3", "inr.hidden=[4]", "fit.num_steps=3", "zoo.path=zoo")
    assert "got fit.device=cuda:7" in complaint("dws-fit-inrs", *small, "fit.device=cuda:7")
    assert not Path("zoo").exists()
    printed = command("dws-fit-inrs", *small, "inr.omega_0=31")
    assert "warning: a PSNR below 15 dB" in printed


def test_a_finished_run_is_not_trained_again(command: Command, sine_zoo: Zoo) -> None:
    arguments = ("task=sine", f"zoo.path={sine_zoo.path}", "run_dir=run", *SMALL)
    command("dws-train", *arguments)
    assert "run run is already complete; next: dws-evaluate run=run" in command(
        "dws-train", *arguments
    )


def test_a_task_on_the_wrong_zoo_is_refused(complaint: Command, sine_zoo: Zoo) -> None:
    line = complaint("dws-train", "task=mnist", f"zoo.path={sine_zoo.path}")
    assert "expected a zoo with the label 'label', got one with amplitude, frequency" in line


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ["zoo=foo"],
            "'zoo': cifar10 cifar10_classifiers edited fashion_classifiers fashion_mnist",
        ),
        (["zoo=sine", "zoo.limit=2"], "expected zoo.limit between 3 and 10000"),
        (["zoo=sine", "zoo.limit=99999"], "expected zoo.limit between 3 and 10000"),
        (["zoo=sine", "fit.num_steps=0"], "fit.num_steps=0"),
        (
            ["zoo=sine", "fit=fingerprint"],
            "The zoo sine has no such preset of fit; it has authors, fast",
        ),
        (["zoo=sine", "zoo.part=7"], "zoo.part=7 and zoo.num_parts=1 are out of range"),
        (["zoo=sine", "zoo.num_parts=7"], "needs zoo.part; set it to a value from 0 to 6"),
        (["zoo=sine", "engine=slurm"], "'engine': ray workers"),
        (["zoo=sine", "inr.hidden=[]"], "inr.hidden=[]"),
        (["zoo=sine", "inr.hidden=[8,0]"], "inr.hidden.1=0"),
    ],
)
def test_fit_complains_in_one_line(complaint: Command, arguments: list[str], expected: str) -> None:
    assert expected in complaint("dws-fit-inrs", *arguments)


@pytest.mark.parametrize(
    ("name", "argument"), [("dws-evaluate", "run=nowhere"), ("dws-report", "runs=nowhere")]
)
def test_nothing_to_read_names_the_command_that_makes_it(
    complaint: Command, name: str, argument: str
) -> None:
    assert "dws-train" in complaint(name, argument)


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_pipe_that_is_closed_is_no_error(sine_zoo: Zoo, unbuffered: str) -> None:
    program = Path(sys.executable).with_name("dws-zoo")
    info = f"PYTHONUNBUFFERED={unbuffered} {program} info {sine_zoo.path}"
    done = subprocess.run(
        ["bash", "-c", f"{info} | true; echo ${{PIPESTATUS[0]}}"], capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("141\n", "")


def test_the_installed_command_ends_without_a_traceback() -> None:
    script = Path(sys.executable).with_name("dws-train")
    done = subprocess.run(
        [script, "task=mnsit"], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
