"""Large answers in pieces: no further than the client reads, and not for longer than it has patience with."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from starlette.testclient import TestClient

from service.api.sending import PIECE_BYTES, Pieces, sliced

SCOPE = {"type": "http", "asgi": {"spec_version": "2.3"}}


async def never() -> dict:
    await asyncio.Event().wait()
    raise AssertionError


def test_a_client_that_stops_reading_is_cut_off_and_no_more_is_made_for_it() -> None:
    made, taken, stalled = [], [], []

    async def pieces():
        for number in range(1000):
            made.append(number)
            yield b"x"

    async def send(message) -> None:
        if len(taken) == 3:
            await asyncio.Event().wait()
        taken.append(message)

    answer = Pieces(pieces(), patience_s=0.01, on_stalled=lambda: stalled.append(1))
    asyncio.run(answer(SCOPE, never, send))
    assert len(taken) == 3
    assert len(made) == 3
    assert stalled == [1]
    assert taken[-1]["more_body"]


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES, 3 * PIECE_BYTES + 7])
def test_slices_make_the_whole_and_share_its_memory(size: int) -> None:
    async def main() -> list[memoryview]:
        return [piece async for piece in sliced(whole)]

    whole = bytes(range(256)) * (size // 256) + b"!" * (size % 256)
    pieces = asyncio.run(main())
    assert b"".join(pieces) == whole
    assert all(piece.obj is whole and len(piece) <= PIECE_BYTES for piece in pieces)


def test_a_large_answer_is_the_small_ones_together(client: TestClient) -> None:
    def rows_of(places: np.ndarray) -> tuple[np.ndarray, int]:
        headers = {"accept": "application/octet-stream"}
        answer = client.post("/v1/embeddings", json={"input": places.tolist()}, headers=headers)
        return np.frombuffer(answer.content, "<f4").reshape(-1, 8), int(answer.headers["content-length"])

    places = np.random.default_rng(3).uniform([-180, -90], [180, 90], (1000, 2))
    rows, length = rows_of(places)
    assert length == rows.nbytes
    np.testing.assert_array_equal(rows, np.concatenate([rows_of(places[:500])[0], rows_of(places[500:])[0]]))
