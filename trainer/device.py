"""Where a network runs."""

from __future__ import annotations

from typing import Literal

import torch

from trainer.errors import ConfigError


def device(asked: Literal["auto", "cpu", "cuda"], key: str) -> torch.device:
    """`auto` is CUDA where it is to be had, else the CPU. Raises ConfigError, naming `key`, where CUDA is not."""
    there = torch.cuda.is_available()
    if asked == "cuda" and not there:
        raise ConfigError(f"{key}: cuda was asked for, and torch finds none; say cpu or auto")
    return torch.device("cuda" if asked != "cpu" and there else "cpu")
