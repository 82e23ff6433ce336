"""Steps of known length through encoders of known gradient, and where samples are and are not."""

import csv
import io

import numpy as np
import pytest
import torch

from trainer.baselines import Baseline
from trainer.errors import EvaluationError
from trainer.evaluation.continuity import (
    ANYWHERE,
    AT_SAMPLES,
    BETWEEN,
    ON_LAND,
    between,
    measure_changes,
    spread,
    starting_places,
)
from trainer.evaluation.continuity_figure import QUANTILES, as_csv, continuity_figure, write_continuity
from trainer.evaluation.distribution_figure import nearest_km
from trainer.snap import uniform_on_sphere
from trainer.sphere import EARTH_RADIUS_KM, unit_vectors

STEPS = (0.1, 1.0, 10.0, 100.0)


def on_sphere(places):
    return unit_vectors(torch.from_numpy(places)).numpy()


def encoder(name, embed):
    return Baseline(name, "", embed)


def test_on_the_sphere_itself_every_step_is_its_chord():
    sphere = encoder("xyz", on_sphere)
    starts = {ANYWHERE: uniform_on_sphere(500, 0)}
    unit = spread(sphere, 0)
    for change in measure_changes(sphere, starts, STEPS, seed=0):
        angle = change.step_km / EARTH_RADIUS_KM
        np.testing.assert_allclose(change.cosine, 1 - np.cos(angle), rtol=0.02 if change.step_km < 1 else 2e-3)
        np.testing.assert_allclose(
            change.distance, 2 * np.sin(angle / 2) / unit, rtol=0.02 if change.step_km < 1 else 2e-3
        )


def test_directions_are_uniform():
    """Of z alone, a step d changes cos(lat) · cos(direction) · d: its mean square is cos²(lat) · d² / 2."""
    height = encoder("z", lambda places: on_sphere(places)[:, 2:] * 1e3)
    starts = {ANYWHERE: np.tile([[20.0, 60.0]], (4000, 1))}
    (change,) = measure_changes(height, starts, [10.0], seed=0)
    moved = change.distance * spread(height, 0) / 1e3
    expected = 0.5 * 10.0 / EARTH_RADIUS_KM
    assert np.sqrt(2 * np.mean(moved**2)) == pytest.approx(expected, rel=0.03)
    assert moved.max() == pytest.approx(expected, rel=0.01)


def test_the_unit_is_the_distance_of_two_random_places():
    noise = encoder("noise", lambda places: np.random.default_rng(0).normal(size=(len(places), 50)))
    assert spread(noise, 0) == pytest.approx(np.sqrt(2 * 50), rel=0.01)
    with pytest.raises(EvaluationError, match="gives all places one embedding"):
        spread(encoder("one", lambda places: np.ones((len(places), 3))), 0)


def test_a_jump_is_seen_where_it_is_and_nowhere_else():
    halves = encoder("halves", lambda places: np.stack([places[:, 0] > 0, places[:, 0] <= 0], axis=1))
    places = np.array([[1e-6, 0.0]] * 200 + [[50.0, 0.0]] * 200)
    (change,) = measure_changes(halves, {"here": places}, [1.0], seed=0)
    assert not change.distance[200:].any()
    assert 0.4 < (change.cosine[:200] > 0.99).mean() < 0.6


def test_between_is_as_far_from_samples_as_can_be_and_at_samples_is_one():
    samples = uniform_on_sphere(400, 3)
    gaps = between(samples)
    far = nearest_km(samples, gaps)
    rng = np.random.default_rng(0)
    for gap, distance in zip(gaps[:50], far[:50], strict=True):
        around = gap + rng.normal(size=(20, 2)) * 0.05
        assert (nearest_km(samples, around) <= distance + 10).all()
    assert np.median(far) > 1.3 * np.median(nearest_km(samples, uniform_on_sphere(2000, 1)))
    starts = starting_places(300, 0, samples)
    assert set(starts) == {ANYWHERE, ON_LAND, AT_SAMPLES, BETWEEN}
    assert nearest_km(samples, starts[AT_SAMPLES]).max() < 1e-3
    assert set(starting_places(10, 0)) == {ANYWHERE, ON_LAND}
    with pytest.raises(EvaluationError, match="1 places are too few"):
        between(np.zeros((100, 2)))


def test_the_same_seed_is_the_same_steps():
    sphere, starts = encoder("xyz", on_sphere), starting_places(50, 0)
    first, again = (measure_changes(sphere, starts, [1.0], seed=0)[0].distance for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, measure_changes(sphere, starts, [1.0], seed=1)[0].distance)


def test_the_report_has_every_quantile(tmp_path):
    sphere = encoder("xyz", on_sphere)
    changes = measure_changes(sphere, starting_places(100, 0), STEPS, seed=0)
    lines = list(csv.DictReader(io.StringIO(as_csv(changes))))
    assert len(lines) == 2 * len(STEPS) * 2
    assert len(lines[0]) == 5 + 1 + len(QUANTILES) + 1
    by_hand = next(c for c in changes if c.starts == ON_LAND and c.step_km == 1.0)
    told = next(x for x in lines if (x["starts"], x["step km"], x["measure"]) == (ON_LAND, "1", "distance"))
    assert float(told["50 %"]) == pytest.approx(np.median(by_hand.distance), rel=1e-5)
    picture = continuity_figure(changes, tmp_path / "c.png")
    write_continuity(changes, {"seed": 0}, picture)
    assert f"| xyz | {ON_LAND} | {np.median(by_hand.distance):.2e} |" in (tmp_path / "c.md").read_text()
