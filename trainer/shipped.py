"""The bundles that ship with satcle."""

from __future__ import annotations

from importlib import resources
from pathlib import Path


def bundle_folder(name_or_path: str) -> Path:
    """An existing folder, else the folder of the bundle of that name that ships with satcle."""
    path = Path(name_or_path)
    return path if path.is_dir() else Path(str(resources.files("service"))) / "bundles" / path.name
