"""Rasters: the separable graph beside the general one, a cold tile beside its compute, and the globe at 3600 x 1800."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

import numpy as np

from service.bundle import Bundle
from service.embedding.backends.onnx import OnnxGridBackend
from service.embedding.models import Model, load_models
from service.maps.grid import Grid, lonlat_of
from service.maps.layers import Similarity
from service.maps.raster import UNIT_COLUMNS, raster
from service.maps.render import Style, tile_bytes
from service.maps.tiling import tile_grid
from service.metrics import Metrics
from service.settings import read_settings
from tests.benchmarks.compute import Run, interleaved
from tests.benchmarks.models import CHUNK, bundle_of, model_alone
from tests.peak_memory import PEAK_KILOBYTES

HEADER = "| what | L | measured | limit |\n|---|---:|---:|---:|"
WIDTH, HEIGHT = 3600, 1800
TILE = ("WebMercatorQuad", 4, 13, 6)
FOREVER = float("inf")

SCRIPT = f"""{PEAK_KILOBYTES}
import sys, time
from service.cli import app
app(sys.argv[1:], standalone_mode=False)
print(time.process_time(), peak_kilobytes())
"""
"""The command, and then the processor time and the peak memory of its process."""


def table(rounds: int = 20) -> str:
    """Every measurement at L = 10 and 40, with the limit it is held to."""
    with tempfile.TemporaryDirectory() as name:
        rows = [HEADER]
        for bundle in (bundle_of(polys, Path(name)) for polys in (10, 40)):
            polys = bundle.card.encoding.legendre_polys
            for measure in (_against_general, _tile, _globe):
                rows += [f"| {what} | {polys} | {value} | {limit} |" for what, value, limit in measure(bundle, rounds)]
        return "\n".join(rows)


def _against_general(bundle: Bundle, rounds: int) -> Iterator[tuple[str, str, str]]:
    """One thread; the same pixels in units as the service has them, and in chunks as it has places."""
    grid = tile_grid(*TILE)
    seconds = interleaved({"raster": _units(bundle, grid), "general": _general(bundle, grid)}, rounds)
    ratio = np.median(seconds["raster"] / seconds["general"])
    limit = "≤ 0.50" if bundle.card.encoding.legendre_polys == 40 else "-"
    yield "raster / general, a point", f"{ratio:.2f}", limit
    yield "raster, µs a point", f"{1e6 * np.median(seconds['raster']) / len(grid):.1f}", "-"


def _tile(bundle: Bundle, rounds: int) -> Iterator[tuple[str, str, str]]:
    """A tile of 256 x 256 as PNG through the batcher, with one worker, beside its points on one thread."""
    grid = tile_grid(*TILE)
    settings = read_settings(bundles=(str(bundle.path),), worker_threads=1, cache_memory_mb=0)
    with asyncio.Runner() as runner:
        models = load_models(settings, Metrics(), None)
        model = models.default
        reference = model.backend.embed(lonlat_of(np.array([116.4]), np.array([39.9])))
        layer = Similarity(reference)
        runs: dict[str, Run] = {
            "tile": lambda: runner.run(_draw(model, grid, layer)),
            "units": _units(bundle, grid),
            "general": _general(bundle, grid),
        }
        seconds = interleaved(runs, rounds)
        runner.run(models.close())
    for name, what, limit in (("units", "the raster graph alone", "≤ 1.20"), ("general", "the general graph", "-")):
        ratio = np.median(seconds["tile"] / seconds[name])
        yield f"a cold tile / its points through {what}", f"{ratio:.2f}", limit


def _globe(bundle: Bundle, rounds: int) -> Iterator[tuple[str, str, str]]:
    """`satcle map` of the globe in a process of its own, on all cores."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["--reference", "116.4,39.9", "--bbox", "-180,-90,180,90", "--width", str(WIDTH)]
        target = ["--height", str(HEIGHT), "--model", str(bundle.path), "-o", f"{folder}/globe.tif"]
        started = perf_counter()
        command = [sys.executable, "-c", SCRIPT, "map", *arguments, *target]
        output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        seconds = perf_counter() - started
    cpu_seconds, kilobytes = map(float, output.split()[-2:])
    name = f"`satcle map` of the globe, {WIDTH} x {HEIGHT}, "
    yield name + "points/s", f"{WIDTH * HEIGHT / seconds:,.0f}", "-"
    yield name + "CPU µs a point", f"{1e6 * cpu_seconds / (WIDTH * HEIGHT):.1f}", "-"
    yield name + "peak memory MB", f"{kilobytes / 1024:.0f}", "< 1,000"


def _units(bundle: Bundle, grid: Grid) -> Run:
    assert bundle.card.raster is not None
    backend = OnnxGridBackend(bundle, bundle.card.raster.file, "cpu")
    rows = CHUNK // UNIT_COLUMNS
    units = [grid.lats[row : row + rows] for row in range(0, grid.height, rows)]
    return lambda: [backend.embed_grid(grid.lons, lats) for lats in units]


def _general(bundle: Bundle, grid: Grid) -> Run:
    return model_alone(bundle, lonlat_of(grid.lons, grid.lats).degrees)


async def _draw(model: Model, grid: Grid, layer: Similarity) -> bytes:
    values = await raster(model, grid, layer, FOREVER)
    return await asyncio.to_thread(tile_bytes, values, grid, layer, Style.of(layer), "png")
