"""Large answers, sent in pieces: a client that reads slowly holds one answer and no thread, and not for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from starlette.responses import StreamingResponse
from starlette.types import Message, Send

from service.embedding.pieces import others_turn

PIECE_BYTES = 262_144


class Pieces(StreamingResponse):
    """Each piece is made once the one before it is on its way. A client that takes none for `patience_s` is cut off."""

    def __init__(
        self,
        content: AsyncIterator[bytes | memoryview],
        patience_s: float,
        on_stalled: Callable[[], None],
        **options: Any,  # noqa: ANN401 - StreamingResponse's own
    ) -> None:
        super().__init__(content, **options)
        self._patience_s = patience_s
        self._on_stalled = on_stalled

    async def stream_response(self, send: Send) -> None:
        async def send_in_time(message: Message) -> None:
            async with asyncio.timeout(self._patience_s):
                await send(message)

        try:
            await super().stream_response(send_in_time)
        except TimeoutError:
            self._on_stalled()  # to return without the last piece makes the server close the connection


async def sliced(whole: bytes | memoryview) -> AsyncIterator[memoryview]:
    """`whole` in pieces, which share its memory; others have a turn after each, however fast the client takes them."""
    view = memoryview(whole)
    for start in range(0, len(view), PIECE_BYTES):
        yield view[start : start + PIECE_BYTES]
        await others_turn()
