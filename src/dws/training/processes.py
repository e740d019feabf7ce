"""Several processes that train one model together, one for each GPU or group of cores."""

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
    """The processes of a training, as one of them sees them.

    Each holds all networks and draws the same batches and augmentations; it reads its part of
    each batch, and sees the outputs of all. The loss and its gradient are those of one process.

    Attributes:
        rank: Which one this is, from 0. Only the first writes and prints.
        size: How many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes and prints."""
        return self.rank == 0

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model, with gradients averaged over the processes."""
        if self.size == 1:
            return model
        # outputs are gathered, so each process's gradient is its part of the whole one, times size
        return DistributedDataParallel(model, broadcast_buffers=False)

    def part(self, batch: WeightBatch) -> WeightBatch:
        """This process's networks of a batch."""
        if self.size == 1:
            return batch
        width = batch.batch_size // self.size
        return batch[self.rank * width : (self.rank + 1) * width]

    def gather(self, outputs: Tensor, num_views: int) -> Tensor:
        """Outputs for the whole batch from those of the parts, view after view."""
        if self.size == 1:
            return outputs
        views = [torch.cat(all_gather(view.contiguous())) for view in outputs.chunk(num_views)]
        return torch.cat(views)

    @contextmanager
    def first_goes_ahead(self) -> Iterator[None]:
        """The first process runs what follows alone, then the others do."""
        if not self.is_first:
            self.wait()
        yield
        if self.is_first:
            self.wait()

    def wait(self) -> None:
        """Go on when all processes are here."""
        if self.size > 1:
            dist.barrier()


@contextmanager
def join_processes(device: torch.device) -> Iterator[Processes]:
    """Join those that ``torchrun`` started, or be alone.

    Args:
        device: Of the training; with CUDA each process takes the GPU of its local rank.

    Raises:
        ValueError: If there are several and the device is one certain GPU or neither CPU nor GPU,
            or they were not started by ``torchrun``.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Processes()
        return
    is_certain = device != torch.device(device.type)  # as cuda:0 is, and cuda is not
    if is_certain or device.type not in ("cpu", "cuda"):
        raise UserError(
            f"expected trainer.device=auto, cpu or cuda with {size} processes, got {device}"
        )
    if device.type == "cuda":
        if "LOCAL_RANK" not in os.environ:
            raise UserError(
                f"expected LOCAL_RANK beside WORLD_SIZE={size}, got none; start with torchrun"
            )
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Processes(dist.get_rank(), size)
    finally:
        dist.destroy_process_group()
