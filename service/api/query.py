"""Query parameters of maps, point values and tiles: named, counted and read strictly."""

from __future__ import annotations

import math
import re
from collections.abc import Collection

from starlette.requests import Request

from service.errors import InvalidRequest, ItemError

REPEATED = frozenset({"reference", "negative"})
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
MAX_SHOWN = 60


class Query:
    """The parameters of one request. Raises InvalidRequest where one is unknown, or is there twice and may not be."""

    def __init__(self, request: Request, known: Collection[str]) -> None:
        self._given: dict[str, list[str]] = {}
        for name, value in request.query_params.multi_items():
            self._given.setdefault(name, []).append(value)
        problems = [
            ItemError(_pointer(name), f"is not a parameter here; there are {', '.join(known)}")
            for name in self._given
            if name not in known
        ] + [
            ItemError(_pointer(name), f"is there {len(values)} times; once is enough")
            for name, values in self._given.items()
            if name in known and name not in REPEATED and len(values) > 1
        ]
        if problems:
            raise InvalidRequest(problems)

    def one(self, name: str) -> str | None:
        return self._given[name][0] if name in self._given else None

    def each(self, name: str) -> list[str]:
        return self._given.get(name, [])

    def choice(self, name: str, choices: tuple[str, ...]) -> str:
        """One of the choices, the first where the parameter is absent. Raises InvalidRequest."""
        value = self.one(name) or choices[0]
        if value not in choices:
            raise InvalidRequest([ItemError(_pointer(name), f"{shown(value)} is not one of {', '.join(choices)}")])
        return value


def lon_lat(text: str, pointer: str) -> list[float]:
    """`lon,lat` as two finite numbers. Raises InvalidRequest."""
    numbers = [number(part) for part in text.split(",", 2)]
    if len(numbers) != 2 or None in numbers:
        raise InvalidRequest([ItemError(pointer, f"expected lon,lat as two numbers in degrees, not {shown(text)}")])
    return [value for value in numbers if value is not None]


def number(text: str) -> float | None:
    """What a decimal number, written plainly, says; None for all else, infinities among it."""
    value = float(text) if len(text) <= MAX_SHOWN and NUMBER.fullmatch(text.strip()) else math.nan
    return value if math.isfinite(value) else None


def shown(text: str) -> str:
    """What a client sent, in ASCII and short."""
    return ascii(text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 3] + "...")


def _pointer(name: str) -> str:
    return "/" + name[:MAX_SHOWN].replace("~", "~0").replace("/", "~1")
