"""Neighbours by brute force."""

import numpy as np
import torch

from trainer.evaluation.folds import random_folds
from trainer.evaluation.neighbours import neighbours_elsewhere, neighbours_predictions

RNG = np.random.default_rng(0)


def test_the_nearest_of_other_folds_are_found_for_every_deal(monkeypatch):
    monkeypatch.setattr("trainer.evaluation.neighbours.CHUNK", 64)  # several chunks, the last of them short
    x = RNG.normal(size=(150, 5)) + 1
    dealt = [random_folds(150, seed) for seed in (0, 1)]
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    found = neighbours_elsewhere(torch.from_numpy(x), [torch.from_numpy(folds) for folds in dealt])
    for folds, nearest in zip(dealt, found, strict=True):
        for row in range(150):
            others = np.flatnonzero(folds != folds[row])
            expected = others[np.argsort(-(unit[others] @ unit[row]))[:5]]
            assert nearest[row].tolist() == expected.tolist()


def test_length_says_nothing_and_direction_all():
    x = torch.tensor([[1.0, 0], [0, 1], [100, 1], [1, 100]])
    (nearest,) = neighbours_elsewhere(x, [torch.tensor([0, 1, 2, 3])], k=1)
    assert nearest[:, 0].tolist() == [2, 3, 0, 1]


def test_the_prediction_is_the_mean_of_the_neighbours():
    target = torch.tensor([[0.0, 1], [1, 0], [1, 0], [4, 4]], dtype=torch.float64)
    predicted = neighbours_predictions(torch.tensor([[0, 1], [1, 2], [3, 0]]), target)
    assert predicted.tolist() == [[0.5, 0.5], [1, 0], [2, 2.5]]
