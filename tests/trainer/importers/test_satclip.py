import math
from fractions import Fraction
from functools import cache
from pathlib import Path

import mpmath
import numpy as np
import pytest
import torch
from numpy.polynomial import Polynomial
from safetensors.torch import save_file

from tests.golden import golden, golden_arrays
from tests.trainer.importers.layouts import (
    DIM,
    HIDDEN,
    exact_harmonics,
    hyper_parameters,
    lightning,
    places,
    published_siren,
    save,
    siren,
    zonal,
)
from trainer.errors import WeightsError
from trainer.export import embed_exactly
from trainer.importers import Choices, read_location_encoder

STALE = {"eval_downstream": False, "air_temp_data_path": "", "election_data_path": ""}


def embed(path: Path, lonlat: np.ndarray, **choices: object) -> np.ndarray:
    return embed_exactly(read_location_encoder(path, Choices(**choices)).tower, lonlat)


def cosine_distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    u, v = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    return 0.5 * np.square(u - v).sum(axis=1)


@pytest.mark.parametrize("stated", [{}, STALE], ids=["new", "stale keys"])
def test_a_lightning_checkpoint_computes_what_the_published_code_does(tmp_path, stated):
    path = save(lightning(siren(36), **stated), tmp_path / "a.ckpt")
    features = exact_harmonics(places(), 6) * np.where(zonal(6), math.pi, 1)
    np.testing.assert_allclose(embed(path, places()), published_siren(features, siren(36)), atol=1e-12)


def test_m0_scale_one_leaves_out_the_factor(tmp_path):
    path = save(lightning(siren(36)), tmp_path / "a.ckpt")
    expected = published_siren(exact_harmonics(places(), 6), siren(36))
    np.testing.assert_allclose(embed(path, places(), m0_scale=1.0), expected, atol=1e-12)


def test_closed_form_is_another_basis(tmp_path):
    path = save(lightning(siren(36), harmonics_calculation="closed-form"), tmp_path / "a.ckpt")
    signs = np.concatenate([(-1.0) ** np.arange(-degree, degree + 1) for degree in range(6)])
    expected = published_siren(exact_harmonics(places(), 6) * signs, siren(36))
    np.testing.assert_allclose(embed(path, places()), expected, atol=1e-12)
    assert read_location_encoder(path).tower.encoding.variant == "closed-form"


@pytest.mark.parametrize("prefix", ["nnet.", "location.nnet.", "model.nnet.", ""])
@pytest.mark.parametrize("kind", ["safetensors", "pth"])
def test_state_dicts_of_the_location_encoder_alone(tmp_path, prefix, kind):
    state = {prefix + name: value for name, value in siren(36).items()}
    path = tmp_path / f"a.{kind}"
    save_file(state, path) if kind == "safetensors" else save(state, path)
    whole = save(lightning(siren(36)), tmp_path / "b.ckpt")
    np.testing.assert_array_equal(embed(path, places()), embed(whole, places()))


def test_a_state_dict_in_float32_is_read(tmp_path):
    state = {f"location.nnet.{name}": value.float() for name, value in siren(36).items()}
    save_file(state, tmp_path / "a.safetensors")
    whole = embed(save(lightning(siren(36)), tmp_path / "b.ckpt"), places())
    np.testing.assert_allclose(embed(tmp_path / "a.safetensors", places()), whole, atol=1e-5)


def test_what_the_location_encoder_holds_is_what_counts(tmp_path):
    content = lightning(siren(36))
    content["state_dict"] |= {f"model.nnet.{name}": value for name, value in siren(36, seed=1).items()}
    path = save(content, tmp_path / "a.ckpt")
    np.testing.assert_array_equal(
        embed(path, places()), embed(save(lightning(siren(36)), tmp_path / "b.ckpt"), places())
    )


