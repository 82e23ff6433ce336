"""How the service stops: unready at once, what is begun is finished, and a second signal ends it."""

from __future__ import annotations

import signal
import socket
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest

from tests.e2e.conftest import Serve

BINARY = {"content-type": "application/octet-stream", "accept": "application/octet-stream"}


def until_draining(client: httpx.Client) -> httpx.Response:
    """Asks until the signal has been handled; each look is a request."""
    for _ in range(10_000):
        if (answer := client.get("/readyz")).status_code != 200:
            return answer
    pytest.fail("the service never became unready")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_it_ends_well_when_it_has_drained(serve: Serve, number: signal.Signals) -> None:
    with serve(SATCLE_DRAIN_SECONDS="0.5") as served:
        served.process.send_signal(number)
        assert served.process.wait(timeout=30) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_while_it_drains_it_is_unready_and_goes_on_answering(serve: Serve, number: signal.Signals) -> None:
    with serve(SATCLE_DRAIN_SECONDS="600") as served, served.client() as client:
        assert client.get("/readyz").status_code == 200
        served.process.send_signal(number)
        answer = until_draining(client)
        assert answer.status_code == 503
        assert "draining" in answer.json()["detail"]
        assert "retry-after" in answer.headers
        with served.client() as another:
            assert another.get("/livez").status_code == 200
            assert another.post("/v1/embeddings", json={"input": [[1, 2]]}).status_code == 200
        served.process.kill()


def test_what_has_begun_is_finished_though_no_one_else_is_let_in(serve: Serve) -> None:
    body = np.random.default_rng(9).uniform([-180, -90], [180, 90], (50_000, 2)).tobytes()
    with serve() as served, served.client() as client:
        with client.stream("POST", "/v1/embeddings?exact=true", content=body, headers=BINARY) as answer:
            served.process.terminate()
            rows = answer.read()
        assert answer.status_code == 200
        assert len(rows) == 50_000 * 256 * 4
        assert served.process.wait(timeout=30) == 0


def test_a_second_signal_ends_it_at_once(serve: Serve) -> None:
    """A body that never comes would keep it for as long as the deadline."""
    with serve(SATCLE_DRAIN_SECONDS="600") as served, served.client() as client:
        where = urlsplit(served.url)
        with socket.create_connection((where.hostname, where.port)) as held:
            held.sendall(b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n")
            held.sendall(b"Content-Type: application/json\r\n\r\n")
            served.process.terminate()
            until_draining(client)
            served.process.terminate()
            assert served.process.wait(timeout=10) == -signal.SIGTERM
