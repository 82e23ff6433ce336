"""Where runs are kept: a folder of this machine or a mounted one, or a bucket that fsspec reaches (s3://bucket/runs).

Credentials and endpoints are those of the store's own environment variables (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, …).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

import fsspec
from fsspec.core import split_protocol
from fsspec.implementations.local import LocalFileSystem
from fsspec.registry import known_implementations
from upath import UPath

from trainer.errors import StorageError

Place = Path | UPath
"""A file or a folder: a Path where this machine's file system has it, else a UPath."""


def place_of(given: str) -> Place:
    """`given` as a user writes it, a path or a URL. Raises StorageError where no package here reaches such a URL."""
    protocol, _ = split_protocol(given)
    if protocol in (None, "file", "local"):
        return Path(LocalFileSystem._strip_protocol(given) if protocol else given)
    try:
        fsspec.get_filesystem_class(protocol)
    except ImportError as error:
        package = known_implementations[protocol]["class"].partition(".")[0]
        fix = str(error) if package == "fsspec" else f"pip install {package}"
        raise StorageError(f"{given}: {protocol}:// needs a package that is not installed: {fix}") from error
    except ValueError as error:
        raise StorageError(f"{given}: nothing is known that reaches {protocol}://") from error
    return UPath(given, use_listings_cache=False)  # other machines write there too


def exists(place: Place) -> bool:
    """Raises StorageError where that cannot be told."""
    with _reaching(place):
        return place.exists()


def read_bytes(place: Place) -> bytes:
    """Raises StorageError."""
    with _reaching(place):
        return place.read_bytes() if isinstance(place, Path) else bytes(place.fs.cat_file(place.path))


@contextmanager
def writing(place: Place) -> Iterator[IO[bytes]]:
    """A file to be whole at `place` at the end; whoever is killed before leaves what was there. Raises StorageError.

    On a file system it is written beside `place` and renamed; a bucket shows an object once all of it has arrived.
    """
    if isinstance(place, Path):
        with _reaching(place):
            place.parent.mkdir(parents=True, exist_ok=True)
            part = place.with_suffix(".part")
            with part.open("wb") as file:
                yield file
            part.replace(place)
    else:
        buffer = BytesIO()
        yield buffer
        with _reaching(place):
            place.fs.pipe_file(place.path, buffer.getvalue())


def write_text(place: Place, text: str) -> None:
    """UTF-8, whole or not at all. Raises StorageError."""
    with writing(place) as file:
        file.write(text.encode())


def remove(place: Place) -> None:
    """Where it is there. Raises StorageError."""
    with _reaching(place):
        place.unlink(missing_ok=True)


@dataclass(frozen=True)
class Staged:
    """`folder` of this machine, for files that are held open and appended to, which no bucket allows."""

    folder: Path
    place: Place
    _sizes: dict[Path, int] = field(default_factory=dict)

    def publish(self) -> None:
        """Bring what has grown to `place`. Raises StorageError."""
        if self.folder == self.place:
            return
        for file in sorted(self.folder.iterdir()):
            size = file.stat().st_size
            if self._sizes.get(file) != size:
                with writing(self.place / file.name) as published:
                    published.write(file.read_bytes())
                self._sizes[file] = size


@contextmanager
def staged(place: Place) -> Iterator[Staged]:
    """`place` itself where it is a folder, else a temporary one, published at the end. Raises StorageError."""
    if isinstance(place, Path):
        yield Staged(place, place)
        return
    with TemporaryDirectory(prefix="satcle-") as folder:
        yield (here := Staged(Path(folder), place))
        here.publish()


@contextmanager
def _reaching(place: Place) -> Iterator[None]:
    """What a file system or a bucket refuses, in one line that names `place`."""
    # each kind of bucket has errors of its own
    refusal = OSError if isinstance(place, Path) else Exception
    try:
        yield
    except refusal as error:
        said = (isinstance(error, OSError) and error.strerror) or " ".join(str(error).split())
        raise StorageError(f"{place}: {said or type(error).__name__}") from error
