import numpy as np
import pytest
import torch

from trainer.config import Distillation
from trainer.models.distillation import DistillationHeads, degree_weights
from trainer.snap import uniform_on_sphere

ROWS, FEATURES, DIM = 3000, 7, 12


def features() -> torch.Tensor:
    rng = torch.Generator().manual_seed(0)
    return torch.randn(ROWS, FEATURES, generator=rng) @ torch.randn(FEATURES, FEATURES, generator=rng) * 5 + 3


def fitted(**asked) -> DistillationHeads:
    heads = DistillationHeads(Distillation(components=4, legendre_polys=3, **asked), FEATURES, DIM)
    heads.fit(features(), torch.randn(500, DIM, generator=torch.Generator().manual_seed(1)))
    return heads


@pytest.mark.parametrize("whitening", [0.0, 0.5, 1.0])
def test_image_targets_are_the_principal_components_of_standardised_features(whitening):
    given = features().double().numpy()
    standard = (given - given.mean(axis=0)) / given.std(axis=0)
    variances = np.sort(np.linalg.eigvalsh(np.cov(standard.T)))[::-1][:4] ** (1 - whitening)
    covariance = torch.cov(fitted(whitening=whitening).image_targets(features()).double().T)
    expected = torch.diag(torch.from_numpy(variances / variances.sum()))
    torch.testing.assert_close(covariance, expected, atol=1e-4, rtol=1e-3)


def test_a_constant_feature_tells_nothing_and_does_no_harm():
    heads = DistillationHeads(Distillation(components=FEATURES), FEATURES, 80)
    constant = features()
    constant[:, 2] = 4.0
    heads.fit(constant, torch.randn(50, 80))
    targets = heads.image_targets(constant)
    assert targets.isfinite().all()
    assert targets[:, -1].std() < 1e-3


def test_position_targets_have_a_variance_of_one_over_the_sphere_and_low_degrees_count_most():
    lonlat = torch.from_numpy(uniform_on_sphere(20_000, seed=0))
    squares = fitted().position_targets(lonlat).double().square().mean(dim=0)
    assert squares.sum().item() == pytest.approx(1, abs=1e-6)  # the sum over a degree is the same everywhere
    by_degree = [squares[:1].mean(), squares[1:4].mean(), squares[4:9].mean()]
    assert [(value / by_degree[0]).item() for value in by_degree] == pytest.approx([1, 1 / 2, 1 / 3], rel=1e-5)


def test_degree_weights_in_closed_form():
    weight = degree_weights(2)
    assert (weight.square() / (4 * torch.pi)).tolist() == pytest.approx([0.4, 0.2, 0.2, 0.2])


def test_the_first_dimensions_tell_the_image_as_far_as_the_others_reach():
    embeddings = torch.randn(500, DIM, generator=torch.Generator().manual_seed(1))
    others = embeddings[:, 4:].var(dim=0).sum().sqrt()
    heads = fitted()
    of_image, of_position = heads.told(embeddings)
    torch.testing.assert_close(of_image * others, embeddings[:, :4])
    assert of_position.shape == (500, 9)
