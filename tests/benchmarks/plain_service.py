"""A plain FastAPI service, as one is written first: pydantic models in and out, the model called in the endpoint.

python -m tests.benchmarks.plain_service instant|10|40

`instant` answers with rows made beforehand; 10 and 40 run the published SatCLIP maths of that many Legendre
polynomials in torch, float64, on one thread. Served by uvicorn as ours is, without its access log.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable

import numpy as np
import torch
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

from service.bundle import LonLat
from tests.benchmarks.instant import InstantBackend
from tests.benchmarks.published import PublishedEncoder

MAX_ROWS = 4096
Pairs = list[list[float]]


class Places(BaseModel):
    input: Pairs


class Item(BaseModel):
    object: str = "embedding"
    index: int
    embedding: list[float]


class Embeddings(BaseModel):
    object: str = "list"
    data: list[Item]


def plain_app(embed: Callable[[Pairs], list[list[float]]]) -> FastAPI:
    app = FastAPI()

    @app.post("/v1/embeddings")
    def embeddings(places: Places) -> Embeddings:
        rows = embed(places.input)
        return Embeddings(data=[Item(index=index, embedding=row) for index, row in enumerate(rows)])

    return app


def instant() -> Callable[[Pairs], list[list[float]]]:
    backend = InstantBackend(MAX_ROWS)
    return lambda pairs: backend.embed(LonLat(np.array(pairs))).tolist()


def published(legendre_polys: int) -> Callable[[Pairs], list[list[float]]]:
    torch.set_num_threads(1)
    encoder = PublishedEncoder(legendre_polys).eval()
    return lambda pairs: encoder(torch.tensor(pairs, dtype=torch.float64)).tolist()


def main(kind: str) -> None:
    """Serve on a port that the system chooses."""
    app = plain_app(instant() if kind == "instant" else published(int(kind)))
    listener = socket.create_server(("127.0.0.1", 0))
    print(f"running on http://127.0.0.1:{listener.getsockname()[1]}", file=sys.stderr, flush=True)
    uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False)).run([listener])


if __name__ == "__main__":
    main(sys.argv[1])
