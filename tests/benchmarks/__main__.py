"""Run every benchmark on this machine and print its table."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.benchmarks import bulk, compute


def main() -> None:
    print(f"# Benchmarks\n\n{compute.machine()}\n", flush=True)
    print(f"## Location encoder\n\n{compute.table()}\n", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        print(f"## `satcle embed`, {bulk.ROWS:,} rows\n\n{bulk.table(Path(folder))}", flush=True)


if __name__ == "__main__":
    main()
