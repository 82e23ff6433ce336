import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from service.bundle import (
    BundleCard,
    ComponentsCard,
    DataSource,
    HeadCard,
    Metric,
    Network,
    OtherPart,
    Parity,
    PositionalEncoding,
    PrecisionCard,
    RasterCard,
    SnapError,
    TrainingPlacesCard,
    read_bundle,
)
from service.bundle.card import bundle_digest
from service.bundles import SHIPPED

SOURCE = DataSource(name="a", credit="b", license="MIT")
ANOTHER = {
    "name": "other",
    "version": "2",
    "description": "another",
    "license": "CC-BY-4.0",
    "limits": "none",
    "embedding_dim": 9,
    "dimensions": (8,),
    "normalization": "l2",
    "periodic": False,
    "encoder": "other.onnx",
    "encoding": PositionalEncoding(variant="printed", legendre_polys=2),
    "network": Network(hidden_dim=9, hidden_layers=1),
    "snap_errors": (
        SnapError(
            resolution=7,
            cosine_median=0,
            cosine_p99=0,
            cosine_max=0,
            metres_median=0,
            metres_p99=0,
            metres_max=0,
        ),
    ),
    "snap_resolution": None,
    "parity": Parity(max_abs_error=0.0, points=2),
    "metrics": (Metric(name="r2", value=0.5, on="held-out land"),),
    "raster": RasterCard(file="raster.onnx", parity=Parity(max_abs_error=0.0, points=2)),
    "components": ComponentsCard(file="c.npy", explained=(0.5, 0.3, 0.2), quantiles=(0.01, 0.99), places=9),
    "precisions": (PrecisionCard(name="tf32", cosine_mean=0, cosine_max=0, points=1, measured="not at all"),),
    "heads": (HeadCard(id="elevation", task="regression", file="elevation.onnx", source=SOURCE),),
    "training_places": TrainingPlacesCard(file="places.npy", count=9),
}
FIXED = {"format", "dtype", "coordinate_order"}
YOUNGER = {"digest", "raster", "components", "periodic", "precisions", "training_places"}
"""What is not in the digest of a card that has none of it."""


@pytest.fixture
def card(tiny_bundle):
    return tiny_bundle.card


def altered(card, **fields):
    return BundleCard.model_validate(card.model_dump() | fields)


def test_a_card_survives_json(card):
    assert BundleCard.model_validate_json(card.model_dump_json()) == card


@given(value=st.floats(allow_nan=False, allow_infinity=False))
def test_a_measured_figure_survives_json_to_the_last_bit(value):
    metric = Metric(name="r2", value=value, on="test")
    assert Metric.model_validate_json(metric.model_dump_json()).value.hex() == value.hex()


@pytest.mark.parametrize(
    "fields",
    [
        {"dimensions": (4,)},
        {"dimensions": ()},
        {"dimensions": (0, 8)},
        {"dimensions": (8, 9)},
        {"embedding_dim": 0},
        {"snap_resolution": 16},
        {"snap_resolution": -1},
        {"version": ""},
        {"digest": "short"},
        {"digest": "A" * 64},
        {"format": 2},
        {"dtype": "float64"},
        {"coordinate_order": "lat,lon"},
        {"surprise": 1},
        {"parity": {"max_abs_error": float("nan"), "points": 1}},
        {"encoding": {"variant": "exact", "legendre_polys": 101}},
        {"encoding": {"variant": "exact", "legendre_polys": 2, "m0_scale": float("inf")}},
    ],
)
def test_a_card_that_contradicts_itself_or_the_format_is_refused(card, fields):
    with pytest.raises(ValidationError):
        altered(card, **fields)


@pytest.mark.parametrize("name", ["", "A", "../x", "a/b", ".hidden", "a b", "name\n", "é", "a" * 65])
def test_a_name_that_could_not_be_a_folder_or_a_label_is_refused(card, name):
    with pytest.raises(ValidationError):
        altered(card, name=name)


@pytest.mark.parametrize("name", ["a", "earth-l30", "0.v_2", "a" * 64])
def test_plain_names_are_taken(card, name):
    assert altered(card, name=name).name == name


