"""What a process among several finds of a loss, saved for the test that compares it with one process alone.

python -m torch.distributed.run --nproc-per-node=N -m tests.sharing_processes FOLDER OBJECTIVE ROWS
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor, distributed
from torch.nn.parallel import DistributedDataParallel

from trainer.losses.contrastive import contrastive_loss
from trainer.losses.csp import csp_loss
from trainer.processes import Processes

STEPS = 5


class Towers(torch.nn.Module):
    """Two linear towers and a temperature, drawn alike wherever they are made."""

    def __init__(self) -> None:
        super().__init__()
        rng = torch.Generator().manual_seed(0)
        self.location = torch.nn.Parameter(torch.randn(12, 8, generator=rng))
        self.image = torch.nn.Parameter(torch.randn(20, 8, generator=rng))
        self.scale = torch.nn.Parameter(torch.tensor(10.0))

    def forward(self, places: Tensor, tiles: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return places @ self.location, tiles @ self.image, self.scale


def descend(processes: Processes, rows: int, objective: str) -> dict[str, Tensor]:
    """Losses, the first gradients, and the weights after STEPS of gradient descent, on batches of `rows`."""
    towers = Towers()
    model = DistributedDataParallel(towers) if processes.count > 1 else towers
    optimizer = torch.optim.SGD(towers.parameters(), lr=0.1)
    found: dict[str, Tensor] = {}
    for step in range(STEPS):
        rng = torch.Generator().manual_seed(step)
        places, tiles = torch.randn(rows, 12, generator=rng), torch.randn(rows, 20, generator=rng)
        share = processes.share(rows)
        location, image, scale = model(places[share.own], tiles[share.own])
        if objective == "clip":
            loss = contrastive_loss(location, image, scale, share)
        else:  # what stands for other embeddings has gradients too
            elsewhere, again = location.flip(1)[:, None], location * torch.rand(rows, 8, generator=rng)[share.own]
            loss = csp_loss(location, image, scale, elsewhere, again, share)
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            found |= {f"gradient of {name}": p.grad.clone() for name, p in towers.named_parameters()}
        optimizer.step()
        found[f"loss {step}"] = loss.detach()
    return found | {name: p.detach() for name, p in towers.named_parameters()}


if __name__ == "__main__":
    here = Processes.of_environment()
    here.meet("cpu")
    folder, objective = Path(sys.argv[1]), sys.argv[2]
    for rows in map(int, sys.argv[3:]):
        torch.save(descend(here, rows, objective), folder / f"{here.rank}-{rows}.pt")
    distributed.destroy_process_group()
