"""Every row of the contract's error table that a body, a header or a URL can bring about."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from starlette.testclient import TestClient

URL = "/v1/embeddings"
JSON = "application/json"
BINARY = "application/octet-stream"
ARROW = "application/vnd.apache.arrow.stream"


@dataclass
class Case:
    """A request, the status it must get, and a word that its answer must hold: the item at fault, or the fix."""

    name: str
    status: int
    names: str
    body: Any = None
    content_type: str = JSON
    method: str = "POST"
    url: str = URL
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


def places(value: Any, **options: Any) -> dict[str, Any]:
    return {"input": value, **options}


def geojson(**members: Any) -> dict[str, Any]:
    return {"input": members}


def arrow(**columns: Any) -> bytes:
    sink = io.BytesIO()
    table = pa.table(columns)
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


SOUND = places([[1, 2]])
POINT = {"type": "Point", "coordinates": [1, 2]}
CASES = [
    # 400: does not parse
    Case("empty body", 400, "not JSON", b""),
    Case("cut off", 400, "not JSON", b'{"input": [[1,2]'),
    Case("not JSON", 400, "not JSON", b"lon=1&lat=2"),
    Case("not UTF-8", 400, "not JSON", b'{"input": "\xff\xfe"}'),
    Case("trailing text", 400, "not JSON", b'{"input": [[1,2]]} x'),
    Case("nested without end", 400, "deep", b"[" * 50_000),
    Case("single quotes", 400, "not JSON", b"{'input': [[1, 2]]}"),
    Case("odd byte count", 400, "multiple of 16", b"\0" * 17, BINARY),
    Case("half a pair", 400, "multiple of 16", b"\0" * 24, BINARY),
    Case("not Arrow", 400, "Arrow", b"not arrow at all", ARROW),
    Case("empty Arrow", 400, "Arrow", b"", ARROW),
    Case("Arrow cut off", 400, "Arrow", arrow(lon=[1.0] * 99, lat=[2.0] * 99)[:-300], ARROW),
    # 404, 405
    Case("no such model", 404, "nope", places([[1, 2]], model="nope")),
    Case("no such card", 404, "nope", method="GET", url="/v1/models/nope"),
    Case("no such route", 404, "/v1/nothing", method="GET", url="/v1/nothing"),
    Case("wrong method", 405, "GET", method="GET"),
    Case("wrong method on info", 405, "POST", method="POST", url="/info"),
    # 406, 415
    Case("Accept not served", 406, "application/json", SOUND, headers={"accept": "image/png"}),
    Case("Accept rules all out", 406, "application/json", SOUND, headers={"accept": "*/*;q=0"}),
    Case("Accept garbage", 406, "application/json", SOUND, headers={"accept": ";;;q=x,=/"}),
    Case("no Content-Type", 415, "missing", b'{"input": [[1,2]]}', ""),
    Case("a form", 415, "x-www-form-urlencoded", b"input=1", "application/x-www-form-urlencoded"),
    Case("plain text", 415, "text/plain", b'{"input": [[1,2]]}', "text/plain"),
    # 413
    Case("too many points", 413, "1000", places([[1, 2]] * 1001)),
    Case("too many binary points", 413, "1000", np.zeros((1001, 2)).tobytes(), BINARY),
    Case("too many Arrow points", 413, "1000", arrow(lon=np.zeros(1001), lat=np.zeros(1001)), ARROW),
    Case("too many cells", 413, "1000", places(["8a31aa42a4affff"] * 1001)),
    Case("too many bytes", 413, "100000", b" " * 100_001),
    # 422: the body's shape
    Case("a list", 422, "object", [[1, 2]]),
    Case("a number", 422, "object", 5),
    Case("null", 422, "object", None),
    Case("no input", 422, "/input", {"model": "tiny"}),
    Case("null input", 422, "/input", places(None)),
    Case("text input", 422, "/input", places("Beijing")),
    Case("number input", 422, "/input", places(7)),
    Case("true input", 422, "/input", places(True)),
    Case("empty input", 422, "/input", places([])),
    Case("empty binary", 422, "/input", b"", BINARY),
    Case(
        "empty Arrow table", 422, "/input", arrow(lon=pa.array([], pa.float64()), lat=pa.array([], pa.float64())), ARROW
    ),
    Case("unknown field", 422, "/modle", places([[1, 2]], modle="tiny")),
    Case("unknown query field", 422, "/modle", np.zeros((1, 2)).tobytes(), BINARY, url=URL + "?modle=x"),
    # 422: pairs
    Case("NaN", 422, "/input/1/0", b'{"input": [[1,2],[NaN,2]]}'),
    Case("infinity", 422, "/input/0/1", b'{"input": [[1,-Infinity]]}'),
    Case("overflow to infinity", 422, "/input/0/0", b'{"input": [[1e999,2]]}'),
    Case("binary NaN", 422, "/input/1/1", np.array([[0, 0], [0, np.nan]]).tobytes(), BINARY),
    Case("binary infinity", 422, "/input/0/0", np.array([[np.inf, 0]]).tobytes(), BINARY),
    Case("Arrow NaN", 422, "/input/1/0", arrow(lon=[0.0, np.nan], lat=[0.0, 0.0]), ARROW),
    Case("null coordinate", 422, "/input/0/1", places([[1, None]])),
    Case("text coordinate", 422, "/input/2/0", places([[1, 2], [3, 4], ["5", 6]])),
    Case("boolean coordinate", 422, "/input/0/0", places([[True, 2]])),
    Case("nested coordinate", 422, "/input/0/0", places([[[1], 2]])),
    Case("three numbers", 422, "/input/1", places([[1, 2], [1, 2, 3]])),
    Case("one number", 422, "/input/1", places([[1, 2], [1]])),
    Case("no number", 422, "/input/0", places([[]])),
    Case("a flat list of three", 422, "/input/0", places([1, 2, 3])),
    Case("a mapping as a place", 422, "/input/1", places([[1, 2], {"lon": 1, "lat": 2}])),
    Case("pairs then cells", 422, "/input/1", places([[1, 2], "8a31aa42a4affff"])),
    Case("lat over 90", 422, "/input/0/1", places([[0, 90.0001]])),
    Case("lat under -90", 422, "/input/1/1", places([[0, 0], [0, -91]])),
    Case("lon over 360", 422, "/input/0/0", places([[360.5, 0]])),
    Case("lon under -360", 422, "/input/0/0", places([[-361, 0]])),
    Case("huge integer", 422, "/input", places([[10**400, 0]])),
    Case("swapped", 422, "swapped", places([[39.9, 116.4]])),
    Case("one swapped place", 422, "swapped", places([39.9, 116.4])),
    # 422: cells
    Case("not a cell", 422, "/input/1", places(["8a31aa42a4affff", "hello"])),
    Case("an empty cell", 422, "/input/0", places([""])),
    Case("a cell of zeros", 422, "/input/0", places(["000000000000000"])),
    Case("a cell too long", 422, "/input/0", places(["8a31aa42a4affff" * 9])),
    Case("cells then pairs", 422, "/input/1", places(["8a31aa42a4affff", [1, 2]])),
    Case("a directed edge", 422, "/input/0", places(["115283473fffffff"])),
    Case("Arrow cell", 422, "/input/1", arrow(h3=pa.array([0x8A31AA42A4AFFFF, 5], pa.uint64())), ARROW),
    Case("Arrow text cells", 422, "/h3", arrow(h3=["8a31aa42a4affff"]), ARROW),
    Case("Arrow without places", 422, "lon", arrow(x=[1.0]), ARROW),
    Case("Arrow text lon", 422, "/lon", arrow(lon=["1"], lat=[1.0]), ARROW),
    Case("Arrow null", 422, "/lat", arrow(lon=[1.0, 2.0], lat=[1.0, None]), ARROW),
    Case("Arrow lat out of range", 422, "/input/1/1", arrow(lon=[1.0, 2.0], lat=[1.0, 99.0]), ARROW),
    # 422: GeoJSON
    Case("a polygon", 422, "Polygon", geojson(type="Polygon", coordinates=[[[0, 0], [1, 1], [0, 1], [0, 0]]])),
    Case("no type", 422, "/input", geojson(coordinates=[1, 2])),
    Case("no coordinates", 422, "/input/coordinates", geojson(type="Point")),
    Case("coordinates of text", 422, "/input/coordinates/0", geojson(type="Point", coordinates=["1", 2])),
    Case("altitude of null", 422, "/input/coordinates", geojson(type="Point", coordinates=[1, 2, None])),
    Case("four numbers in a point", 422, "/input/coordinates", geojson(type="Point", coordinates=[1, 2, 3, 4])),
    Case("multipoint of numbers", 422, "/input/coordinates/0", geojson(type="MultiPoint", coordinates=[1, 2])),
    Case("empty multipoint", 422, "/input", geojson(type="MultiPoint", coordinates=[])),
    Case("multipoint of null", 422, "/input/coordinates", geojson(type="MultiPoint", coordinates=None)),
    Case("feature without geometry", 422, "/input/geometry", geojson(type="Feature", geometry=None)),
    Case("collection without features", 422, "/input/features", geojson(type="FeatureCollection")),
    Case("empty collection", 422, "/input", geojson(type="FeatureCollection", features=[])),
    Case("collection of null", 422, "/input/features/0", geojson(type="FeatureCollection", features=[None])),
    Case(
        "bad place in a collection",
        422,
        "/input/features/1/geometry/coordinates/1",
        geojson(
            type="FeatureCollection",
            features=[
                {"type": "Feature", "geometry": POINT},
                {"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 100]}},
            ],
        ),
    ),
    Case("lone surrogate in a type", 422, "/input", b'{"input": {"type": "\\ud800"}}'),
    # 422: options
    Case("dimensions not allowed", 422, "/dimensions", places([[1, 2]], dimensions=5)),
    Case("dimensions zero", 422, "/dimensions", places([[1, 2]], dimensions=0)),
    Case("dimensions as text", 422, "/dimensions", places([[1, 2]], dimensions="4")),
    Case("dimensions as float", 422, "/dimensions", places([[1, 2]], dimensions=4.5)),
    Case("dimensions huge", 422, "/dimensions", places([[1, 2]], dimensions=10**30)),
    Case("encoding_format unknown", 422, "/encoding_format", places([[1, 2]], encoding_format="hex")),
    Case("model as a number", 422, "/model", places([[1, 2]], model=3)),
    Case("normalize as text", 422, "/normalize", places([[1, 2]], normalize="yes")),
    Case("exact as a number", 422, "/exact", places([[1, 2]], exact=1)),
    Case("context as a number", 422, "/context", places([[1, 2]], context=1)),
    Case("context as text", 422, "/context", places([[1, 2]], context="yes")),
    Case("query context as text", 422, "/context", np.zeros((1, 2)).tobytes(), BINARY, url=URL + "?context=maybe"),
    Case("context in numbers alone", 406, "with context", places([[1, 2]], context=True), headers={"accept": BINARY}),
    Case("field with a slash", 422, "/a~1b", places([[1, 2]], **{"a/b": 1})),
    Case("field with a surrogate", 422, "unicode", b'{"input": [[1,2]], "\\udfff": 1}'),
    Case("query dimensions as text", 422, "/dimensions", np.zeros((1, 2)).tobytes(), BINARY, url=URL + "?dimensions=x"),
    Case("deadline not a number", 422, "X-Deadline-Ms", SOUND, headers={"x-deadline-ms": "soon"}),
    Case("deadline negative", 422, "X-Deadline-Ms", SOUND, headers={"x-deadline-ms": "-5"}),
    Case("deadline zero", 422, "X-Deadline-Ms", SOUND, headers={"x-deadline-ms": "0"}),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_malformed_request_gets_its_status_and_names_the_item(client: TestClient, case: Case) -> None:
    headers = {"content-type": case.content_type} | case.headers
    answer = client.request(case.method, case.url, content=case.content, headers=headers)

    assert answer.status_code == case.status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == case.status
    assert problem["instance"] == case.url.split("?")[0]
    assert problem["request_id"] == answer.headers["x-request-id"]
    said = problem["detail"] + json.dumps(problem.get("errors", []))
    assert case.names in said
    if case.status == 422:
        assert 1 <= len(problem["errors"]) <= 20
    if case.url.startswith(URL):
        assert problem["error"]["message"] == problem["detail"]
        assert problem["error"]["code"] == problem["code"]


def test_at_most_twenty_items_are_named_and_the_rest_counted(client: TestClient) -> None:
    problem = client.post(URL, json=places([[0, 100]] * 50)).json()
    assert [error["pointer"] for error in problem["errors"]] == [f"/input/{i}/1" for i in range(20)]
    assert "49 more" in problem["detail"]


def test_a_chunked_body_is_counted_as_it_streams(client: TestClient) -> None:
    def endless() -> Any:
        for _ in range(1000):
            yield b" " * 1000

    answer = client.post(URL, content=endless(), headers={"content-type": JSON})
    assert answer.status_code == 413


def test_a_content_length_that_lies_small_does_not_help(client: TestClient) -> None:
    body = b" " * 100_001
    answer = client.post(URL, content=body, headers={"content-type": JSON, "content-length": "10"})
    assert answer.status_code == 413