def test_a_card_cannot_be_changed(card):
    with pytest.raises(ValidationError):
        card.name = "other"


def test_the_cases_of_the_digest_cover_every_field():
    assert ANOTHER.keys() | FIXED | {"digest", "training"} == BundleCard.model_fields.keys()


@pytest.mark.parametrize("field", ANOTHER)
def test_the_digest_depends_on_every_field(card, field):
    other = card.model_copy(update={field: ANOTHER[field]})
    assert bundle_digest(other, {}) != bundle_digest(card, {})


def test_a_card_older_than_maps_keeps_its_digest(card):
    fields = card.model_dump(mode="json", exclude=YOUNGER)
    described = json.dumps({"card": fields, "files": {}}, sort_keys=True, separators=(",", ":"))
    assert bundle_digest(card, {}) == hashlib.sha256(described.encode()).hexdigest()


def test_the_digest_depends_on_the_training(card):
    other = card.model_copy(update={"training": card.training.model_copy(update={"seed": 1})})
    assert bundle_digest(other, {}) != bundle_digest(card, {})


def test_the_digest_does_not_depend_on_itself_nor_on_the_order_of_files(card):
    files = {"a": "0" * 64, "b": "1" * 64}
    signed = card.model_copy(update={"digest": "f" * 64})
    assert bundle_digest(signed, files) == bundle_digest(card, dict(reversed(files.items())))


@pytest.mark.parametrize("files", [{}, {"a": "1" * 64}, {"b": "0" * 64}, {"a": "0" * 64, "b": "0" * 64}])
def test_the_digest_depends_on_every_file_and_its_name(card, files):
    assert bundle_digest(card, files) != bundle_digest(card, {"a": "0" * 64})


def test_a_card_read_by_eye_says_where_its_data_came_from(card):
    written = json.loads(card.model_dump_json())
    assert written["training"]["sources"][0].keys() == {"name", "credit", "license", "url", "sha256"}


HEAD = {"id": "height", "task": "regression", "file": "height.onnx", "source": SOURCE}
CLASSES = {**HEAD, "task": "classification", "classes": ("a", "b")}


def test_a_head_predicts_one_column_or_one_a_class():
    assert HeadCard(**HEAD).columns == 1
    assert HeadCard(**CLASSES).columns == 2


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({**HEAD, "classes": ("a", "b")}, "are for classifications"),
        ({**CLASSES, "classes": None}, "two classes or more"),
        ({**CLASSES, "classes": ("a",)}, "two classes or more"),
        ({**CLASSES, "classes": ("a", "b", "a")}, "all different"),
        ({**CLASSES, "unit": "m"}, "are for regressions"),
        ({**CLASSES, "transform": "log1p"}, "are for regressions"),
        ({**CLASSES, "value_range": (0, 1)}, "are for regressions"),
        ({**HEAD, "class_colors": ("#000000",)}, "for classifications"),
        ({**CLASSES, "class_colors": ("#000000",)}, "one for each class"),
        ({**CLASSES, "class_colors": ("#000000", "#1234567")}, "pattern"),
        ({**CLASSES, "class_colors": ("#000000", "blue")}, "pattern"),
        ({**CLASSES, "class_colors": ("#000000", "#00000g\n")}, "pattern"),
        ({**CLASSES, "class_colors": ("#000000", "#0000ff\n")}, "pattern"),
        ({**HEAD, "value_range": (1, 1)}, "value_range is low, high"),
        ({**HEAD, "value_range": (1, float("inf"))}, "finite"),
        ({**HEAD, "transform": "sqrt"}, "log1p"),
        ({**HEAD, "id": "../height"}, "pattern"),
    ],
)
def test_a_head_whose_task_and_output_disagree_is_refused(fields, message):
    with pytest.raises(ValidationError, match=message):
        HeadCard(**fields)


