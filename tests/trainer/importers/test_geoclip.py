import math
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.trainer.importers.layouts import places, save
from trainer.errors import WeightsError
from trainer.export import embed_exactly, embed_with_graph
from trainer.graphs.encoder import encoder_graph
from trainer.importers import Choices, read_location_encoder

HIDDEN, DIM, FREQUENCIES = 20, 6, 8
ROOT_3 = float(np.sqrt(np.float32(3)))
"""As the published code has it, whatever the precision of the rest."""


def capsules(sigmas: tuple[float, ...] = (1, 16)) -> dict[str, torch.Tensor]:
    """Small weights by their published names."""
    drawn = torch.Generator().manual_seed(0)
    state = {}
    for at, sigma in enumerate(sigmas):
        prefix = f"LocEnc{at}."
        state[prefix + "capsule.0.b"] = sigma * torch.randn(FREQUENCIES, 2, generator=drawn)
        sizes = {"capsule.1": (HIDDEN, 2 * FREQUENCIES), "capsule.3": (HIDDEN, HIDDEN), "head.0": (DIM, HIDDEN)}
        for layer, (rows, columns) in sizes.items():
            state[f"{prefix}{layer}.weight"] = torch.randn(rows, columns, generator=drawn) / math.sqrt(columns)
            state[f"{prefix}{layer}.bias"] = torch.randn(rows, generator=drawn)
    return state


def published(lonlat: np.ndarray, state: dict[str, torch.Tensor]) -> np.ndarray:
    """GeoCLIP's forward pass in float64: the projection, then for each scale its features and its layers."""
    w = {name: value.double().numpy() for name, value in state.items()}
    lon, lat = np.radians(lonlat).T
    a1, a2, a3, a4 = 1.340264, -0.081106, 0.000893, 0.003796
    theta = np.arcsin(ROOT_3 / 2 * np.sin(lat))
    x = 2 * ROOT_3 * lon * np.cos(theta) / (3 * (9 * a4 * theta**8 + 7 * a3 * theta**6 + 3 * a2 * theta**2 + a1))
    y = a4 * theta**9 + a3 * theta**7 + a2 * theta**3 + a1 * theta
    position = np.stack([x, y], axis=1) * 66.50336 / 180
    total = 0
    for prefix in sorted({name.partition(".")[0] + "." for name in w}):
        phases = 2 * math.pi * position @ w[prefix + "capsule.0.b"].T
        hidden = np.concatenate([np.cos(phases), np.sin(phases)], axis=1)
        for layer in ("capsule.1", "capsule.3"):
            hidden = np.maximum(hidden @ w[f"{prefix}{layer}.weight"].T + w[f"{prefix}{layer}.bias"], 0)
        total = total + hidden @ w[prefix + "head.0.weight"].T + w[prefix + "head.0.bias"]
    return total


@pytest.mark.parametrize("prefix", ["", "location_encoder."])
@pytest.mark.parametrize("kind", ["pth", "safetensors"])
def test_its_state_dicts_compute_what_the_published_code_does(tmp_path, prefix, kind):
    state = {prefix + name: value for name, value in capsules().items()} | {"logit_scale": torch.tensor(3.0)}
    path = tmp_path / f"a.{kind}"
    save_file(state, path) if kind == "safetensors" else save(state, path)
    encoder = read_location_encoder(path)
    np.testing.assert_allclose(embed_exactly(encoder.tower, places()), published(places(), capsules()), atol=1e-9)
    assert encoder.dimensions == (DIM,)
    assert encoder.config.encoding.sigmas == (1, 16)
    assert encoder.provenance.license == "MIT"


def test_the_installed_package_computes_its_own_forward_pass():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*torch.jit.script. is deprecated")  # the package's own
        from geoclip.model.location_encoder import LocationEncoder

    encoder = read_location_encoder(Path("geoclip"))
    lonlat = places(2000, seed=3)
    own = LocationEncoder().double().eval()
    with torch.inference_mode():
        expected = own(torch.from_numpy(lonlat[:, ::-1].copy())).numpy()
    graph = encoder_graph(encoder.tower).SerializeToString()
    assert encoder.embedding_dim == 512
    assert encoder.config.encoding.sigmas == (1, 16, 256)
    np.testing.assert_allclose(embed_with_graph(graph, lonlat), expected, atol=1e-5, rtol=0)


def without(name: str):
    return lambda state: state.pop(name)


@pytest.mark.parametrize(
    "damage",
    [
        without("LocEnc0.head.0.bias"),
        without("LocEnc1.capsule.1.weight"),
        without("LocEnc1.capsule.3.bias"),
        lambda state: state.update({"LocEnc1.capsule.0.b": torch.zeros(4, 2)}),
        lambda state: state.update({"LocEnc0.capsule.0.b": torch.zeros(FREQUENCIES, 3)}),
        lambda state: state.update({"LocEnc1.head.0.weight": torch.zeros(DIM, 7)}),
        lambda state: state.update({"LocEnc1.capsule.1.bias": torch.full((HIDDEN,), torch.nan)}),
    ],
)
def test_damaged_weights_are_refused(tmp_path, damage):
    state = capsules()
    damage(state)
    path = save(state, tmp_path / "a.pth")
    with pytest.raises(WeightsError) as refused:
        read_location_encoder(path)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_of_that_name_comes_before_the_package(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save(capsules(), tmp_path / "geoclip")
    assert read_location_encoder(Path("geoclip")).embedding_dim == DIM


@pytest.mark.parametrize("choices", [Choices(variant="exact"), Choices(m0_scale=1.0)])
def test_options_of_harmonics_are_refused(tmp_path, choices):
    with pytest.raises(WeightsError, match="are for spherical harmonics"):
        read_location_encoder(save(capsules(), tmp_path / "a.pth"), choices)


def test_without_the_package_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(WeightsError, match="pip install geoclip"):
        read_location_encoder(Path("geoclip"))
