"""Dropout that is one for any number of processes, and again the same in a resumed run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from trainer.processes import Share


class WholeBatchDropout(TorchFunctionMode):
    """Within it dropout draws from `rng` for the whole batch, and takes this process's share.

    A network's rows must be those of `share`, in order, or so many for each of them. A second pass draws anew.
    """

    def __init__(self, share: Share, rng: torch.Generator) -> None:
        super().__init__()
        self._share = share
        self._rng = rng

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - whatever `func` gives
        called = self._dropout if func is functional.dropout else func
        return called(*args, **(kwargs or {}))

    def _dropout(self, given: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        own, share = self._share.own, self._share
        if not training or own.start == own.stop:
            return given
        each = len(given) // (own.stop - own.start)
        drawn = torch.rand(share.rows * each, *given.shape[1:], generator=self._rng)
        kept = drawn[own.start * each : own.stop * each] >= p
        return given * kept.to(given.device) / (1 - p)
