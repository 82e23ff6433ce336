import math

import numpy as np
import pytest
import torch

from trainer.models.encodings.space2vec import geometric_frequencies, grid, theory

PLACES = torch.tensor([[12.5, -33.0], [-180.0, 90.0], [180.0, -90.0], [0.0, 0.0], [-77.7, 12.3]], dtype=torch.float64)


def test_frequencies_are_geometric_from_the_smallest_scale_to_the_largest():
    frequencies = geometric_frequencies(5, 0.5, 200)
    np.testing.assert_allclose(frequencies[[0, -1]], [2, 1 / 200])
    np.testing.assert_allclose(np.diff(np.log(frequencies)), np.log(1 / 400) / 4)


@pytest.mark.parametrize("frequencies", [2, 7, 16])
def test_grid_by_hand(frequencies):
    features = grid(frequencies, 1e-5, 0.01).double()(PLACES).numpy()
    angles = PLACES.numpy()[:, :, None] / np.geomspace(1e-5, 0.01, frequencies)
    expected = np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(len(PLACES), -1)
    np.testing.assert_allclose(features, expected, rtol=0, atol=1e-7)  # angles reach 1e7 radians


@pytest.mark.parametrize("frequencies", [2, 16])
def test_theory_by_hand(frequencies):
    features = theory(frequencies, 1, 360).double()(PLACES).numpy().reshape(len(PLACES), frequencies, 3, 2)
    for f, scale in enumerate(np.geomspace(1, 360, frequencies)):
        for axis in range(3):
            direction = [math.cos(2 * math.pi * axis / 3), math.sin(2 * math.pi * axis / 3)]
            angle = PLACES.numpy() @ direction / scale
            np.testing.assert_allclose(features[:, f, axis, 0], np.sin(angle), atol=1e-12)
            np.testing.assert_allclose(features[:, f, axis, 1], np.cos(angle), atol=1e-12)


def test_theory_with_an_odd_number_of_scales_starts_its_second_half_with_a_sine():
    features = theory(3, 1, 360).double()(torch.zeros(1, 2, dtype=torch.float64))[0].numpy()
    np.testing.assert_array_equal(features, [0, 1] * 4 + [0] + [0, 1] * 4 + [0])
