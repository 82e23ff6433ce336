"""The graph of a head is the head: in metres, in people per km², in probabilities."""

import numpy as np
import onnx
import pytest
import torch

from trainer.errors import HeadError
from trainer.graphs.head import MAX_PARITY_ERROR, export_head, head_graph, parity, predict_with_graph
from trainer.models.head import Classification, Regression

ROWS = np.random.default_rng(0).normal(2, 3, (500, 16)).astype(np.float32)


def regression(log1p, target):
    torch.manual_seed(0)
    head = Regression(16, (32, 32), log1p=log1p)
    head.standardise_inputs(torch.from_numpy(ROWS))
    head.standardise_targets(target)
    return head.double().eval()


ELEVATION = regression(False, torch.linspace(-400, 8000, 100).double())
DENSITY = regression(True, torch.logspace(-3, 4, 100).double())


def classification():
    torch.manual_seed(0)
    head = Classification(16, (32,), 9)
    head.standardise_inputs(torch.from_numpy(ROWS))
    return head.double().eval()


HEADS = {"elevation": ELEVATION, "density": DENSITY, "classes": classification()}


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_the_graph_is_the_float64_head_within_1e_4_in_real_units(head):
    graph, said = export_head(head, ROWS)
    with torch.inference_mode():
        expected = head(torch.from_numpy(ROWS).double()).numpy()
    got = predict_with_graph(graph, ROWS)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)
    assert said <= MAX_PARITY_ERROR
    assert said == parity(graph, head, ROWS)


def test_metres_are_computed_in_float64_since_float32_would_not_do():
    coarse = parity(head_graph(ELEVATION, np.float32).SerializeToString(), ELEVATION, ROWS)
    fine = parity(head_graph(ELEVATION, np.float64).SerializeToString(), ELEVATION, ROWS)
    assert fine < coarse
    assert fine <= 1e-6  # the float32 in which a prediction is written


def test_predictions_do_not_overflow_far_from_what_was_fitted():
    graph, _ = export_head(DENSITY, ROWS)
    predicted = predict_with_graph(graph, 1e6 * ROWS)
    assert np.isfinite(predicted).all()
    assert predicted.min() >= 0
    assert predicted.max() <= 1e4 * (1 + 1e-6)


def test_probabilities_sum_to_one_even_where_logits_are_huge():
    graph, _ = export_head(HEADS["classes"], ROWS)
    np.testing.assert_allclose(predict_with_graph(graph, 1e4 * ROWS).sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_a_row_alone_is_predicted_as_among_others(head):
    graph, _ = export_head(head, ROWS)
    alone = np.concatenate([predict_with_graph(graph, row[None]) for row in ROWS[:20]])
    np.testing.assert_allclose(alone, predict_with_graph(graph, ROWS)[:20], rtol=1e-5, atol=1e-6)


def test_the_graph_is_small_and_self_contained():
    model = head_graph(DENSITY, np.float32)
    assert [tensor.name for tensor in model.graph.input] == ["embedding"]
    assert [tensor.name for tensor in model.graph.output] == ["prediction"]
    assert model.graph.output[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT


def test_a_graph_that_is_not_the_head_is_refused(monkeypatch):
    monkeypatch.setattr("trainer.graphs.head.MAX_PARITY_ERROR", 0.0)
    with pytest.raises(HeadError, match="differs from the head by"):
        export_head(ELEVATION, ROWS)
