"""Large answers, sent in pieces: a client that reads slowly holds one answer and no thread, and not for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any, cast

from starlette.concurrency import iterate_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Send

from service.api.formats import JSON, Buffer
from service.embedding.pieces import others_turn
from service.metrics import Metrics

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


def in_pieces(request: Request, content: AsyncIterator[bytes | memoryview], **options: Any) -> Pieces:  # noqa: ANN401
    """`content` as the answer to `request`, with the patience of the settings; `options` are StreamingResponse's."""
    state = request.app.state
    return Pieces(
        content,
        patience_s=state.limits.deadline_ms / 1000,
        on_stalled=cast(Metrics, state.metrics).rejected.labels("client_gone").inc,
        **options,
    )


async def respond(
    request: Request, chunks: Iterator[Buffer], media_type: str, headers: dict[str, str], *, small: bool
) -> Response:
    """The answer to `request`: a `small` one encoded on the event loop and sent whole; another in a thread, in pieces.

    JSON is sent as it is made, so that a large answer is never in memory twice; the rest with its length.
    """
    if small:
        return Response(_joined(chunks), headers=headers, media_type=media_type)
    if media_type == JSON:
        return in_pieces(request, iterate_in_threadpool(chunks), headers=headers, media_type=media_type)
    whole = await asyncio.to_thread(_joined, chunks)
    headers |= {"Content-Length": str(len(whole))}
    return in_pieces(request, sliced(whole), headers=headers, media_type=media_type)


async def sliced(whole: bytes | memoryview) -> AsyncIterator[memoryview]:
    """`whole` in pieces, which share its memory; others have a turn after each, however fast the client takes them."""
    view = memoryview(whole)
    for start in range(0, len(view), PIECE_BYTES):
        yield view[start : start + PIECE_BYTES]
        await others_turn()


def _joined(chunks: Iterable[Buffer]) -> Buffer:
    """The whole body; a single chunk is not copied."""
    first, *rest = chunks
    return b"".join([first, *rest]) if rest else first
