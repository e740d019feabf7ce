"""``dws-evaluate``: a run folder to figures of the test split."""

from __future__ import annotations

import platform

import torch
from omegaconf import DictConfig

import dws
from dws.cli.command import run_hydra
from dws.cli.runs import build_reader, build_task
from dws.evaluation.evaluate import evaluate
from dws.files import read_json
from dws.training import LabelledNetworks, RunDir, TrainerConfig
from dws.zoo import Zoo


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
        settings = run.config()
        trainer = TrainerConfig(**{**settings["trainer"], "device": config.device})
        if len(run.metrics()) < trainer.num_epochs:
            raise ValueError(
                f"expected a finished run of {trainer.num_epochs} epochs in {run.path}, got "
                f"{len(run.metrics())}; finish it with the dws-train command that began it"
            )
        device = trainer.torch_device()
        zoo = Zoo.open(settings["zoo"]["path"])
        task = build_task(settings)
        test_set = LabelledNetworks.load(zoo.split("test"), task, device)
        result = evaluate(
            run,
            build_reader(settings, zoo, task, None).to(device),
            task,
            test_set,
            batch_size=trainer.eval_batch_size,
            about={
                "task": settings["task"]["name"],
                "model": settings["model"]["name"],
                "seed": settings["seed"],
                "num_train": len(zoo.split("train")),
                "zoo": settings["zoo"],
                "machine": f"{platform.processor() or platform.machine()}, {device}, "
                f"{torch.get_num_threads()} threads",
                "versions": {"dws": dws.__version__, "torch": torch.__version__},
            },
        )
    figures = ", ".join(f"{name} {value:.4g}" for name, value in result["test"].items())
    pictures = " ".join(str(run.path / name) for name in result["pictures"])
    print(f"test split, {result['num_test']} networks: {figures}; see {pictures}")
