"""The built files of the map page, read once into memory: a few, small, and the same for everybody."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "built"
INDEX = "index.html"
MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".woff2": "font/woff2",
}


@dataclass(frozen=True)
class File:
    """One file of the page; `gzipped` where the build found that worth while."""

    content: bytes
    gzipped: bytes | None
    media_type: str


def read_built(folder: Path = FOLDER) -> Mapping[str, File]:
    """Every file by name; empty where the page was not built."""
    if not (folder / INDEX).is_file():
        return {}
    return {path.name: _file(path) for path in sorted(folder.iterdir()) if path.suffix in MEDIA_TYPES}


def _file(path: Path) -> File:
    gzipped = path.with_name(path.name + ".gz")
    return File(path.read_bytes(), gzipped.read_bytes() if gzipped.is_file() else None, MEDIA_TYPES[path.suffix])
