"""Heads from table to bundle: what is served is what was fitted, and the card's figures are measured again."""

from __future__ import annotations

import shutil

import numpy as np
import pyarrow as pa
import pytest
import torch

from service.bundle import BundleExists, DataSource, read_bundle
from trainer.data.tables import read_table, write_table
from trainer.data.targets import read_numbers, split
from trainer.errors import HeadError, TableError
from trainer.evaluation.heads import measure_heads
from trainer.export import embed_with_graph
from trainer.graphs.head import predict_with_graph
from trainer.head_fitting import Recipe, fit
from trainer.heads import HeadRequest, fit_head, read_request
from trainer.snap import uniform_on_sphere

SOURCE = DataSource(name="made up", credit="nobody", license="CC0-1.0")
QUICK = Recipe(hidden_dims=(32,), epochs=60, max_batch_size=64)


@pytest.fixture(scope="module")
def embeddings(small_bundle):
    return embed_with_graph(small_bundle.read("encoder.onnx"), places())


def places():
    return np.round(uniform_on_sphere(1500, seed=4), 6)


@pytest.fixture(scope="module")
def table(small_bundle, embeddings, tmp_path_factory):
    """A linear function of the embedding, in metres; its exponential; and which third of it."""
    path = tmp_path_factory.mktemp("tables") / "table.csv"
    direction = np.random.default_rng(0).normal(size=embeddings.shape[1])
    linear = (embeddings @ direction).astype(np.float64)
    linear = (linear - linear.mean()) / linear.std()
    thirds = np.array(["low", "middle", "high"])[np.digitize(linear, np.quantile(linear, [1 / 3, 2 / 3]))]
    columns = {"metres": 1000 + 700 * linear, "people": np.expm1(3 + linear), "third": thirds}
    columns["people"] = np.maximum(columns["people"], 0)
    lon, lat = places().T
    write_table(pa.table({"lon": lon, "lat": lat, **columns}), path)
    return path


@pytest.fixture
def bundle(small_bundle, tmp_path):
    """A copy of the small bundle, to be written to."""
    path = tmp_path / "bundle"
    shutil.copytree(small_bundle.path, path)
    return path


def request(column, **fields):
    return HeadRequest(
        **{"id": column, "column": column, "task": "regression", "source": SOURCE, "recipe": QUICK} | fields
    )


def figures(card):
    return {metric.name: metric.value for metric in card.metrics}


def test_a_linear_target_is_learnt_nearly_whole(table, bundle):
    _, card = fit_head(table, request("metres", unit="m"), bundle, bundle, replace=False)
    assert figures(card)["R2"] > 0.99
    assert figures(card)["MAE"] < 70
    assert (card.unit, card.transform, card.classes) == ("m", None, None)


def test_log1p_learns_what_spans_magnitudes(table, bundle):
    _, card = fit_head(table, request("people", transform="log1p"), bundle, bundle, replace=False)
    assert figures(card)["R2 of log1p"] > 0.98


def test_classes_are_learnt(table, bundle):
    _, card = fit_head(table, request("third", task="classification"), bundle, bundle, replace=False)
    assert card.classes == ("high", "low", "middle")
    assert figures(card)["accuracy"] > 0.9
    assert card.value_range is None


def test_classes_have_the_colours_that_were_asked_for(table, bundle):
    """Those of the classes, in their order, and neither of a class that was left out nor of one that is not there."""
    colors = {"low": "#0000ff", "middle": "#00FF00", "high": "#ff0000"}
    asked = {"task": "classification", "class_colors": colors, "recipe": Recipe(hidden_dims=(8,), epochs=1)}
    _, card = fit_head(table, request("third", **asked), bundle, bundle, replace=False)
    assert card.classes == ("high", "low", "middle")
    assert card.class_colors == ("#ff0000", "#0000ff", "#00FF00")
    assert read_bundle(bundle).card.heads == (card,)
    for wrong, message in (
        ({"low": "#0000ff"}, "classes without a colour: 'high', 'middle'; add a row"),
        (colors | {"nowhere": "#000000"}, "labels that the table does not have: 'nowhere'"),
    ):
        with pytest.raises(HeadError, match=message):
            fit_head(table, request("third", **asked | {"class_colors": wrong}), bundle, bundle, replace=True)
    assert read_bundle(bundle).card.heads == (card,)


