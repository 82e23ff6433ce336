"""S2-100K from the Hugging Face hub, over plain HTTP: resumed at the byte where it stopped, checked by sha256.

The hub's own library starts a file anew in each process and does not check what it got.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from trainer.errors import ImageryError

REPOSITORY = "torchgeo/s2-100k"
SHARD = re.compile(r"data/shard-(\d+)\.tar")
ATTEMPTS = 5
"""In a row without a new byte, then a file is given up; the wait between them doubles from a second."""
AGAIN = frozenset({408, 429, 500, 502, 503, 504})


@dataclass(frozen=True)
class HubFile:
    """A file of the dataset; `sha256` is known of large files only."""

    path: str
    size: int
    sha256: str | None


def fetch_s2(folder: Path, endpoint: str, shards: range | None = None) -> Iterator[tuple[HubFile, bool]]:
    """Bring index.csv and the `shards` (all by default) into the folder; yields each file, and whether it was fetched.

    A file that is there in its full size is left alone; what was interrupted goes on. Raises ImageryError: what could
    not be reached, found, written or trusted.
    """
    with httpx.Client(follow_redirects=True, timeout=30, headers={"Accept-Encoding": "identity"}) as client:
        files = _wanted(_listed(client, endpoint), shards)
        absent = [file for file in files if not _is_there(folder / file.path, file)]
        _check_room(folder, absent)
        yield from ((file, False) for file in files if file not in absent)
        with _progress() as progress:
            for file in absent:
                task = progress.add_task(file.path, total=file.size)
                url = f"{endpoint}/datasets/{REPOSITORY}/resolve/main/{file.path}"
                for done in _fetch(client, url, file, folder / file.path):
                    progress.update(task, completed=done)
                yield file, True


def shard_numbers(asked: str) -> range:
    """ "3" or "0-9", both ends included. Raises ImageryError."""
    match = re.fullmatch(r"(\d+)(?:-(\d+))?", asked)
    if match is None or int(match[2] or match[1]) < int(match[1]):
        raise ImageryError(f"--shards {asked} is no range; write it as 0-9")
    return range(int(match[1]), int(match[2] or match[1]) + 1)


def _listed(client: httpx.Client, endpoint: str) -> list[HubFile]:
    """All files of the dataset, page after page."""
    url: str | None = f"{endpoint}/api/datasets/{REPOSITORY}/tree/main?recursive=true"
    files: list[HubFile] = []
    try:
        while url is not None:
            reply = client.get(url)
            reply.raise_for_status()
            for entry in reply.json():
                if entry["type"] == "file":
                    files.append(HubFile(entry["path"], entry["size"], (entry.get("lfs") or {}).get("oid")))
            url = reply.links.get("next", {}).get("url")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise _unreachable(url or endpoint, error) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ImageryError(f"{url} is no list of files; correct --endpoint") from error
    return files


def _wanted(files: Sequence[HubFile], shards: range | None) -> list[HubFile]:
    """index.csv, then the shards in order."""
    numbers = {int(match[1]): file for file in files if (match := SHARD.fullmatch(file.path))}
    index = [file for file in files if file.path == "index.csv"]
    if not (index and numbers):
        raise ImageryError(f"{REPOSITORY} has no index.csv and data/shard-*.tar at this endpoint; correct --endpoint")
    chosen = sorted(numbers) if shards is None else shards
    if absent := [number for number in chosen if number not in numbers]:
        raise ImageryError(f"there is no shard {absent[0]}; shards are {min(numbers)} to {max(numbers)}")
    return index + [numbers[number] for number in chosen]


def _check_room(folder: Path, absent: Sequence[HubFile]) -> None:
    needed = sum(file.size - _size(_part(folder / file.path)) for file in absent)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise ImageryError(f"{folder} cannot be written: {error.strerror}") from error
    if needed > free:
        raise ImageryError(
            f"{folder} has room for {free / 1e9:.1f} GB, {needed / 1e9:.1f} GB are to come; "
            "choose fewer --shards or another --out"
        )


def _fetch(client: httpx.Client, url: str, file: HubFile, target: Path) -> Iterator[int]:
    """Under its final name only once it is whole and its sha256 right; yields how many bytes there are by now."""
    part = _part(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield from _complete(client, url, part, file.size)
        _check_content(part, file)
        part.replace(target)
    except OSError as error:
        raise ImageryError(f"{part} cannot be written: {error.strerror}; what is there is kept") from error


def _complete(client: httpx.Client, url: str, part: Path, size: int) -> Iterator[int]:
    """Add to `part` until it is whole. Raises ImageryError where no byte comes any more."""
    failures = 0
    while (have := _size(part)) < size:
        try:
            yield from _append(client, url, part, have)
            problem: Exception = httpx.RemoteProtocolError("the connection ended too early")
        except httpx.HTTPError as error:
            problem = error
            if isinstance(error, httpx.HTTPStatusError) and error.response.status_code not in AGAIN:
                raise _unreachable(url, error) from error
        if _size(part) > have:
            failures = 0
            continue
        failures += 1
        if failures == ATTEMPTS:
            raise _unreachable(url, problem) from problem
        time.sleep(2 ** (failures - 1))


def _append(client: httpx.Client, url: str, part: Path, have: int) -> Iterator[int]:
    """One request for what is missing; a server that knows no ranges starts from the first byte."""
    with client.stream("GET", url, headers={"Range": f"bytes={have}-"} if have else {}) as reply:
        reply.raise_for_status()
        goes_on = reply.status_code == httpx.codes.PARTIAL_CONTENT
        with part.open("ab" if goes_on else "wb") as out:
            for piece in reply.iter_bytes():
                out.write(piece)
                yield out.tell()


def _check_content(part: Path, file: HubFile) -> None:
    """What is wrong is thrown away: going on from it would not make it right."""
    size = _size(part)
    with part.open("rb") as content:
        sha256 = hashlib.file_digest(content, "sha256").hexdigest() if file.sha256 else None
    if size != file.size:
        problem = f"{size} bytes, the hub says {file.size}"
    elif sha256 != file.sha256:
        problem = f"sha256 {sha256}, the hub says {file.sha256}"
    else:
        return
    part.unlink()
    raise ImageryError(f"{file.path} came with {problem}; fetch it again")


def _unreachable(url: str, error: Exception) -> ImageryError:
    if isinstance(error, httpx.HTTPStatusError):
        why = f"{error.response.status_code} {error.response.reason_phrase}"
        return ImageryError(f"{url}: {why}; correct --endpoint, or try again later")
    why = " ".join(str(error).split()) or type(error).__name__
    return ImageryError(f"{url} cannot be reached ({why}); check the network or --endpoint, then ask again to go on")


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    return Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True))


def _is_there(path: Path, file: HubFile) -> bool:
    return _size(path) == file.size


def _part(target: Path) -> Path:
    return target.with_name(f".{target.name}.part")


def _size(path: Path) -> int:
    """0 where there is no such file."""
    return path.stat().st_size if path.exists() else 0
