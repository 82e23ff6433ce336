"""What can go wrong with a bundle or with the coordinates it is asked about.

BundleError
├── BundleNotFound      no bundle at that path
├── BundleCorrupt       a file is missing, altered, or does not parse
├── BundleUnsupported   written by a newer format than this code reads
└── BundleExists        the target is taken, and overwriting was not asked for
CoordinateError         coordinates that name no place on Earth, each one named
"""

from __future__ import annotations

from dataclasses import dataclass

MAX_PROBLEMS = 20


class BundleError(Exception):
    """Base of every bundle error; the message names the path and the fix."""


class BundleNotFound(BundleError):
    pass


class BundleCorrupt(BundleError):
    pass


class BundleUnsupported(BundleError):
    pass


class BundleExists(BundleError):
    pass


@dataclass(frozen=True)
class CoordinateProblem:
    """One coordinate that names no place: its row, its axis (0 lon, 1 lat; None for both) and why."""

    index: int
    axis: int | None
    message: str


class CoordinateError(ValueError):
    """Some rows name no place on Earth. Holds the first `MAX_PROBLEMS` of `total`."""

    def __init__(self, problems: tuple[CoordinateProblem, ...], total: int) -> None:
        self.problems = problems
        self.total = total
        first = problems[0]
        rest = f" (and {total - 1} more)" if total > 1 else ""
        super().__init__(f"row {first.index}: {first.message}{rest}")
