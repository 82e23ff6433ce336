"""Places that look swapped are answered all the same, and the answer, its header and the log say so."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from starlette.testclient import TestClient

from tests.service.geography.test_swapped import BRITAIN

SWAPPED = [list(city) for city in BRITAIN]
SOUND = [[lon, lat] for lat, lon in BRITAIN]
BODIES = {
    "/v1/embeddings": {"input": SWAPPED},
    "/v1/predictions": {"input": SWAPPED, "head": ["height", "cover"]},
    "/v1/similarity": {"reference": [1, 2], "candidates": SWAPPED},
    "/v1/compare": {"input": SWAPPED},
}


@pytest.mark.parametrize("url", BODIES)
def test_the_answer_and_its_header_say_so(map_client: TestClient, url: str) -> None:
    answer = map_client.post(url, json=BODIES[url])
    assert answer.status_code == 200
    (warning,) = answer.json()["warnings"]
    assert warning["code"] == "swapped_coordinates"
    assert "[lon, lat]" in warning["message"]
    assert answer.headers["x-warning"] == f"{warning['code']}: {warning['message']}"


@pytest.mark.parametrize("url", BODIES)
def test_places_in_order_are_answered_without_a_word(map_client: TestClient, url: str) -> None:
    body = {key: SOUND if value is SWAPPED else value for key, value in BODIES[url].items()}
    answer = map_client.post(url, json=body)
    assert answer.status_code == 200
    assert "warnings" not in answer.json()
    assert "x-warning" not in answer.headers


@pytest.mark.parametrize("url", ["/v1/embeddings", "/v1/predictions?head=height"])
@pytest.mark.parametrize(
    "media_type",
    [
        "application/octet-stream",
        "application/x-npy",
        "application/vnd.apache.arrow.stream",
        "application/vnd.apache.parquet",
    ],
)
def test_binary_answers_say_so_in_the_header_alone(map_client: TestClient, url: str, media_type: str) -> None:
    headers = {"content-type": "application/octet-stream", "accept": media_type}
    answers = [map_client.post(url, content=np.array(each).tobytes(), headers=headers) for each in (SWAPPED, SOUND)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert ["x-warning" in answer.headers for answer in answers] == [True, False]


def test_embeddings_are_those_of_the_places_as_given(map_client: TestClient) -> None:
    together = map_client.post("/v1/embeddings", json={"input": SWAPPED}).json()["data"]
    alone = [map_client.post("/v1/embeddings", json={"input": place}).json()["data"][0] for place in SWAPPED]
    assert [item["embedding"] for item in together] == [item["embedding"] for item in alone]


def test_a_page_of_another_origin_may_read_the_header(make_client) -> None:
    client = make_client(cors_origins=("https://a.example",))
    answer = client.post("/v1/embeddings", json={"input": SWAPPED}, headers={"origin": "https://a.example"})
    assert "X-Warning" in answer.headers["access-control-expose-headers"]


def test_the_log_names_the_warning_and_no_coordinate(make_client, caplog: pytest.LogCaptureFixture) -> None:
    client = make_client()
    with caplog.at_level(logging.INFO, "satcle.access"):
        client.post("/v1/embeddings", json={"input": SWAPPED})
        client.post("/v1/embeddings", json={"input": SOUND})
    swapped, sound = [record.fields for record in caplog.records if record.name == "satcle.access"]
    assert swapped["warnings"] == "swapped_coordinates"
    assert "warnings" not in sound
    assert "51.51" not in str(swapped)