def test_satcle_serves_the_location_encoder_and_says_that_fusion_exists(tmp_path):
    fusion = {"model.fuse.conv1.weight.weight": torch.zeros(DIM, DIM, 1)}
    encoder = read_location_encoder(save(lightning(siren(36), fusion), tmp_path / "a.ckpt"))
    assert encoder.provenance.method == "satcle"
    assert encoder.provenance.name == "satcle-rn18-l6"
    assert "fusion exist and are not served" in encoder.provenance.description
    plain = save(lightning(siren(36)), tmp_path / "b.ckpt")
    np.testing.assert_array_equal(
        embed_exactly(encoder.tower, places()), embed_exactly(read_location_encoder(plain).tower, places())
    )
    assert read_location_encoder(plain).provenance.method == "satclip"


@pytest.mark.parametrize(
    ("vision", "name"),
    [("moco_resnet18", "rn18-"), ("moco_resnet50", "rn50-"), ("moco_vit16", "vit16-"), (4, ""), ("other", "")],
)
def test_names_tell_the_image_tower_where_it_is_a_published_one(tmp_path, vision, name):
    path = save(lightning(siren(36), vision_layers=vision), tmp_path / "a.ckpt")
    assert read_location_encoder(path).provenance.name == f"satclip-{name}l6"


def test_few_polynomials_are_exact_and_many_printed(tmp_path):
    variants = {}
    for legendre_polys in (6, 10, 20, 40):
        content = lightning(siren(legendre_polys**2), legendre_polys=legendre_polys)
        path = save(content, tmp_path / f"{legendre_polys}.ckpt")
        variants[legendre_polys] = read_location_encoder(path).tower.encoding.variant
    assert variants[6] == variants[10] == "exact"
    assert variants[40] == "printed"
    forced = Choices(variant="exact")
    assert read_location_encoder(tmp_path / "40.ckpt", forced).tower.encoding.variant == "exact"


def printed_features(lonlat: np.ndarray, legendre_polys: int) -> np.ndarray:
    """The published polynomials, derived and printed here by mpmath, and summed exactly: (n, L²)."""
    with mpmath.workdps(60):
        return np.array([_printed_row(lon, lat, legendre_polys) for lon, lat in lonlat])


def _printed_row(lon: float, lat: float, legendre_polys: int) -> list[float]:
    phi, x = mpmath.radians(mpmath.mpf(lon) + 180), mpmath.cos(mpmath.radians(mpmath.mpf(lat) + 90))
    powers = [x**power for power in range(legendre_polys)]
    row = []
    for degree in range(legendre_polys):
        legendre = [_printed(degree, m, powers) for m in range(degree + 1)]
        row += [float(legendre[m] * mpmath.sin(m * phi)) for m in range(degree, 0, -1)]
        row += [float(legendre[m] * mpmath.cos(m * phi)) for m in range(degree + 1)]
    return row


def _printed(degree: int, m: int, powers: list[mpmath.mpf]) -> mpmath.mpf:
    """√2 N_lm P_l^m, P_l derived m times and its coefficients printed to 15 digits.

    The factor of m = 0 is multiplied in doubles: sympy's evalf did so before it printed.
    """
    factor = math.sqrt((2 * degree + 1) / 4) * math.sqrt(math.pi) if m == 0 else 1.0
    total = mpmath.fdot(zip(_printed_coefficients(degree, m, factor), powers, strict=False))
    if m == 0:
        return total
    ratio = mpmath.factorial(degree - m) / mpmath.factorial(degree + m)
    sine = mpmath.sqrt(1 - powers[1] ** 2)
    return mpmath.sqrt((2 * degree + 1) / (2 * mpmath.pi) * ratio) * sine**m * total


@cache
def _printed_coefficients(degree: int, m: int, factor: float) -> list[float]:
    derived = legendre(degree).deriv(m) if m else legendre(degree)
    return [float(f"{factor * float(c):.15g}") for c in derived.coef]


@cache
def legendre(degree: int) -> Polynomial:
    """By Bonnet's recursion, its coefficients fractions."""
    if degree < 2:
        return Polynomial(np.array([Fraction(1)] if degree == 0 else [Fraction(0), Fraction(1)], dtype=object))
    shifted = Polynomial(np.array([Fraction(0), *legendre(degree - 1).coef], dtype=object))
    return (shifted * Fraction(2 * degree - 1) - legendre(degree - 2) * Fraction(degree - 1)) * Fraction(1, degree)


