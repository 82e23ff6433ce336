import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from service.bundle import ComponentsCard, read_bundle
from service.bundles import DEFAULT, bundle_path
from service.errors import BackendFailed, UnknownLayer
from service.maps.layers import Components, Similarity, unit_rows

ROWS = arrays(np.float32, (5, 4), elements=st.floats(-(2.0**60), 2.0**60, width=32, allow_subnormal=False))


def rows(*values):
    return np.array(values, np.float32)


def cosine(a, b):
    a, b = a.astype(np.float64), b.astype(np.float64)
    return a @ b / (np.linalg.norm(a) * np.linalg.norm(b))


def test_similarity_is_the_cosine():
    score = Similarity(rows([3, 4])).values(rows([3, 4], [-3, -4], [4, -3], [3, 0]))
    np.testing.assert_allclose(score[:, 0], [1, -1, 0, 0.6], atol=1e-7)
    assert score.dtype == np.float32


def test_with_several_references_and_negatives_it_is_mean_minus_mean():
    rng = np.random.default_rng(0)
    references, negatives, places = (rng.normal(size=(n, 16)).astype(np.float32) for n in (3, 2, 10))
    expected = [
        np.mean([cosine(place, reference) for reference in references])
        - np.mean([cosine(place, negative) for negative in negatives])
        for place in places
    ]
    np.testing.assert_allclose(Similarity(references, negatives).values(places)[:, 0], expected, atol=1e-6)


@given(ROWS, ROWS)
def test_it_is_finite_and_in_range_whatever_the_rows(references, places):
    scores = Similarity(references).values(places)
    assert np.isfinite(scores).all()
    assert (np.abs(scores) <= 1).all()
    assert (np.abs(Similarity(references, places).values(places)) <= 2).all()


@given(ROWS, st.floats(1e-3, 1e3))
def test_it_does_not_depend_on_lengths(places, factor):
    reference = rows([1, 2, 3, 4])
    scaled = (places * np.float32(factor)).astype(np.float32)
    keeps = np.abs(places).min(axis=1) > 1e-20
    score, again = (Similarity(reference).values(of)[keeps] for of in (places, scaled))
    np.testing.assert_allclose(score, again, atol=1e-5)


def test_a_row_of_zeros_is_like_nothing():
    assert Similarity(rows([1, 2])).values(rows([0, 0])).tolist() == [[0]]
    assert unit_rows(rows([0, 0], [0, 2])).tolist() == [[0, 0], [0, 1]]


def test_components_are_an_affine_map_cut_to_the_scale():
    affine = rows([1, 0, 0], [0, 2, 0], [0, 0, 0.25])  # two dimensions, and the offset
    values = Components(affine).values(rows([0.5, 0.25], [3, -3]))
    np.testing.assert_allclose(values, [[0.5, 0.5, 0.25], [1, 0, 0.25]])


def test_the_default_bundle_has_components():
    bundle = read_bundle(bundle_path(DEFAULT))
    layer = Components.of(bundle.card, bundle.read("components.npy"))
    values = layer.values(np.zeros((2, bundle.card.embedding_dim), np.float32))
    assert values.shape == (2, layer.bands)


def test_a_bundle_without_components_says_so(tiny_bundle):
    with pytest.raises(UnknownLayer, match="model tiny has no principal components"):
        Components.of(tiny_bundle.card, None)


@pytest.mark.parametrize("content", [b"", b"no array", b"\x93NUMPY\x01\x00"])
def test_a_file_that_is_no_array_is_a_model_that_fails(tiny_bundle, content):
    described = ComponentsCard(file="c.npy", explained=(0.5, 0.3, 0.2), quantiles=(0.01, 0.99), places=100)
    card = tiny_bundle.card.model_copy(update={"components": described})
    with pytest.raises(BackendFailed, match=r"c\.npy of model tiny"):
        Components.of(card, content)
