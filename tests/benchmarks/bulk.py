"""`satcle embed` on 1,000,000 rows with the default bundle: points a second and peak memory, as Markdown rows."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

ROWS = 1_000_000
HEADER = "| from | to | points/s | CPU s | peak memory MB |\n|---|---|---:|---:|---:|"
CASES = (("in.parquet", "out.parquet"), ("in.csv", "out.parquet"), ("in.csv", "out.csv"))


def table() -> str:
    """Write the inputs, embed each, and say how it went."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write_places(folder)
        return "\n".join([HEADER, *(_measured(folder / source, folder / target) for source, target in CASES)])


def _write_places(folder: Path) -> None:
    rng = np.random.default_rng(0)
    lat = np.degrees(np.arcsin(rng.uniform(-1, 1, ROWS)))
    places = pa.table({"id": np.arange(ROWS), "lon": rng.uniform(-180, 180, ROWS).round(6), "lat": lat.round(6)})
    pq.write_table(places, folder / "in.parquet")
    pa_csv.write_csv(places, folder / "in.csv")


def _measured(source: Path, target: Path) -> str:
    command = [sys.executable, "-m", "service", "embed", str(source), "-o", str(target)]
    started = perf_counter()
    _, status, used = os.wait4(os.spawnv(os.P_NOWAIT, sys.executable, command), 0)
    seconds = perf_counter() - started
    target.unlink()
    if status:
        raise SystemExit(f"{' '.join(command)} failed")
    kinds = f"{source.suffix[1:]} | {target.suffix[1:]}"
    return f"| {kinds} | {ROWS / seconds:,.0f} | {used.ru_utime + used.ru_stime:.1f} | {used.ru_maxrss / 1024:.0f} |"
