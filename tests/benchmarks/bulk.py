"""`satcle embed` on 1,000,000 rows with the default bundle: points a second and peak memory, as Markdown rows."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from tests.peak_memory import PEAK_KILOBYTES

ROWS = 1_000_000
HEADER = "| from | to | points/s | CPU s | peak memory MB |\n|---|---|---:|---:|---:|"
CASES = (("in.parquet", "out.parquet"), ("in.csv", "out.parquet"), ("in.csv", "out.csv"))


SCRIPT = f"""{PEAK_KILOBYTES}
import sys, time
from service.cli import app
app(sys.argv[1:], standalone_mode=False)
print(time.process_time(), peak_kilobytes())
"""
"""The command, and then the processor time and the peak memory of its process."""


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
    started = perf_counter()
    command = [sys.executable, "-c", SCRIPT, "embed", str(source), "-o", str(target)]
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    seconds = perf_counter() - started
    target.unlink()
    cpu_seconds, kilobytes = map(float, output.split()[-2:])
    kinds = f"{source.suffix[1:]} | {target.suffix[1:]}"
    return f"| {kinds} | {ROWS / seconds:,.0f} | {cpu_seconds:.1f} | {kilobytes / 1024:.0f} |"
