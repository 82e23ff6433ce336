"""The bundles that ship with satcle, each a folder here, and how a bundle is named: by its path or by its name here."""

from __future__ import annotations

from pathlib import Path

from service.bundle import BundleNotFound, find_bundles

DEFAULT = "earth-l10"
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
