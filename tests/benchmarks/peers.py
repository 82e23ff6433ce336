"""The service beside a plain FastAPI service: over the same backend, and over the published SatCLIP maths in torch.

Each figure is the plain service's time over ours for the same places, the median over interleaved rounds: how many
times faster ours is. Both use one thread for the model; ours encodes the very coordinates, and caches nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from tests.benchmarks.client import EMBEDDINGS, JSON, OCTET_STREAM, Connection, json_body, request
from tests.benchmarks.compute import Encoder, Floats, interleaved, repeated
from tests.benchmarks.models import bundle_of, default_bundle
from tests.benchmarks.processes import SERVE, Address, running
from tests.benchmarks.published import PublishedEncoder
from trainer.snap import uniform_on_sphere

HEADER = "| how many times faster | places | L | measured | limit |\n|---|---:|---:|---:|---:|"
IN_PROCESS_LIMITS = {(10, 1): "≥ 25", (10, 1024): "≥ 2.5", (40, 1): "≥ 150", (40, 1024): "≥ 7"}
ROUNDS = {1: 60, 1000: 20, 1024: 15}
REPEATED = 6
"""A place alone, one after another: else each would find the other's weights in the processor's cache."""
PLAIN = "tests.benchmarks.plain_service"
Figure = tuple[str, int, str, float, str]


def table() -> str:
    """Response path, then whole requests, then the maths without HTTP, whose limits are those of encoding.md."""
    figures = [*_response_path(), *_requests(), *_in_process()]
    rows = [f"| {what} | {n:,} | {polys} | {ratio:.1f} | {limit} |" for what, n, polys, ratio, limit in figures]
    return "\n".join([HEADER, *rows])


def _response_path() -> Iterator[Figure]:
    """FastAPI's default request and response models beside our formats, over a backend that answers at once."""
    with (
        running("tests.benchmarks.instant", SATCLE_WORKER_THREADS="1") as ours,
        running(PLAIN, "instant") as plain,
        ExitStack() as stack,
    ):
        lonlat = uniform_on_sphere(1000, seed=0)
        runs = _exchanges(stack, ours, plain, lonlat, default_bundle().card.name)
        seconds = interleaved(runs, ROUNDS[1000])
    for name in ("JSON", "octet-stream"):
        yield f"{name}, no model", 1000, "-", float(np.median(seconds["plain"] / seconds[name])), "-"


def _requests() -> Iterator[Figure]:
    with TemporaryDirectory() as folder, ExitStack() as stack:
        bundles = {polys: bundle_of(polys, Path(folder)) for polys in (10, 40)}
        names = ",".join(str(bundle.path) for bundle in bundles.values())
        ours = stack.enter_context(running(*SERVE, "--bundles", names, SATCLE_WORKER_THREADS="1"))
        for legendre_polys, bundle in bundles.items():
            plain = stack.enter_context(running(PLAIN, str(legendre_polys)))
            for places in (1, 1000):
                runs = _exchanges(stack, ours, plain, uniform_on_sphere(places, seed=0), bundle.card.name)
                seconds = interleaved(runs, ROUNDS[places])
                for name in ("JSON", "octet-stream"):
                    ratio = float(np.median(seconds["plain"] / seconds[name]))
                    yield f"{name}, published maths", places, str(legendre_polys), ratio, "-"


def _exchanges(
    stack: ExitStack, ours: Address, plain: Address, lonlat: Floats, model: str
) -> dict[str, Callable[[], object]]:
    """The same places to the plain service in JSON, and to ours in JSON and in octet-stream."""
    ours_connection, plain_connection = (stack.enter_context(Connection(address)) for address in (ours, plain))
    as_json = request(json_body(lonlat, model=model, exact=True), JSON, JSON)
    raw = request(lonlat.astype("<f8").tobytes(), OCTET_STREAM, OCTET_STREAM, f"{EMBEDDINGS}?exact=true&model={model}")
    return {
        "plain": partial(plain_connection.exchange, request(json_body(lonlat), JSON, JSON)),
        "JSON": partial(ours_connection.exchange, as_json),
        "octet-stream": partial(ours_connection.exchange, raw),
    }


def _in_process() -> Iterator[Figure]:
    torch.set_num_threads(1)
    for legendre_polys in (10, 40):
        graph = Encoder(legendre_polys)
        published = PublishedEncoder(legendre_polys).eval()
        for places in (1, 1024):
            lonlat = uniform_on_sphere(places, seed=0)
            times = REPEATED if places == 1 else 1
            runs: dict[str, Callable[[], object]] = {
                "graph": repeated(graph.embedding(lonlat), times),
                "published": repeated(partial(published, torch.from_numpy(lonlat)), times),
            }
            seconds = interleaved(runs, ROUNDS[places] // times)
            ratio = float(np.median(seconds["published"] / seconds["graph"]))
            limit = IN_PROCESS_LIMITS[legendre_polys, places]
            yield "in process, no HTTP, published maths", places, str(legendre_polys), ratio, limit
