"""The folder that a dataset lies in: on a file system, or in an object store that pyarrow knows (s3://, gs://).

A file under its name is whole, or is not there: it is renamed when it is, and an object store shows none before.
"""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pyarrow import fs

from service.bulk.read_parquet import first_line
from service.bulk.replace import sync
from service.errors import BadTable


@dataclass(frozen=True)
class Folder:
    """A folder that may not be there yet. It is pickled for workers on other machines."""

    shown: str
    filesystem: fs.FileSystem
    path: str

    @classmethod
    def of(cls, path_or_uri: str) -> Folder:
        """Raises BadTable where no such file system is known, or it cannot be reached."""
        if "://" not in path_or_uri:
            return cls(path_or_uri, fs.LocalFileSystem(), str(Path(path_or_uri).absolute()))
        try:
            filesystem, path = fs.FileSystem.from_uri(path_or_uri)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise BadTable(f"{path_or_uri}: {first_line(error)}") from None
        if not path.strip("/"):
            raise BadTable(f"{path_or_uri} names no folder, as s3://bucket/folder does")
        return cls(path_or_uri, filesystem, path.rstrip("/"))

    @property
    def is_local(self) -> bool:
        return isinstance(self.filesystem, fs.LocalFileSystem)

    def names(self) -> set[str]:
        """The files and folders in it that are not hidden. Raises BadTable where it is a file."""
        selector = fs.FileSelector(self.path, allow_not_found=True)
        try:
            found = self.filesystem.get_file_info(selector)
        except NotADirectoryError:
            raise BadTable(f"{self.shown} is a file; a dataset is a folder") from None
        return {info.base_name for info in found if not info.base_name.startswith(".")}

    def read(self, name: str) -> bytes:
        with self.filesystem.open_input_stream(f"{self.path}/{name}") as stream:
            return stream.read()  # type: ignore[no-any-return]

    def write(self, name: str, text: str) -> None:
        with self.writing(name) as staging:
            staging.write_text(text, encoding="utf-8")

    def remove(self, name: str) -> None:
        self.filesystem.delete_file(f"{self.path}/{name}")

    def create(self) -> None:
        if self.is_local:
            self.filesystem.create_dir(self.path)

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """A path on this machine to write to; what is there when the block ends well, if anything, is `name`."""
        if self.is_local:
            with self._beside(name) as staging:
                yield staging
            return
        with tempfile.TemporaryDirectory(prefix="satcle-") as place:
            staging = Path(place) / name
            yield staging
            if staging.exists():
                target = f"{self.path}/{name}"
                fs.copy_files(str(staging), target, fs.LocalFileSystem(), self.filesystem)

    @contextmanager
    def _beside(self, name: str) -> Iterator[Path]:
        final = Path(self.path) / name
        staging = final.with_name(f".{name}.{secrets.token_hex(4)}")
        try:
            yield staging
            if staging.exists():
                sync(staging)
                staging.replace(final)
                sync(final.parent)
        finally:
            staging.unlink(missing_ok=True)

    def remove_stagings(self, suffix: str) -> None:
        """Take away what killed workers have left of files that end so; for when nobody writes any more."""
        if self.is_local:
            for staging in Path(self.path).glob(f".*{suffix}.????????"):
                staging.unlink(missing_ok=True)
