"""Real patches in the layout of S2-100K, where the shared folder is at hand."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]


def s2_100k_sample() -> Path:
    """A folder of 23 patches; skips the test where there is none."""
    folder = Path(os.environ.get("SATCLE_SHARED", REPOSITORY.parent / "shared")) / "data" / "s2_100k_sample"
    if not folder.is_dir():
        pytest.skip(f"no sample {folder}: set SATCLE_SHARED to the folder that holds data/")
    return folder
