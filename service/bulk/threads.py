"""The local engine for datasets: threads of this process, a part each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from itertools import islice

from service.bulk.parts import Made, MakeParts, Maker, Part, Task
from service.bundle import Bundle


@dataclass(frozen=True)
class Threads:
    """So many parts at once; the first that fails ends the job when those under way are done."""

    threads: int

    def __call__(self, task: Task, bundle: Bundle) -> MakeParts:
        return partial(self._made, Maker(task, bundle))

    def _made(self, maker: Maker, parts: Sequence[Part]) -> Iterator[Made]:
        waiting = iter(parts)
        making: set[Future[Made]] = set()
        with ThreadPoolExecutor(self.threads) as pool:
            while True:
                free = self.threads - len(making)
                making |= {pool.submit(maker.make, part) for part in islice(waiting, free)}
                if not making:
                    return
                made, making = wait(making, return_when=FIRST_COMPLETED)
                for future in made:
                    yield future.result()
