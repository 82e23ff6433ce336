"""Whatever bytes come in, the answer is one of the contract's, and never a 5xx."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance
from starlette.testclient import TestClient

from service.app import create_app
from service.bundle import Bundle
from service.settings import Settings
from tests.service.api.test_malformed import ARROW, BINARY, JSON, URL, arrow

CLIENT_ERRORS = {400, 413, 415, 422}
FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
json_values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["type", "coordinates", "geometry", "features", "x"]), inner, max_size=3)
        | st.fixed_dictionaries({"type": st.sampled_from(["Point", "MultiPoint", "Feature"]), "coordinates": inner})
        | st.fixed_dictionaries({"type": st.just("FeatureCollection"), "features": inner})
    ),
    max_leaves=12,
)
options = st.dictionaries(
    st.sampled_from(["model", "dimensions", "normalize", "exact", "context", "encoding_format", "extra"]),
    scalars,
    max_size=3,
)


@FUZZ
@given(value=json_values, extra=options)
def test_any_json_is_answered_or_refused(client: TestClient, value: Any, extra: dict[str, Any]) -> None:
    body = json.dumps({"input": value, **extra}).encode()
    status = client.post(URL, content=body, headers={"content-type": JSON}).status_code
    assert status in {200, 404} | CLIENT_ERRORS


@FUZZ
@given(body=st.binary(max_size=200), kind=st.sampled_from([JSON, BINARY, ARROW]))
def test_any_bytes_are_answered_or_refused(client: TestClient, body: bytes, kind: str) -> None:
    assert client.post(URL, content=body, headers={"content-type": kind}).status_code in {200} | CLIENT_ERRORS


@FUZZ
@given(data=st.data())
def test_a_damaged_arrow_stream_is_answered_or_refused(client: TestClient, data: st.DataObject) -> None:
    body = bytearray(arrow(lon=[1.0, 2.0], lat=[3.0, 4.0], name=["a", "b"]))
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(body)))
    for damaged in (bytes(body), bytes(body[:cut])):
        answer = client.post(URL, content=damaged, headers={"content-type": ARROW})
        assert answer.status_code in {200} | CLIENT_ERRORS, answer.text


@FUZZ
@given(name=st.sampled_from(["accept", "content-type", "x-request-id", "x-deadline-ms"]), value=st.binary(max_size=30))
def test_any_header_is_answered_or_refused(client: TestClient, name: str, value: bytes) -> None:
    headers = {b"content-type": JSON.encode(), name.encode(): value}
    answer = client.post(URL, content=b'{"input": [[1, 2]]}', headers=list(headers.items()))
    assert answer.status_code in {200, 406, 504} | CLIENT_ERRORS


comparisons = st.dictionaries(st.sampled_from(["models", "k", "embeddings", "encoding_format", "model"]), json_values)


@FUZZ
@given(value=json_values, options=comparisons, sound=st.booleans())
def test_any_comparison_is_made_or_refused(
    client: TestClient, value: Any, options: dict[str, Any], sound: bool
) -> None:
    body = json.dumps({"input": [[0, 0], [1, 1], [0, 0]] if sound else value, **options}).encode()
    status = client.post("/v1/compare", content=body, headers={"content-type": JSON}).status_code
    assert status in {200, 404} | CLIENT_ERRORS


regions = st.dictionaries(
    st.sampled_from(
        [
            "reference",
            "negative",
            "candidates",
            "bbox",
            "geometry",
            "width",
            "height",
            "h3_resolution",
            "rescale",
            "head",
        ]
    ),
    json_values
    | st.lists(st.floats(-200, 200), min_size=4, max_size=4)
    | st.integers(0, 20)
    | st.sampled_from(["height", "cover", "0,1"])
    | st.lists(st.lists(st.floats(-180, 180), min_size=2, max_size=2), min_size=3, max_size=5).map(
        lambda ring: {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}
    ),
)


@FUZZ
@given(
    body=regions,
    url=st.sampled_from(["/v1/similarity", "/v1/similarity/map", "/v1/predictions/map"]),
    accept=st.sampled_from(["*/*", "image/png", "application/geo+json", "application/vnd.apache.parquet"]),
    sound=st.booleans(),
)
def test_any_region_is_drawn_or_refused(
    map_client: TestClient, body: dict[str, Any], url: str, accept: str, sound: bool
) -> None:
    if sound:
        body = {"reference": [1, 2], "bbox": [0, 0, 1, 1], "width": 2, "height": 2} | body
    answer = map_client.post(url, content=json.dumps(body).encode(), headers={"content-type": JSON, "accept": accept})
    assert answer.status_code in {200, 404, 406} | CLIENT_ERRORS, answer.text


texts = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(
    ["1,2", "-180,90", "0,1", "1e308,-1e308", "-1e308,1e308", "0,1e-320", "magma", "0", "1", "2", "png", "npy", "0@2x"]
)


@FUZZ
@given(
    path=st.lists(texts, min_size=4, max_size=4),
    query=st.lists(
        st.tuples(st.sampled_from(["reference", "negative", "rescale", "colormap_name", "model", "x"]), texts),
        max_size=5,
    ),
    what=st.sampled_from(["tiles", "point", "legend", "tilejson"]),
    kind=st.sampled_from(["similarity", "predictions/cover", "embeddings"]),
    sound=st.booleans(),
)
def test_any_path_and_query_is_answered_or_refused(
    map_client: TestClient, path: list[str], query: list[tuple[str, str]], what: str, kind: str, sound: bool
) -> None:
    z, x, y, end = (quote(part, safe=",@") for part in (("0", "0", *path[2:]) if sound else path))
    url = {
        "tiles": f"tiles/WorldCRS84Quad/{z}/{x}/{y}.{end}",
        "point": f"point/{x},{y}",
        "legend": "legend.json",
        "tilejson": f"{z}/tilejson.json",
    }[what]
    answer = map_client.get(f"/v1/{kind}/{url}", params=query, follow_redirects=False)
    assert answer.status_code in {200, 307, 404, 422}, answer.text  # 307: to the same without a slash at the end


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_our_openapi_leads_to_no_server_error(full_bundle: Bundle, mode: GenerationMode) -> None:
    """Schemathesis with its checks: status, media type, headers and schema are what OpenAPI says.

    All but one: which strings are H3 cells is more than a JSON schema can say, so a request that fits
    the schema may rightly be refused.
    """
    with TestClient(create_app(Settings(bundles=(str(full_bundle.path),), max_map_points=100_000))) as client:
        described = schemathesis.openapi.from_asgi("/openapi.json", client.app)
        for found in described.get_all_operations():
            operation = found.ok()
            if mode == GenerationMode.NEGATIVE and not operation.body:
                continue  # what can be wrong in such a request is tested above, with more thought

            @settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
            @given(case=operation.as_strategy(generation_mode=mode))
            def holds(case: schemathesis.Case) -> None:
                case.call_and_validate(session=client, excluded_checks=[positive_data_acceptance])

            holds()