def test_the_bundle_keeps_all_that_it_had_and_its_digest_changes(table, bundle, small_bundle):
    written, card = fit_head(table, request("metres"), bundle, bundle, replace=False)
    read = read_bundle(bundle)
    assert read.card.heads == (card,)
    assert read.card.digest == written.card.digest != small_bundle.card.digest
    for name in small_bundle.manifest.files.keys() - {"card.json"}:
        assert read.read(name) == small_bundle.read(name)
    unchanged = {"heads": (), "digest": small_bundle.card.digest}
    assert read.card.model_copy(update=unchanged) == small_bundle.card


def test_the_card_says_what_it_was_fitted_on(table, bundle):
    _, card = fit_head(table, request("metres", description="made up"), bundle, bundle, replace=False)
    assert card.source.sha256 == read_table(table).sha256
    assert (card.source.credit, card.source.license) == ("nobody", "CC0-1.0")
    assert (card.fit.rows, card.fit.train, card.fit.validation, card.fit.test) == (1500, 1050, 150, 300)
    assert card.fit.parity <= 1e-4
    assert card.description == "made up"
    low, high = card.value_range
    values = read_table(table).numbers("metres")
    assert values.min() <= low < np.median(values) < high <= values.max()
    assert "300 rows held out from 1500 of table.csv (7:1:2, seed 0)" in card.metrics[0].on


def test_a_fit_is_reproducible_and_a_seed_is_a_choice(embeddings, table):
    targets = read_numbers(read_table(table), "metres", log1p=False)
    recipe = Recipe(hidden_dims=(8,), epochs=2)
    rows = torch.from_numpy(embeddings).double()
    first, second = (fit(embeddings, targets, recipe, log1p=False).head(rows) for _ in range(2))
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    other = fit(embeddings, targets, Recipe(hidden_dims=(8,), epochs=2, seed=1), log1p=False).head(rows)
    assert (first - other).abs().max() > 1e-3


def test_nothing_of_the_held_out_rows_reaches_the_head(embeddings, table):
    """Garbage in the rows to be tested changes nothing."""
    read = read_table(table)
    targets = read_numbers(read, "metres", log1p=False)
    recipe = Recipe(hidden_dims=(8,), epochs=2)
    head = fit(embeddings, targets, recipe, log1p=False).head
    spoilt, rows = targets.values.copy(), embeddings.copy()
    test = split(targets, 0).test
    spoilt[test], rows[test] = -1e9, 1e3
    again = fit(rows, type(targets)(spoilt), recipe, log1p=False).head
    some = torch.from_numpy(embeddings[:50]).double()
    torch.testing.assert_close(again(some), head(some), rtol=0, atol=0)


def test_predictions_of_the_bundle_are_the_torch_head_s(table, bundle, embeddings):
    written, card = fit_head(table, request("metres"), bundle, bundle, replace=False)
    head = fit(embeddings, read_numbers(read_table(table), "metres", log1p=False), QUICK, log1p=False).head
    with torch.inference_mode():
        expected = head(torch.from_numpy(embeddings).double()).numpy()
    np.testing.assert_allclose(predict_with_graph(written.read(card.file), embeddings), expected, rtol=1e-4, atol=1e-4)


def test_the_card_s_metrics_are_measured_again(table, bundle):
    for column, fields in (
        ("metres", {}),
        ("people", {"transform": "log1p"}),
        ("third", {"task": "classification"}),
    ):
        fit_head(table, request(column, **fields), bundle, bundle, replace=False)
    measured = list(measure_heads(read_bundle(bundle), [read_table(table)], ()))
    assert [each.card.id for each in measured] == ["metres", "people", "third"]
    for each in measured:
        assert each.again
        assert each.rows == each.card.fit.test
        assert not each.differs
        for metric, said in each.compared():
            assert metric.value == pytest.approx(said, rel=1e-6)


def test_a_figure_that_is_not_the_card_s_is_found_out(table, bundle):
    written, card = fit_head(table, request("metres"), bundle, bundle, replace=False)
    boast = card.metrics[0].model_copy(update={"value": card.metrics[0].value + 0.01})
    lying = card.model_copy(update={"metrics": (boast, *card.metrics[1:])})
    dressed = type(written)(written.path, written.card.model_copy(update={"heads": (lying,)}), written.manifest)
    (measured,) = measure_heads(dressed, [read_table(table)], ["metres"])
    assert measured.differs


