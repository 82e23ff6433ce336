"""The file of training places, written, read, and damaged."""

from io import BytesIO

import numpy as np
import pytest

from service.bundle import (
    BundleCorrupt,
    LonLat,
    TrainingPlacesCard,
    read_bundle,
    read_training_places,
    training_places_file,
    write_bundle,
)

PLACES = [[116.4, 39.9], [-180.0, -90.0], [179.99999999, 12.0]]


def npy(values):
    file = BytesIO()
    np.save(file, values)
    return file.getvalue()


def bundle_with(tiny_bundle, path, content, count=3):
    card = tiny_bundle.card.model_copy(update={"training_places": TrainingPlacesCard(file="p.npy", count=count)})
    return write_bundle(path, card, {"encoder.onnx": tiny_bundle.read("encoder.onnx"), "p.npy": content})


def test_places_are_read_as_they_were_within_two_metres(tiny_bundle, tmp_path):
    places = LonLat.from_degrees(PLACES)
    written = bundle_with(tiny_bundle, tmp_path / "b", training_places_file(places))
    read = read_training_places(read_bundle(written.path))
    assert read is not None
    np.testing.assert_allclose(read.degrees, [[116.4, 39.9], [0, -90], [-180, 12]], atol=1e-5)


def test_a_bundle_may_have_none(tiny_bundle):
    assert read_training_places(tiny_bundle) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not an array",
        npy(np.zeros((3, 2), np.float32))[:-4],
        npy(np.zeros((3, 3), np.float32)),
        npy(np.zeros((2, 2), np.float32)),
        npy(np.full((3, 2), np.nan, np.float32)),
        npy(np.full((3, 2), 99, np.float32)),
        npy(np.full((3, 2), "lon")),
        npy(np.zeros((3, 2), object)),
    ],
    ids=["empty", "text", "cut off", "three columns", "too few", "NaN", "no latitudes", "words", "objects"],
)
def test_a_file_of_anything_else_is_refused(tiny_bundle, tmp_path, content):
    bundle = bundle_with(tiny_bundle, tmp_path / "b", content)
    with pytest.raises(BundleCorrupt, match=r"p\.npy .*export the bundle again"):
        read_training_places(bundle)
