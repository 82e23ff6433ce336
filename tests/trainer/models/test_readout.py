import pytest
import torch

from trainer.models.location_tower import harmonics_tower
from trainer.models.readout import Readout
from trainer.snap import uniform_on_sphere

PLACES = torch.from_numpy(uniform_on_sphere(3000, seed=0))
DIM = 16


def tower():
    torch.manual_seed(0)
    return harmonics_tower(legendre_polys=4, hidden_dim=32, embedding_dim=DIM)


def read(plain, **asked) -> torch.Tensor:
    readout = Readout(DIM)
    readout.fit(plain, PLACES, **asked)
    with torch.no_grad():
        return readout.of(plain)(PLACES).double()


@pytest.mark.parametrize("asked", [{}, {"components": 5, "spread": 2.0}])
def test_what_is_read_is_centred_uncorrelated_and_in_order(asked):
    embeddings = read(tower(), **asked)
    torch.testing.assert_close(embeddings.mean(dim=0), torch.zeros(DIM, dtype=torch.float64), atol=1e-5, rtol=0)
    covariance = torch.cov(embeddings.T)
    variances = covariance.diagonal()
    assert (variances.diff() <= 1e-6).all()
    torch.testing.assert_close(covariance, torch.diag(variances), atol=1e-5 * variances.max().item(), rtol=0)


def test_without_components_it_is_a_rotation_and_leaves_the_tower_alone():
    plain = tower()
    with torch.no_grad():
        before = plain(PLACES)
        torch.testing.assert_close(torch.pdist(read(plain).float()), torch.pdist(before), atol=1e-4, rtol=1e-4)
        assert torch.equal(plain(PLACES), before)


def test_components_spread_as_asked():
    """Distances are those of the embeddings with the first dimensions scaled as one."""
    plain = tower()
    with torch.no_grad():
        expected = plain(PLACES).double()
    variances = expected.var(dim=0)
    expected[:, :5] *= 1.5 * (variances[5:].sum() / variances[:5].sum()).sqrt()
    assert (expected[:, :5].var(dim=0).sum() / expected[:, 5:].var(dim=0).sum()).item() == pytest.approx(1.5**2)
    found = torch.pdist(read(plain, components=5, spread=1.5))
    torch.testing.assert_close(found, torch.pdist(expected), atol=1e-4, rtol=1e-4)


def test_unfitted_it_changes_nothing():
    plain = tower()
    with torch.no_grad():
        torch.testing.assert_close(Readout(DIM).of(plain)(PLACES), plain(PLACES))
