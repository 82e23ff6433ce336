"""OpenTelemetry traces over OTLP/HTTP. The only module that imports opentelemetry; without an endpoint nothing does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import perf_counter, time

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from service.embedding.timing import Stage

EPOCH = time() - perf_counter()
"""What `perf_counter` must be moved by; taken once, so that spans keep their order whatever is done to the clock."""


class Traces:
    """Sends a span a request, with a span a stage in it, to the collector at `endpoint`, from a thread of its own.

    A collector that is away costs spans and no request: those that find the queue full are dropped.
    """

    def __init__(self, endpoint: str, version: str) -> None:
        resource = Resource.create({"service.name": "satcle", "service.version": version})
        self._provider = TracerProvider(resource=resource)
        exporter = OTLPSpanExporter(endpoint.rstrip("/") + "/v1/traces")
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("satcle", version)
        self._propagator = TraceContextTextMapPropagator()

    def record(
        self,
        request: Stage,
        stages: Sequence[Stage],
        attributes: Mapping[str, str | int],
        headers: Mapping[str, str],
        failed: bool,
    ) -> None:
        """A span of `request` with `stages` in it; `headers` may hold the W3C `traceparent` of the caller's span."""
        parent = self._propagator.extract(headers)
        span = self._start(request, parent, SpanKind.SERVER, attributes)
        for stage in stages:
            self._start(stage, set_span_in_context(span)).end(_wall_clock_ns(stage.end))
        if failed:
            span.set_status(StatusCode.ERROR)
        span.end(_wall_clock_ns(request.end))

    def _start(
        self,
        stage: Stage,
        parent: Context,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Mapping[str, str | int] | None = None,
    ) -> Span:
        return self._tracer.start_span(stage.name, parent, kind, attributes, start_time=_wall_clock_ns(stage.start))

    def close(self) -> None:
        """Send what has not been sent; blocks."""
        self._provider.shutdown()


def _wall_clock_ns(moment: float) -> int:
    """A moment of `perf_counter`, since 1970."""
    return int((moment + EPOCH) * 1e9)
