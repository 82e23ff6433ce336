"""A client that costs next to nothing: HTTP/1.1 on one socket, requests written beforehand, answers only counted."""

from __future__ import annotations

import socket
from types import TracebackType
from typing import Self

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from tests.benchmarks.processes import Address

JSON = "application/json"
OCTET_STREAM = "application/octet-stream"
ARROW = "application/vnd.apache.arrow.stream"
EMBEDDINGS = "/v1/embeddings"
BUFFER_BYTES = 2**20
LAST_CHUNK = b"0\r\n\r\n"


class Connection:
    """Kept alive between requests."""

    def __init__(self, address: Address) -> None:
        self._socket = socket.create_connection(address, timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = memoryview(bytearray(BUFFER_BYTES))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def exchange(self, request: bytes) -> None:
        """Send a request and read the whole answer, which must be 200."""
        self._socket.sendall(request)
        head, received, last = self._head()
        length = content_length(head)
        if length is None:
            while not last.endswith(LAST_CHUNK):
                last = last[-len(LAST_CHUNK) :] + bytes(self._receive()[-len(LAST_CHUNK) :])
            return
        while received < length:
            received += len(self._receive())

    def _head(self) -> tuple[bytes, int, bytes]:
        """The head of the answer, and how much of the body came with it, and its end."""
        received = b""
        while b"\r\n\r\n" not in received:
            received += bytes(self._receive())
        head, _, body = received.partition(b"\r\n\r\n")
        return head, len(body), body[-len(LAST_CHUNK) :]

    def _receive(self) -> memoryview:
        if not (count := self._socket.recv_into(self._buffer)):
            raise ConnectionError("the server closed the connection")
        return self._buffer[:count]


def content_length(head: bytes) -> int | None:
    """None where the body comes in chunks; raises where the answer is not 200."""
    status, *lines = head.lower().split(b"\r\n")
    if b" 200 " not in status + b" ":
        raise RuntimeError(f"answered {head.decode()}")
    lengths = [line.partition(b":")[2] for line in lines if line.startswith(b"content-length:")]
    return int(lengths[0]) if lengths else None


def request(body: bytes, sent: str = OCTET_STREAM, accepted: str = OCTET_STREAM, path: str = EMBEDDINGS) -> bytes:
    """A whole POST."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {sent}\r\nAccept: {accepted}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def arrow_body(lonlat: NDArray[np.float64]) -> bytes:
    table = pa.table({"lon": lonlat[:, 0], "lat": lonlat[:, 1]})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def json_body(lonlat: NDArray[np.float64], **options: object) -> bytes:
    return orjson.dumps({"input": lonlat.tolist(), **options})
