"""A file under its final name is whole, or is not there."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from service.errors import OutputExists


@contextmanager
def replacing(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """A sibling to write to, which takes the name `path` when the block ends well and is removed when it does not.

    Raises OutputExists unless `overwrite`, and FileNotFoundError where there is no such folder.
    """
    if path.exists() and not overwrite:
        raise OutputExists(f"{path} exists; choose another name or pass --overwrite")
    final = path.resolve()  # through a link, so that the link stays
    if not final.parent.is_dir():
        raise FileNotFoundError(2, "No such folder", str(path.parent))
    staging = final.with_name(f".{final.name}.{secrets.token_hex(4)}")
    try:
        yield staging
        sync(staging)
        staging.replace(final)
        sync(final.parent)
    finally:
        staging.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Have what was written to a file or a folder survive the loss of power."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
