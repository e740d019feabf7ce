"""One step of training, as a function of tensors: what a CUDA graph can record."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import mse_loss

from dws.capture import Captured
from dws.settings import TrainerConfig
from dws.tasks import AnyTask
from dws.training.augmentation import Augmentations
from dws.training.loader import LabelledNetworks
from dws.training.model import Model
from dws.training.processes import Processes
from dws.training.reconstruction import ReconstructionLoss
from dws.training.state import TrainingState
from dws.weightspace import WeightBatch
from dws.weightspace.transforms import ImageMove


class TrainingStep:
    """Augmentation, forward pass, losses, backward pass and update of the weights.

    The host decides what a step consists of and reads nothing that is computed in it, so that it
    prepares the next steps while a GPU is busy.

    Args:
        model: What is trained.
        task: Loss.
        train_set: Training split.
        state: Optimisers and generators; see ``TrainingState.advance`` for what follows a step.
        augmentations: What training networks go through.
        trainer: Settings without ``auto``, see ``resolve``.
        reconstruction: Auxiliary loss, if any.
        processes: Those that train together.
    """

    def __init__(
        self,
        model: Model,
        task: AnyTask,
        train_set: LabelledNetworks,
        state: TrainingState,
        *,
        augmentations: Augmentations,
        trainer: TrainerConfig,
        reconstruction: ReconstructionLoss | None,
        processes: Processes,
    ) -> None:
        self.model, self.task, self.train_set, self.state = model, task, train_set, state
        self.augmentations, self.reconstruction = augmentations, reconstruction
        self.processes = processes
        compiled = trainer.compile == "always"
        self.forward = torch.compile(model, dynamic=False) if compiled else processes.wrap(model)
        device = train_set.targets.device.type
        self._precision: Callable[[], AbstractContextManager[None]] = (
            partial(torch.autocast, device, torch.bfloat16)
            if trainer.precision == "bf16"
            else nullcontext
        )
        # whether networks are augmented is decided by the host, so there are two kinds of steps
        self._steps: dict[bool, Callable[[Tensor], Tensor]] = {
            augmented: partial(self.take, augmented=augmented) for augmented in (True, False)
        }
        if trainer.cuda_graph == "always":
            self._steps = {
                augmented: Captured(
                    step, state.device, generators=[state.draws], option="trainer.cuda_graph"
                )
                for augmented, step in self._steps.items()
            }

    def __call__(self, rows: Int[Tensor, " b"]) -> Float[Tensor, " losses"]:
        """Take the next step.

        Args:
            rows: Which of the training networks are the batch.

        Returns:
            The task's loss and, if there is one, the reconstruction loss. The next step may
            overwrite it.
        """
        state = self.state
        return self._steps[self.augmentations.are_active(state.step / state.num_steps)](rows)

    def take(self, rows: Int[Tensor, " b"], *, augmented: bool) -> Float[Tensor, " losses"]:
        """The step itself. It reads no tensor on the host."""
        model, task, processes = self.model, self.task, self.processes
        weights, targets = self.train_set.weights[rows], self.train_set.targets[rows]
        views = [self._view(weights, augmented=augmented) for _ in range(task.num_views)]
        parts = WeightBatch.cat([processes.part(view) for view, _ in views])
        with self._precision():
            outputs = self.forward(parts)
        outputs = processes.gather(outputs.float(), task.num_views)
        predictions, reconstructed = model.split(outputs)
        if (move := views[0][1]) is not None:
            predictions = model.undo(predictions, move)
        losses = [task.loss(predictions, targets)]
        total = losses[0]
        if self.reconstruction:
            values = processes.gather(self.reconstruction.targets(parts), task.num_views)
            losses.append(mse_loss(reconstructed, values))
            total = total + self.reconstruction.weight * losses[1]
        model.zero_grad()
        total.backward()
        self.state.update()
        return torch.stack(losses).detach()

    def _view(
        self, weights: WeightBatch, *, augmented: bool
    ) -> tuple[WeightBatch, ImageMove | None]:
        """Networks as the model gets them, and how their images were moved."""
        if not augmented:
            return weights, None
        std = self.model.standardize.std
        return self.augmentations.apply(weights, self.state.draws, layer_std=std)
