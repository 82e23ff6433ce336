"""The location encoder on a GPU, end to end: from host to host in process, and over HTTP, beside this machine's CPU.

python -m tests.benchmarks gpu

ONNX Runtime computes where its session really holds CUDA, else torch does, on the same graph: the table says which.
Where there is no GPU it says why, and measures the CPU alone. Takes about ten minutes on a GPU.

Needs, with onnxruntime-gpu: pip install '.[gpu]' torch onnx. With torch alone: torch with CUDA, onnx, onnxruntime,
numpy, pyarrow, typer and prometheus-client, as images for training have, and what else the service needs. A machine
that reaches no package index is given that as one archive, made elsewhere for its Python:

pip download -d WHEELS --only-binary=:all: --python-version 3.12 --platform manylinux_2_28_x86_64 \
  --platform manylinux_2_27_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \
  --platform manylinux1_x86_64 'fastapi<1' 'h3<5' httptools 'morecantile<8' 'orjson<4' 'pydantic-settings<3' \
  'rasterio<2' 'redis[hiredis]<9' 'rio-tiler<10' 'uvicorn<1'
rm WHEELS/numpy-*; for wheel in WHEELS/*; do unzip -qo $wheel -d SITE; done
cp -r .venv/lib/python3*/site-packages/satcle-*.dist-info SITE; tar -cJf site.tar.xz SITE

and there: tar -xJf site.tar.xz; PYTHONPATH=SITE python3 -m tests.benchmarks gpu
"""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from service.bundle import Bundle, LonLat
from service.embedding.backends.base import Backend, embed_checked
from tests.benchmarks.client import EMBEDDINGS, OCTET_STREAM, request
from tests.benchmarks.gpu_engines import Ceilings, Engine, cpu_engine, gpu_engine
from tests.benchmarks.models import bundle_of
from tests.benchmarks.processes import Address, running
from trainer.export import embed_with_graph, parity_places
from trainer.precision import cosine_distances
from trainer.snap import uniform_on_sphere

SECONDS = 1.0
"""Of each figure in process; HTTP's take HTTP_SECONDS each."""
HTTP_SECONDS = 4.0
CLIENTS = 8
REQUEST_PLACES = 32_768
CACHED_PLACES = 8_192
QUEUE_PLACES = 2**22
PATIENCE_S = 120.0
TARGETS = "To be reached on an H200 at L = 40: 20 million points/s in process, 1 million over HTTP."
IN_PROCESS = (
    "| in process, host to host | L | precision | CUDA graphs | largest cosine distance | places a batch | points/s "
    "| checked, points/s | of the matrix rate |\n|---|---:|---|---|---:|---:|---:|---:|---:|"
)
HTTP = "| HTTP, raw in and out | L | precision | processes | clients | points/s |\n|---|---:|---|---:|---:|---:|"
CACHE = (
    "| HTTP, to cell centres | L | cache off, points/s | all in the cache, points/s | pays, by /info |\n"
    "|---|---:|---:|---:|---|"
)
NOTE = (
    "Cosine distances are to float32 on the CPU, over poles, antimeridian and random places. Checked: each value is "
    "looked at, as the service does. Of the matrix rate: the network's products alone, beside the large product's."
)
CLIENT = (sys.executable, "-m", "tests.benchmarks.gpu_client")
Cells = tuple[object, ...]


def table() -> str:
    """What the GPU can do at most, then each engine in process, over HTTP, and with the cache."""
    gpu = gpu_engine()
    if isinstance(gpu, str):
        parts, engines = [f"No GPU was found, and none measured: {gpu}."], [cpu_engine()]
    else:
        parts, engines = [said(gpu.ceilings())], [gpu, cpu_engine()]
    with TemporaryDirectory() as folder:
        bundles = {polys: bundle_of(polys, Path(folder), precisions=len(engines) > 1) for polys in (10, 40)}
        for header, rows in ((IN_PROCESS, _in_process), (HTTP, _http), (CACHE, _cache)):
            parts.append("\n".join([header, *(row for engine in engines for row in rows(engine, bundles))]))
    return "\n\n".join([*parts, NOTE, TARGETS])


def said(most: Ceilings) -> str:
    products = ", ".join(f"{name} {rate / 1e12:.0f} TFLOP/s" for name, rate in most.products.items())
    copies = ", ".join(f"{name} {rate / 1e9:.1f} GB/s" for name, rate in most.copies.items())
    return f"A large square product: {products}. Copies: {copies}."


def _in_process(engine: Engine, bundles: dict[int, Bundle]) -> Iterator[str]:
    for legendre_polys, bundle in bundles.items():
        for precision in _declared(engine, bundle):
            for replays in engine.replays:
                cells = (engine.name, legendre_polys, precision, "yes" if replays else "no")
                yield from rows(cells, lambda: _rates(engine, bundle, precision, replays))  # noqa: B023 - called at once


def _rates(engine: Engine, bundle: Bundle, precision: str, replays: bool) -> Iterator[Cells]:
    places, encoder = parity_places(), bundle.read(bundle.card.encoder)
    most, flops = engine.ceilings().products.get(precision), flops_of(encoder)
    backend = engine.open(bundle, precision, replays)
    embedded = embed_checked(backend, LonLat.from_degrees(places))
    distance = cosine_distances(embedded, embed_with_graph(encoder, places)).max()
    for batch in engine.batches:
        rate, checked = (_rate(backend, batch, engine.threads, check=check) for check in (False, True))
        share = f"{rate * flops / most:.2f}" if most else "-"
        yield f"{distance:.1e}", f"{batch:,}", f"{rate:,.0f}", f"{checked:,.0f}", share