def test_on_another_table_all_rows_are_measured_and_need_not_be_as_good(table, bundle, tmp_path):
    fit_head(table, request("third", task="classification"), bundle, bundle, replace=False)
    other = tmp_path / "other.parquet"
    labels = pa.array(["low", "high", "unheard of"])
    write_table(pa.table({"lon": [1.0, 2, 3], "lat": [4.0, 5, 6], "third": labels}), other)
    (measured,) = measure_heads(read_bundle(bundle), [read_table(other)], ())
    assert (measured.rows, measured.again, measured.differs) == (2, False, False)


def test_what_cannot_be_measured_is_one_line(table, bundle, small_bundle):
    read = read_table(table)
    with pytest.raises(HeadError, match="small has no head 'metres'; it has none"):
        list(measure_heads(small_bundle, [read], ["metres"]))
    with pytest.raises(HeadError, match="it has no heads"):
        list(measure_heads(small_bundle, [read], ()))
    fit_head(table, request("metres", id="height"), bundle, bundle, replace=False)
    poor = read_table(table)
    poor = type(poor)(poor.path, poor.lonlat, poor.columns.drop_columns(["metres"]), poor.sha256)
    with pytest.raises(HeadError, match="no table has what small's heads predict: metres"):
        list(measure_heads(read_bundle(bundle), [poor], ()))


def test_a_head_is_replaced_only_where_that_is_asked_for_and_keeps_its_place(table, bundle):
    fit_head(table, request("metres"), bundle, bundle, replace=False)
    fit_head(table, request("people"), bundle, bundle, replace=False)
    with pytest.raises(HeadError, match="has a head 'metres'; choose another --id, or replace it"):
        fit_head(table, request("metres"), bundle, bundle, replace=False)
    fit_head(table, request("metres", unit="m"), bundle, bundle, replace=True)
    assert [(head.id, head.unit) for head in read_bundle(bundle).card.heads] == [("metres", "m"), ("people", None)]


def test_another_folder_leaves_the_bundle_as_it_was(table, bundle, tmp_path):
    out = tmp_path / "out"
    fit_head(table, request("metres"), bundle, out, replace=False)
    assert read_bundle(bundle).card.heads == ()
    assert [head.id for head in read_bundle(out).card.heads] == ["metres"]
    with pytest.raises(BundleExists):
        fit_head(table, request("people"), bundle, out, replace=False)


@pytest.mark.parametrize(
    ("columns", "fields", "error", "message"),
    [
        ({"v": np.full(100, 5.0)}, {}, HeadError, "the same in every row"),
        ({"v": np.linspace(0, 1e308, 100)}, {}, HeadError, "too large"),
        ({"v": np.arange(5.0)}, {}, HeadError, "5 rows are too few"),
        ({"v": [*[1.0] * 99, None]}, {}, TableError, "empty in 1 rows"),
        ({"w": np.arange(100.0)}, {}, TableError, "has no column 'v'; it has 'w'"),
        (
            {"v": [f"c{i}" for i in range(100)]},
            {"task": "classification"},
            HeadError,
            "100 classes of v have a single row",
        ),
    ],
)
def test_what_cannot_be_fitted_is_one_line_and_leaves_the_bundle_alone(
    bundle, tmp_path, columns, fields, error, message
):
    n = len(next(iter(columns.values())))
    lon, lat = uniform_on_sphere(n, seed=1).T
    write_table(pa.table({"lon": lon, "lat": lat, **columns}), tmp_path / "t.parquet")
    with pytest.raises(error, match=message) as raised:
        fit_head(tmp_path / "t.parquet", request("v", **fields), bundle, bundle, replace=False)
    assert "\n" not in str(raised.value)
    assert read_bundle(bundle).card.heads == ()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"task": "regress"}, "task: "),
        ({"id": "Not A Name"}, "id: "),
        ({"transform": "sqrt"}, "transform: "),
        ({"task": "classification", "unit": "m"}, "neither unit nor transform"),
        ({"class_colors": {"a": "#000000"}}, "no classes to colour"),
        ({"task": "classification", "class_colors": {"a": "blue"}}, "class_colors.a: "),
        ({"recipe": {"hidden_dims": ["8", "x"]}}, "recipe.hidden_dims.1: "),
        ({"recipe": {"hidden_dims": ["0"]}}, "recipe.hidden_dims.0: "),
    ],
)
def test_what_cannot_be_asked_for_is_one_line(fields, message):
    asked = {"id": "v", "column": "v", "task": "regression", "source": SOURCE} | fields
    with pytest.raises(HeadError, match=message) as raised:
        read_request(**asked)
    assert "\n" not in str(raised.value)
