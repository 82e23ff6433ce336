"""Clients that trickle their request or never read their answer, over raw sockets."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import httpx
import numpy as np

from tests.e2e.conftest import Serve, Served

PATIENCE = 30


def connect(served: Served, receive_buffer: int | None = None) -> socket.socket:
    where = urlsplit(served.url)
    connection = socket.socket()
    connection.settimeout(PATIENCE)
    if receive_buffer:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.connect((where.hostname, where.port))
    return connection


def head(length: int, **headers: str) -> bytes:
    lines = ["POST /v1/embeddings?exact=true HTTP/1.1", "Host: x", f"Content-Length: {length}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def read_to_the_end(connection: socket.socket) -> bytes:
    received = b""
    while piece := connection.recv(65_536):
        received += piece
    return received


def test_a_body_that_never_ends_is_504_at_the_deadline_and_the_connection_closes(served: Served) -> None:
    series = 'satcle_rejected_total{reason="deadline"}'
    before = served.metric(series)
    with connect(served) as connection:
        connection.sendall(head(1000, Content_Type="application/json", X_Deadline_Ms="300") + b'{"input"')
        answer = read_to_the_end(connection)
    assert answer.startswith(b"HTTP/1.1 504 ")
    assert b"after 8 bytes" in answer
    assert served.metric(series) == before + 1


def test_many_who_trickle_hold_up_nobody(served: Served) -> None:
    trickling = [connect(served) for _ in range(200)]
    for connection in trickling:
        connection.sendall(head(1000, Content_Type="application/json") + b"{")
    try:
        for _ in range(5):
            answer = httpx.post(served.url + "/v1/embeddings", json={"input": [[1, 2]]}, timeout=PATIENCE)
            assert answer.status_code == 200
    finally:
        for connection in trickling:
            connection.close()


def test_a_client_that_never_reads_its_answer_is_cut_off(serve: Serve) -> None:
    """Waits for the request's log line, which comes when it has ended, whichever way."""
    body = np.random.default_rng(8).uniform([-180, -90], [180, 90], (16_000, 2)).tobytes()
    with serve(SATCLE_DEADLINE_MS="4000") as served:
        assert served.process.stderr is not None
        for accept in ("application/octet-stream", "application/json"):
            with connect(served, receive_buffer=4096) as connection:
                connection.sendall(head(len(body), Content_Type="application/octet-stream", Accept=accept) + body)
                line = next(line for line in served.process.stderr if "POST /v1/embeddings" in line)
            assert "status=200" in line
        assert served.metric('satcle_rejected_total{reason="client_gone"}') == 2
        assert served.metric("satcle_queue_points") == 0
