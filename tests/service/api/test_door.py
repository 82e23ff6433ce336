"""A crowd of requests is turned away before it is looked at."""

import asyncio
import json
from functools import partial

import pytest

from service.api.middleware import Door
from service.app import shared_with_pages
from service.metrics import Metrics
from service.settings import Settings

LIMIT = 10


def ask(path, in_flight, metrics=None, headers=(), around=lambda refusal: refusal):
    """The status and headers, lower case, and the body; 204 where the application itself answered."""

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def receive():
        raise AssertionError("nothing of the body is waited for")

    async def main():
        sent = []

        async def send(message):
            sent.append(message)

        door = Door(app, lambda: in_flight, LIMIT, metrics or Metrics(), around)
        await door({"type": "http", "method": "POST", "path": path, "headers": list(headers)}, receive, send)
        start, body = sent
        return start["status"], {k.decode(): v.decode() for k, v in start["headers"]}, body["body"]

    return asyncio.run(main())


@pytest.mark.parametrize("in_flight", [0, 1, LIMIT])
def test_up_to_the_limit_all_pass(in_flight):
    assert ask("/v1/embeddings", in_flight)[0] == 204


def test_beyond_it_a_request_is_told_to_come_later_and_counted():
    metrics = Metrics()
    status, headers, body = ask("/v1/embeddings", LIMIT + 1, metrics, [(b"x-request-id", b"abc")])
    assert status == 429
    assert headers["retry-after"] == "1"
    assert headers["x-request-id"] == "abc"
    assert headers["content-type"] == "application/problem+json"
    problem = json.loads(body)
    assert problem["code"] == "overloaded"
    assert problem["request_id"] == "abc"
    assert "SATCLE_MAX_REQUESTS" in problem["detail"]
    assert b'satcle_rejected_total{reason="queue_full"} 1.0' in metrics.exposition()[0]
    counted = b'satcle_requests_total{method="POST",route="unmatched",status="429"} 1.0'
    assert counted in metrics.exposition()[0]


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
def test_probes_pass_whatever_the_crowd(path):
    assert ask(path, 100 * LIMIT)[0] == 204


def test_a_page_of_another_origin_may_read_that_it_is_turned_away():
    settings = Settings(cors_origins=("https://maps.example",))
    surround = partial(shared_with_pages, settings=settings)
    status, headers, _ = ask(
        "/v1/embeddings", LIMIT + 1, headers=[(b"origin", b"https://maps.example")], around=surround
    )
    assert status == 429
    assert headers["access-control-allow-origin"] == "https://maps.example"
    assert "Retry-After" in headers["access-control-expose-headers"]
    stranger = ask("/v1/embeddings", LIMIT + 1, headers=[(b"origin", b"https://else.example")], around=surround)
    assert "access-control-allow-origin" not in stranger[1]
    without = partial(shared_with_pages, settings=Settings())
    assert ask("/v1/embeddings", LIMIT + 1, headers=[(b"origin", b"https://maps.example")], around=without)[0] == 429
