"""Standardisation, log1p and softmax of a head, in closed form."""

import pytest
import torch

from trainer.models.head import Classification, Regression

ROWS = torch.randn(200, 6, generator=torch.Generator().manual_seed(0)).double() * 3 + 5


def with_weights(head, weight, bias):
    """A head of one linear layer."""
    head.double()
    with torch.no_grad():
        head.layers[0].weight.copy_(torch.as_tensor(weight).double())
        head.layers[0].bias.copy_(torch.as_tensor(bias).double())
    return head.eval()


def test_inputs_are_standardised_and_a_constant_dimension_is_only_centred():
    head = Regression(6, (), log1p=False).double()
    rows = ROWS.clone()
    rows[:, 2] = 7
    head.standardise_inputs(rows)
    standardised = head.standardised(rows)
    torch.testing.assert_close(standardised.mean(dim=0), torch.zeros(6).double(), atol=1e-12, rtol=0)
    deviations = standardised.std(dim=0, correction=0)
    torch.testing.assert_close(deviations, torch.tensor([1.0, 1, 0, 1, 1, 1]).double())


def test_a_linear_head_in_closed_form():
    head = with_weights(Regression(6, (), log1p=False), [[1.0, 0, 0, 0, 0, 0]], [0.5])
    head.standardise_inputs(ROWS)
    target = torch.linspace(-100, 4000, 200).double()
    head.standardise_targets(target)
    mean, deviation = ROWS[:, 0].mean(), ROWS[:, 0].std(correction=0)
    expected = ((ROWS[:, 0] - mean) / deviation + 0.5) * target.std(correction=0) + target.mean()
    torch.testing.assert_close(head(ROWS)[:, 0], expected)


@pytest.mark.parametrize("log1p", [False, True])
def test_a_head_that_is_right_in_standardised_targets_is_right_in_real_units(log1p):
    """Undoing the transform is the inverse of the transform."""
    target = torch.linspace(0, 5000, 50).double() ** 1.3
    head = with_weights(Regression(1, (), log1p=log1p), [[1.0]], [0.0])
    head.standardise_targets(target)
    learnt = head.standardised_targets(target)
    torch.testing.assert_close(head(learnt)[:, 0], target)


def test_log1p_stays_within_the_targets_it_was_fitted_on_however_far_the_input_is():
    head = with_weights(Regression(1, (), log1p=True), [[1.0]], [0.0])
    head.standardise_targets(torch.tensor([0.0, 10, 1e6]).double())
    far = torch.tensor([[-1e9], [1e9]]).double()
    torch.testing.assert_close(head(far)[:, 0], torch.tensor([0.0, 1e6]).double())


def test_probabilities_are_a_softmax_of_the_logits():
    weight = torch.eye(3)
    head = with_weights(Classification(3, (), 3), weight, torch.zeros(3))
    rows = torch.log(torch.tensor([[1.0, 2, 5], [3, 3, 2]]).double())
    torch.testing.assert_close(head(rows), torch.tensor([[1.0, 2, 5], [3, 3, 2]]).double() / torch.tensor([[8.0], [8]]))


def test_hidden_layers_have_their_widths_and_rectify():
    head = Regression(6, (4, 3), log1p=False)
    assert [tuple(layer.weight.shape) for layer in head.layers] == [(4, 6), (3, 4), (1, 3)]
    with torch.no_grad():
        head.layers[0].bias.fill_(-1e6)
        dead = head.perceptron(ROWS.float())
    torch.testing.assert_close(dead, dead[:1].expand_as(dead))
