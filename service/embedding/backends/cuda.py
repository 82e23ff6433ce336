"""CUDA beside ONNX Runtime, through the driver's own library: why it does not run, host memory, and copies."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from service.errors import BackendFailed

DRIVER = "libcuda.so.1"
GET_DRIVER = "install NVIDIA's driver, or give the container the GPU (docker run --gpus all)"
GET_LIBRARIES = "pip install 'satcle[gpu]', which brings CUDA's libraries, in an environment without onnxruntime"


class CudaMemory:
    """Copies between a GPU and this machine, from any thread. Raises BackendFailed where the driver does."""

    device = "cuda"

    def __init__(self, index: int) -> None:
        self.index = index
        self._driver = ctypes.CDLL(DRIVER)
        self._context = ctypes.c_void_p()
        device = ctypes.c_int()
        self._call("cuInit", 0)
        self._call("cuDeviceGet", ctypes.byref(device), index)
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(self._context), device)  # the one that ONNX Runtime uses

    def allocate(self, size: int) -> int:
        """So many bytes of this machine's memory, page-locked: the GPU copies to and from it at full speed."""
        address = ctypes.c_void_p()
        self._call_here("cuMemHostAlloc", ctypes.byref(address), ctypes.c_size_t(size), ctypes.c_uint(0))
        assert address.value is not None
        return address.value

    def free(self, address: int) -> None:
        self._call_here("cuMemFreeHost", ctypes.c_void_p(address))

    def upload(self, address: int, values: NDArray[Any]) -> None:
        """Copy contiguous `values` to the GPU's `address`."""
        size = ctypes.c_size_t(values.nbytes)
        self._call_here("cuMemcpyHtoD_v2", ctypes.c_uint64(address), ctypes.c_void_p(values.ctypes.data), size)

    def download(self, into: NDArray[Any], address: int) -> None:
        """Fill contiguous `into` from the GPU's `address`."""
        size = ctypes.c_size_t(into.nbytes)
        self._call_here("cuMemcpyDtoH_v2", ctypes.c_void_p(into.ctypes.data), ctypes.c_uint64(address), size)

    def _call_here(self, function: str, *arguments: Any) -> None:  # noqa: ANN401 - what the driver takes
        """In this thread, which must be told which GPU is meant."""
        self._call("cuCtxSetCurrent", self._context)
        self._call(function, *arguments)

    def _call(self, function: str, *arguments: Any) -> None:  # noqa: ANN401
        if status := getattr(self._driver, function)(*arguments):
            raise BackendFailed(f"CUDA's {function} failed: {_message(self._driver, status)}")


def why_not(library: Path, version: str) -> str | None:
    """Why ONNX Runtime's `library`, for that version of CUDA, cannot run, and the fix; None where it could."""
    found = [reason for reason in (_lacking(str(library)), _lacking(DRIVER)) if reason]
    return " and ".join(dict.fromkeys(found)) or _no_gpu(version)


def count_gpus() -> int:
    """Those that the driver shows this process, which CUDA_VISIBLE_DEVICES may hide."""
    count = ctypes.c_int()
    ctypes.CDLL(DRIVER).cuDeviceGetCount(ctypes.byref(count))
    return count.value


def _lacking(library: str) -> str | None:
    """What is missing where `library` does not load."""
    try:
        ctypes.CDLL(library)
    except OSError as error:
        name, _, rest = str(error).partition(": ")
        if "cannot open shared object file" not in rest:
            return str(error)
        return f"{name} is missing ({GET_DRIVER if name == DRIVER else GET_LIBRARIES})"
    return None


def _no_gpu(version: str) -> str | None:
    driver = ctypes.CDLL(DRIVER)
    if status := driver.cuInit(0):
        return f"the driver sees no GPU: {_message(driver, status)}"
    newest = ctypes.c_int()
    driver.cuDriverGetVersion(ctypes.byref(newest))  # 12040 is 12.4
    major, minor = newest.value // 1000, newest.value % 1000 // 10
    if major < int(version.partition(".")[0] or 0):
        return f"onnxruntime is for CUDA {version}, NVIDIA's driver here for {major}.{minor}: install a newer driver"
    return None


def _message(driver: ctypes.CDLL, status: int) -> str:
    text = ctypes.c_char_p()
    driver.cuGetErrorString(status, ctypes.byref(text))
    return f"{(text.value or b'unknown error').decode()} ({status})"
