"""One process among several that train together, and its share of a batch.

`torchrun` starts the processes and names each its rank; a process started by hand is alone. What is said here of
tensors holds on any device: gloo carries those of the CPU, nccl those of CUDA.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor, distributed

UNTIL_THE_FEATURES_ARE_KEPT = timedelta(days=14)
"""How long processes wait for each other: the first one may compute image features for days. Where one fails, torchrun
ends the others."""


@dataclass(frozen=True)
class Processes:
    """This process is number `rank` of `count`; `local_rank` numbers those of one machine, `local_count` of them."""

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    local_count: int = 1

    @classmethod
    def of_environment(cls) -> Processes:
        """As torchrun says in RANK, WORLD_SIZE, LOCAL_RANK and LOCAL_WORLD_SIZE; alone where it does not."""
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
        return cls(*(int(os.environ[name]) for name in names)) if "TORCHELASTIC_RUN_ID" in os.environ else ALONE

    @property
    def is_first(self) -> bool:
        """The one that writes."""
        return self.rank == 0

    def meet(self, accelerator: str) -> None:
        """Make the process group, by nccl on `cuda` and by gloo on `cpu`; nothing to do alone."""
        if self.count > 1 and not distributed.is_initialized():
            if accelerator == "cuda":
                torch.cuda.set_device(self.local_rank)
            backend = "nccl" if accelerator == "cuda" else "gloo"
            distributed.init_process_group(backend, timeout=UNTIL_THE_FEATURES_ARE_KEPT)

    def agree(self, numbers: Sequence[int], accelerator: str) -> bool:
        """Whether `numbers` are the same for every process."""
        if self.count == 1:
            return True
        lowest = torch.tensor(numbers, device=accelerator)
        highest = lowest.clone()
        distributed.all_reduce(lowest, distributed.ReduceOp.MIN)
        distributed.all_reduce(highest, distributed.ReduceOp.MAX)
        return torch.equal(lowest, highest)

    def wait(self) -> None:
        """Until every process is here."""
        if self.count > 1:
            distributed.barrier()

    def share(self, rows: int) -> Share:
        """Of a batch of `rows`: shares differ by one row at most."""
        return Share(rows, self.rank, self.count)


ALONE = Processes()


@dataclass(frozen=True)
class Share:
    """The rows `own` of a batch of `rows`, those of process `rank` of `processes`."""

    rows: int
    rank: int = 0
    processes: int = 1

    @property
    def own(self) -> slice:
        return slice(self.rows * self.rank // self.processes, self.rows * (self.rank + 1) // self.processes)

    def whole(self, part: Tensor) -> Tensor:
        """The parts (own rows, …) of all processes, in order → (rows, …). Without gradient."""
        if self.processes == 1:
            return part
        whole = part.new_zeros(self.rows, *part.shape[1:])
        whole[self.own] = part
        return self.total(whole)  # each row is one process's and the others' zeros

    def total(self, value: Tensor) -> Tensor:
        """The sum over processes of a tensor that has one shape on all. Without gradient."""
        return self._reduce(value, distributed.ReduceOp.SUM)

    def mean(self, by_row: Tensor) -> Tensor:
        """Over the rows of all processes, of which `by_row` (own rows,) are this one's.

        The gradient is x their number, because distributed training averages what the processes find.
        """
        own = by_row.sum()
        scaled = own * self.processes / self.rows
        return scaled + (self.total(own.detach()) / self.rows - scaled.detach())

    def logsumexp(self, value: Tensor) -> Tensor:
        """log Σ exp over processes, elementwise. Without gradient."""
        if self.processes == 1:
            return value
        highest = self._reduce(value, distributed.ReduceOp.MAX)
        return highest + self.total((value - highest).exp()).log()

    def _reduce(self, value: Tensor, operation: distributed.ReduceOp.RedOpType) -> Tensor:
        if self.processes == 1:
            return value
        reduced = value.detach().clone()
        distributed.all_reduce(reduced, operation)
        return reduced
