"""Tar shards, read in place: the headers are walked once, then a member is bytes at an offset."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from trainer.errors import ImageryError

BLOCK = 512


class Member(NamedTuple):
    """A regular file of a tar: its path within, and where its bytes lie."""

    name: str
    offset: int
    size: int


class Shard(NamedTuple):
    """The members that are whole; `damage` says what keeps the tar from being so, if anything."""

    path: Path
    members: tuple[Member, ...]
    damage: str | None


def read_shards(paths: Sequence[Path], cache: Path | None) -> list[Shard]:
    """The headers of uncompressed tars, from the folder `cache` where a tar is as it was by size and mtime.

    Raises ImageryError where a tar cannot be opened at all.
    """
    return [_cached(path, cache) if cache else _walk(path) for path in paths]


def _cached(path: Path, cache: Path) -> Shard:
    entry = cache / f"{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:32]}.json"
    try:
        state = path.stat()
        kept = json.loads(entry.read_text(encoding="utf-8"))
        if (kept["size"], kept["mtime_ns"]) == (state.st_size, state.st_mtime_ns):
            return Shard(path, tuple(Member(*member) for member in kept["members"]), kept["damage"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # absent or not ours: walked anew
    shard = _walk(path)
    _keep(entry, shard)
    return shard


def _keep(entry: Path, shard: Shard) -> None:
    """A cache that cannot be written is gone without: the imagery may lie on a disk that is read only."""
    state = shard.path.stat()
    content = {"size": state.st_size, "mtime_ns": state.st_mtime_ns, "members": shard.members, "damage": shard.damage}
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=entry.parent, suffix=".part", delete=False) as staged:
            json.dump(content, staged)
        Path(staged.name).replace(entry)
    except OSError:
        pass


def _walk(path: Path) -> Shard:
    """tarfile stops in silence at a damaged header, so the end is looked at: a whole tar ends in a block of zeros."""
    members: list[Member] = []
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            with tarfile.open(fileobj=file, mode="r:") as tar:
                for member in tar:
                    if member.isreg():
                        members.append(Member(member.name, member.offset_data, member.size))
                end = tar.offset
            marker = os.pread(file.fileno(), BLOCK, end)
    except tarfile.ReadError as error:
        return _damaged(path, members, size, str(error))
    except IsADirectoryError:
        return Shard(path, (), "it is a folder")
    except OSError as error:
        raise ImageryError(f"{path} cannot be read: {error.strerror}") from error
    if marker != bytes(BLOCK):
        return _damaged(path, members, size, "it ends too early" if end >= size else f"no header at byte {end}")
    return Shard(path, tuple(members), None)


def _damaged(path: Path, members: list[Member], size: int, why: str) -> Shard:
    whole = tuple(member for member in members if member.offset + member.size <= size)
    return Shard(path, whole, f"{why}; {len(whole)} files before that")