def _http(engine: Engine, bundles: dict[int, Bundle]) -> Iterator[str]:
    lonlat = uniform_on_sphere(REQUEST_PLACES, seed=0)

    def measured(bundle: Bundle, precision: str, processes: int) -> Iterator[Cells]:
        with serving(engine, bundle, precision, processes, cache_mb=0) as addresses:
            yield (f"{asked(addresses, lonlat, CLIENTS, exact=True):,.0f}",)

    for legendre_polys, bundle in bundles.items():
        for precision in _declared(engine, bundle):
            for processes in engine.served_by:
                cells = (engine.name, legendre_polys, precision, processes, CLIENTS)
                yield from rows(cells, lambda: measured(bundle, precision, processes))  # noqa: B023


def _cache(engine: Engine, bundles: dict[int, Bundle]) -> Iterator[str]:
    lonlat = uniform_on_sphere(CACHED_PLACES, seed=0)

    def measured(bundle: Bundle) -> Iterator[Cells]:
        with serving(engine, bundle, "float32", 1, cache_mb=0) as addresses:
            without = asked(addresses, lonlat, CLIENTS, exact=False)
        with serving(engine, bundle, "float32", 1, cache_mb=1024) as addresses:
            hits = asked(addresses, lonlat, CLIENTS, exact=False)
            yield f"{without:,.0f}", f"{hits:,.0f}", _pays(addresses[0])

    for legendre_polys, bundle in bundles.items():
        yield from rows((engine.name, legendre_polys), lambda: measured(bundle))  # noqa: B023


def rows(cells: Cells, measured: Callable[[], Iterator[Cells]]) -> Iterator[str]:
    """A row for each of what is measured; one that fails says so, and costs no other."""
    try:
        for values in measured():
            yield _row((*cells, *values))
    except Exception as error:  # whatever a machine that was never seen has in store
        yield _row((*cells, f"failed: {' '.join(str(error).split())[:300]}"))


def _row(cells: Cells) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def _declared(engine: Engine, bundle: Bundle) -> list[str]:
    """Of the engine's precisions, those that the bundle has."""
    return [each for each in engine.precisions if each == "float32" or bundle.card.precision(each)]


def flops_of(encoder: bytes) -> int:
    """Of the network's products, a place; what the encoding takes is not in it."""
    weights = [each for each in onnx.load_from_string(encoder).graph.initializer if each.name.startswith("weight_")]
    return 2 * sum(numpy_helper.to_array(weight).size for weight in weights)


def _rate(backend: Backend, batch: int, threads: int, *, check: bool) -> float:
    """Points a second, from places in memory to rows in memory, by so many threads with work at all times.

    `check`: as the service takes them, which looks whether every value is finite.
    """
    lonlat = LonLat.from_degrees(uniform_on_sphere(batch, seed=0))
    embed = (lambda: embed_checked(backend, lonlat)) if check else (lambda: backend.embed(lonlat))

    def work(until: float) -> int:
        for batches in count(1):
            embed()
            if perf_counter() >= until:
                return batches

    embed()
    with ThreadPoolExecutor(threads) as pool:
        started = perf_counter()
        batches = sum(pool.map(work, [started + SECONDS] * threads))
        return batches * batch / (perf_counter() - started)


@contextmanager
def serving(engine: Engine, bundle: Bundle, precision: str, processes: int, cache_mb: int) -> Iterator[list[Address]]:
    """So many processes that serve the bundle, each on a port of its own."""
    environment = {
        **engine.environment,
        "SATCLE_BUNDLES": str(bundle.path),
        "SATCLE_PRECISION": precision,
        "SATCLE_CACHE_MEMORY_MB": str(cache_mb),
        "SATCLE_MAX_QUEUE_POINTS": str(QUEUE_PLACES),
    }
    with ExitStack() as stack:
        yield [stack.enter_context(running(*engine.command, **environment)) for _ in range(processes)]


def asked(addresses: list[Address], lonlat: NDArray[np.float64], clients: int, *, exact: bool) -> float:
    """Points a second that so many client processes get, each from one of the addresses."""
    path = f"{EMBEDDINGS}?exact={str(exact).lower()}"
    with TemporaryDirectory() as folder, ExitStack() as stack:
        file = Path(folder) / "request"
        file.write_bytes(request(lonlat.astype("<f8").tobytes(), OCTET_STREAM, OCTET_STREAM, path))
        started = []
        for number in range(clients):
            host, port = addresses[number % len(addresses)]
            client = subprocess.Popen(
                [*CLIENT, host, str(port), str(file), str(HTTP_SECONDS)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            stack.callback(client.kill)
            started.append(client)
        for client in started:
            if client.stdout.readline() != "ready\n":
                raise RuntimeError("a client was not answered; see its error above")
        for client in started:
            client.stdin.write("\n")
            client.stdin.flush()
        answers = [client.communicate(timeout=PATIENCE_S)[0].split() for client in started]
        return sum(int(count) * len(lonlat) / float(seconds) for count, seconds in answers)


def _pays(address: Address) -> object:
    """What the service says of its cache."""
    with urllib.request.urlopen(f"http://{address[0]}:{address[1]}/info", timeout=PATIENCE_S) as answer:
        (model,) = json.load(answer)["models"]
    (tier,) = model["cache"]
    return tier["pays"]
