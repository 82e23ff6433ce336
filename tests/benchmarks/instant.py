"""The service with a backend that answers at once: what is left is the cost of everything but the model.

python -m tests.benchmarks.instant
"""

from __future__ import annotations

import numpy as np

from service import logs
from service.app import create_app
from service.bundle import LonLat
from service.embedding.backends.base import BATCH_POINTS, Rows
from service.serving import Server
from service.settings import read_settings

EMBEDDING_DIM = 256


class InstantBackend:
    """Returns rows that were made beforehand."""

    provider = "instant"
    embedding_dim = EMBEDDING_DIM

    def __init__(self, max_rows: int) -> None:
        self._rows = np.random.default_rng(0).standard_normal((max_rows, EMBEDDING_DIM), dtype=np.float32)

    def embed(self, lonlat: LonLat) -> Rows:
        return self._rows[: len(lonlat)]


def main() -> None:
    """Serve on a port that the system chooses."""
    settings = read_settings()
    logs.configure(settings.log_format)
    app = create_app(settings, InstantBackend(settings.max_batch_points or BATCH_POINTS["cpu"]))
    Server(app, settings, "127.0.0.1", 0).run()


if __name__ == "__main__":
    main()
