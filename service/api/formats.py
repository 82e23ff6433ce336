"""Media types out: Accept → encoder. Bytes are built here once; no vector passes through a response model."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

import numpy as np
import orjson
import pyarrow as pa

from service.api.cautions import Warnings, json_tail
from service.embedding.backends.base import Rows
from service.embedding.cells import Cells, cell_strings
from service.embedding.context import CONTEXT_FIELDS, LAND, NEAREST, Context
from service.embedding.embedder import Embedded
from service.embedding.table import arrow_stream_of, embedding_columns, embedding_schema, parquet_of
from service.errors import NotAcceptable

JSON = "application/json"
OCTET_STREAM = "application/octet-stream"
NPY = "application/x-npy"
ARROW_STREAM = "application/vnd.apache.arrow.stream"
PARQUET = "application/vnd.apache.parquet"

JSON_ROWS_PER_CHUNK = 256
JSON_ROWS_AT_ONCE = 16
"""About 0.1 ms of work, which holds the interpreter; then whoever waits for it has a turn."""

Buffer = bytes | memoryview


@dataclass(frozen=True)
class Answer:
    """Embeddings as a client asked for them: `embedded.rows` already cut to dimensions and normalised.

    `context` is None where it was not asked for; numbers alone have no room for it.
    """

    model: str
    digest: str
    embedded: Embedded
    base64: bool
    context: Context | None = None
    warnings: Warnings = ()

    def __len__(self) -> int:
        return len(self.embedded.rows)


Encoder = Callable[[Answer], Iterator[Buffer]]
"""Chunks of a body; a binary one is a single chunk, which shares the memory of the rows where it can."""


def encode_json(answer: Answer) -> Iterator[Buffer]:
    """OpenAI's envelope, in chunks of rows, so that a large answer is never in memory twice."""
    rows, cells = answer.embedded.rows, answer.embedded.cells
    yield b'{"object":"list","model":' + orjson.dumps(answer.model) + b',"data":['
    for chunk in range(0, len(rows), JSON_ROWS_PER_CHUNK):
        written = [b""] if chunk else []
        for start in range(chunk, min(chunk + JSON_ROWS_PER_CHUNK, len(rows)), JSON_ROWS_AT_ONCE):
            stop = start + JSON_ROWS_AT_ONCE
            items = _json_items(rows[start:stop], None if cells is None else cells[start:stop], start, answer.base64)
            if answer.context is not None:
                _add_context(items, answer.context[start:stop])
            written.append(orjson.dumps(items, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1])
        yield b",".join(written)
    usage = orjson.dumps({"prompt_tokens": len(rows), "total_tokens": len(rows)})
    yield b'],"usage":' + usage + json_tail(answer.warnings) + b"}"


def _json_items(
    rows: np.ndarray[tuple[int, ...], np.dtype[np.float32]], cells: Cells | None, start: int, as_base64: bool
) -> list[dict[str, object]]:
    items: list[dict[str, object]] = [
        {
            "object": "embedding",
            "index": index,
            "embedding": base64.b64encode(row.astype("<f4").tobytes()).decode() if as_base64 else row,
        }
        for index, row in enumerate(rows, start)
    ]
    if cells is not None:
        for item, cell in zip(items, cell_strings(cells), strict=True):
            item["cell"] = cell
    return items


def _add_context(items: list[dict[str, object]], context: Context) -> None:
    """numpy's own float32 stay, since they are written with no more digits than they have."""
    nearest = [None] * len(items) if context.nearest_sample_km is None else context.nearest_sample_km
    for item, kilometres, land in zip(items, nearest, context.land.tolist(), strict=True):
        item[NEAREST], item[LAND] = kilometres, land


def encode_octet_stream(answer: Answer) -> Iterator[Buffer]:
    yield float32_of(answer.embedded.rows)


def encode_npy(answer: Answer) -> Iterator[Buffer]:
    yield npy_of(answer.embedded.rows)


def encode_arrow_stream(answer: Answer) -> Iterator[Buffer]:
    yield arrow_stream_of(_table(answer))


def encode_parquet(answer: Answer) -> Iterator[Buffer]:
    yield parquet_of(_table(answer))


def float32_of(rows: Rows) -> memoryview:
    """Little-endian, row by row; shares the memory of contiguous `rows` where it can."""
    return rows.astype("<f4", copy=False).data.cast("B")


def npy_of(rows: Rows) -> memoryview:
    buffer = io.BytesIO()
    np.save(buffer, rows.astype("<f4", copy=False))
    return buffer.getbuffer()


def _table(answer: Answer) -> pa.Table:
    """lon, lat (the given place), what is asked of it, h3 (the cell encoded; absent with exact) and embedding."""
    lon, lat = answer.embedded.lonlat.degrees.T
    columns = {"lon": pa.array(lon), "lat": pa.array(lat)}
    given = [("lon", pa.float64()), ("lat", pa.float64())]
    if answer.context is not None:
        columns |= answer.context.columns()
        given += CONTEXT_FIELDS
    columns |= embedding_columns(answer.embedded.cells, answer.embedded.rows)
    dimensions = answer.embedded.rows.shape[1]
    schema = embedding_schema(
        pa.schema(given), answer.model, answer.digest, dimensions, answer.embedded.cells is not None
    )
    return pa.table(columns, schema)


CONTEXT_MEDIA_TYPES = (JSON, ARROW_STREAM, PARQUET)
ENCODERS: dict[str, Encoder] = {
    JSON: encode_json,
    OCTET_STREAM: encode_octet_stream,
    NPY: encode_npy,
    ARROW_STREAM: encode_arrow_stream,
    PARQUET: encode_parquet,
}


def media_type_for(accept: str | None, served: Collection[str] = tuple(ENCODERS), where: str = "") -> str:
    """The media type of `served` that `accept` likes best (RFC 9110 §12.5.1); the first where it has no preference.

    Raises NotAcceptable where it rules out all of them; `where` is what of the request allows no others, as " with x".
    """
    if accept is None or not accept.strip():
        return next(iter(served))
    ranges = [_media_range(part) for part in accept.split(",") if part.strip()]
    best = max(served, key=lambda media_type: _quality(media_type, ranges))
    if _quality(best, ranges) <= 0:
        raise NotAcceptable(f"none of what Accept names is served{where}; there is {', '.join(served)}")
    return best


def _media_range(part: str) -> tuple[str, float]:
    name, *parameters = (piece.strip().lower() for piece in part.split(";"))
    quality = next((p.removeprefix("q=") for p in parameters if p.startswith("q=")), "1")
    try:
        return name, min(max(float(quality), 0.0), 1.0)
    except ValueError:
        return name, 0.0


def _quality(media_type: str, ranges: list[tuple[str, float]]) -> float:
    """The quality given by the most specific range that matches."""
    for name in (media_type, media_type.split("/")[0] + "/*", "*/*"):
        matching = [quality for given, quality in ranges if given == name]
        if matching:
            return max(matching)
    return 0.0
