"""What a person does first: serve the default bundle, ask for places, embed a file, compare."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.e2e.conftest import Serve, Served

PLACES = [[116.4, 39.9], [2.35, 48.86], [178.44, -18.14], [77.0, 90.0]]


def embed(url: str, places: list[list[float]], **options: object) -> np.ndarray:
    answer = httpx.post(url + "/v1/embeddings", json={"input": places, **options}, timeout=60)
    assert answer.status_code == 200, answer.text
    return np.array([item["embedding"] for item in answer.json()["data"]], np.float32)


def cosine_distance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    first, second = (rows / np.linalg.norm(rows, axis=-1, keepdims=True) for rows in np.float64([first, second]))
    return ((first - second) ** 2).sum(-1) / 2


def test_the_readmes_first_request(served: Served) -> None:
    beijing, paris = embed(served.url, [[116.4, 39.9], [2.35, 48.86]])
    assert beijing.shape == (256,)
    assert np.isfinite(beijing).all()
    assert np.isfinite(paris).all()
    assert cosine_distance(beijing, paris) > 0.01


def test_one_place_has_one_embedding_alone_in_a_thousand_after_a_restart_and_from_a_file(
    served: Served, serve: Serve, places_csv: Path
) -> None:
    together = embed(served.url, PLACES)
    thousand = np.random.default_rng(5).uniform([-180, -90], [180, 90], (1000, 2))
    thousand[[0, 100, 511, 999]] = PLACES
    among = embed(served.url, thousand.tolist(), exact=True)[[0, 100, 511, 999]]
    alone = np.concatenate([embed(served.url, [place], exact=True) for place in PLACES])
    np.testing.assert_allclose(among, alone, atol=1e-6, rtol=0)

    with serve(SATCLE_CACHE_MEMORY_MB="0") as restarted:
        np.testing.assert_allclose(embed(restarted.url, PLACES), together, atol=1e-6, rtol=0)

    out = places_csv.with_suffix(".parquet")
    subprocess.run([sys.executable, "-m", "service", "embed", places_csv, "-o", out], check=True, capture_output=True)
    from_file = np.array(pq.read_table(out)["embedding"].to_pylist(), np.float32)
    np.testing.assert_allclose(from_file, together, atol=1e-6, rtol=0)


@pytest.mark.parametrize("exact", [False, True])
def test_the_antimeridian_and_the_poles(served: Served, exact: bool) -> None:
    rows = embed(
        served.url,
        [[-180, 12], [180, 12], [200, -3], [-160, -3], [0, 90], [123, 90], [0, -90], [-50, -90]],
        exact=exact,
    )
    np.testing.assert_array_equal(rows[0:4:2], rows[1:4:2])
    assert (cosine_distance(rows[4::2], rows[5::2]) < 1e-6).all()


def test_near_places_are_more_alike_than_far_ones(served: Served) -> None:
    paris, versailles, sydney = embed(served.url, [[2.35, 48.86], [2.12, 48.80], [151.2, -33.87]])
    assert cosine_distance(paris, versailles) < cosine_distance(paris, sydney)


def test_the_card_says_what_a_client_must_know(served: Served) -> None:
    listing = httpx.get(served.url + "/v1/models").json()["data"]
    card = httpx.get(f"{served.url}/v1/models/{listing[0]['id']}").json()
    assert card["embedding_dim"] == 256
    assert [error["resolution"] for error in card["snap_errors"]] == list(range(7, 16))
    chosen = next(e for e in card["snap_errors"] if e["resolution"] == card["snap_resolution"])
    assert chosen["cosine_max"] < 1e-7
    assert card["parity"]["max_abs_error"] < 2e-5
    assert card["training"]["samples"] > 0
    assert all(source["credit"] and source["license"] for source in card["training"]["sources"])
    assert card["metrics"]


def test_a_client_that_leaves_frees_the_queue(served: Served) -> None:
    """Sends 100,000 places, hangs up, and looks until the service has noticed; each look is a request."""
    left_before = served.metric('satcle_rejected_total{reason="client_gone"}')
    body = np.random.default_rng(6).uniform([-180, -90], [180, 90], (100_000, 2)).tobytes()
    request = httpx.Request("POST", served.url, headers={"content-type": "application/octet-stream"}, content=body)
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            served.url + "/v1/embeddings?exact=true",
            content=request.content,
            headers=request.headers,
            timeout=httpx.Timeout(30, read=0.02),
        )
    for _ in range(10_000):
        if served.metric('satcle_rejected_total{reason="client_gone"}') > left_before:
            break
    assert served.metric('satcle_rejected_total{reason="client_gone"}') == left_before + 1
    assert served.metric("satcle_queue_points") == 0


def test_a_service_told_to_stop_answers_what_it_has_begun(serve: Serve) -> None:
    with serve() as served, served.client() as client:
        client.get("/readyz")
        body = np.random.default_rng(7).uniform([-180, -90], [180, 90], (50_000, 2)).tobytes()
        headers = {"content-type": "application/octet-stream", "accept": "application/octet-stream"}
        with client.stream("POST", "/v1/embeddings?exact=true", content=body, headers=headers) as answer:
            served.process.terminate()
            rows = answer.read()
    assert answer.status_code == 200
    assert len(rows) == 50_000 * 256 * 4


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"SATCLE_BUNDLES": "nowhere"}, "nowhere"),
        ({"SATCLE_PROVIDER": "cuda"}, "cuda"),
        ({"SATCLE_MAX_BATCH_POINTS": "many"}, "SATCLE_MAX_BATCH_POINTS"),
        ({"SATCLE_DEADLINE_MS": "0"}, "SATCLE_DEADLINE_MS"),
    ],
)
def test_a_setting_that_cannot_be_is_one_clear_line(environment: dict[str, str], said: str) -> None:
    import os

    ended = subprocess.run(
        [sys.executable, "-m", "service", "serve", "--port", "0"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    assert said in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1


def test_json_logs_are_json(serve: Serve) -> None:
    with serve(SATCLE_LOG_FORMAT="json") as served:
        httpx.get(served.url + "/livez")
        served.process.terminate()
        assert served.process.stderr is not None
        events = [json.loads(line) for line in served.process.stderr]
    assert any(event["message"] == "GET /livez" and event["status"] == 200 for event in events)
