"""A circuit breaker: what fails again and again is left alone for a while."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

State = Literal["closed", "open", "half-open"]


@dataclass
class Breaker:
    """Opens after `failures` in a row; `delay_s` later lets one trial through, whose success closes it.

    A trial that is never heard of again is followed by another after the same delay.
    """

    delay_s: float
    clock: Callable[[], float]
    failures: int = 3
    state: State = field(default="closed", init=False)
    _failed: int = field(default=0, init=False)
    _next_trial: float = field(default=0.0, init=False)

    def allows(self) -> bool:
        """Whether to try now; where this says yes, say then how it went."""
        if self.state == "closed":
            return True
        if self.clock() < self._next_trial:
            return False
        self.state = "half-open"
        self._next_trial = self.clock() + self.delay_s
        return True

    def succeeded(self) -> None:
        self.state = "closed"
        self._failed = 0

    def failed(self) -> None:
        self._failed += 1
        if self._failed >= self.failures:
            self.state = "open"
            self._next_trial = self.clock() + self.delay_s
