"""What the default bundle's heads say of places that everyone knows, and that they are what their cards say."""

from __future__ import annotations

import httpx
import pytest

from tests.e2e.conftest import Served

TIBET, NETHERLANDS, GREENLAND, SAHARA, AMAZON, MID_PACIFIC = (
    [88.0, 32.5],
    [5.5, 52.3],
    [-42.0, 72.0],
    [10.0, 24.0],
    [-63.0, -4.0],
    [-140.0, 0.0],
)


def predict(served: Served, head: str, *places: list[float]) -> list[dict]:
    answer = httpx.post(served.url + "/v1/predictions", json={"head": head, "input": list(places)}, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def values(served: Served, head: str, *places: list[float]) -> list[float]:
    return [item["value"] for item in predict(served, head, *places)]


def labels(served: Served, head: str, *places: list[float]) -> list[str]:
    return [item["label"] for item in predict(served, head, *places)]


def test_the_heads_of_the_default_bundle_are_listed_with_unit_or_classes_metrics_and_source(served: Served) -> None:
    heads = {head["id"]: head for head in httpx.get(served.url + "/v1/heads").json()["data"]}
    assert {(name, head["task"], head.get("unit")) for name, head in heads.items()} == {
        ("elevation", "regression", "m"),
        ("land_cover", "classification", None),
        ("country", "classification", None),
        ("population_density", "regression", "people/km²"),
        ("air_temperature", "regression", "°C"),
    }
    assert len(heads["land_cover"]["classes"]) == 17
    for head in heads.values():
        assert head["metrics"]
        assert head["fit"]["parity"] <= 1e-4
        assert all(head["source"][key] for key in ("name", "credit", "license", "url", "sha256"))
        assert head["task"] == "classification" or head["value_range"][0] < head["value_range"][1]


def test_tibet_is_high_and_the_netherlands_are_not(served: Served) -> None:
    tibet, netherlands = values(served, "elevation", TIBET, NETHERLANDS)
    assert tibet > 4000
    assert abs(netherlands) < 150


def test_the_sahara_is_barren_greenland_is_ice_the_amazon_is_forest_and_the_pacific_is_water(served: Served) -> None:
    assert labels(served, "land_cover", SAHARA, GREENLAND, AMAZON, MID_PACIFIC) == [
        "barren",
        "snow and ice",
        "evergreen broadleaf forest",
        "water",
    ]


def test_countries(served: Served) -> None:
    assert labels(served, "country", TIBET, [2.5, 47.5], AMAZON, [134.0, -25.0]) == [
        "China",
        "France",
        "Brazil",
        "Australia",
    ]


def test_people_live_in_bengal_and_not_in_the_sahara(served: Served) -> None:
    bengal, sahara = values(served, "population_density", [90.0, 24.0], SAHARA)
    assert bengal > 300
    assert 0 <= sahara < 5


def test_the_sahara_is_warmer_than_siberia(served: Served) -> None:
    sahara, siberia = values(served, "air_temperature", SAHARA, [125.0, 62.0])
    assert 15 < sahara < 32
    assert siberia < 0


@pytest.mark.parametrize("head", ["elevation", "population_density", "air_temperature"])
def test_every_place_on_earth_has_a_finite_value(served: Served, head: str) -> None:
    everywhere = [[lon, lat] for lon in range(-180, 181, 30) for lat in (-90, -89.9, -45, 0, 45, 89.9, 90)]
    assert len(values(served, head, *everywhere)) == len(everywhere)
