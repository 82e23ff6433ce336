"""The bundles that ship with satcle, each a folder here, and how a bundle is named: by its path or by its name here."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from service.bundle import BundleNotFound, find_bundles

DEFAULT = "earth-l30"
SHIPPED = Path(__file__).parent


def bundle_path(name_or_path: str) -> Path:
    """The folder of a bundle: an existing folder, else the shipped bundle of that name.

    Raises BundleNotFound, which names the shipped ones.
    """
    shipped = {path.name: path for path in find_bundles([SHIPPED])}
    if Path(name_or_path).is_dir():
        return Path(name_or_path)
    if name_or_path in shipped:
        return shipped[name_or_path]
    raise BundleNotFound(f"no bundle {name_or_path!r}: it is no folder, and shipped are {', '.join(shipped) or 'none'}")


def bundle_folders(names_or_paths: Iterable[str], *, missing_ok: bool = False) -> list[Path]:
    """The folder of each bundle, once: those named, and every bundle in a folder of bundles, in alphabetical order.

    A folder of bundles may be empty, for those to come. Raises BundleNotFound where there is none at all, or, unless
    `missing_ok`, where a name or path is that of none.
    """
    folders: dict[Path, None] = {}
    for name_or_path in names_or_paths:
        try:
            path = bundle_path(name_or_path)
            found = find_bundles([path])
        except BundleNotFound:
            if missing_ok:
                continue
            raise
        if not found and not missing_ok and any(not child.name.startswith(".") for child in path.iterdir()):
            raise BundleNotFound(f"no bundle at {path}: it has no manifest.json, nor has any folder in it")
        folders |= dict.fromkeys(found)
    if not folders and not missing_ok:
        raise BundleNotFound(f"no bundle in {', '.join(names_or_paths)}: put one there before the service is started")
    return list(folders)
