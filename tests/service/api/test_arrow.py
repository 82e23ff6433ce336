"""Arrow streams that unfold: refused by what they declare, before any memory is spent."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from starlette.testclient import TestClient

from tests.peak_memory import PEAK_KILOBYTES
from tests.service.api.test_malformed import ARROW, URL

FILL = 100_000_000
ONE = np.zeros(1)


def stream(table: pa.Table, **options) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
    return sink.getvalue()


def dictionary_of(text: str) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array([0], pa.int8()), pa.array([text]))


BOMBS = {
    "places": (lambda: {"lon": np.zeros(FILL // 8), "lat": np.zeros(FILL // 8)}, "points"),
    "text": (lambda: {"lon": ONE, "lat": ONE, "s": ["\0" * FILL]}, "bytes"),
    "nested": (lambda: {"lon": ONE, "lat": ONE, "s": pa.array([[{"a": "\0" * FILL}]])}, "bytes"),
    "dictionary": (lambda: {"lon": ONE, "lat": ONE, "s": dictionary_of("\0" * FILL)}, "bytes"),
}

MEASURE = f"""{PEAK_KILOBYTES}
import sys
from service.api.arrow import ArrowLimits, places_from_arrow
from service.errors import TooLarge

limits = ArrowLimits(131_072, 33_554_432)
body = sys.stdin.buffer.read()
before = peak_kilobytes()
try:
    places_from_arrow(body, limits)
except TooLarge:
    print(peak_kilobytes() - before)
"""


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.parametrize("codec", ["zstd", "lz4"])
def test_a_bomb_is_413_and_memory_stays(client: TestClient, name: str, codec: str) -> None:
    columns, over = BOMBS[name]
    body = stream(pa.table(columns()), compression=codec)
    assert len(body) < 1_000_000

    kilobytes = subprocess.run([sys.executable, "-c", MEASURE], input=body, capture_output=True, check=True).stdout
    assert int(kilobytes) < 20_000

    answer = client.post(URL, content=body[:100_000], headers={"content-type": ARROW})
    if len(body) <= 100_000:
        assert answer.status_code == 413
        assert over in answer.json()["detail"]


def test_the_same_columns_without_the_bomb_are_answered(client: TestClient) -> None:
    sound = {"lon": np.arange(500.0) / 10, "lat": np.zeros(500), "s": ["x"] * 500}
    table = pa.table(sound | {"d": pa.array(["a", "b"] * 250).dictionary_encode()})
    answers = [
        client.post(URL, content=stream(table, compression=codec), headers={"content-type": ARROW}).json()["data"]
        for codec in (None, "zstd", "lz4")
    ]
    assert answers[0] == answers[1] == answers[2]


def test_bytes_are_summed_over_batches(client: TestClient) -> None:
    batch = pa.table({"lon": ONE, "lat": ONE, "s": ["\0" * 60_000]})
    table = pa.concat_tables([batch, batch])
    answer = client.post(URL, content=stream(table, compression="zstd"), headers={"content-type": ARROW})
    assert answer.status_code == 413
    one = client.post(URL, content=stream(batch, compression="zstd"), headers={"content-type": ARROW})
    assert one.status_code == 200


def test_a_flood_of_empty_batches_is_413(make_client) -> None:
    batch = pa.record_batch({"lon": ONE[:0], "lat": ONE[:0]})
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        for _ in range(10_001):
            writer.write_batch(batch)
    answer = make_client().post(URL, content=sink.getvalue(), headers={"content-type": ARROW})
    assert answer.status_code == 413
    assert "10000 messages" in answer.json()["detail"]


def test_messages_of_an_older_form_are_read_too(client: TestClient) -> None:
    body = stream(pa.table({"lon": [1.0], "lat": [2.0]}), metadata_version=pa.ipc.MetadataVersion.V4)
    assert client.post(URL, content=body, headers={"content-type": ARROW}).status_code == 200


@pytest.mark.parametrize("coding", ["gzip", "zstd", "br", "gzip, identity", "\xff"])
def test_a_compressed_body_is_415(client: TestClient, coding: str) -> None:
    headers = {"content-type": "application/json", "content-encoding": coding.encode("latin-1")}
    answer = client.post(URL, content=b"{}", headers=headers)
    assert answer.status_code == 415
    assert "Content-Encoding" in answer.json()["detail"]


def test_identity_is_no_coding(client: TestClient) -> None:
    assert client.post(URL, json={"input": [[1, 2]]}, headers={"content-encoding": "identity"}).status_code == 200
