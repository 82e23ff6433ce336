import numpy as np
import pytest
import torch

from tests.golden import golden_arrays, published_tower
from trainer.config.location import LocationTowerConfig, SirenConfig, SphericalHarmonicsConfig, UntrainedPart
from trainer.models.location_tower import LocationTower, build_location_tower, harmonics_tower
from trainer.models.networks.siren import Siren


def test_shapes_and_dtype():
    tower = harmonics_tower(legendre_polys=5, hidden_dim=32, hidden_layers=3, embedding_dim=7)
    lonlat = torch.tensor([[116.4, 39.9], [2.35, 48.86]], dtype=torch.float64)
    assert tower(lonlat).shape == (2, 7)
    assert tower(lonlat).dtype == torch.float32
    assert tower.double()(lonlat).dtype == torch.float64
    assert len(tower.network.hidden) == 3


@pytest.mark.parametrize("legendre_polys", [10, 40])
@pytest.mark.parametrize(("dtype", "atol"), [(torch.float32, 5e-6), (torch.float64, 1e-12)])
def test_agrees_with_published_embeddings(legendre_polys, dtype, atol):
    reference = golden_arrays(f"satclip_L{legendre_polys}.npz")
    with torch.inference_mode():
        embeddings = published_tower(legendre_polys).to(dtype)(torch.from_numpy(reference["lonlat"]))
    np.testing.assert_allclose(embeddings, reference["emb_analytic_exact"], rtol=0, atol=atol)


def test_a_checkpoint_holds_weights_only():
    names = harmonics_tower(hidden_layers=1).state_dict().keys()
    assert set(names) == {
        f"network.{name}" for name in ("hidden.0.weight", "hidden.0.bias", "last.weight", "last.bias")
    }


def test_every_weight_learns():
    tower = harmonics_tower(legendre_polys=3, hidden_dim=16, embedding_dim=4)
    tower(torch.rand(8, 2, dtype=torch.float64)).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().max() > 0 for parameter in tower.parameters())


def partly_untrained(embedding_dim: int = 7) -> LocationTower:
    asked = LocationTowerConfig(
        encoding=SphericalHarmonicsConfig(legendre_polys=6),
        network=SirenConfig(hidden_dim=16),
        embedding_dim=embedding_dim,
        degree_decay=1.0,
        untrained=UntrainedPart(legendre_polys=3, hidden_dim=8, dimensions=4),
    )
    torch.manual_seed(0)
    return build_location_tower(asked)


def test_an_untrained_part_knows_the_first_polynomials_only():
    tower, lonlat = partly_untrained(), torch.rand(20, 2, dtype=torch.float64) * 80
    assert tower.embedding_dim == tower(lonlat).shape[1] == 7
    features = tower.encoding(lonlat)
    changed = torch.cat((features[:, :9], torch.zeros_like(features[:, 9:])), dim=1)
    difference = (tower.network(changed) - tower.network(features)).abs().amax(dim=0)
    assert (difference[:3] > 0).all()
    assert (difference[3:] == 0).all()


def test_merged_it_is_the_same_tower():
    tower, lonlat = partly_untrained().double(), torch.rand(20, 2, dtype=torch.float64) * 80
    assert isinstance(tower.merged().network, Siren)
    torch.testing.assert_close(tower.merged()(lonlat), tower(lonlat), atol=1e-12, rtol=0)
