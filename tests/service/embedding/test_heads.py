"""Heads: real units and probabilities, checked; a bundle whose heads are not what its card says is not served."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from service.bundle import Bundle, HeadCard, write_bundle
from service.embedding.heads import Head, Heads, open_heads
from service.errors import BackendFailed, UnknownHead
from service.metrics import Metrics
from service.settings import Settings
from tests.service.conftest import COLOURS, EMBEDDING_DIM, SOURCE, colour_graph, height_graph

ROWS = np.random.default_rng(0).normal(size=(50, EMBEDDING_DIM)).astype(np.float32)


@pytest.fixture(scope="module")
def heads(headed_bundle: Bundle) -> Heads:
    return open_heads(headed_bundle, "cpu")


def test_a_regression_predicts_one_number_a_row(heads):
    np.testing.assert_allclose(heads["height"].predict(ROWS), 100 * ROWS[:, 0] + 200, rtol=1e-5)


def test_a_classification_predicts_the_probability_of_each_class(heads):
    powers = np.exp(6 * ROWS[:, : len(COLOURS)].astype(np.float64))
    predicted = heads["colour"].predict(ROWS)
    np.testing.assert_allclose(predicted, powers / powers.sum(axis=1, keepdims=True), rtol=1e-4, atol=1e-7)


def test_a_row_alone_is_predicted_as_among_others(heads):
    for head in heads.values():
        alone = np.concatenate([head.predict(row[None]) for row in ROWS])
        np.testing.assert_allclose(alone, head.predict(ROWS), rtol=1e-6)


def test_many_threads_share_a_head(heads):
    expected = heads["colour"].predict(ROWS)
    with ThreadPoolExecutor(8) as threads:
        for predicted in threads.map(heads["colour"].predict, [ROWS] * 64):
            np.testing.assert_array_equal(predicted, expected)


def test_no_rows_are_no_predictions(heads):
    assert heads["height"].predict(ROWS[:0]).shape == (0,)
    assert heads["colour"].predict(ROWS[:0]).shape == (0, len(COLOURS))


def test_heads_are_a_mapping_in_the_order_of_the_card(heads):
    assert list(heads) == ["height", "colour"]
    assert heads.named("colour") is heads["colour"]


def test_a_wrong_name_is_answered_with_those_there_are(heads):
    with pytest.raises(UnknownHead, match="no head 'hieght'; there is height, colour"):
        heads.named("hieght")


def test_a_model_without_heads_says_so(tiny_bundle):
    with pytest.raises(UnknownHead, match="tiny has no heads"):
        open_heads(tiny_bundle, "cpu").named("height")


class Broken:
    """A graph that returns, or raises, what it is given."""

    def __init__(self, outcome):
        self.outcome = outcome

    def predict(self, rows):
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


@pytest.mark.parametrize(
    ("outcome", "message"),
    [
        (np.full((50, 1), np.nan, np.float32), "not finite"),
        (np.full((50, 1), np.inf, np.float32), "not finite"),
        (np.zeros((49, 1), np.float32), r"\(49, 1\)"),
        (np.zeros((50, 2), np.float32), r"\(50, 2\)"),
        (np.zeros(50, np.float32), r"\(50,\)"),
        (np.zeros((50, 1), np.float64), "float64"),
        (RuntimeError("out of memory"), "out of memory"),
    ],
)
def test_what_is_no_prediction_never_leaves_a_head(outcome, message):
    card = HeadCard(id="height", task="regression", file="x.onnx", source=SOURCE)
    with pytest.raises(BackendFailed, match=f"head height.*{message}"):
        Head(card, Broken(outcome)).predict(ROWS)


REGRESSION = HeadCard(id="height", task="regression", file="head.onnx", source=SOURCE)
CLASSES = HeadCard(id="height", task="classification", classes=("a", "b"), file="head.onnx", source=SOURCE)


@pytest.mark.parametrize(
    ("card", "graph", "message"),
    [
        (REGRESSION, b"no graph", "cannot open .*head.onnx"),
        (REGRESSION, height_graph(width=5), "head height failed"),
        (REGRESSION, height_graph(output="height"), "is no head"),
        (REGRESSION, colour_graph(), "head height returned"),
        (CLASSES, colour_graph(), "head height returned"),
        (REGRESSION, height_graph(scale=np.nan), "not finite"),
    ],
    ids=["not ONNX", "another width", "another output", "too many columns", "too many classes", "not finite"],
)
def test_the_service_refuses_a_bundle_whose_head_is_not_what_its_card_says(
    tiny_bundle: Bundle, tmp_path: Path, card, graph, message
):
    from service.embedding.models import load_models

    files = {"encoder.onnx": tiny_bundle.read("encoder.onnx"), "head.onnx": graph}
    bundle = write_bundle(tmp_path / "b", tiny_bundle.card.model_copy(update={"heads": (card,)}), files)
    with pytest.raises(BackendFailed, match=message):
        load_models(Settings(bundles=(str(bundle.path),)), Metrics(), None)
