"""All randomness of a run, drawn from its seed and from where in the run it is used.

A generator made from (seed, purpose, epoch, step) needs no state in a checkpoint: a resumed run draws what an
uninterrupted one would have drawn.
"""

from __future__ import annotations

import hashlib

import torch


def generator(seed: int, purpose: str, *position: int) -> torch.Generator:
    """A CPU generator of its own for each (seed, purpose, position); different purposes are independent."""
    named = "/".join(map(str, (purpose, seed, *position)))
    digest = hashlib.sha256(named.encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
