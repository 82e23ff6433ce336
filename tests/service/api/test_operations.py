"""Models, health, info, metrics, and what surrounds every request."""

from __future__ import annotations

import json
import logging

import pytest
from starlette.testclient import TestClient

from service.bundle import Bundle
from service.embedding.backends.fake import FakeBackend


def test_models_are_listed_as_openai_lists_them(client: TestClient, tiny_bundle: Bundle) -> None:
    listing = client.get("/v1/models").json()
    (model,) = listing["data"]
    assert listing["object"] == "list"
    assert {"id", "object", "created", "owned_by"} <= set(model)
    assert model["digest"] == tiny_bundle.card.digest
    assert model["dimensions"] == [4, 8]


def test_a_model_shows_its_whole_card(client: TestClient, tiny_bundle: Bundle) -> None:
    shown = client.get("/v1/models/tiny").json()
    card = tiny_bundle.card.model_dump(mode="json")
    assert {key: shown[key] for key in card} == card
    assert shown["id"] == "tiny"


def test_alive_and_ready(client: TestClient) -> None:
    assert client.get("/livez").text == "ok"
    assert client.get("/readyz").text == "ok"


def test_not_ready_before_start_up_and_while_draining(make_client) -> None:
    client = make_client()
    for phase in ("loading", "draining"):
        client.app.state.phase = phase
        answer = client.get("/readyz")
        assert answer.status_code == 503
        assert phase in answer.json()["detail"]
        assert "retry-after" in answer.headers
        assert client.get("/livez").status_code == 200


def test_not_ready_where_the_backend_fails(make_client) -> None:
    class Lost(FakeBackend):
        lost = False

        def embed(self, lonlat):
            if self.lost:
                raise RuntimeError("device lost")
            return super().embed(lonlat)

    backend = Lost(8)
    client = make_client(backend=backend)
    assert client.get("/readyz").status_code == 200
    backend.lost = True
    assert client.get("/readyz").status_code == 503


def test_info_tells_versions_every_setting_and_the_provider_in_use(client: TestClient, tiny_bundle: Bundle) -> None:
    info = client.get("/info").json()
    assert info["settings"]["max_points_per_request"] == 1000
    assert info["settings"].keys() == client.app.state.settings.model_dump().keys()
    (model,) = info["models"]
    assert model["provider"] == "cpu"
    assert model["precision"] == "float32"
    assert model["batch_points"] == 512
    assert model["digest"] == tiny_bundle.card.digest
    (tier,) = model["cache"]
    assert tier["tier"] == "memory"
    assert tier["pays"] in (True, False, None)
    assert info["libraries"]["onnxruntime"]


def test_metrics_count_requests_points_and_cache_by_fixed_labels(make_client) -> None:
    client = make_client()
    for _ in range(2):
        client.post("/v1/embeddings", json={"input": [[1, 2], [3, 4]]})
    client.get("/v1/anything/8a31aa42a4affff")
    client.get("/v1/models/secret-name")
    text = client.get("/metrics").text
    assert 'satcle_requests_total{method="POST",route="/v1/embeddings",status="200"} 2.0' in text
    assert 'satcle_requests_total{method="GET",route="unmatched",status="404"} 1.0' in text
    assert 'satcle_points_total{model="tiny",source="compute"} 2.0' in text
    assert 'satcle_points_total{model="tiny",source="cache"} 2.0' in text
    assert 'satcle_cache_hits_total{tier="memory"} 2.0' in text
    assert 'satcle_cache_misses_total{tier="memory"} 2.0' in text
    assert "satcle_queue_points 0.0" in text
    assert "8a31aa42a4affff" not in text
    assert "secret-name" not in text


def test_a_sound_request_id_is_kept_and_another_replaced(client: TestClient) -> None:
    assert client.get("/livez", headers={"x-request-id": "abc-1.2_Z"}).headers["x-request-id"] == "abc-1.2_Z"
    for hostile in ("a b", "x" * 129, "a;drop", ""):
        given = client.get("/livez", headers={"x-request-id": hostile}).headers["x-request-id"]
        assert len(given) == 32


def test_server_timing_names_the_stages(client: TestClient) -> None:
    timing = client.post("/v1/embeddings", json={"input": [[11, 12]]}).headers["server-timing"]
    assert [stage.split(";")[0] for stage in timing.split(", ")] == ["read", "cells", "cache", "model", "total"]


def test_a_bug_is_a_500_problem_that_gives_nothing_away(make_client) -> None:
    client = make_client()
    client.app.state.limits = None  # breaks the handler as a bug would
    answer = client.post("/v1/embeddings", json={"input": [[1, 2]]})
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "internal_error"
    assert "NoneType" not in answer.text


def test_logs_hold_no_coordinate_and_no_query(make_client, caplog: pytest.LogCaptureFixture) -> None:
    client = make_client()
    with caplog.at_level(logging.INFO):
        client.post("/v1/embeddings?model=tiny", json={"input": [[12.345678, 45.678912]]})
        client.post("/v1/embeddings", json={"input": [[12.345678, 145.678912]]})
    logged = json.dumps([record.getMessage() for record in caplog.records if record.name.startswith("satcle")])
    assert "/v1/embeddings" in logged
    assert "12.345" not in logged
    assert "model=" not in logged


def test_openapi_describes_the_service(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/v1/embeddings", "/v1/models", "/info", "/livez", "/readyz", "/metrics"} <= set(paths)
    body = paths["/v1/embeddings"]["post"]["requestBody"]["content"]
    assert {"application/json", "application/octet-stream", "application/vnd.apache.arrow.stream"} == set(body)
