"""What a bundle's graphs run on, as the settings say, and which of them there are."""

from __future__ import annotations

import numpy as np
import pytest

from service.bundle import LonLat
from service.embedding.backends.onnx import Cuda, OnnxBackend
from service.embedding.graphs import Device, Graphs
from service.errors import ProviderUnavailable
from service.settings import Settings

PLACES = LonLat.from_degrees([[10, 20], [-30, 40]])


def test_a_device_is_what_the_settings_say():
    settings = Settings(
        provider="cuda", cuda_devices="2,3", cuda_options="gpu_mem_limit=1", max_batch_points=64, precision="tf32"
    )
    assert Device.of(settings) == Device("cuda", Cuda(2, {"gpu_mem_limit": "1"}, 64), 64)
    assert Device.of(Settings()) == Device()


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_the_encoder_is_of_the_precision(precise_bundle, precision):
    rows = Graphs(precise_bundle, Device("cpu"), precision).encoder.embed(PLACES)
    np.testing.assert_array_equal(rows, OnnxBackend(precise_bundle, "cpu", precision).embed(PLACES))


def test_a_precision_that_would_not_run_is_refused(precise_bundle, tiny_bundle):
    with pytest.raises(ProviderUnavailable, match="declares float32 only"):
        Graphs(tiny_bundle, Device("cpu"), "float16")
    with pytest.raises(ProviderUnavailable, match="only GPUs have it"):
        Graphs(precise_bundle, Device("cpu"), "tf32")


def test_batches_are_of_the_providers_size_unless_another_is_asked_for(tiny_bundle):
    assert Graphs(tiny_bundle, Device("cpu"), "float32").batch_points == 512
    assert Graphs(tiny_bundle, Device("cpu", max_batch_points=9), "float32").batch_points == 9


def test_what_else_a_bundle_has_is_opened_on_demand(tiny_bundle, headed_bundle):
    assert Graphs(tiny_bundle, Device("cpu"), "float32").grid_encoder() is None
    assert list(Graphs(headed_bundle, Device("cpu"), "float32").heads()) == ["height", "colour"]
