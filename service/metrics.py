"""Every metric, name, label and bucket of the service, in one place. Never a coordinate or a cell in a label.

Several worker processes count as one: where SHARED_FOLDER_VARIABLE names a folder before this module is imported,
every worker keeps its counts in files there, and what any of them shows is the sum of all.
"""

from __future__ import annotations

import os

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

SHARED_FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
POINTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 16384)


class Metrics:
    """One registry an app, so that several apps can live in one process."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.requests = Counter(
            "satcle_requests_total", "Requests answered", ["route", "method", "status"], registry=registry
        )
        self.request_duration = Histogram(
            "satcle_request_duration_seconds", "Time to the last byte", ["route"], buckets=SECONDS, registry=registry
        )
        self.points = Counter("satcle_points_total", "Places embedded", ["model", "source"], registry=registry)
        self.queue_points = Gauge(
            "satcle_queue_points", "Places waiting for a batch", registry=registry, multiprocess_mode="livesum"
        )
        self.queue_wait = Histogram(
            "satcle_queue_wait_seconds", "Time from queued to batched", buckets=SECONDS, registry=registry
        )
        self.batch_points = Histogram("satcle_batch_points", "Places in a batch", buckets=POINTS, registry=registry)
        self.inference = Histogram(
            "satcle_inference_seconds",
            "Time of one batch in the backend",
            ["model", "provider"],
            buckets=SECONDS,
            registry=registry,
        )
        self.rejected = Counter("satcle_rejected_total", "Requests turned away", ["reason"], registry=registry)
        self.cache_hits = Counter("satcle_cache_hits_total", "Rows found", ["tier"], registry=registry)
        self.cache_misses = Counter("satcle_cache_misses_total", "Rows not found", ["tier"], registry=registry)
        self.cache_errors = Counter(
            "satcle_cache_errors_total",
            "Commands that failed and values that were not sound",
            ["tier"],
            registry=registry,
        )
        self.cache_breaker_open = Gauge(
            "satcle_cache_breaker_open",
            "Processes that leave Redis alone for now",
            ["model", "operation"],
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.models_loaded = Gauge(
            "satcle_models_loaded", "Models in memory", registry=registry, multiprocess_mode="livesum"
        )
        self.model_loads = Counter(
            "satcle_model_loads_total", "Models loaded, or not after all", ["model", "result"], registry=registry
        )
        self.model_unloads = Counter(
            "satcle_model_unloads_total", "Models unloaded: replaced, removed, or to make room", registry=registry
        )
        self.build_info = Gauge(
            "satcle_build_info", "Always 1", ["version", "python"], registry=registry, multiprocess_mode="livemax"
        )
        self.provider_info = Gauge(
            "satcle_provider_info", "Always 1", ["model", "provider"], registry=registry, multiprocess_mode="livemax"
        )

    def exposition(self) -> tuple[bytes, str]:
        """What Prometheus scrapes, and its media type."""
        registry = self._registry
        if folder := os.environ.get(SHARED_FOLDER_VARIABLE):
            registry = CollectorRegistry()
            MultiProcessCollector(registry, folder)  # type: ignore[no-untyped-call]
        return generate_latest(registry), CONTENT_TYPE_PLAIN_0_0_4


def forget_gauges_of(worker_pid: int, folder: str) -> None:
    """Take the gauges of a worker that ended out of the sums; what it counted stays."""
    mark_process_dead(worker_pid, folder)  # type: ignore[no-untyped-call]
