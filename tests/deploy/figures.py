"""Size, start-up and memory of the image of the CPU, as a table.

SATCLE_TEST_IMAGES=1 python -m tests.deploy.figures
"""

from __future__ import annotations

import json
from statistics import median
from time import monotonic

import httpx

from tests.deploy.engine import IMAGE, Stack, engine

STARTS = 5
MEGABYTE = 10**6
TICKS = 100
"""A second, in Linux' /proc."""


def main() -> None:
    with engine() as environment:
        stack = Stack.on(environment)
        stack.compose("build api")
        base, whole = (size_of(stack, image) for image in ("python:3.11-slim-bookworm", IMAGE))
        seconds, cpu_seconds, mebibytes = zip(*(start(stack) for _ in range(STARTS)), strict=True)
    print("| image of the CPU | measured | limit |\n|---|---:|---:|")
    print(f"| size, MB | {whole / MEGABYTE:.0f} | < 700 |")
    print(f"| of which its base, as it is on this machine, MB | {base / MEGABYTE:.0f} | - |")
    print(f"| start of the container to ready, s (median of {STARTS}) | {median(seconds):.1f} | < 5 |")
    print(f"| of which CPU, s | {median(cpu_seconds):.1f} | - |")
    print(f"| memory at rest, MiB | {median(mebibytes):.0f} | - |")


def size_of(stack: Stack, image: str) -> int:
    (found,) = json.loads(stack.docker(f"image inspect {image}"))
    return int(found["Size"])


def start(stack: Stack) -> tuple[float, float, float]:
    """Seconds from `docker run` to the first 200 of /readyz, the service's CPU seconds, and the MiB held then."""
    begun = monotonic()
    container = stack.docker(f"run --detach --read-only --tmpfs /tmp --publish 127.0.0.1:{stack.port}:8000 {IMAGE}")
    try:
        while not is_ready(stack):
            pass
        seconds = monotonic() - begun
        child = "read -r child _ < /proc/1/task/1/children; cat /proc/$child/stat"
        stat = stack.docker(f"exec {container.strip()} sh -c '{child}'")
        used = stack.docker(f"stats --no-stream --format {{{{.MemUsage}}}} {container.strip()}").partition("MiB")[0]
    finally:
        stack.docker(f"rm --force {container.strip()}")
    user, system = stat.rpartition(")")[2].split()[11:13]
    return seconds, (int(user) + int(system)) / TICKS, float(used)


def is_ready(stack: Stack) -> bool:
    try:
        with stack.client() as client:
            return client.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False


if __name__ == "__main__":
    main()
