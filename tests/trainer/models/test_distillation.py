import numpy as np
import pytest
import torch

from trainer.config import Distillation
from trainer.models.distillation import DistillationTargets

ROWS, FEATURES, DIM = 3000, 7, 12


def features() -> torch.Tensor:
    rng = torch.Generator().manual_seed(0)
    return torch.randn(ROWS, FEATURES, generator=rng) @ torch.randn(FEATURES, FEATURES, generator=rng) * 5 + 3


def fitted(**asked) -> DistillationTargets:
    targets = DistillationTargets(Distillation(components=4, **asked), FEATURES)
    targets.fit(features(), torch.randn(500, DIM, generator=torch.Generator().manual_seed(1)))
    return targets


@pytest.mark.parametrize("whitening", [0.0, 0.5, 1.0])
def test_targets_are_the_principal_components_of_standardised_features(whitening):
    given = features().double().numpy()
    standard = (given - given.mean(axis=0)) / given.std(axis=0)
    variances = np.sort(np.linalg.eigvalsh(np.cov(standard.T)))[::-1][:4] ** (1 - whitening)
    covariance = torch.cov(fitted(whitening=whitening).of(features()).double().T)
    expected = torch.diag(torch.from_numpy(variances / variances.sum()))
    torch.testing.assert_close(covariance, expected, atol=1e-4, rtol=1e-3)


def test_a_constant_feature_tells_nothing_and_does_no_harm():
    targets = DistillationTargets(Distillation(components=FEATURES), FEATURES)
    constant = features()
    constant[:, 2] = 4.0
    targets.fit(constant, torch.randn(50, 80))
    found = targets.of(constant)
    assert found.isfinite().all()
    assert found[:, -1].std() < 1e-3


def test_the_first_dimensions_tell_as_far_as_the_others_reach():
    embeddings = torch.randn(500, DIM, generator=torch.Generator().manual_seed(1))
    others = embeddings[:, 4:].var(dim=0).sum().sqrt()
    torch.testing.assert_close(fitted().told(embeddings) * others, embeddings[:, :4])
