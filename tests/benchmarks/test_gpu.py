"""`python -m tests.benchmarks gpu` tried without a GPU: torch on the CPU, with memory that stands for a GPU's."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from service.bundle import LonLat
from service.embedding.backends.onnx import OnnxBackend
from tests.benchmarks import gpu, gpu_engines
from tests.benchmarks.gpu_engines import Ceilings, Engine
from tests.benchmarks.gpu_torch import TorchBackend
from tests.benchmarks.models import bundle_of, default_bundle
from tests.host_memory import HostMemory
from trainer.export import parity_places
from trainer.precision import cosine_distances
from trainer.snap import uniform_on_sphere

PLACES = LonLat.from_degrees(parity_places()[:700])


@pytest.fixture
def torch_engine(monkeypatch):
    monkeypatch.setattr(gpu, "SECONDS", 0.05)
    monkeypatch.setattr(gpu, "HTTP_SECONDS", 0.2)
    monkeypatch.setattr(gpu, "CLIENTS", 2)
    monkeypatch.setattr(gpu, "REQUEST_PLACES", 300)
    monkeypatch.setattr(gpu, "CACHED_PLACES", 300)
    return Engine(
        name="torch on the CPU",
        open=lambda bundle, precision, replays: TorchBackend(
            bundle, precision, replays=replays, batch_points=256, memory=HostMemory()
        ),
        command=("tests.benchmarks.gpu_torch",),
        environment={"SATCLE_PROVIDER": "cpu", "SATCLE_MAX_BATCH_POINTS": "256"},
        replays=(False,),
        batches=(100, 300),
        threads=2,
        served_by=(2,),
        ceilings=lambda: Ceilings({"float32": 1e12, "tf32": 2e12, "float16": 4e12}, {"to the GPU": 1e9}),
    )


@pytest.mark.parametrize("precision", ["float32", "tf32"])
def test_torch_embeds_as_onnxruntime_does(precision):
    backend = TorchBackend(default_bundle(), precision, batch_points=512, memory=HostMemory())
    np.testing.assert_allclose(backend.embed(PLACES), OnnxBackend(default_bundle(), "cpu").embed(PLACES), atol=1e-5)


def test_torch_in_float16_is_as_far_off_as_the_card_says():
    bundle = default_bundle()
    backend = TorchBackend(bundle, "float16", batch_points=512, memory=HostMemory())
    distances = cosine_distances(backend.embed(PLACES), OnnxBackend(bundle, "cpu").embed(PLACES))
    assert 1e-8 < distances.max() < 2 * bundle.card.precision("float16").cosine_max


def test_in_process_each_precision_and_batch_has_its_row(torch_engine):
    rows = [row.split(" | ") for row in gpu._in_process(torch_engine, {10: default_bundle()})]
    assert [(row[2], row[5]) for row in rows] == [
        (precision, batch) for precision in ("float32", "tf32", "float16") for batch in ("100", "300")
    ]
    flops = gpu.flops_of(default_bundle().read("encoder.onnx"))
    for row in rows:
        rate, share = float(row[6].replace(",", "")), float(row[8].strip(" |"))
        assert rate > 0
        expected = rate * flops / torch_engine.ceilings().products[row[2]]
        assert share == pytest.approx(expected, abs=0.01)


def test_over_http_several_processes_are_asked(torch_engine):
    with gpu.serving(torch_engine, default_bundle(), "float16", 2, cache_mb=0) as addresses:
        assert len(set(addresses)) == 2
        assert gpu.asked(addresses, uniform_on_sphere(300, seed=0), 2, exact=True) > 0


def test_whether_the_cache_pays_is_asked_of_the_service(torch_engine):
    (row,) = gpu._cache(torch_engine, {10: default_bundle()})
    _, _, without, hits, pays = row.strip("| ").split(" | ")
    assert float(without.replace(",", "")) > 0
    assert float(hits.replace(",", "")) > 0
    assert pays in ("True", "False")


def test_what_fails_has_a_row_that_says_so_and_costs_no_other():
    def measured():
        yield ("1",)
        raise RuntimeError("out of\nmemory")

    assert list(gpu.rows(("a", 10), measured)) == ["| a | 10 | 1 |", "| a | 10 | failed: out of memory |"]


def test_without_a_gpu_the_table_says_why(monkeypatch, torch_engine, tmp_path):
    monkeypatch.setattr(gpu, "gpu_engine", lambda: "libcuda.so.1 is missing")
    monkeypatch.setattr(gpu, "cpu_engine", lambda: torch_engine)
    monkeypatch.setattr(gpu, "_http", lambda engine, bundles: [])
    monkeypatch.setattr(gpu, "_cache", lambda engine, bundles: [])
    table = gpu.table()
    assert "No GPU was found, and none measured: libcuda.so.1 is missing." in table
    assert table.count("| torch on the CPU | 40 | float32 |") == 2


@pytest.mark.parametrize(("legendre_polys", "flops"), [(10, 888_832), (40, 2_424_832)])
def test_the_operations_of_a_place_are_those_of_its_layers(legendre_polys, flops, tmp_path):
    bundle = bundle_of(legendre_polys, tmp_path)
    assert gpu.flops_of(bundle.read("encoder.onnx")) == flops


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_the_large_product_is_one(precision):
    onnx.checker.check_model(onnx.load_from_string(gpu_engines.product_graph(16, np.float16)), full_check=True)
    assert gpu_engines.onnxruntime_product(precision, "cpu", 64) > 0
