"""POST /v1/embeddings: all inputs, all answers, one embedding a place."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from starlette.testclient import TestClient

from service.bundle import Bundle, LonLat
from service.embedding.backends.fake import FakeBackend
from service.embedding.backends.onnx import OnnxBackend
from service.embedding.cells import cell_strings, cells_of, centres_of

URL = "/v1/embeddings"
ARROW = "application/vnd.apache.arrow.stream"
BEIJING, PARIS = [116.4, 39.9], [2.35, 48.86]


def rows_of(client: TestClient, value: object, **options: object) -> np.ndarray:
    answer = client.post(URL, json={"input": value, **options})
    assert answer.status_code == 200, answer.text
    data = answer.json()["data"]
    assert [item["index"] for item in data] == list(range(len(data)))
    return np.array([item["embedding"] for item in data], np.float32)


def test_an_answer_is_openais_envelope_with_the_cell_that_was_encoded(client: TestClient) -> None:
    answer = client.post(URL, json={"input": [BEIJING, PARIS]}).json()
    expected_cells = cell_strings(cells_of(LonLat.from_degrees([BEIJING, PARIS]), 10))
    assert answer["object"] == "list"
    assert answer["model"] == "tiny"
    assert answer["usage"] == {"prompt_tokens": 2, "total_tokens": 2}
    assert [item["cell"] for item in answer["data"]] == expected_cells
    assert {item["object"] for item in answer["data"]} == {"embedding"}


def test_rows_are_the_models_at_the_cells_centres(client: TestClient, tiny_bundle: Bundle) -> None:
    centres = centres_of(cells_of(LonLat.from_degrees([BEIJING, PARIS]), 10))
    expected = OnnxBackend(tiny_bundle, "cpu").embed(centres)
    np.testing.assert_array_equal(rows_of(client, [BEIJING, PARIS]), expected)


def test_exact_encodes_the_very_coordinate_and_names_no_cell(client: TestClient, tiny_bundle: Bundle) -> None:
    answer = client.post(URL, json={"input": [BEIJING], "exact": True}).json()
    expected = OnnxBackend(tiny_bundle, "cpu").embed(LonLat.from_degrees([BEIJING]))
    np.testing.assert_array_equal(np.array([answer["data"][0]["embedding"]], np.float32), expected)
    assert "cell" not in answer["data"][0]


@pytest.mark.parametrize(
    "written",
    [
        BEIJING,
        [BEIJING],
        {"type": "Point", "coordinates": BEIJING},
        {"type": "Point", "coordinates": [*BEIJING, 44.0]},
        {"type": "MultiPoint", "coordinates": [BEIJING]},
        {"type": "Feature", "properties": None, "geometry": {"type": "Point", "coordinates": BEIJING}},
        {
            "type": "FeatureCollection",
            "features": [{"type": "Feature", "properties": {}, "geometry": {"type": "Point", "coordinates": BEIJING}}],
        },
        list(cell_strings(cells_of(LonLat.from_degrees([BEIJING]), 10))),
        [BEIJING[0] - 360, BEIJING[1]],
    ],
    ids=["pair", "pairs", "point", "altitude", "multipoint", "feature", "collection", "cell", "wrapped"],
)
def test_a_place_has_one_embedding_however_it_is_written(client: TestClient, written: object) -> None:
    np.testing.assert_array_equal(rows_of(client, written), rows_of(client, [BEIJING]))


@pytest.mark.parametrize("exact", [False, True])
def test_the_antimeridian_and_the_poles_are_single_places(client: TestClient, exact: bool) -> None:
    rows = rows_of(
        client, [[-180, 10], [180, 10], [200, 5], [-160, 5], [0, 90], [77, 90], [0, -90], [-9, -90]], exact=exact
    )
    for first, second in zip(rows[::2], rows[1::2], strict=True):
        np.testing.assert_array_equal(first, second)


def test_an_embedding_is_the_same_alone_and_in_a_batch_and_after_a_restart(make_client, client: TestClient) -> None:
    places = np.random.default_rng(0).uniform([-180, -90], [180, 90], (1000, 2)).tolist()
    together = rows_of(client, places)
    restarted = make_client(cache_memory_mb=0)
    for index in (0, 499, 999):
        np.testing.assert_allclose(rows_of(client, places[index])[0], together[index], atol=1e-6)
        np.testing.assert_allclose(rows_of(restarted, places[index])[0], together[index], atol=1e-6)


def test_requests_larger_than_a_batch_keep_their_order(make_client) -> None:
    client = make_client(max_batch_points=7, worker_threads=3)
    places = np.random.default_rng(1).uniform([-180, -90], [180, 90], (100, 2)).tolist()
    alone = np.concatenate([rows_of(client, place, exact=True) for place in places])
    np.testing.assert_allclose(rows_of(client, places, exact=True), alone, atol=1e-6)


def test_base64_holds_the_same_float32(client: TestClient) -> None:
    data = client.post(URL, json={"input": [BEIJING, PARIS], "encoding_format": "base64"}).json()["data"]
    rows = np.array([np.frombuffer(base64.b64decode(item["embedding"]), "<f4") for item in data])
    np.testing.assert_array_equal(rows, rows_of(client, [BEIJING, PARIS]))


def test_octet_stream_in_and_out(client: TestClient) -> None:
    answer = client.post(
        URL,
        content=np.array([BEIJING, PARIS], "<f8").tobytes(),
        headers={"content-type": "application/octet-stream", "accept": "application/octet-stream"},
    )
    assert answer.headers["x-embedding-shape"] == "2,8"
    assert answer.headers["x-embedding-dtype"] == "float32"
    rows = np.frombuffer(answer.content, "<f4").reshape(2, 8)
    np.testing.assert_array_equal(rows, rows_of(client, [BEIJING, PARIS]))


def test_npy_out(client: TestClient) -> None:
    answer = client.post(URL, json={"input": [BEIJING]}, headers={"accept": "application/x-npy"})
    np.testing.assert_array_equal(np.load(io.BytesIO(answer.content)), rows_of(client, [BEIJING]))


@pytest.mark.parametrize("media_type", [ARROW, "application/vnd.apache.parquet"])
@pytest.mark.parametrize("exact", [False, True])
def test_tables_out_carry_places_cells_and_the_model(client: TestClient, media_type: str, exact: bool) -> None:
    answer = client.post(URL, json={"input": [BEIJING, PARIS], "exact": exact}, headers={"accept": media_type})
    read = pa.ipc.open_stream if media_type == ARROW else pq.ParquetFile
    with read(pa.BufferReader(answer.content)) as reader:
        table = reader.read_all() if media_type == ARROW else reader.read()
    assert table.column_names == ["lon", "lat", *([] if exact else ["h3"]), "embedding"]
    assert table.schema.field("embedding").type == pa.list_(pa.float32(), 8)
    assert table.schema.metadata[b"satcle.model"] == b"tiny"
    assert len(table.schema.metadata[b"satcle.digest"]) == 64
    assert table.schema.metadata[b"satcle.dimensions"] == b"8"
    rows = np.array(table["embedding"].to_pylist(), np.float32)
    np.testing.assert_array_equal(rows, rows_of(client, [BEIJING, PARIS], exact=exact))


@pytest.mark.parametrize("form", ["lonlat", "float32", "h3"])
def test_arrow_in(client: TestClient, form: str) -> None:
    places = [[2.5, 48.75], [-70.25, -33.5]]
    lon, lat = np.array(places).T
    columns = {
        "lonlat": {"lon": lon, "name": ["a", "b"], "lat": lat},
        "float32": {"lon": lon.astype(np.float32), "lat": lat.astype(np.float32)},
        "h3": {"h3": pa.array(cells_of(LonLat.from_degrees(places), 10))},
    }[form]
    sink = io.BytesIO()
    table = pa.table(columns)
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    answer = client.post(URL, content=sink.getvalue(), headers={"content-type": ARROW})
    rows = np.array([item["embedding"] for item in answer.json()["data"]], np.float32)
    np.testing.assert_array_equal(rows, rows_of(client, places))


def test_dimensions_are_a_prefix_and_normalize_gives_unit_length(client: TestClient) -> None:
    whole = rows_of(client, [BEIJING, PARIS])
    np.testing.assert_array_equal(rows_of(client, [BEIJING, PARIS], dimensions=4), whole[:, :4])
    unit = rows_of(client, [BEIJING, PARIS], dimensions=4, normalize=True)
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(unit * np.linalg.norm(whole[:, :4], axis=1, keepdims=True), whole[:, :4], atol=1e-6)


def test_options_of_a_binary_body_are_query_parameters(client: TestClient) -> None:
    answer = client.post(
        URL + "?dimensions=4&normalize=true&exact=true&model=tiny",
        content=np.array([BEIJING], "<f8").tobytes(),
        headers={"content-type": "application/octet-stream"},
    )
    (item,) = answer.json()["data"]
    expected = rows_of(client, [BEIJING], dimensions=4, normalize=True, exact=True)
    np.testing.assert_array_equal(np.array([item["embedding"]], np.float32), expected)


def test_fields_of_a_json_body_come_before_query_parameters(client: TestClient) -> None:
    answer = client.post(URL + "?dimensions=8", json={"input": [BEIJING], "dimensions": 4})
    assert len(answer.json()["data"][0]["embedding"]) == 4


def test_a_large_json_answer_streams_and_parses(make_client) -> None:
    client = make_client()
    places = np.random.default_rng(2).uniform([-180, -90], [180, 90], (2000, 2)).tolist()
    rows = rows_of(client, places, exact=True)
    answer = client.post(URL, json={"input": places, "exact": True}, headers={"accept": "application/octet-stream"})
    np.testing.assert_array_equal(np.frombuffer(answer.content, "<f4").reshape(2000, 8), rows)


@settings(max_examples=50, deadline=None)
@given(hnp.arrays(np.float64, st.tuples(st.integers(1, 40), st.just(2)), elements=st.floats(-90, 90)))
def test_json_and_binary_say_the_same_of_any_place(client: TestClient, places: np.ndarray) -> None:
    answer = client.post(
        URL,
        content=places.astype("<f8").tobytes(),
        headers={"content-type": "application/octet-stream", "accept": "application/octet-stream"},
    )
    np.testing.assert_array_equal(
        np.frombuffer(answer.content, "<f4").reshape(-1, 8), rows_of(client, json.loads(json.dumps(places.tolist())))
    )


def test_the_cache_never_changes_an_answer(make_client) -> None:
    cached, uncached = make_client(), make_client(cache_memory_mb=0)
    miss = rows_of(cached, [BEIJING, PARIS])
    np.testing.assert_array_equal(rows_of(cached, [BEIJING, PARIS]), miss)
    np.testing.assert_array_equal(rows_of(uncached, [BEIJING, PARIS]), miss)


def test_snap_exact_never_moves_a_place(make_client) -> None:
    client = make_client(snap="exact")
    np.testing.assert_array_equal(rows_of(client, [BEIJING]), rows_of(client, [BEIJING], exact=True))
    assert "cell" not in client.post(URL, json={"input": [BEIJING]}).json()["data"][0]


class Broken(FakeBackend):
    """Fails, or returns what is no embedding, for places east of 0."""

    def __init__(self, how: str) -> None:
        super().__init__(8)
        self._how = how

    def embed(self, lonlat: LonLat) -> np.ndarray:
        rows = super().embed(lonlat)
        east = lonlat.degrees[:, 0] > 0.5
        if east.any() and self._how == "raises":
            raise RuntimeError("out of memory")
        rows[east] = np.nan
        return rows


@pytest.mark.parametrize("how", ["raises", "not finite"])
def test_a_backend_that_fails_is_a_503_and_is_never_cached(make_client, how: str) -> None:
    client = make_client(backend=Broken(how))
    for _ in range(2):
        answer = client.post(URL, json={"input": [[-10, 0], [10, 0]]})
        assert answer.status_code == 503
        assert answer.headers["retry-after"].isdigit()
    assert client.post(URL, json={"input": [[-10, 0]]}).status_code == 200


def test_a_request_beyond_the_queue_is_429_and_says_when_to_return(make_client) -> None:
    client = make_client(max_queue_points=10, max_points_per_request=10)
    client.app.state.models.default.embedder.batcher._queued.points = 5  # as if five waited
    answer = client.post(URL, json={"input": [[i, 0] for i in range(10)]})
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) >= 1
    assert "SATCLE_MAX_QUEUE_POINTS" in answer.json()["detail"]


class Stalled(FakeBackend):
    """Answers the probe of start-up, then waits until it is told to go on."""

    def __init__(self) -> None:
        import threading

        super().__init__(8)
        self.go_on = threading.Event()

    def embed(self, lonlat: LonLat) -> np.ndarray:
        if lonlat.degrees.any():
            assert self.go_on.wait(timeout=30)
        return super().embed(lonlat)


def test_a_deadline_that_passes_is_a_504(make_client) -> None:
    backend = Stalled()
    client = make_client(backend=backend)
    answer = client.post(URL, json={"input": [BEIJING]}, headers={"x-deadline-ms": "50"})
    backend.go_on.set()
    assert answer.status_code == 504
    assert answer.json()["code"] == "deadline_exceeded"


def test_draining_refuses_with_503(make_client) -> None:
    client = make_client()
    client.portal.call(client.app.state.models.close)
    answer = client.post(URL, json={"input": [BEIJING]})
    assert answer.status_code == 503
    assert "retry-after" in answer.headers
