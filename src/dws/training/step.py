"""A training step as a function of tensors, which a CUDA graph can record."""

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
from dws.weightspace.transforms import CoordinateTransform

NUM_COMPILED = 256  # variants of one function that a process can compile; PyTorch's default is 8


class TrainingStep:
    """Augmentation, forward pass, losses, backward pass and update of the weights.

    The host does not read any result of a step, so it can prepare the next steps while a GPU is
    busy.

    Args:
        model: The model.
        task: The task, which defines the loss.
        train_set: Training split.
        state: Optimisers and generators. Call ``TrainingState.advance`` after each step.
        augmentations: Augmentations of the training networks.
        trainer: Settings without ``auto``, see ``resolve``.
        reconstruction: Auxiliary reconstruction loss, or None.
        processes: The processes of distributed training.
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
        self.forward = _compile(model) if compiled else processes.wrap(model)
        device = train_set.targets.device.type
        self._precision: Callable[[], AbstractContextManager[None]] = (
            partial(torch.autocast, device, torch.bfloat16)
            if trainer.precision == "bf16"
            else nullcontext
        )
        # The host decides whether networks are augmented, so there are two step functions.
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
        """Run the next step.

        Args:
            rows: Row indices of the batch in the training split, (B,).

        Returns:
            The loss of the task and, if used, the reconstruction loss, (1,) or (2,). The next step
            may overwrite this tensor.
        """
        state = self.state
        return self._steps[self.augmentations.are_active(state.step / state.num_steps)](rows)

    def take(self, rows: Int[Tensor, " b"], *, augmented: bool) -> Float[Tensor, " losses"]:
        """Run a step with or without augmentation, without synchronising with the device."""
        model, task, processes = self.model, self.task, self.processes
        weights, targets = self.train_set.weights[rows], self.train_set.targets[rows]
        views = [self._view(weights, augmented=augmented) for _ in range(task.num_views)]
        parts = WeightBatch.cat([processes.part(view) for view, _ in views])
        with self._precision():
            outputs = self.forward(parts)
        outputs = processes.gather(outputs.float(), task.num_views)
        predictions, reconstructed = model.split(outputs)
        if (transform := views[0][1]) is not None:
            predictions = model.undo(predictions, transform)
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
    ) -> tuple[WeightBatch, CoordinateTransform | None]:
        """Return the model's input and the transformation of its coordinates, or None."""
        if not augmented:
            return weights, None
        std = self.model.standardize.std
        return self.augmentations.apply(weights, self.state.draws, layer_std=std)


def _compile(model: Model) -> Callable[[WeightBatch], Tensor]:
    """Compile a model. The models of a sweep share a forward method, which PyTorch counts."""
    config = torch._dynamo.config
    config.recompile_limit = max(config.recompile_limit, NUM_COMPILED)
    return torch.compile(model, dynamic=False)
