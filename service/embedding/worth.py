"""Whether the cache pays: what its lookups cost, beside what they save the model."""

from __future__ import annotations

from dataclasses import dataclass

HORIZON_ROWS = 100_000
ENOUGH_ROWS = 100
"""Fewer rows than this say nothing yet."""


@dataclass
class Recent:
    """Rows, the seconds they took, and how many of them were hits; past HORIZON_ROWS all are halved: the old fades."""

    rows: float = 0.0
    seconds: float = 0.0
    hits: float = 0.0

    def add(self, rows: int, seconds: float, hits: int = 0) -> None:
        self.rows += rows
        self.seconds += seconds
        self.hits += hits
        if self.rows > HORIZON_ROWS:
            self.rows, self.seconds, self.hits = self.rows / 2, self.seconds / 2, self.hits / 2

    @property
    def seconds_per_row(self) -> float | None:
        return self.seconds / self.rows if self.rows else None

    @property
    def hit_rate(self) -> float | None:
        return self.hits / self.rows if self.rows else None


def worth(lookups: Recent, model: Recent) -> dict[str, float | bool | None]:
    """The figures, and whether a looked-up row saves more of the model's time than it takes (None: not known yet)."""
    saved, spent = model.seconds_per_row, lookups.seconds_per_row
    hit_rate = lookups.hit_rate
    pays = None
    if saved is not None and spent is not None and hit_rate is not None and lookups.rows >= ENOUGH_ROWS:
        pays = hit_rate * saved > spent
    return {
        "pays": pays,
        "hit_rate": hit_rate,
        "lookup_seconds_per_row": spent,
        "model_seconds_per_row": saved,
    }
