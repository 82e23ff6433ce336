"""S2-100K as tiles by row: 100,000 Sentinel-2 patches, as published in tar shards, or extracted.

Klemmer et al., "SatCLIP: Global, General-Purpose Location Embeddings with Satellite Imagery" (2025).
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from service.bundle import DataSource
from trainer.config import S2Data, digest_of
from trainer.data.points import split
from trainer.data.s2_folder import open_folder
from trainer.data.tile_batch import Fault, FaultKind, TileBatch, summary
from trainer.errors import ImageryError

SOURCE = DataSource(
    name="S2-100K",
    credit="S2-100K (K. Klemmer et al., SatCLIP, 2025); contains modified Copernicus Sentinel data 2021-2023",
    license="MIT; Copernicus Sentinel data, free and open with attribution",
    url="https://huggingface.co/datasets/torchgeo/s2-100k",
)


class S2Tiles:
    """Row i is row i of index.csv; a row that cannot be used keeps its number, so nothing else moves.

    Shards are read in place, in the order in which the patches lie: rows read by neighbourhood stream. Their headers
    are walked once, and kept in `imagery`/shard-index for as long as size and mtime stay.
    """

    sources = (SOURCE,)

    def __init__(self, data: S2Data, imagery: Path) -> None:
        """Raises ImageryError where there is no S2-100K, or too little of it can be used."""
        self.data, self.bands = data, data.bands
        self.folder = open_folder(data, imagery, imagery / "shard-index")
        self.lonlat = self.folder.index.lonlat
        self.unreadable = dict(self.folder.faults)
        self._check_enough()
        readable = torch.tensor([row in self.folder.files for row in range(len(self.lonlat))])
        rows = split(len(self.lonlat), data.validation_share, data.seed)
        self.train_rows, self.validation_rows = (part[readable[part]] for part in rows)

    @property
    def identity(self) -> object:
        """The index by its content; the files by name, size and mtime, as 78 GB are not hashed at every start."""
        settings = self.data.model_dump(mode="json", exclude={"path", "partial", "max_unreadable_share"})
        return {
            "data": settings,
            "index": self.folder.index.sha256,
            "files": digest_of([self.folder.layout, *self.folder.contents]),
        }

    def read(self, rows: Tensor) -> TileBatch:
        """As `Tiles.read`."""
        asked = rows.tolist()
        read = dict(self._readable(asked))
        there = [row for row in asked if row in read]
        shape = (0, len(self.bands), self.data.size, self.data.size)
        tiles = torch.stack([read[row] for row in there]) if there else torch.empty(shape)
        return TileBatch(torch.tensor(there, dtype=torch.int64), tiles)

    def _readable(self, rows: list[int]) -> list[tuple[int, Tensor]]:
        found: list[tuple[int, Tensor]] = []
        for row, patch in self.folder.decoded(row for row in rows if row not in self.unreadable):
            if isinstance(patch, Fault):
                self.unreadable[row] = patch
            else:
                found.append((row, torch.from_numpy(patch)))
        self._check_enough()
        return found

    def _check_enough(self) -> None:
        forgiven = {FaultKind.NODATA} | ({FaultKind.NO_FILE} if self.data.partial else set())
        faults = [fault for fault in self.unreadable.values() if fault.kind not in forgiven]
        total, most = len(self.lonlat), self.data.max_unreadable_share
        if len(faults) > most * total:
            raise ImageryError(
                f"{self.folder.path}: {len(faults)} of {total} patches cannot be used ({summary(faults)}), more than "
                f"data.max_unreadable_share {most:g}; see satcle data check{self._partial_hint(faults)}"
            )

    def _partial_hint(self, faults: list[Fault]) -> str:
        absent = any(fault.kind is FaultKind.NO_FILE for fault in faults)
        return ", or set data.partial where only some shards were fetched" if absent else ""
