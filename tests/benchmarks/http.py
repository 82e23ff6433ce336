"""What HTTP costs beside the model: a request of 1,000 places in each wire format.

The same request goes to the service with a backend that answers at once, and to `satcle serve`; the model alone
embeds the same places in this process, in the same chunks, on one thread. Runs are interleaved, each a few times in a
row, so that it finds its own code and data in the processor's caches; a figure is the median over rounds of the time
of the request over that of the model. Answers are read whole and not decoded.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from service.bundle import Bundle
from tests.benchmarks.client import (
    ARROW,
    EMBEDDINGS,
    JSON,
    OCTET_STREAM,
    Connection,
    arrow_body,
    json_body,
    request,
)
from tests.benchmarks.compute import Floats, interleaved, repeated
from tests.benchmarks.models import bundle_of, model_alone
from tests.benchmarks.processes import SERVE, Address, running
from trainer.snap import uniform_on_sphere

POINTS = 1000
ROUNDS = 24
TIMES = {"model": 2, "instant": 6, "whole": 2}
"""In a row, in each round."""
HEADER = "| 1,000 places | L | without the model / model | limit | with the model / model |\n|---|---:|---:|---:|---:|"
Request = Callable[[str], bytes]
"""From the name of a model to the bytes to send."""


@dataclass(frozen=True)
class Case:
    """One kind of request; limits for L = 10 and 40; whether places stay where they are, and whether rows are kept."""

    what: str
    request: Request
    limits: dict[int, str]
    cached: bool = False


def table() -> str:
    """Every wire format at L = 10 and 40, with the limit of encoding.md; then the default path, which snaps places."""
    with TemporaryDirectory() as folder, ExitStack() as stack:
        bundles = {polys: bundle_of(polys, Path(folder)) for polys in (10, 40)}
        names = ",".join(str(bundle.path) for bundle in bundles.values())
        one_thread = {"SATCLE_WORKER_THREADS": "1", "SATCLE_BUNDLES": names}
        servers = {
            name: stack.enter_context(running(*command, **one_thread, SATCLE_CACHE_MEMORY_MB=megabytes))
            for name, command, megabytes in (
                ("instant", ("tests.benchmarks.instant",), "0"),
                ("instant, cached", ("tests.benchmarks.instant",), "64"),
                ("whole", SERVE, "0"),
                ("whole, cached", SERVE, "64"),
            )
        }
        return "\n".join([HEADER, *_rows(bundles, servers, uniform_on_sphere(POINTS, seed=0))])


def cases(lonlat: Floats) -> list[Case]:
    """The bodies are made once, from these places."""
    raw, arrow = lonlat.astype("<f8").tobytes(), arrow_body(lonlat)

    def binary(body: bytes, media_type: str, exact: str) -> Request:
        path = f"{EMBEDDINGS}?exact={exact}&model="
        return lambda model: request(body, media_type, media_type, path + model)

    def as_json(encoding: str) -> Request:
        return lambda model: request(json_body(lonlat, model=model, exact=True, encoding_format=encoding), JSON, JSON)

    binary_limits = {10: "≤ 0.10", 40: "≤ 0.04"}
    none = {10: "-", 40: "-"}
    default_path = binary(raw, OCTET_STREAM, "false")
    return [
        Case("octet-stream in and out", binary(raw, OCTET_STREAM, "true"), binary_limits),
        Case("Arrow in and out", binary(arrow, ARROW, "true"), none),
        Case("JSON in, base64 out", as_json("base64"), none),
        Case("JSON in and out", as_json("float"), {10: "≤ 1.10", 40: "≤ 0.40"}),
        Case("octet-stream, to cell centres, cache off", default_path, none),
        Case("octet-stream, to cell centres, all in the cache", default_path, none, cached=True),
    ]


def _rows(bundles: dict[int, Bundle], servers: dict[str, Address], lonlat: Floats) -> list[str]:
    with ExitStack() as stack:
        connections = {name: stack.enter_context(Connection(address)) for name, address in servers.items()}
        seconds = interleaved(_runs(bundles, connections, lonlat), ROUNDS)
    rows = []
    for case in cases(lonlat):
        for legendre_polys, limit in case.limits.items():
            model = seconds[f"model {legendre_polys}"] / TIMES["model"]
            without, whole = (
                np.median(seconds[f"{server} {case.what} {legendre_polys}"] / TIMES[server] / model)
                for server in ("instant", "whole")
            )
            rows.append(f"| {case.what} | {legendre_polys} | {without:.3f} | {limit} | {whole:.2f} |")
    return rows


def _runs(
    bundles: dict[int, Bundle], connections: dict[str, Connection], lonlat: Floats
) -> dict[str, Callable[[], object]]:
    runs: dict[str, Callable[[], object]] = {}
    for legendre_polys, bundle in bundles.items():
        runs[f"model {legendre_polys}"] = repeated(model_alone(bundle, lonlat), TIMES["model"])
        for case in cases(lonlat):
            written = case.request(bundle.card.name)
            for server in ("instant", "whole"):
                connection = connections[f"{server}, cached" if case.cached else server]
                runs[f"{server} {case.what} {legendre_polys}"] = repeated(
                    partial(connection.exchange, written), TIMES[server]
                )
    return runs
