"""The training loop, shared by all tasks and metanets.

Optimisation uses AdamW, optionally with Muon, with warm-up and cosine decay. After each epoch the
model is evaluated on the validation split, and the weights of the best epoch are saved. After each
epoch, and every few minutes within an epoch, the loop writes a checkpoint from which the same
command resumes. On a CPU a resumed run results in exactly the same weights.
"""

from __future__ import annotations

import time

from tqdm import tqdm

from dws.settings import AugmentConfig, OptimConfig, TrainerConfig
from dws.tasks import AnyTask
from dws.training.augmentation import Augmentations
from dws.training.checkpoint import load_checkpoint, save_checkpoint
from dws.training.inference import predict
from dws.training.loader import LabelledNetworks
from dws.training.loggers import WandbLogger
from dws.training.model import Model
from dws.training.processes import Processes
from dws.training.reconstruction import ReconstructionLoss
from dws.training.resolve import resolve
from dws.training.run_dir import RunDir
from dws.training.state import TrainingState, check_finite
from dws.training.step import TrainingStep


def train(
    model: Model,
    task: AnyTask,
    *,
    train_set: LabelledNetworks,
    val_set: LabelledNetworks,
    optim: OptimConfig,
    trainer: TrainerConfig,
    augment: AugmentConfig,
    seed: int,
    run: RunDir,
    logger: WandbLogger,
    reconstruction: ReconstructionLoss | None = None,
    processes: Processes = Processes(),  # noqa: B008 - frozen
) -> dict[str, float]:
    """Train a model, resuming from the run's last checkpoint if there is one.

    All outputs are written to the run folder.

    Args:
        model: The model, on the device of the data.
        task: The task, which defines loss and metrics.
        train_set: Training split.
        val_set: Validation split, which selects the best checkpoint.
        optim: Optimiser and learning rate schedule.
        trainer: Length and batch size.
        augment: Augmentation of the training networks.
        seed: Seed of the batch order, augmentations and dropout. The model's parameters are
            already initialised.
        run: The run folder.
        logger: Logger of the metrics.
        reconstruction: Auxiliary reconstruction loss of the model's last ``num_reconstructed``
            outputs, or None.
        processes: The processes of distributed training; each calls this function with the same
            arguments.

    Returns:
        The metrics of the best epoch.

    Raises:
        ValueError: If the loss becomes NaN or infinite, the checkpoint does not match, or under the
            conditions of ``resolve``, ``check_optim`` and ``Augmentations``.
    """
    trainer = resolve(trainer, len(train_set), processes.size)
    state = TrainingState(model, optim, trainer, len(train_set), seed)
    if run.last_checkpoint.is_file():
        content = load_checkpoint(run.last_checkpoint, *state.content())
        state.load(content, run.last_checkpoint)
        run.check_whole(state.epoch)
        if processes.is_first:
            print(f"dws: resuming {run.path} after epoch {state.epoch}, step {state.step}")
    else:
        run.check_new()
    processes.wait()  # until all have read the files that the first process is about to write
    if processes.is_first:
        run.keep_metrics(state.epoch)
        logger.catch_up(run.metrics())

    step = TrainingStep(
        model, task, train_set, state, augmentations=Augmentations(augment), trainer=trainer,
        reconstruction=reconstruction, processes=processes,
    )  # fmt: skip
    monitored = f"val_{task.monitor}"
    saved = time.monotonic()
    with tqdm(
        total=state.num_steps, initial=state.step, unit="step", desc="training",
        disable=not processes.is_first,
    ) as bar:  # fmt: skip
        while not state.finished:
            model.train()
            start = time.perf_counter() - state.seconds
            for rows in train_set.shuffled_rows(
                trainer.batch_size, state.start_epoch(), skip=state.step_in_epoch
            ):
                state.advance(step(rows))
                bar.update()
                if (
                    processes.is_first
                    and time.monotonic() - saved > 60 * trainer.checkpoint_minutes
                ):
                    state.losses[-1].cpu()  # wait for the GPU, so that its time is counted
                    state.seconds = time.perf_counter() - start
                    save_checkpoint(run.last_checkpoint, state.content())
                    saved = time.monotonic()
            row = state.end_epoch()
            row["seconds"] = seconds = time.perf_counter() - start
            row["networks_per_second"] = (
                len(train_set) // state.batch_size * state.batch_size / seconds
            )
            evaluated = state.evaluated
            outputs, targets = predict(
                evaluated, task, val_set, train_set=train_set, batch_size=trainer.eval_batch_size
            )
            row |= {f"val_{name}": value for name, value in task.metrics(outputs, targets).items()}
            bar.set_postfix_str(
                f"loss {row['train_loss']:.3g}, {monitored} {row[monitored]:.4g}, "
                f"{row['networks_per_second']:.0f} networks/s"
            )
            check_finite(row[monitored], monitored, row, optim)
            sign = 1 if task.higher_is_better else -1
            if state.best is None or sign * row[monitored] > sign * state.best[monitored]:
                state.best = row
                content = {"reader": evaluated.state_dict(), "metrics": row}
                if processes.is_first:
                    save_checkpoint(run.best_checkpoint, content)
            if processes.is_first:
                run.append_metrics(row)
                save_checkpoint(run.last_checkpoint, state.content())
                logger.log(row, step=int(row["step"]))
            saved = time.monotonic()
    assert state.best is not None  # num_epochs >= 1
    return state.best
