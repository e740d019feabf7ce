"""Distributed training of one model by several processes, one for each GPU or group of cores."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_gather
from torch.nn.parallel import DistributedDataParallel

from dws.errors import UserError
from dws.weightspace import WeightBatch


@dataclass(frozen=True)
class Processes:
    """The process group of a training, from the point of view of one process.

    Each process holds all networks and draws the same batches and augmentations. It computes the
    outputs of its part of each batch and gathers the outputs of all parts. Without dropout, loss
    and gradient are the same as in training by a single process.

    Attributes:
        rank: Index of this process, from 0. Only process 0 writes files and prints.
        size: Number of processes.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and prints."""
        return self.rank == 0

    def wrap(self, model: nn.Module) -> nn.Module:
        """Wrap a model so that gradients are averaged over the processes."""
        if self.size == 1:
            return model
        # Outputs are gathered, so the gradient of a process is its part of the total, times size.
        return DistributedDataParallel(model, broadcast_buffers=False)

    def part(self, batch: WeightBatch) -> WeightBatch:
        """Return this process's part of a batch."""
        if self.size == 1:
            return batch
        width = batch.batch_size // self.size
        return batch[self.rank * width : (self.rank + 1) * width]

    def gather(self, outputs: Tensor, num_views: int) -> Tensor:
        """Gather the outputs of all parts, ordered by view."""
        if self.size == 1:
            return outputs
        views = [torch.cat(all_gather(view.contiguous())) for view in outputs.chunk(num_views)]
        return torch.cat(views)

    @contextmanager
    def first_goes_ahead(self) -> Iterator[None]:
        """Context manager in which the first process runs before all others."""
        if not self.is_first:
            self.wait()
        yield
        if self.is_first:
            self.wait()

    def wait(self) -> None:
        """Wait until all processes reach this call."""
        if self.size > 1:
            dist.barrier()


@contextmanager
def join_processes(device: torch.device) -> Iterator[Processes]:
    """Context manager that joins the process group of ``torchrun``, if there is one.

    Args:
        device: Device of the training. With CUDA, each process uses the GPU of its local rank.

    Raises:
        ValueError: If there are several processes and the device is a specific GPU or neither CPU
            nor CUDA, or if the processes were not started by ``torchrun``.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Processes()
        return
    is_specific = device != torch.device(device.type)  # true for cuda:0, false for cuda
    if is_specific or device.type not in ("cpu", "cuda"):
        raise UserError(
            f"expected trainer.device=auto, cpu or cuda with {size} processes, got {device}"
        )
    if device.type == "cuda":
        if "LOCAL_RANK" not in os.environ:
            raise UserError(
                f"WORLD_SIZE={size} is set, but LOCAL_RANK is not. Start the command with torchrun."
            )
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Processes(dist.get_rank(), size)
    finally:
        dist.destroy_process_group()
