"""What the project measures about itself: `python -m tests.benchmarks` prints every table, in Markdown."""

import os

for library in ("OMP", "OPENBLAS", "MKL"):
    os.environ[f"{library}_NUM_THREADS"] = "1"  # a peak is that of one thread; read when numpy is first imported
