"""Run benchmarks on this machine and print their tables: all of them, or those named.

python -m tests.benchmarks [name …]
"""

from __future__ import annotations

import sys
from importlib import import_module

from tests.benchmarks import compute

TITLES = {
    "compute": "Location encoder",
    "http": "What HTTP costs",
    "singles": "Single places at concurrency",
    "latency": "A single place beside requests of 100,000",
    "overload": "Overload",
    "cache": "A lookup in the cache",
    "peers": "Beside a plain FastAPI service",
    "bulk": "`satcle embed`, 1,000,000 rows",
    "raster": "Rasters and tiles",
    "training": "Training on kept features",
    "gpu": "On a GPU",
}
"""By the name of the module whose `table` it is."""


def main(names: list[str]) -> None:
    if unknown := set(names) - set(TITLES):
        raise SystemExit(f"no benchmark {', '.join(unknown)}; there is {', '.join(TITLES)}")
    print(f"# Benchmarks\n\n{compute.machine()}", flush=True)
    for name in names or TITLES:
        table = import_module(f"tests.benchmarks.{name}").table
        print(f"\n## {TITLES[name]}\n\n{table()}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
