"""A client that costs little beside the service it loads: HTTP/1.1 over kept connections."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass

import numpy as np

BINARY = {"content-type": "application/octet-stream", "accept": "application/octet-stream"}


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Address:
    host: str
    port: int

    @asynccontextmanager
    async def connection(self):
        reader, writer = await asyncio.open_connection(self.host, self.port, limit=2**20)
        try:
            yield Connection(reader, writer)
        finally:
            writer.close()

    async def get(self, path):
        async with self.connection() as connection:
            return await connection.ask("GET", path)

    async def info(self):
        return json.loads((await self.get("/info")).body)

    async def metric(self, series):
        """The value of one series, zero where it is absent."""
        lines = (await self.get("/metrics")).body.decode().splitlines()
        return next((float(line.split()[-1]) for line in lines if line.startswith(series)), 0.0)


@dataclass(frozen=True)
class Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def embed(self, degrees, **headers):
        """Ask for embeddings, binary in and out; header names are written with underscores."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.ask("POST", "/v1/embeddings", degrees.tobytes(), BINARY | named)

    async def ask(self, method, path, body=b"", headers=None):
        lines = [f"{method} {path} HTTP/1.1", "host: satcle", f"content-length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        self.writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().splitlines()
        found = {name.lower(): value for name, value in (line.split(": ", 1) for line in head[1:] if line)}
        return Answer(int(head[0].split()[1]), found, await self.reader.readexactly(int(found["content-length"])))


def rows_of(answer):
    return np.frombuffer(answer.body, np.float32).reshape(-1, int(answer.headers["x-embedding-shape"].split(",")[1]))
