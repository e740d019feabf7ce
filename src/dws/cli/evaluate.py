"""``dws-evaluate``: a run folder to figures of the test split."""

from __future__ import annotations

import platform
from pathlib import Path

import torch
from omegaconf import DictConfig

import dws
from dws.cli.command import run_hydra
from dws.cli.runs import build_reader, build_task, load_training_split, open_zoo, zoo_hash
from dws.evaluation.evaluate import evaluate
from dws.files import read_json
from dws.hardware import find_device
from dws.training import LabelledNetworks, RunDir
from dws.training.checkpoint import is_finished
from dws.training.run_dir import settings_hash
from dws.weightspace.alignment import align
from dws.weightspace.augment import permute_neurons
from dws.zoo import Zoo, ZooSplit


def main() -> None:
    """Entry point."""
    run_hydra("evaluate", evaluate_run)


def evaluate_run(config: DictConfig) -> None:
    """Evaluate once; say what came out, also if it was done before."""
    run = RunDir.open(config.run)
    if run.result_file.is_file():
        result = read_json(run.result_file)
        print(f"dws: {run.path} was evaluated already")
    else:
        result = _evaluate(run, config)
    figures = ", ".join(f"{name} {value:.4g}" for name, value in result["test"].items())
    pictures = " ".join(str(run.path / name) for name in result["pictures"])
    print(f"test split, {result['num_test']} networks: {figures}; see {pictures}")


def _evaluate(run: RunDir, config: DictConfig) -> dict[str, object]:
    settings = run.config()
    if not is_finished(run.last_checkpoint):
        raise ValueError(
            f"expected a finished run of {settings['trainer']['num_epochs']} epochs in {run.path}, "
            "got one that was interrupted; finish it with the dws-train command that began it"
        )
    path = config.zoo_path or settings["zoo_path"]
    fit = "dws-fit-inrs, or give the folder that it is in now as zoo_path"
    zoo = open_zoo(path, command=fit, aligned=settings["aligned"])
    if zoo_hash(zoo) != settings["zoo"]:
        raise ValueError(
            f"expected the zoo that {run.path} was trained on ({settings['zoo']}) in {path}, got "
            f"another ({zoo_hash(zoo)}); give the right one as zoo_path, or train again"
        )
    device = find_device(config.device, option="device")
    task = build_task(settings)
    train_set = load_training_split(settings, zoo, task, device)
    test_set = LabelledNetworks.load(zoo.split("test"), task, device)
    return evaluate(
        run,
        build_reader(settings, zoo, task, None).to(device),
        task,
        test_set,
        train_set,
        _permuted(test_set, zoo, aligned=settings["aligned"]),
        batch_size=config.batch_size,
        about={
            "task": settings["task"]["name"],
            "model": settings["model"]["name"],
            "seed": settings["seed"],
            # the same for runs that differ in nothing but the seed
            "settings_hash": settings_hash(
                {k: v for k, v in settings.items() if k not in ("seed", "zoo_path")}
            ),
            "num_train": len(train_set),
            "zoo": settings["zoo"],
            "zoo_path": path,
            "machine": f"{_device_name(device)}, {torch.get_num_threads()} threads",
            "versions": {"dws": dws.__version__, "torch": torch.__version__},
        },
    )


def _permuted(split: LabelledNetworks, zoo: Zoo, *, aligned: bool) -> LabelledNetworks:
    """The same networks with their hidden neurons in another order, and aligned again."""
    weights = permute_neurons(split.weights.to("cpu"), torch.Generator().manual_seed(0))
    if aligned:
        weights = align(weights, ZooSplit(zoo, 0, 1).weights())
    return LabelledNetworks(weights.to(split.targets.device), split.targets)


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