@pytest.mark.parametrize(("legendre_polys", "limit"), [(10, 1e-6), (40, 1e-4)])
@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_published_rounding_is_rebuilt_whatever_the_weights(tmp_path, legendre_polys, limit, scale):
    state = siren(legendre_polys**2, seed=4, scale=scale)
    path = save(lightning(state, legendre_polys=legendre_polys), tmp_path / "a.ckpt")
    lonlat = np.array([[12.5, -88.0], [-170.25, 71.3], [100.1, 52.0], [0.0, 90.0]])
    expected = published_siren(printed_features(lonlat, legendre_polys), state)
    assert cosine_distance(embed(path, lonlat), expected).max() < limit / 10


@pytest.mark.parametrize("legendre_polys", [10, 40])
def test_reference_checkpoints_embed_as_the_published_code_does(legendre_polys):
    arrays = golden_arrays(f"satclip_L{legendre_polys}.npz")
    ours = embed(golden(f"satclip_L{legendre_polys}.ckpt"), arrays["lonlat"])
    assert cosine_distance(ours, arrays["emb_analytic"]).max() < 5e-6


@pytest.mark.parametrize("legendre_polys", [10, 40])
def test_reference_weights_in_the_other_basis(tmp_path, legendre_polys):
    content = torch.load(golden(f"satclip_L{legendre_polys}.ckpt"), weights_only=True)
    content["hyper_parameters"]["harmonics_calculation"] = "closed-form"
    arrays = golden_arrays(f"satclip_L{legendre_polys}.npz")
    ours = embed(save(content, tmp_path / "a.ckpt"), arrays["lonlat"])
    assert cosine_distance(ours, arrays["emb_closed_form"]).max() < 1e-9


def published_features(name: str, lonlat: np.ndarray, frequencies: int, low: float, high: float) -> np.ndarray:
    """The other positional encodings of the published code, place by place."""
    scales = [low * math.exp(f * math.log(high / low) / (frequencies - 1)) for f in range(frequencies)]
    of = {"grid": _grid, "theory": _theory}.get(name, _plain if name in ("direct", "wrap", "cartesian3d") else _sphere)
    return np.array([of(name, lon, lat, scales) for lon, lat in lonlat])


def _plain(name: str, lon: float, lat: float, scales: list[float]) -> list[float]:
    x, y = math.radians(lon), math.radians(lat)
    return {
        "direct": [x - math.pi, y - math.pi],
        "wrap": [math.cos(x), math.sin(x), math.cos(y), math.sin(y)],
        "cartesian3d": [math.cos(x) * math.cos(y), math.sin(x) * math.cos(y), math.sin(y)],
    }[name]


def _grid(name: str, lon: float, lat: float, scales: list[float]) -> list[float]:
    return [wave(x / s) for x in (lon, lat) for s in scales for wave in (math.sin, math.cos)]


def _theory(name: str, lon: float, lat: float, scales: list[float]) -> list[float]:
    directions = ((1, 0), (-0.5, math.sqrt(3) / 2), (-0.5, -math.sqrt(3) / 2))
    angles = [(a * lon + b * lat) / s for s in scales for a, b in directions]
    return [wave(angle) for angle in angles for wave in (math.sin, math.cos)]


def _sphere(name: str, lon: float, lat: float, scales: list[float]) -> list[float]:
    """Every wave is there twice: the published code computes both columns of its frequencies, which are equal."""
    sin, cos, row = math.sin, math.cos, []
    for s in scales:
        x, y = lon / s, lat / s
        alone = [sin(y), cos(y), sin(x), cos(x)]
        mixed = [cos(y) * cos(lon), cos(lat) * cos(x), cos(y) * sin(lon), cos(lat) * sin(x)]
        row += {
            "spherec": [sin(y), cos(y) * cos(x), cos(y) * sin(x)],
            "spherecplus": [*alone, cos(y) * cos(x), cos(y) * sin(x)],
            "spherem": [sin(y), *mixed],
            "spheremplus": [*alone, *mixed],
        }[name]
    return [value for value in row for _ in range(2)]


