"""Why CUDA does not run, on a machine that lacks something; and CUDA itself, where there is a GPU."""

import ctypes
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from service.bundle import LonLat
from service.embedding.backends.cuda import DRIVER, CudaMemory, count_gpus, why_not
from service.embedding.backends.onnx import Cuda, OnnxBackend
from service.errors import ProviderUnavailable


def _gpus() -> int:
    try:
        ctypes.CDLL(DRIVER).cuInit(0)
    except OSError:
        return 0
    return count_gpus()


GPUS = _gpus()
HAS_DRIVER = GPUS > 0
without_driver = pytest.mark.skipif(HAS_DRIVER, reason="this machine has a GPU")
with_gpu = pytest.mark.skipif(not HAS_DRIVER, reason="this machine has no GPU")


STUB = """
#include <stdlib.h>
static int number(char *name) { char *text = getenv(name); return text ? atoi(text) : 0; }
int cuInit(unsigned flags) { return number("STUB_GPUS") ? 0 : 100; }
int cuDeviceGetCount(int *count) { *count = number("STUB_GPUS"); return 0; }
int cuDriverGetVersion(int *version) { *version = number("STUB_VERSION"); return 0; }
int cuGetErrorString(int error, const char **text) { *text = "none is there"; return 0; }
"""


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    """Runs a program in a process whose driver is one of ours, and gives what it prints."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler, for a driver that says what it is told to")
    folder = tmp_path_factory.mktemp("driver")
    source = folder / "stub.c"
    source.write_text(STUB)
    subprocess.run([compiler, "-shared", "-fPIC", "-Wl,-soname," + DRIVER, "-o", folder / DRIVER, source], check=True)
    before = (
        "import ctypes.util\nfrom pathlib import Path\nlibc = ctypes.util.find_library('c')\n"
        "from service.embedding.backends.cuda import *\nfrom service.errors import *\n"
    )

    def run(environment, program):
        environment = {**os.environ, "LD_LIBRARY_PATH": str(folder), **environment}
        command = [sys.executable, "-c", before + program]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()

    return run


def test_a_library_that_is_missing_is_named_with_what_brings_it():
    reason = why_not(Path("/nowhere/libonnxruntime_providers_cuda.so"), "13.0")
    assert reason is not None
    assert "/nowhere/libonnxruntime_providers_cuda.so is missing (pip install 'satcle[gpu]'" in reason


def test_a_library_that_is_none_is_said_in_the_loader_s_words(tmp_path):
    damaged = tmp_path / "libonnxruntime_providers_cuda.so"
    damaged.write_bytes(b"this is no library at all")
    reason = why_not(damaged, "13.0")
    assert reason is not None
    assert str(damaged) in reason
    assert "is missing" not in reason.split(" and ")[0]


@without_driver
def test_a_driver_that_is_missing_is_named_once_with_what_brings_it():
    reason = why_not(Path(ctypes.__file__), "13.0")  # which is no library either
    assert reason is not None
    assert reason.count("libcuda.so.1 is missing (install NVIDIA's driver, or give the container the GPU") == 1


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({}, "the driver sees no GPU: none is there (100)"),
        (
            {"STUB_GPUS": "1", "STUB_VERSION": "12040"},
            "onnxruntime is for CUDA 13.0, .* for 12.4: install a newer .*",
        ),
        ({"STUB_GPUS": "1", "STUB_VERSION": "13010"}, "None"),
    ],
    ids=["no GPU", "old driver", "sound"],
)
def test_a_driver_is_asked_what_it_has(driver, environment, reason):
    assert re.fullmatch(reason.replace("(100)", r"\(100\)"), driver(environment, "print(why_not(Path(libc), '13.0'))"))


def test_gpus_are_counted(driver):
    assert driver({"STUB_GPUS": "3"}, "print(count_gpus())") == "3"


def test_what_the_driver_refuses_is_a_failure_of_the_backend_in_its_words(driver):
    program = "try: CudaMemory(0)\nexcept BackendFailed as error: print(error)"
    assert driver({}, program) == "CUDA's cuInit failed: none is there (100)"


@without_driver
def test_auto_takes_the_cpu_and_float32_stays(tiny_bundle):
    backend = OnnxBackend(tiny_bundle, "auto", cuda=Cuda(options={"gpu_mem_limit": "1"}))
    assert (backend.provider, backend.precision) == ("cpu", "float32")


def test_options_that_follow_from_settings_go_before_those_given():
    cuda = Cuda(index=3, options={"gpu_mem_limit": "5", "enable_cuda_graph": "1"})
    assert cuda.replays
    options = {"gpu_mem_limit": "5", "device_id": "3"}
    assert cuda.provider_options() == {**options, "use_tf32": "0", "enable_cuda_graph": "0"}
    assert cuda.provider_options(tf32=True, replays=True) == {**options, "use_tf32": "1", "enable_cuda_graph": "1"}
    assert not Cuda().replays


@with_gpu
def test_what_goes_to_the_gpu_comes_back():
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        pytest.skip("this onnxruntime has no CUDA, so that nothing allocates memory of the GPU")
    memory = CudaMemory(0)
    value = ort.OrtValue.ortvalue_from_shape_and_type((7, 5), np.float32, "cuda", 0)
    sent, back = np.random.default_rng(0).random((2, 7, 5), np.float32)
    memory.upload(value.data_ptr(), sent)
    memory.download(back, value.data_ptr())
    np.testing.assert_array_equal(back, sent)


@with_gpu
@pytest.mark.parametrize("graphs", ["0", "1"])
def test_rows_on_the_gpu_are_those_on_the_cpu(tiny_bundle, graphs):
    places = LonLat.from_degrees(np.random.default_rng(0).uniform([-180, -90], [180, 90], (700, 2)))
    try:
        backend = OnnxBackend(tiny_bundle, "cuda", cuda=Cuda(options={"enable_cuda_graph": graphs}, batch_points=256))
    except ProviderUnavailable as reason:
        pytest.skip(str(reason))
    np.testing.assert_allclose(backend.embed(places), OnnxBackend(tiny_bundle, "cpu").embed(places), atol=1e-6)
