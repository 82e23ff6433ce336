import numpy as np
import pytest

from service.bundle import LonLat
from service.embedding.backends.base import embed_checked
from service.embedding.backends.fake import FakeBackend

PLACES = LonLat.from_degrees(np.random.default_rng(0).uniform([-180, -90], [180, 90], (200, 2)))


@pytest.mark.parametrize("embedding_dim", [1, 8, 256])
def test_it_keeps_the_contract_of_a_backend(embedding_dim):
    rows = embed_checked(FakeBackend(embedding_dim), PLACES)
    assert rows.shape == (200, embedding_dim)
    assert np.abs(rows).max() <= 1


def test_two_of_them_agree_bit_for_bit():
    np.testing.assert_array_equal(FakeBackend(8).embed(PLACES), FakeBackend(8).embed(PLACES))


def test_a_place_has_one_row_alone_and_in_a_batch():
    alone = np.concatenate([FakeBackend(8).embed(PLACES[i : i + 1]) for i in range(len(PLACES))])
    np.testing.assert_allclose(alone, FakeBackend(8).embed(PLACES), atol=1e-6)


def test_near_places_have_near_rows_and_far_places_far_ones():
    here, near, far = FakeBackend(64).embed(LonLat.from_degrees([[10, 50], [10.001, 50], [-170, -50]]))
    assert np.linalg.norm(here - near) < 1e-2
    assert np.linalg.norm(here - far) > 1


def test_it_is_continuous_across_the_antimeridian():
    east, west = FakeBackend(8).embed(LonLat.from_degrees([[179.999999, 3], [-179.999999, 3]]))
    np.testing.assert_allclose(east, west, atol=1e-6)