WIDTHS = {"direct": 2, "wrap": 4, "cartesian3d": 3, "grid": 16, "theory": 24, "spherec": 24}
WIDTHS |= {"spherecplus": 48, "spherem": 40, "spheremplus": 64}


@pytest.mark.parametrize("name", list(WIDTHS))
def test_other_encodings_of_the_published_code(tmp_path, name):
    state = siren(WIDTHS[name])
    content = lightning(state, le_type=name, frequency_num=4, min_radius=2, max_radius=360)
    features = published_features(name, places(), 4, 2, 360)
    assert features.shape[1] == WIDTHS[name]
    path = save(content, tmp_path / "a.ckpt")
    np.testing.assert_allclose(embed(path, places()), published_siren(features, state), atol=1e-9)
    assert name in read_location_encoder(path).provenance.name


def drawn(*shape: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64) / math.sqrt(shape[-1])


def test_the_published_mlp_applies_one_hidden_layer_again_and_again(tmp_path):
    first, hidden, last = drawn(HIDDEN, 4, seed=1), drawn(HIDDEN, HIDDEN, seed=2), drawn(DIM, HIDDEN, seed=3)
    bias = drawn(HIDDEN, seed=4)
    state = {"features.0.weight": first, "features.0.bias": bias, "features.8.weight": last}
    state |= {f"features.{at}.weight": hidden for at in (2, 4, 6)} | {f"features.{at}.bias": bias for at in (2, 4, 6)}
    state["features.8.bias"] = drawn(DIM, seed=5)
    path = save(lightning(state, le_type="wrap", pe_type="mlp", num_hidden_layers=3), tmp_path / "a.ckpt")
    expected = torch.from_numpy(published_features("wrap", places(), 2, 1, 2))
    expected = torch.relu(expected @ first.T + bias)
    for _ in range(3):
        expected = torch.relu(expected @ hidden.T + bias)
    expected = expected @ last.T + state["features.8.bias"]
    np.testing.assert_allclose(embed(path, places()), expected, atol=1e-12)


def test_the_published_residual_network(tmp_path):
    state = {"class_emb.weight": drawn(DIM, HIDDEN, seed=1), "feats.0.weight": drawn(HIDDEN, 4, seed=2)}
    state["feats.0.bias"] = drawn(HIDDEN, seed=3)
    for at in range(2, 6):
        for w in (1, 2):
            state[f"feats.{at}.w{w}.weight"] = drawn(HIDDEN, HIDDEN, seed=10 * at + w)
            state[f"feats.{at}.w{w}.bias"] = drawn(HIDDEN, seed=100 * at + w)
    path = save(lightning(state, le_type="wrap", pe_type="fcnet"), tmp_path / "a.ckpt")
    hidden = torch.from_numpy(published_features("wrap", places(), 2, 1, 2))
    hidden = torch.relu(hidden @ state["feats.0.weight"].T + state["feats.0.bias"])
    for at in range(2, 6):
        change = torch.relu(hidden @ state[f"feats.{at}.w1.weight"].T + state[f"feats.{at}.w1.bias"])
        hidden = hidden + torch.relu(change @ state[f"feats.{at}.w2.weight"].T + state[f"feats.{at}.w2.bias"])
    np.testing.assert_allclose(embed(path, places()), hidden @ state["class_emb.weight"].T, atol=1e-12)


