from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx.reference import ReferenceEvaluator

from service.bundle import BundleCorrupt, LonLat, read_bundle, write_bundle
from service.bundles import DEFAULT, bundle_path
from service.embedding.backends.base import embed_checked
from service.embedding.backends.onnx import OnnxBackend, OnnxGridBackend
from service.errors import BackendFailed, ProviderUnavailable

HAS_CUDA = "CUDAExecutionProvider" in ort.get_available_providers()
PLACES = LonLat.from_degrees(np.random.default_rng(0).uniform([-180, -90], [180, 90], (700, 2)))


@pytest.fixture(scope="module")
def backend(tiny_bundle):
    return OnnxBackend(tiny_bundle, "cpu")


def test_rows_are_those_of_the_graph(tiny_bundle, backend):
    graph = onnx.load_from_string(tiny_bundle.read("encoder.onnx"))
    (expected,) = ReferenceEvaluator(graph).run(["embedding"], {"lonlat": PLACES.degrees})
    np.testing.assert_allclose(embed_checked(backend, PLACES), expected, atol=1e-6)


@pytest.mark.parametrize("batch", [1, 2, 3, 64, 511])
def test_a_row_does_not_depend_on_the_batch_it_is_in(backend, batch):
    parts = [backend.embed(PLACES[i : i + batch]) for i in range(0, len(PLACES), batch)]
    np.testing.assert_allclose(np.concatenate(parts), backend.embed(PLACES), atol=1e-6)


def test_many_threads_at_once_get_the_rows_that_one_gets(backend):
    expected = backend.embed(PLACES)
    with ThreadPoolExecutor(8) as threads:
        for rows in threads.map(lambda _: backend.embed(PLACES), range(64)):
            np.testing.assert_array_equal(rows, expected)


@pytest.mark.parametrize(("periodic", "asked"), [(True, [0, 90]), (False, [77, 90])])
def test_an_encoder_that_is_not_periodic_is_asked_for_what_was_written(tmp_path, make_bundle, periodic, asked):
    bundle = make_bundle(tmp_path / "a", periodic=periodic)
    graph = onnx.load_from_string(bundle.read("encoder.onnx"))
    (expected,) = ReferenceEvaluator(graph).run(["embedding"], {"lonlat": np.array([asked], np.float64)})
    rows = OnnxBackend(bundle, "cpu").embed(LonLat.from_degrees([[77, 90]]))
    np.testing.assert_allclose(rows, expected, atol=1e-6)


def test_a_selection_that_skips_rows_is_embedded_right(backend):
    np.testing.assert_allclose(backend.embed(PLACES[::7]), backend.embed(PLACES)[::7], atol=1e-6)


def test_the_provider_is_the_one_that_runs(tiny_bundle, backend):
    assert backend.provider == "cpu"
    assert OnnxBackend(tiny_bundle).provider in ("cpu", "cuda")


@pytest.mark.skipif(HAS_CUDA, reason="this onnxruntime has CUDA")
def test_cuda_where_there_is_none_is_refused_with_the_command_that_installs_it(tiny_bundle):
    with pytest.raises(ProviderUnavailable, match=r"cuda is not in this onnxruntime: pip install 'satcle\[gpu\]'"):
        OnnxBackend(tiny_bundle, "cuda")


@pytest.mark.parametrize("encoder", [b"", b"junk", b"\x08\x08"])
def test_an_encoder_that_is_no_onnx_graph_is_one_error_that_names_the_file_and_the_fix(
    tmp_path, tiny_bundle, encoder, capfd
):
    bundle = write_bundle(tmp_path / "b", tiny_bundle.card, {"encoder.onnx": encoder})
    with pytest.raises(BackendFailed, match=r"cannot open .*encoder.onnx on cpu: .*export the bundle again"):
        OnnxBackend(bundle, "cpu")
    assert capfd.readouterr().out == ""


def test_an_encoder_of_other_dimensions_than_its_card_says_does_not_open(tmp_path, make_bundle):
    bundle = make_bundle(tmp_path / "b", embedding_dim=16, dimensions=(16,))
    with pytest.raises(BackendFailed, match=r"float32 \(1, 8\), not float32 \(1, 16\)"):
        OnnxBackend(bundle, "cpu")


def test_an_encoder_whose_tensors_have_other_names_does_not_open(tmp_path, tiny_bundle):
    renamed = tiny_bundle.read("encoder.onnx").replace(b"lonlat", b"latlon")
    bundle = write_bundle(tmp_path / "b", tiny_bundle.card, {"encoder.onnx": renamed})
    with pytest.raises(BackendFailed, match=r"latlon|lonlat"):
        OnnxBackend(bundle, "cpu")


def test_an_encoder_altered_since_the_bundle_was_read_is_never_opened(tmp_path, make_bundle):
    bundle = make_bundle(tmp_path / "b")
    (tmp_path / "b" / "encoder.onnx").write_bytes(b"something else")
    with pytest.raises(BundleCorrupt, match=r"encoder.onnx"):
        OnnxBackend(bundle, "cpu")


def test_a_grid_is_embedded_row_by_row():
    bundle = read_bundle(bundle_path(DEFAULT))
    lons, lats = np.array([10.0, 20.0, 30.0]), np.array([50.0, -50.0])
    rows = OnnxGridBackend(bundle, bundle.card.raster.file, "cpu").embed_grid(lons, lats)
    places = LonLat.from_degrees([[lon, lat] for lat in lats for lon in lons])
    np.testing.assert_allclose(rows, OnnxBackend(bundle, "cpu").embed(places), atol=1e-5)


def test_what_is_no_grid_is_a_failure_of_the_backend():
    bundle = read_bundle(bundle_path(DEFAULT))
    backend = OnnxGridBackend(bundle, bundle.card.raster.file, "cpu")
    with pytest.raises(BackendFailed, match="a grid of 6 places"):
        backend.embed_grid(np.zeros(3, np.float32), np.zeros(2))
    with pytest.raises(BackendFailed, match="not finite"):
        backend.embed_grid(np.array([np.nan]), np.zeros(1))


def test_a_graph_that_is_no_grids_is_refused_when_it_is_opened(tiny_bundle):
    with pytest.raises(BackendFailed, match="a grid of 1 places"):
        OnnxGridBackend(tiny_bundle, "encoder.onnx", "cpu")
