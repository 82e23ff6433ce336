"""Bundles on disk. The only crossing point between trainer and service."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from service.bundle.card import FORMAT, BundleCard, bundle_digest
from service.bundle.errors import BundleCorrupt, BundleExists, BundleNotFound, BundleUnsupported
from service.bundle.manifest import MANIFEST, FileEntry, Manifest

CARD = "card.json"
Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class Bundle:
    """A bundle whose every file was verified when it was read."""

    path: Path
    card: BundleCard
    manifest: Manifest

    def read(self, name: str) -> bytes:
        """The listed file `name`, verified again: what is returned is what the manifest describes."""
        return _read_verified(self.path, name, self.manifest)


def read_bundle(path: Path) -> Bundle:
    """Read and verify the bundle in the folder `path`.

    Raises BundleNotFound, BundleCorrupt (which file, and how it differs) or BundleUnsupported.
    """
    if not (path / MANIFEST).is_file():
        raise BundleNotFound(f"no bundle at {path}: it has no {MANIFEST}")
    manifest = _parse(Manifest, _read_file(path / MANIFEST), path / MANIFEST)
    contents = {name: _read_verified(path, name, manifest) for name in manifest.files}
    if CARD not in contents:
        raise BundleCorrupt(f"{path}: the manifest lists no {CARD}; export the bundle again")
    card = _parse(BundleCard, contents[CARD], path / CARD)
    for name in card.files:
        if name not in contents:
            raise BundleCorrupt(f"{path}: the card names {name}, which the manifest does not list")
    if card.digest != bundle_digest(card, _sha256_by_name(manifest.files)):
        raise BundleCorrupt(f"{path}: the card's digest does not match the card and its files; export the bundle again")
    return Bundle(path, card, manifest)


def write_bundle(path: Path, card: BundleCard, files: Mapping[str, bytes], *, overwrite: bool = False) -> Bundle:
    """Write card and files as the folder `path`, whole or not at all, and read it back.

    `files` maps each relative name but card.json to its content; the card's digest is filled in here.
    Raises BundleExists unless `overwrite`, which replaces a bundle or an empty folder and nothing else;
    ValueError where a name in `files` is not one that a bundle can hold.
    """
    check_target(path, overwrite=overwrite)
    if CARD in files:
        raise ValueError(f"{CARD} is written from the card: leave it out of the files")
    entries = {name: FileEntry.of(content) for name, content in files.items()}
    signed = card.model_copy(update={"digest": bundle_digest(card, _sha256_by_name(entries))})
    card_bytes = signed.model_dump_json(indent=2).encode() + b"\n"
    manifest = Manifest(files={CARD: FileEntry.of(card_bytes), **entries})
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        staging.chmod(0o755)
        for name, content in {CARD: card_bytes, **files}.items():
            _write_synced(staging / name, content)
        _write_synced(staging / MANIFEST, manifest.model_dump_json(indent=2).encode() + b"\n")
        staged = read_bundle(staging)
        _replace_folder(path, staging)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    return replace(staged, path=path)


def check_target(path: Path, *, overwrite: bool) -> None:
    """Raise BundleExists where `write_bundle` would: worth asking before the work that makes a bundle."""
    if path.exists() and not overwrite:
        raise BundleExists(f"{path} exists; choose another folder or ask to overwrite it")
    if path.exists() and not _may_be_lost(path):
        raise BundleExists(f"{path} is no bundle, and overwriting would lose what it holds; choose another folder")


def find_bundles(folders: Iterable[Path]) -> list[Path]:
    """The bundle folders among `folders`: each that is one itself, and the children of the others."""
    found: list[Path] = []
    for folder in folders:
        if (folder / MANIFEST).is_file():
            found.append(folder)
        elif folder.is_dir():
            found += sorted(p.parent for p in folder.glob(f"*/{MANIFEST}") if not p.parent.name.startswith("."))
        else:
            raise BundleNotFound(f"no bundle at {folder}: the folder does not exist")
    return found


def _sha256_by_name(files: Mapping[str, FileEntry]) -> dict[str, str]:
    return {name: entry.sha256 for name, entry in files.items() if name != CARD}


def _read_verified(folder: Path, name: str, manifest: Manifest) -> bytes:
    if name not in manifest.files:
        raise BundleCorrupt(f"{folder}: the manifest lists no {name}")
    if not Path(os.path.realpath(folder / name)).is_relative_to(os.path.realpath(folder)):
        raise BundleCorrupt(f"{folder / name} is a link that leaves the bundle; put the file itself there")
    content = _read_file(folder / name)
    if problem := manifest.files[name].problem_with(content):
        raise BundleCorrupt(f"{folder / name} {problem}; copy the bundle again")
    return content


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BundleCorrupt(f"{path} cannot be read ({error.strerror}); copy the bundle again") from error


def _parse(model: type[Model], content: bytes, path: Path) -> Model:
    try:
        raw = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BundleCorrupt(f"{path} is not JSON ({error}); copy the bundle again") from error
    written = raw.get("format") if isinstance(raw, dict) else None
    if isinstance(written, int) and written > FORMAT:
        raise BundleUnsupported(f"{path} has format {written}, this satcle reads up to {FORMAT}; upgrade satcle")
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the top level"
        raise BundleCorrupt(f"{path}: {where}: {first['msg']}") from error


def _write_synced(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _may_be_lost(path: Path) -> bool:
    return (path / MANIFEST).is_file() or (path.is_dir() and not any(path.iterdir()))


def _replace_folder(target: Path, staging: Path) -> None:
    if not target.exists():
        staging.rename(target)
        return
    retired = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent)) / target.name
    target.rename(retired)
    try:
        staging.rename(target)
    except BaseException:
        retired.rename(target)
        raise
    finally:
        shutil.rmtree(retired.parent, ignore_errors=True)
