"""The index of S2-100K: index.csv, a file name and the place of its centre in each row."""

from __future__ import annotations

import csv
import hashlib
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from trainer.data.tile_batch import Fault, FaultKind
from trainer.errors import ImageryError

HEADER = ("fn", "lon", "lat")


@dataclass(frozen=True, eq=False)
class S2Index:
    """Row i is the i-th after the header, whatever is wrong with the others.

    `lonlat` (n, 2) float64, NaN in the rows that `faults` names; `sha256` is that of the file.
    """

    names: tuple[str, ...]
    lonlat: Tensor
    faults: dict[int, Fault]
    sha256: str


def read_index(path: Path) -> S2Index:
    """Raises ImageryError where there is no such file, no header or no row."""
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise ImageryError(f"{path} cannot be read: {error.strerror}; S2-100K is a folder with index.csv") from error
    except UnicodeDecodeError as error:
        raise ImageryError(f"{path} is not UTF-8 text; fetch it again") from error
    try:
        names, lonlat, faults = _parse(text, path)
    except csv.Error as error:
        raise ImageryError(f"{path} is no CSV: {error}; fetch it again") from error
    places = torch.tensor(lonlat, dtype=torch.float64).reshape(-1, 2)
    return S2Index(names, places, faults, hashlib.sha256(content).hexdigest())


def _parse(text: str, path: Path) -> tuple[tuple[str, ...], list[tuple[float, float]], dict[int, Fault]]:
    lines = csv.reader(io.StringIO(text, newline=""))
    header = [name.strip() for name in next(lines, [])]
    if not set(HEADER) <= set(header):
        raise ImageryError(f"{path} has the columns {', '.join(header) or 'none'}; it needs {', '.join(HEADER)}")
    columns = [header.index(name) for name in HEADER]
    names: list[str] = []
    lonlat: list[tuple[float, float]] = []
    faults: dict[int, Fault] = {}
    seen: set[str] = set()
    for fields in lines:
        if not fields:
            continue
        name, place, fault = _row(fields, columns, f"index.csv line {lines.line_num}")
        if fault is None and name in seen:
            fault = Fault(FaultKind.DUPLICATE_ROW, name, f"index.csv line {lines.line_num}")
        if fault is None:
            seen.add(name)
        else:
            faults[len(names)] = fault
        names.append(name)
        lonlat.append(place if fault is None else (math.nan, math.nan))
    if not names:
        raise ImageryError(f"{path} has no row; fetch it again")
    return tuple(names), lonlat, faults


def _row(fields: Sequence[str], columns: Sequence[int], line: str) -> tuple[str, tuple[float, float], Fault | None]:
    try:
        name, lon, lat = (fields[column].strip() for column in columns)
        place = float(lon), float(lat)
    except (IndexError, ValueError):
        return "", (math.nan, math.nan), Fault(FaultKind.MALFORMED_ROW, line, " ".join(",".join(fields).split())[:80])
    if not name:
        return "", place, Fault(FaultKind.MALFORMED_ROW, line, "no file name")
    if not (-180 <= place[0] <= 180 and -90 <= place[1] <= 90):
        hint = "; they look swapped" if abs(place[0]) <= 90 < abs(place[1]) <= 180 else ""
        return name, place, Fault(FaultKind.NOT_A_PLACE, name, f"{line}: lon {lon}, lat {lat}{hint}")
    return name, place, None
