"""The manifest of a bundle: every file with its size and sha256."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from service.bundle.card import FORMAT, Digest, Frozen

MANIFEST = "manifest.json"


def _plain_relative(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or not path.parts or ".." in path.parts or set(name) & {"\\", "\0"} or str(path) != name:
        raise ValueError(f"{name!r} is not a plain relative path")
    if name == MANIFEST:
        raise ValueError("a manifest does not list itself")
    return name


FileName = Annotated[str, AfterValidator(_plain_relative)]


class FileEntry(Frozen):
    sha256: Digest
    size: int = Field(ge=0)

    @classmethod
    def of(cls, content: bytes) -> FileEntry:
        return cls(sha256=hashlib.sha256(content).hexdigest(), size=len(content))

    def problem_with(self, content: bytes) -> str | None:
        """Why `content` is not the listed file, or None where it is."""
        if len(content) != self.size:
            return f"has {len(content)} bytes, its manifest says {self.size}"
        if hashlib.sha256(content).hexdigest() != self.sha256:
            return "was altered: its sha256 is not the manifest's"
        return None


class Manifest(Frozen):
    format: Literal[1] = FORMAT
    files: Mapping[FileName, FileEntry]
