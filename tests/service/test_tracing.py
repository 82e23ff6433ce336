"""Traces, as a collector on a socket of this machine receives them."""

from __future__ import annotations

import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from starlette.testclient import TestClient

from service.app import create_app
from service.bundle import Bundle
from service.settings import Settings

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Collector(ThreadingHTTPServer):
    """Keeps what it is sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), CollectorHandler)
        self.received: queue.Queue[tuple[str, bytes]] = queue.Queue()


class CollectorHandler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.received.put((self.path, body))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        thread = threading.Thread(target=collector.serve_forever)
        thread.start()
        yield collector
        collector.shutdown()
        thread.join()


def spans_received(collector: Collector) -> list:
    spans = []
    while not collector.received.empty():
        path, body = collector.received.get()
        assert path == "/v1/traces"
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            spans += [span for scope in resource.scope_spans for span in scope.spans]
    return spans


def test_a_request_is_a_span_of_its_callers_trace_with_its_stages_in_it(
    collector: Collector, tiny_bundle: Bundle
) -> None:
    endpoint = f"http://127.0.0.1:{collector.server_port}"
    app = create_app(Settings(bundles=(str(tiny_bundle.path),), otel_exporter_otlp_endpoint=endpoint))
    with TestClient(app) as client:
        headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "x-request-id": "r-1"}
        client.post("/v1/embeddings", json={"input": [[12.345678, 45.678912]]}, headers=headers)
    spans = {span.name: span for span in spans_received(collector)}
    request = spans.pop("POST /v1/embeddings")
    assert request.trace_id.hex() == TRACE
    assert request.parent_span_id.hex() == PARENT
    assert {"read", "cache", "queue", "inference"} <= spans.keys()
    for span in spans.values():
        assert span.parent_span_id == request.span_id
        assert request.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano
        assert span.end_time_unix_nano <= request.end_time_unix_nano
    assert spans["queue"].end_time_unix_nano == spans["inference"].start_time_unix_nano
    attributes = {attribute.key: attribute.value for attribute in request.attributes}
    assert attributes["http.route"].string_value == "/v1/embeddings"
    assert attributes["http.response.status_code"].int_value == 200
    assert attributes["satcle.request_id"].string_value == "r-1"
    assert "12.345" not in str(request)


def test_a_collector_that_is_away_fails_no_request(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.1")
    app = create_app(Settings(bundles=(str(tiny_bundle.path),), otel_exporter_otlp_endpoint="http://127.0.0.1:9"))
    with TestClient(app) as client:
        assert client.post("/v1/embeddings", json={"input": [[1, 2]]}).status_code == 200


def test_without_an_endpoint_nothing_that_traces_is_imported(tiny_bundle: Bundle) -> None:
    program = f"""
import sys
from service.app import create_app
from service.settings import Settings
create_app(Settings(bundles=({str(tiny_bundle.path)!r},), otel_exporter_otlp_endpoint=None))
print([name for name in sys.modules if name.startswith(("service.tracing", "opentelemetry.exporter"))])
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
