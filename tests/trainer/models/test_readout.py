from functools import partial

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


def test_with_nothing_distilled_it_turns_to_principal_axes():
    embeddings = read(tower())
    torch.testing.assert_close(embeddings.mean(dim=0), torch.zeros(DIM, dtype=torch.float64), atol=1e-5, rtol=0)
    covariance = torch.cov(embeddings.T)
    variances = covariance.diagonal()
    assert (variances.diff() <= 1e-6).all()
    torch.testing.assert_close(covariance, torch.diag(variances), atol=1e-5 * variances.max().item(), rtol=0)


def test_a_rotation_keeps_distances_and_leaves_the_tower_alone():
    plain = tower()
    with torch.no_grad():
        before = plain(PLACES)
        torch.testing.assert_close(torch.pdist(read(plain).float()), torch.pdist(before), atol=1e-4, rtol=1e-4)
        assert torch.equal(plain(PLACES), before)


@pytest.mark.parametrize(("components", "prefix", "leading", "turned"), [(5, 8, 4, 4), (5, 0, 0, 0), (2, 12, 2, 10)])
def test_it_begins_with_leading_components_and_the_principal_axes_of_the_others(components, prefix, leading, turned):
    plain = tower()
    with torch.no_grad():
        own = plain(PLACES).double()
    own -= own.mean(dim=0)
    found = read(plain, components=components, prefix=prefix)
    close = partial(torch.testing.assert_close, atol=1e-5, rtol=1e-4)
    close(found[:, :leading], own[:, :leading])
    close(found[:, leading + turned : components + turned], own[:, leading:components])
    close(found[:, components + turned :], own[:, components + turned :])
    axes = found[:, leading : leading + turned]
    variances = torch.linalg.eigvalsh(torch.cov(own[:, components:].T)).flip(0)[:turned]
    close(torch.cov(axes.T).view(turned, turned), torch.diag(variances))


def test_nothing_is_lost():
    """What is read is the embedding again after a linear map."""
    plain = tower()
    found = read(plain, components=5, prefix=8)
    with torch.no_grad():
        own = plain(PLACES).double()
    own -= own.mean(dim=0)
    back = torch.linalg.lstsq(found, own).solution
    torch.testing.assert_close(found @ back, own, atol=1e-4, rtol=0)


def test_unfitted_it_changes_nothing():
    plain = tower()
    with torch.no_grad():
        torch.testing.assert_close(Readout(DIM).of(plain)(PLACES), plain(PLACES))
