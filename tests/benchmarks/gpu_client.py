"""One process that asks: the same request again and again, each as soon as the last is answered.

python -m tests.benchmarks.gpu_client HOST PORT FILE SECONDS

FILE holds the request as it is sent. Says `ready` after two answers, begins at a line on its input, and at the end says
how many answers came and in how many seconds.
"""

from __future__ import annotations

import sys
from pathlib import Path
from time import perf_counter

from tests.benchmarks.client import Connection


def main(host: str, port: str, file: str, seconds: str) -> None:
    written = Path(file).read_bytes()
    with Connection((host, int(port))) as connection:
        for _ in range(2):
            connection.exchange(written)
        print("ready", flush=True)
        sys.stdin.readline()
        started, answers = perf_counter(), 0
        while perf_counter() - started < float(seconds):
            connection.exchange(written)
            answers += 1
        print(answers, perf_counter() - started, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