def test_the_published_linear_layer(tmp_path):
    state = {"weight": drawn(DIM, 36, seed=1), "bias": drawn(DIM, seed=2)}
    path = save(lightning(state, pe_type="linear"), tmp_path / "a.ckpt")
    features = exact_harmonics(places(), 6) * np.where(zonal(6), math.pi, 1)
    expected = features @ state["weight"].numpy().T + state["bias"].numpy()
    np.testing.assert_allclose(embed(path, places()), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        ({"legendre_polys": 7}, "36 features, not those of 7 Legendre polynomials"),
        ({"le_type": "grid"}, "frequency_num is 16, but its network takes 36 features"),
        ({"le_type": "grid", "frequency_num": "many"}, "frequency_num is 'many', not a positive number"),
        ({"le_type": "hashgrid"}, "the encoding 'hashgrid', which satcle does not know"),
        ({"le_type": ["grid"]}, "which satcle does not know"),
        ({"harmonics_calculation": "discretized"}, "'discretized' harmonics; satcle knows analytic and closed-form"),
        ({"le_type": "wrap"}, "36 features"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, stated, said):
    path = save(lightning(siren(36), **stated), tmp_path / "a.ckpt")
    with pytest.raises(WeightsError, match=said) as refused:
        read_location_encoder(path)
    assert str(refused.value).startswith(str(path))


@pytest.mark.parametrize("missing", ["layers.0.bias", "layers.1.weight", "last_layer.bias"])
def test_missing_weights_are_named(tmp_path, missing):
    state = siren(36)
    del state[missing]
    with pytest.raises(WeightsError, match=r"the file is damaged|the one before it makes"):
        read_location_encoder(save(lightning(state), tmp_path / "a.ckpt"))


def test_layers_that_do_not_follow_each_other_are_refused(tmp_path):
    state = siren(36) | {"last_layer.weight": torch.zeros(DIM, HIDDEN + 1, dtype=torch.float64)}
    with pytest.raises(WeightsError, match=f"takes {HIDDEN + 1} values, the one before it makes {HIDDEN}"):
        read_location_encoder(save(lightning(state), tmp_path / "a.ckpt"))


@pytest.mark.parametrize("choices", [{"variant": "closed-form"}, {"variant": "exact"}])
def test_the_basis_of_the_weights_is_not_for_choice(tmp_path, choices):
    basis = "analytic" if choices["variant"] == "closed-form" else "closed-form"
    path = save(lightning(siren(36), harmonics_calculation=basis), tmp_path / "a.ckpt")
    with pytest.raises(WeightsError, match=f"trained with {basis} harmonics"):
        read_location_encoder(path, Choices(**choices))


@pytest.mark.parametrize(
    "choices", [{"order": "lonlat"}, {"dimensions": (4,)}, {"normalize": True}, {"output": "embedding"}]
)
def test_options_of_onnx_files_are_refused(tmp_path, choices):
    with pytest.raises(WeightsError, match="is no ONNX file"):
        read_location_encoder(save(lightning(siren(36)), tmp_path / "a.ckpt"), Choices(**choices))


def test_state_dicts_of_other_models_are_refused(tmp_path):
    path = save(
        {"features.0.weight": torch.zeros(64, 3, 11, 11), "classifier.1.weight": torch.zeros(3, 3)}, tmp_path / "a"
    )
    with pytest.raises(WeightsError, match="no location encoder that satcle knows"):
        read_location_encoder(path)


def test_minds_state_dict_is_told_where_to_go(tmp_path):
    state = {"first.linear.weight": torch.zeros(8, 2), "first.linear.bias": torch.zeros(8)}
    with pytest.raises(WeightsError, match=r"import its \.onnx, with --order latlon"):
        read_location_encoder(save(state, tmp_path / "mind.pt"))


def test_a_compact_checkpoint_says_what_it_is(tmp_path):
    content = {"format": "satclip-location-only", "metadata": hyper_parameters(harmonics_calculation="closed-form")}
    content["state_dict"] = siren(36)
    encoder = read_location_encoder(save(content, tmp_path / "a.pth"))
    assert encoder.tower.encoding.variant == "closed-form"


def test_the_card_knows_the_file(tmp_path):
    path = save(lightning(siren(36)), tmp_path / "weights.ckpt")
    provenance = read_location_encoder(path).provenance
    assert provenance.license == "MIT"
    assert "global scale" in provenance.limits
    assert "fine-grained" in provenance.limits
    assert provenance.sources[0].name == "weights: weights.ckpt"
    assert len(provenance.sources[0].sha256) == 64
