"""POST /v1/similarity: cosines, in order or the best first, of places in every form."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from service.bundle import Bundle, LonLat
from service.embedding.backends.onnx import OnnxBackend
from service.embedding.cells import cell_strings, cells_of, centres_of

URL = "/v1/similarity"
BEIJING, PARIS, SUVA = [116.4, 39.9], [2.35, 48.86], [178.44, -18.14]
places = st.tuples(st.floats(-180, 179.999), st.floats(-89.999, 89.999)).map(list)


def scores_of(client: TestClient, **body: Any) -> list[float]:
    """In input order."""
    answer = client.post(URL, json=body)
    assert answer.status_code == 200, answer.text
    data = answer.json()["data"]
    assert [item["index"] for item in data] == list(range(len(data)))
    return [item["score"] for item in data]


@pytest.fixture(scope="session")
def units(tiny_bundle: Bundle):
    """Embeddings at the very places, each of unit length, float64."""
    backend = OnnxBackend(tiny_bundle, "cpu")

    def of(value: list[list[float]]) -> np.ndarray:
        rows = backend.embed(LonLat.from_degrees(value)).astype(np.float64)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    return of


def test_an_answer_is_a_list_of_index_and_score(client: TestClient) -> None:
    answer = client.post(URL, json={"reference": BEIJING, "candidates": [PARIS, SUVA]})
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert body.keys() == {"object", "model", "data"}
    assert body["object"] == "list"
    assert body["model"] == "tiny"
    assert [item.keys() for item in body["data"]] == [{"index", "score"}] * 2


@settings(max_examples=30)
@given(
    references=st.lists(places, min_size=1, max_size=4),
    negatives=st.lists(places, max_size=3),
    candidates=st.lists(places, min_size=1, max_size=5),
)
def test_scores_are_mean_cosines_less_those_with_the_negatives(client, units, references, negatives, candidates):
    expected = (units(candidates) @ units(references).T).mean(axis=1)
    body = {"reference": references, "candidates": candidates}
    if negatives:
        expected -= (units(candidates) @ units(negatives).T).mean(axis=1)
        body["negative"] = negatives
    np.testing.assert_allclose(scores_of(client, **body), expected, atol=1e-6)


@given(place=places, other=places)
@settings(max_examples=30)
def test_cosine_is_one_with_itself_symmetric_and_within_one(client: TestClient, place, other) -> None:
    own, there = scores_of(client, reference=place, candidates=[place, other])
    (back,) = scores_of(client, reference=other, candidates=[place])
    assert own == pytest.approx(1, abs=1e-6)
    assert there == pytest.approx(back, abs=1e-6)
    assert abs(there) <= 1
    assert abs(own) <= 1


def test_a_place_against_itself_as_a_negative_scores_zero(client: TestClient) -> None:
    np.testing.assert_allclose(
        scores_of(client, reference=BEIJING, negative=BEIJING, candidates=[PARIS, SUVA]), 0, atol=1e-7
    )


def test_places_are_encoded_where_they_are_whether_or_not_embeddings_snap(client: TestClient, make_client) -> None:
    body = {"reference": BEIJING, "candidates": [PARIS, [2.35001, 48.86]]}
    first, second = scores_of(client, **body)
    assert first != second
    assert scores_of(make_client(snap="exact"), **body) == pytest.approx([first, second], abs=1e-7)


@pytest.mark.parametrize("field", ["reference", "candidates", "negative"])
@pytest.mark.parametrize(
    "written",
    [
        [PARIS],
        {"type": "Point", "coordinates": PARIS},
        {"type": "MultiPoint", "coordinates": [PARIS]},
        {"type": "Feature", "geometry": {"type": "Point", "coordinates": PARIS}},
        {
            "type": "FeatureCollection",
            "features": [{"type": "Feature", "geometry": {"type": "Point", "coordinates": PARIS}}],
        },
    ],
    ids=["pairs", "point", "multipoint", "feature", "collection"],
)
def test_each_field_takes_places_in_every_form(client: TestClient, field: str, written: object) -> None:
    body = {"reference": BEIJING, "candidates": SUVA, "negative": [10, 10]}
    assert scores_of(client, **body | {field: written}) == scores_of(client, **body | {field: PARIS})


def test_cells_stand_for_their_centres(client: TestClient) -> None:
    cells = cells_of(LonLat.from_degrees([PARIS, SUVA]), 7)
    centres = centres_of(cells).degrees.tolist()
    body = {"reference": BEIJING}
    assert scores_of(client, **body, candidates=list(cell_strings(cells))) == scores_of(
        client, **body, candidates=centres
    )


def test_top_k_gives_the_best_first_and_equals_as_they_were_given(client: TestClient) -> None:
    candidates = [PARIS, SUVA, BEIJING, [0, 0], BEIJING, PARIS]
    every = scores_of(client, reference=BEIJING, candidates=candidates)
    for top_k in (1, 3, 6, 7, 10**9):
        data = client.post(URL, json={"reference": BEIJING, "candidates": candidates, "top_k": top_k}).json()["data"]
        expected = sorted(range(6), key=lambda index: (-every[index], index))[:top_k]
        assert [item["index"] for item in data] == expected
        assert [item["score"] for item in data] == [every[index] for index in expected]


def test_an_answer_of_many_pieces_is_whole_and_in_order(make_client) -> None:
    client = make_client()
    candidates = np.random.default_rng(3).uniform([-180, -90], [180, 90], (5000, 2)).tolist()
    every = scores_of(client, reference=BEIJING, candidates=candidates)
    assert len(every) == 5000
    assert scores_of(client, reference=BEIJING, candidates=candidates[4000:4010]) == pytest.approx(
        every[4000:4010], abs=1e-6
    )


def test_poles_and_the_antimeridian_are_single_places(client: TestClient) -> None:
    scores = scores_of(client, reference=[0, 90], candidates=[[77, 90], [-180, 90]])
    scores += scores_of(client, reference=[180, 5], candidates=[[-180, 5]])
    np.testing.assert_allclose(scores, 1, atol=1e-6)


class Zero:
    """A backend whose embeddings are all zeros, which point nowhere."""

    embedding_dim = 8
    provider = "zero"

    def embed(self, lonlat: LonLat) -> np.ndarray:
        return np.zeros((len(lonlat), 8), np.float32)


def test_an_embedding_of_zeros_is_like_nothing(make_client) -> None:
    client = make_client(backend=Zero())
    assert scores_of(client, reference=BEIJING, candidates=[BEIJING, PARIS]) == [0, 0]


@pytest.mark.parametrize(
    ("body", "status", "names"),
    [
        ({"candidates": [PARIS]}, 422, "/reference"),
        ({"reference": PARIS}, 422, "/candidates"),
        ({"reference": [], "candidates": [PARIS]}, 422, "/reference"),
        ({"reference": PARIS, "candidates": []}, 422, "/candidates"),
        ({"reference": PARIS, "candidates": [PARIS], "negative": []}, 422, "/negative"),
        ({"reference": PARIS, "candidates": [PARIS], "negative": None}, 422, "/negative"),
        ({"reference": [PARIS, [0, 91]], "candidates": [PARIS]}, 422, "/reference/1/1"),
        ({"reference": PARIS, "candidates": [PARIS, [0, "x"]]}, 422, "/candidates/1/1"),
        ({"reference": PARIS, "candidates": [PARIS], "negative": [39.9, 116.4]}, 422, "swapped"),
        ({"reference": "Paris", "candidates": [PARIS]}, 422, "/reference"),
        ({"reference": ["x"], "candidates": [PARIS]}, 422, "/reference/0"),
        ({"reference": PARIS, "candidates": {"type": "Point"}}, 422, "/candidates/coordinates"),
        (
            {"reference": PARIS, "candidates": {"type": "FeatureCollection", "features": [1]}},
            422,
            "/candidates/features/0",
        ),
        ({"reference": PARIS, "candidates": [[10**400, 0]]}, 422, "/candidates"),
        ({"reference": PARIS, "candidates": [PARIS], "top_k": 0}, 422, "/top_k"),
        ({"reference": PARIS, "candidates": [PARIS], "top_k": 1.5}, 422, "/top_k"),
        ({"reference": PARIS, "candidates": [PARIS], "top_k": "1"}, 422, "/top_k"),
        ({"reference": PARIS, "candidates": [PARIS], "top_k": 10**40}, 422, "/top_k"),
        ({"reference": PARIS, "candidates": [PARIS], "exact": True}, 422, "/exact"),
        ({"reference": PARIS, "candidates": [PARIS], "input": []}, 422, "besides reference, negative and candidates"),
        ({"reference": PARIS, "candidates": [PARIS], "model": "nope"}, 404, "nope"),
        ({"reference": PARIS, "candidates": [PARIS] * 1000}, 413, "1001"),
        ({"reference": [PARIS] * 1001, "candidates": [PARIS]}, 413, "1001"),
        ([], 422, "object"),
    ],
)
def test_what_is_wrong_is_named(client: TestClient, body: object, status: int, names: str) -> None:
    answer = client.post(URL, json=body)
    assert answer.status_code == status, answer.text
    said = answer.json()["detail"] + json.dumps(answer.json().get("errors", []))
    assert names in said


def test_only_json_is_read_and_written(client: TestClient) -> None:
    body = json.dumps({"reference": PARIS, "candidates": [PARIS]}).encode()
    sent = client.post(URL, content=body, headers={"content-type": "application/octet-stream"})
    assert sent.status_code == 415
    assert "application/json" in sent.json()["detail"]
    wanted = client.post(URL, content=body, headers={"content-type": "application/json", "accept": "image/png"})
    assert wanted.status_code == 406
    assert client.post(URL, content=b"{", headers={"content-type": "application/json"}).status_code == 400
    assert client.get(URL).status_code == 405
