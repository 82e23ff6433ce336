"""Whatever bytes come in, the answer is one of the contract's, and never a 5xx."""

from __future__ import annotations

import json
from typing import Any

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
    st.sampled_from(["model", "dimensions", "normalize", "exact", "encoding_format", "extra"]), scalars, max_size=3
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


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_our_openapi_leads_to_no_server_error(tiny_bundle: Bundle, mode: GenerationMode) -> None:
    """Schemathesis with its checks: status, media type, headers and schema are what OpenAPI says.

    All but one: which strings are H3 cells is more than a JSON schema can say, so a request that fits
    the schema may rightly be refused.
    """
    with TestClient(create_app(Settings(bundles=(str(tiny_bundle.path),)))) as client:
        described = schemathesis.openapi.from_asgi("/openapi.json", client.app)
        for found in described.get_all_operations():
            operation = found.ok()
            if mode == GenerationMode.NEGATIVE and not operation.body:
                continue  # nothing in such a request can be wrong

            @settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
            @given(case=operation.as_strategy(generation_mode=mode))
            def holds(case: schemathesis.Case) -> None:
                case.call_and_validate(session=client, excluded_checks=[positive_data_acceptance])

            holds()
