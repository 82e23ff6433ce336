"""A folder of S2-100K: what its index names, where those patches lie, and what does not fit."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning

from trainer.config import S2Data
from trainer.data.s2_index import S2Index, read_index
from trainer.data.s2_patch import decode
from trainer.data.shards import read_shards
from trainer.data.tile_batch import Fault, FaultKind
from trainer.errors import ImageryError

Layout = Literal["shards", "images"]
DECODERS = min(16, len(os.sched_getaffinity(0)))
"""Threads: GDAL decodes outside the interpreter's lock."""
SUFFIXES = (".tif", ".tiff")


class PatchFile(NamedTuple):
    """`size` bytes of `path`, from `offset`."""

    path: Path
    offset: int
    size: int


@dataclass(frozen=True, eq=False)
class S2Folder:
    """`files` holds the rows that are worth reading; `faults`, all others; `strays`, faults that belong to no row.

    Shards are never extracted: a patch is read at its offset in the tar, and rows read in the order of `in_order` are
    a sequential read of every shard. `contents` names each file on disk with its size and modification time.
    """

    path: Path
    layout: Layout
    index: S2Index
    files: dict[int, PatchFile]
    faults: dict[int, Fault]
    strays: tuple[Fault, ...]
    contents: tuple[tuple[str, int, int], ...]
    patch_size: int

    def in_order(self, rows: Iterable[int]) -> list[int]:
        """The rows that have a file, as they lie on disk."""
        return sorted((row for row in rows if row in self.files), key=lambda row: self.files[row][:2])

    def decoded(self, rows: Iterable[int]) -> Iterator[tuple[int, NDArray[np.float32] | Fault]]:
        """Each row that has a file, in no order that matters, with its reflectance (12, size, size) or its fault."""
        ordered = self.in_order(rows)
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # the index says where a patch is; not undone, as
        with ThreadPoolExecutor(DECODERS) as pool:  # warnings are the process's, and other threads may be reading
            yield from zip(ordered, pool.map(self._decode, ordered), strict=True)

    def _decode(self, row: int) -> NDArray[np.float32] | Fault:
        name, (path, offset, size) = self.index.names[row], self.files[row]
        try:
            with path.open("rb") as file:
                file.seek(offset)
                content = file.read(size)
        except OSError as error:
            return Fault(FaultKind.CORRUPT, name, f"{path} cannot be read: {error.strerror}")
        return decode(name, content, self.patch_size)


def open_folder(data: S2Data, imagery: Path, cache: Path | None) -> S2Folder:
    """Index and headers only. Raises ImageryError where there is no index, or no patch at all."""
    path = imagery / data.path
    index = read_index(path / "index.csv")
    faults = dict(index.faults)
    shards = sorted((path / "data").glob("shard-*.tar"))
    if shards:
        found, strays, contents = _in_shards(shards, cache)
    else:
        found, strays, contents = _in_images(path / "images")
    files: dict[int, PatchFile] = {}
    for row, name in enumerate(index.names):
        if row in faults:
            continue
        if name not in found:
            faults[row] = Fault(FaultKind.NO_FILE, name)
        elif found[name].size < data.min_bytes:
            faults[row] = Fault(FaultKind.NODATA, name, f"{found[name].size} bytes")
        else:
            files[row] = found[name]
    strays += [Fault(FaultKind.NO_ROW, name) for name in sorted(set(found) - set(index.names))]
    layout: Layout = "shards" if shards else "images"
    return S2Folder(path, layout, index, files, faults, tuple(strays), tuple(contents), data.size)


Found = tuple[dict[str, PatchFile], list[Fault], list[tuple[str, int, int]]]


def _in_shards(paths: list[Path], cache: Path | None) -> Found:
    found: dict[str, PatchFile] = {}
    strays: list[Fault] = []
    for shard in read_shards(paths, cache):
        if shard.damage:
            strays.append(Fault(FaultKind.BROKEN_SHARD, shard.path.name, shard.damage))
        for member in shard.members:
            name = PurePosixPath(member.name).name
            if not _is_patch(name):
                continue
            if name in found:
                strays.append(Fault(FaultKind.DUPLICATE_FILE, name, f"{found[name].path.name}, {shard.path.name}"))
            else:
                found[name] = PatchFile(shard.path, member.offset, member.size)
    return found, strays, [_on_disk(path.name, path.stat()) for path in paths]


def _in_images(folder: Path) -> Found:
    try:
        with os.scandir(folder) as entries:
            patches = (entry for entry in entries if _is_patch(entry.name) and _is_file(entry))
            listed = sorted((entry.name, entry.stat()) for entry in patches)
    except OSError as error:
        raise ImageryError(
            f"{folder.parent} has neither data/shard-*.tar nor images/; satcle data get s2-100k"
        ) from error
    found = {name: PatchFile(folder / name, 0, state.st_size) for name, state in listed}
    return found, [], [_on_disk(name, state) for name, state in listed]


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Itself, or what it links to; a link in a circle is none."""
    try:
        return entry.is_file()
    except OSError:
        return False


def _is_patch(name: str) -> bool:
    return name.endswith(SUFFIXES) and not name.startswith(".")


def _on_disk(name: str, state: os.stat_result) -> tuple[str, int, int]:
    return name, state.st_size, state.st_mtime_ns
