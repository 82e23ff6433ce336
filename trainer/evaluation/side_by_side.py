"""Small jobs of torch side by side, a thread each.

The matrices of a perceptron are too small to be shared out among threads, which wait for each other at every one of
them: on two busy cores a fit by both took fifty times as long as by one. Fitting all seeds as one stack of matrices
gains nothing over that: the time is that of the multiplications.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import TypeVar

import torch

Result = TypeVar("Result")


def side_by_side(jobs: Sequence[Callable[[], Result]]) -> Iterator[Result]:
    """What each gives, as it is done, as many at once as torch has threads. After the first error no other begins."""
    if not jobs:
        return
    threads = torch.get_num_threads()
    waiting = iter(jobs)
    running: set[Future[Result]] = set()
    pool = ThreadPoolExecutor(min(threads, len(jobs)), initializer=torch.set_num_threads, initargs=(1,))
    try:
        while running := running | {pool.submit(job) for job in islice(waiting, threads - len(running))}:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()
    finally:
        pool.shutdown(wait=True)
        torch.set_num_threads(threads)
