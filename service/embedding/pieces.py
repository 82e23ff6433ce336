"""Long work on the event loop, in pieces, so that everything else goes on between them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

PIECE = 256
TURN_S = 0.2e-3
"""How long work may go on before others have their turn."""
LET_GO_S = 20e-6


async def pieces(length: int, size: int = PIECE) -> AsyncIterator[slice]:
    """Slices of at most `size` that cover `length`; between any two, if TURN_S has passed, others have their turn."""
    turn_ends = time.perf_counter() + TURN_S
    for start in range(0, length, size):
        if start and time.perf_counter() > turn_ends:
            await others_turn()
            turn_ends = time.perf_counter() + TURN_S
        yield slice(start, min(start + size, length))


async def others_turn() -> None:
    """Let every other thread, and then every other task, have its turn.

    A thread that waits for the interpreter asks for it only after a while in which nobody let go of it. A busy event
    loop lets go each time it polls, too briefly for a thread to wake, so that a thread may wait without end. To
    sleep, if only for the timer's 50 us or so, hands the interpreter over.
    """
    time.sleep(LET_GO_S)  # noqa: ASYNC251 - so short that it is no wait
    await asyncio.sleep(0)
