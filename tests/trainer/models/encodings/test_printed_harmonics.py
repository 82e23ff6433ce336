import math
import re

import numpy as np
import pytest
import sympy
import torch

from tests.golden import PUBLISHED_M0_SCALE, golden_arrays, published_tower
from trainer.export import embed_with_graph
from trainer.graphs.encoder import encoder_graph
from trainer.models.encodings.printed_harmonics import printed_legendre, printed_polynomial
from trainer.models.encodings.spherical_harmonics import SphericalHarmonics, harmonics


def cosine_distance(a, b):
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    return 0.5 * np.square(a - b).sum(axis=1)


def published_expression(degree, order):
    """What the published generator prints for m ≥ 0, its slip for m = 0 included."""
    theta = sympy.Symbol("theta")
    legendre = sympy.assoc_legendre(degree, order, sympy.cos(theta))
    if order == 0:
        return str((sympy.sqrt((2 * degree + 1) / 4 * sympy.pi) * legendre).evalf())
    factorials = sympy.factorial(degree - order) / sympy.factorial(degree + order)
    scale = sympy.sqrt(2) * sympy.sqrt((2 * degree + 1) / (4 * sympy.pi) * factorials)
    return str(((-1) ** order * scale * legendre).evalf())


@pytest.mark.parametrize(
    ("degree", "order"), [(5, 0), (12, 0), (25, 0), (39, 0), (5, 2), (9, 1), (20, 7), (39, 1), (39, 2), (39, 20)]
)
def test_coefficients_are_those_that_were_printed(degree, order):
    polynomial = published_expression(degree, order).replace("(1.0 - cos(theta)**2)", "").replace("cos(theta)", "x")
    printed = [float(number) for number in re.findall(r"(?<![*\w.])\d+\.\d*(?:e[+-]?\d+)?", polynomial)]
    if order > 0:
        printed = printed[1:]  # the normalisation, which multiplies the whole harmonic
    ours = printed_polynomial(degree, order, math.pi)
    assert [abs(value) for _, value in sorted(ours.items(), reverse=True)] == printed


@pytest.mark.parametrize("m0_scale", [1.0, math.pi])
def test_few_digits_are_lost_where_coefficients_are_small(m0_scale):
    exact = harmonics(8, m0_scale).legendre
    np.testing.assert_allclose(printed_legendre(8, m0_scale), exact, rtol=0, atol=1e-11)


def test_errors_grow_towards_the_poles():
    lats = [0, 40, 60, 75, 89.9]
    lonlat = torch.tensor([[7.0, lat] for lat in lats], dtype=torch.float64)
    exact, printed = (SphericalHarmonics(40, math.pi, variant).double()(lonlat) for variant in ("exact", "printed"))
    errors = (printed - exact).abs().amax(dim=1)
    assert errors[0] < 1e-12
    assert (errors.diff() > 0).all()
    assert 0.3 < errors[-1] < 1.0


def test_is_the_printed_polynomial_in_exact_arithmetic():
    """The polynomial itself, evaluated as it was printed, at latitudes where doubles still can."""
    lats = np.linspace(-30, 30, 13)
    x = np.cos(np.radians(lats + 90))
    features = SphericalHarmonics(30, 1.0, "printed").double()(torch.tensor(np.stack([0 * lats - 180, lats], axis=1)))
    for degree, order in ((29, 0), (29, 3), (24, 8)):
        scale = 1.0
        if order:
            scale = math.sqrt((2 * degree + 1) / (2 * math.pi) / math.perm(degree + order, 2 * order))
        value = sum(c * x**power for power, c in printed_polynomial(degree, order, 1.0).items())
        expected = scale * (1 - x**2) ** (order / 2) * value
        np.testing.assert_allclose(features[:, degree**2 + degree + order], expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("legendre_polys", "limit"), [(10, 1e-12), (40, 5e-6)])
def test_agrees_with_published_embeddings(legendre_polys, limit):
    reference = golden_arrays(f"satclip_L{legendre_polys}.npz")
    tower = published_tower(legendre_polys, "printed")
    with torch.inference_mode():
        embeddings = tower(torch.from_numpy(reference["lonlat"])).numpy()
    assert cosine_distance(embeddings, reference["emb_analytic"]).max() <= limit
    graph = encoder_graph(tower).SerializeToString()
    assert (
        cosine_distance(embed_with_graph(graph, reference["lonlat"]), reference["emb_analytic"]).max() <= limit + 1e-9
    )


@pytest.mark.parametrize(("legendre_polys", "atol"), [(10, 3e-8), (40, 3e-5)])
def test_agrees_with_published_features(legendre_polys, atol):
    """Where the published code is not noise itself: coefficients of 1e14 leave doubles two digits near the poles."""
    reference = golden_arrays(f"features_L{legendre_polys}.npz")
    low = np.abs(reference["lonlat"][:, 1]) < 45
    encoding = SphericalHarmonics(legendre_polys, PUBLISHED_M0_SCALE, "printed").double()
    features = encoding(torch.from_numpy(reference["lonlat"][low]))
    np.testing.assert_allclose(features, reference["feat_analytic"][low], rtol=0, atol=atol)


@pytest.mark.parametrize("legendre_polys", [10, 40])
def test_closed_form_agrees_with_published_embeddings(legendre_polys):
    reference = golden_arrays(f"satclip_L{legendre_polys}.npz")
    tower = published_tower(legendre_polys)
    tower.encoding = SphericalHarmonics(legendre_polys, 1.0, "closed-form").double()
    with torch.inference_mode():
        embeddings = tower(torch.from_numpy(reference["lonlat"])).numpy()
    np.testing.assert_allclose(embeddings, reference["emb_closed_form"], rtol=0, atol=1e-7)  # its sines
