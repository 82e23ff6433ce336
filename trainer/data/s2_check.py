"""Whether a folder of S2-100K is whole: every patch decoded, every fault named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from trainer.config import S2Data
from trainer.data.s2_folder import Layout, S2Folder, open_folder
from trainer.data.tile_batch import Fault, FaultKind

AT_ONCE = 64


@dataclass(frozen=True)
class S2Report:
    """`readable` of `rows` index rows have a patch that can be trained on; `partial` as in the config."""

    path: Path
    layout: Layout
    rows: int
    readable: int
    faults: tuple[Fault, ...]
    partial: bool

    @property
    def ok(self) -> bool:
        """Nothing is wrong beyond nodata, and shards that are absent on purpose."""
        forgiven = {FaultKind.NODATA} | ({FaultKind.NO_FILE} if self.partial else set())
        return self.readable > 0 and all(fault.kind in forgiven for fault in self.faults)

    def by_kind(self) -> Iterator[tuple[FaultKind, list[Fault]]]:
        """The kinds that occur."""
        for kind in FaultKind:
            if found := [fault for fault in self.faults if fault.kind is kind]:
                yield kind, found

    def as_json(self) -> str:
        """All of it, every fault by name."""
        return json.dumps(asdict(self) | {"path": str(self.path), "ok": self.ok}, indent=2)


def check_s2(data: S2Data, imagery: Path, cache: Path | None = None) -> S2Report:
    """Decodes all of it. Raises ImageryError where there is no index, or no patch at all."""
    folder = open_folder(data, imagery, cache)
    found = dict(folder.faults) | dict(_decoding_faults(folder))
    faults = tuple(chain((found[row] for row in sorted(found)), folder.strays))
    rows = len(folder.index.names)
    return S2Report(folder.path, folder.layout, rows, rows - len(found), faults, data.partial)


def _decoding_faults(folder: S2Folder) -> Iterator[tuple[int, Fault]]:
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("patches", total=len(folder.files))
        ordered = folder.in_order(folder.files)
        for start in range(0, len(ordered), AT_ONCE):
            for row, patch in folder.decoded(ordered[start : start + AT_ONCE]):
                progress.advance(task)
                if isinstance(patch, Fault):
                    yield row, patch