def test_class_colours_are_part_of_the_digest_only_where_there_are_any(card):
    """A bundle made before there were any still verifies: its digest knows nothing of them."""
    plain = altered(card, heads=(HeadCard(**HEAD), HeadCard(**{**CLASSES, "id": "cover"})))
    fields = plain.model_dump(mode="json", exclude=YOUNGER)
    for head in fields["heads"]:
        del head["class_colors"]
    described = json.dumps({"card": fields, "files": {}}, sort_keys=True, separators=(",", ":"))
    assert bundle_digest(plain, {}) == hashlib.sha256(described.encode()).hexdigest()
    digests = {bundle_digest(plain, {})}
    for colors in (("#000000", "#ffffff"), ("#ffffff", "#000000")):
        cover = HeadCard(**{**CLASSES, "id": "cover", "class_colors": colors})
        digests.add(bundle_digest(altered(card, heads=(plain.heads[0], cover)), {}))
    assert len(digests) == 3


def test_heads_of_one_bundle_have_names_of_their_own(card):
    head = HeadCard(**HEAD)
    with pytest.raises(ValidationError, match="two heads share an id: height, height"):
        altered(card, heads=(head, head))


def test_a_precision_is_found_by_name_and_its_graph_is_a_file_of_the_card(card):
    figures = {"cosine_mean": 1e-7, "cosine_max": 1e-6, "points": 9, "measured": "emulated"}
    tf32 = PrecisionCard(name="tf32", **figures)
    half = PrecisionCard(name="float16", file="half.onnx", **figures)
    both = altered(card, precisions=(tf32, half))
    assert both.precision("float16") == half
    assert both.precision("float32") is None
    assert card.precision("tf32") is None
    assert set(both.files) - set(card.files) == {"half.onnx"}
    assert BundleCard.model_validate_json(both.model_dump_json()) == both
    with pytest.raises(ValidationError, match="there twice: tf32, tf32"):
        altered(card, precisions=(tf32, tf32))
    for wrong in ({"name": "tf32", "file": "tf32.onnx"}, {"name": "float16"}):
        with pytest.raises(ValidationError, match="float16 has a graph of its own"):
            PrecisionCard(**wrong, **figures)


def test_an_encoding_or_a_network_of_another_kind_describes_itself(card):
    encoding = {"kind": "grid", "settings": {"frequencies": 16, "min_radius": 0.5, "basis": "hexagonal"}}
    other = altered(card, encoding=encoding, network={"kind": "linear"})
    assert other.encoding == OtherPart(**encoding)
    assert other.network == OtherPart(kind="linear")
    assert BundleCard.model_validate_json(other.model_dump_json()) == other
    assert len({bundle_digest(each, {}) for each in (card, other, altered(card, encoding=encoding))}) == 3


def test_settings_keep_whole_numbers_whole(card):
    settings = {"cells": 20, "sigma_m": 20000.0, "sigmas": (1.0, 16.0)}
    written = altered(card, encoding={"kind": "utm_soft", "settings": settings}).model_dump_json()
    assert '"cells":20,' in written
    assert json.loads(written)["encoding"]["settings"] == {**settings, "sigmas": [1.0, 16.0]}


def test_cards_that_name_no_kind_mean_the_first(card):
    assert altered(card, encoding={"variant": "exact", "legendre_polys": 3}).encoding.kind == "spherical_harmonics"
    assert altered(card, network={"hidden_dim": 4, "hidden_layers": 1}).network.kind == "siren"


@pytest.mark.parametrize(
    "part",
    [
        {"kind": "grid", "frequencies": 4},
        {"kind": "../grid"},
        {"kind": "grid", "settings": {"scale": float("nan")}},
        {"kind": "grid", "settings": {"nested": {"a": 1}}},
        {"kind": "spherical_harmonics", "settings": {}},
    ],
)
def test_another_part_that_does_not_fit_is_refused(card, part):
    with pytest.raises(ValidationError):
        altered(card, encoding=part)


def test_what_nobody_wrote_down_of_a_training_is_null(card):
    unknown = {"samples": None, "epochs": None, "seed": None, "config_digest": None}
    training = card.training.model_dump() | unknown
    assert altered(card, training=training).training.samples is None


def test_the_shipped_bundle_is_older_than_other_kinds_and_verifies():
    shipped = read_bundle(SHIPPED / "earth-l30")
    assert isinstance(shipped.card.encoding, PositionalEncoding)
    assert isinstance(shipped.card.network, Network)
