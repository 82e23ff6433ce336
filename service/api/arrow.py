"""Arrow IPC streams in. A stream says what it unfolds to before it does, and is refused by that, unread.

pyarrow takes no bound on the memory of a read, and compressed or dictionary-encoded columns unfold a few kilobytes
into gigabytes. But each message declares its rows and the uncompressed length of each of its buffers, and Arrow
allocates what is declared and fails where that is not what it finds. So the declarations are summed first.
https://arrow.apache.org/docs/format/Columnar.html#serialization-and-interprocess-communication-ipc
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from service.api.places import places_from_cells, places_from_columns
from service.bundle import LonLat
from service.errors import InvalidRequest, ItemError, MalformedBody, TooLarge

MAX_MESSAGES = 10_000
"""Each costs some microseconds, however few rows it has."""
DICTIONARY_BATCH, RECORD_BATCH = 2, 3
VERSION_5 = 4


@dataclass(frozen=True)
class ArrowLimits:
    """At most so many rows; at most so many bytes, uncompressed."""

    points: int
    bytes: int


def places_from_arrow(body: bytes, limits: ArrowLimits) -> LonLat:
    """A stream with columns lon, lat (numbers) or h3 (uint64), among others, which are left unread.

    Raises MalformedBody, InvalidRequest or TooLarge.
    """
    try:
        _check_declared(body, limits)
        table = _read_places(body)
    except (pa.ArrowException, OSError, ValueError, struct.error) as error:  # pyarrow raises its three on corrupt bytes
        raise MalformedBody(f"the body is not an Arrow stream: {ascii(str(error))[1:201]}") from None
    for name in table.column_names:
        if table[name].null_count:
            raise InvalidRequest(
                [ItemError(f"/{name}", f"has {table[name].null_count} nulls; every row needs a place")]
            )
    if "lon" in table.column_names:
        return places_from_columns(table["lon"].to_numpy(), table["lat"].to_numpy(), limits.points)
    return places_from_cells(table["h3"].to_numpy(), limits.points)


def _check_declared(body: bytes, limits: ArrowLimits) -> None:
    rows = unfolded = 0
    for count, message in enumerate(pa.ipc.MessageReader.open_stream(body)):
        if count > MAX_MESSAGES:
            raise TooLarge(f"the Arrow stream has more than {MAX_MESSAGES} messages: send larger record batches")
        batch = _Batch.of(message)
        rows += batch.rows
        if rows > limits.points:
            raise TooLarge(f"more than the {limits.points} points of SATCLE_MAX_POINTS_PER_REQUEST: split them")
        unfolded += sum(batch.uncompressed_lengths())
        if unfolded > limits.bytes:
            raise TooLarge(
                f"uncompressed, the columns are over the {limits.bytes} bytes of SATCLE_MAX_BODY_BYTES: "
                "split the request, or send the columns of places alone"
            )


def _read_places(body: bytes) -> pa.Table:
    with pa.ipc.open_stream(body) as stream:
        schema = stream.schema
    names = _place_columns(schema)
    options = pa.ipc.IpcReadOptions(included_fields=[schema.get_field_index(name) for name in names], use_threads=False)
    with pa.ipc.open_stream(body, options=options) as stream:
        table = stream.read_all()
    table.validate(full=True)
    return table


def _place_columns(schema: pa.Schema) -> list[str]:
    if {"lon", "lat"} <= set(schema.names):
        names, sound, kind = ["lon", "lat"], _is_number, "numbers"
    elif "h3" in schema.names:
        names, sound, kind = ["h3"], pa.types.is_uint64, "uint64"
    else:
        raise InvalidRequest([ItemError("", f"needs columns lon and lat, or h3; there is {_names(schema)}")])
    for name in names:
        if schema.names.count(name) > 1:
            raise InvalidRequest([ItemError(f"/{name}", "stands in the schema twice")])
        if not sound(schema.field(name).type):
            raise InvalidRequest([ItemError(f"/{name}", f"must be {kind}, not {schema.field(name).type}")])
    return names


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def _names(schema: pa.Schema) -> str:
    return ascii(", ".join(schema.names))[1:201] or "none"


@dataclass(frozen=True)
class _Batch:
    """What a message declares of the batch in its body: rows, and (offset, length) of its compressed buffers."""

    rows: int
    compressed: list[tuple[int, int]]
    body: pa.Buffer | None

    @classmethod
    def of(cls, message: pa.Message) -> _Batch:
        """Read from the flatbuffer in the metadata, which pyarrow has verified; the schema declares no rows."""
        root = _Table.root(bytes(message.metadata))
        if root.scalar(0, "<h") < VERSION_5 and root.table(4) is not None:
            raise ValueError(
                "metadata of messages before version 5, which may say that they are compressed, is not read"
            )
        kind, header = root.scalar(1, "<B"), root.table(2)
        if header is None or kind not in (DICTIONARY_BATCH, RECORD_BATCH):
            return cls(0, [], None)
        batch = header.table(1) if kind == DICTIONARY_BATCH else header
        if batch is None:
            return cls(0, [], None)
        rows = batch.scalar(0, "<q") if kind == RECORD_BATCH else 0
        if rows < 0:
            raise ValueError(f"a batch of {rows} rows")
        is_compressed = batch.table(3) is not None
        return cls(rows, list(batch.pairs(2)) if is_compressed else [], message.body)

    def uncompressed_lengths(self) -> Iterator[int]:
        """A compressed buffer opens with its uncompressed length, int64, or -1 where it is stored as it is."""
        for offset, length in self.compressed:
            if length > 0 and self.body is not None:
                (declared,) = struct.unpack("<q", bytes(self.body[offset : offset + 8]))
                yield max(declared, 0)


@dataclass(frozen=True)
class _Table:
    """A table of a flatbuffer: its fields are found through its vtable. https://flatbuffers.dev/internals/"""

    data: bytes
    at: int

    @classmethod
    def root(cls, data: bytes) -> _Table:
        return cls(data, struct.unpack_from("<I", data)[0])

    def scalar(self, field: int, layout: str) -> int:
        """0 where it is absent, which is the default of each scalar read here."""
        at = self._field(field)
        return struct.unpack_from(layout, self.data, at)[0] if at else 0

    def table(self, field: int) -> _Table | None:
        """What a field refers to: a table, or a vector."""
        at = self._field(field)
        return _Table(self.data, at + struct.unpack_from("<I", self.data, at)[0]) if at else None

    def pairs(self, field: int) -> Iterator[tuple[int, int]]:
        """A vector of structs of two int64, as Buffer is."""
        if vector := self.table(field):
            (count,) = struct.unpack_from("<I", self.data, vector.at)
            start = vector.at + 4
            yield from struct.iter_unpack("<qq", self.data[start : start + 16 * count])

    def _field(self, field: int) -> int:
        """Where a field lies, or 0 where it is absent."""
        vtable = self.at - struct.unpack_from("<i", self.data, self.at)[0]
        (vtable_size,) = struct.unpack_from("<H", self.data, vtable)
        entry = 4 + 2 * field
        offset = struct.unpack_from("<H", self.data, vtable + entry)[0] if entry < vtable_size else 0
        return self.at + offset if offset else 0
