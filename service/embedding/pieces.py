"""Work in pieces, so that what holds the interpreter for long leaves the event loop to others in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

PIECE = 1024


async def pieces(length: int, size: int = PIECE) -> AsyncIterator[slice]:
    """Slices that cover `length` in order, `size` at most each; the event loop turns between one and the next."""
    for start in range(0, length, size):
        if start:
            await asyncio.sleep(0)
        yield slice(start, min(start + size, length))
