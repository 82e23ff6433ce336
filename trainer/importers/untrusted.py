"""Weights that strangers wrote: tensors and plain values come out, and nothing that the file says is run.

torch's own restricted unpickler reads them. Published checkpoints name a few harmless classes beside tensors
(Lightning's hyper-parameters, paths, NumPy scalars); those alone are stood in for, by plain values.
"""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from trainer.errors import WeightsError

Kind = Literal["torch", "safetensors", "onnx"]
Content = Mapping[str, Any]

ZIP, PICKLE, IR_VERSION_FIELD = b"PK\x03\x04", b"\x80", b"\x08"
UNPICKLER = "WeightsUnpickler error:"
MAX_HEADER = 100 * 2**20
"""No safetensors header is longer: the format's own limit."""


class _AsDict:
    """Stands in for classes that are dictionaries."""

    def __new__(cls, *args: Any) -> dict[Any, Any]:  # type: ignore[misc]  # noqa: ANN401 - whatever was pickled
        return dict(*args)


class _AsState:
    """Stands in for objects of which nothing but their attributes is known."""


def _as_path(*parts: str) -> str:
    return "/".join(parts)


class _AsDtype:
    """Stands in for a NumPy dtype: its code, as f8."""

    def __init__(self, code: str, *_: object) -> None:
        self.code = code

    def __setstate__(self, state: object) -> None:
        """Byte order and the like, which a scalar of this machine does not need."""


def _as_number(dtype: _AsDtype, raw: bytes) -> int | float | bool:
    if not re.fullmatch("[bfiu][1248]", dtype.code):
        raise ValueError(f"a scalar of the dtype {dtype.code}")
    number: int | float | bool = np.frombuffer(raw, dtype.code, count=1)[0].item()
    return number


_ATTRIBUTES = (
    "lightning.fabric.utilities.data",
    "lightning.pytorch.utilities.parsing",
    "lightning_fabric.utilities.data",
    "pytorch_lightning.utilities.parsing",
)
_CALLBACKS = ("model_checkpoint.ModelCheckpoint", "early_stopping.EarlyStopping")

STOOD_IN_FOR: Mapping[str, Callable[..., Any]] = {
    **{f"{module}.AttributeDict": _AsDict for module in _ATTRIBUTES},
    **{
        f"{base}.callbacks.{name}": _AsState
        for base in ("pytorch_lightning", "lightning.pytorch")
        for name in _CALLBACKS
    },
    "argparse.Namespace": _AsState,
    "jsonargparse.namespace.Namespace": _AsState,
    "jsonargparse._namespace.Namespace": _AsState,
    "types.SimpleNamespace": _AsState,
    **{f"pathlib.{name}": _as_path for name in ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")},
    "numpy.core.multiarray.scalar": _as_number,
    "numpy._core.multiarray.scalar": _as_number,
    "numpy.dtype": _AsDtype,
}
"""What a checkpoint may name beside what torch itself allows, and the plain value that it becomes."""


def kind_of(path: Path) -> Kind:
    """What `path` holds by its first bytes, whatever its name. Raises WeightsError where it is none of them."""
    head = _head(path)
    if head.startswith((ZIP, PICKLE)):
        return "torch"
    if len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= MAX_HEADER:
        return "safetensors"
    if head.startswith(IR_VERSION_FIELD):
        return "onnx"
    raise WeightsError(f"{path} holds no weights that satcle knows: give a torch checkpoint, .safetensors or .onnx")


def read_untrusted(path: Path) -> Content:
    """The dictionary that a torch or safetensors file holds. Raises WeightsError where it cannot be read safely."""
    content = _read_safetensors(path) if kind_of(path) == "safetensors" else _read_torch(path)
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise WeightsError(f"{path} holds no dictionary of weights, but {_article(type(content).__name__)}")
    return content


def as_float64(path: Path, name: str, value: object) -> Tensor:
    """A weight as dense, finite float64. Raises WeightsError for anything else, before any memory is taken."""
    if not isinstance(value, Tensor) or not value.is_floating_point() or value.layout != torch.strided:
        raise WeightsError(f"{path}: {name} is not a tensor of floating-point numbers")
    if value.device.type != "cpu" or value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise WeightsError(f"{path}: {name} declares the shape {tuple(value.shape)}, which the file does not hold")
    exact = value.detach().to(torch.float64)
    if not exact.isfinite().all():
        raise WeightsError(f"{path}: {name} holds values that are not finite; the file is damaged")
    return exact


def _head(path: Path) -> bytes:
    if path.is_dir():
        raise WeightsError(f"{path} is a folder; give the file of weights in it")
    if not path.is_file():
        raise WeightsError(f"{path} does not exist")
    with path.open("rb") as file:
        return file.read(16)


def _read_safetensors(path: Path) -> object:
    try:
        return load_file(path, device="cpu")
    except (SafetensorError, ValueError, RuntimeError, KeyError) as error:
        raise WeightsError(f"{path} is damaged, or no safetensors file: {first_line(error)}") from error


def _read_torch(path: Path) -> object:
    _refuse_compressed(path)
    allowed = [(stand_in, name) for name, stand_in in STOOD_IN_FOR.items()]
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(allowed):  # type: ignore[arg-type]
            warnings.simplefilter("ignore")  # the error says what matters
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what the restricted unpickler raises depends on the bytes that it stumbles over
        if asked := re.search(r"GLOBAL ([\w.]+)|function <?([\w. ]+)", str(error)):
            named = asked[1] or asked[2]
            raise WeightsError(f"{path} asks to run {named}, which no weights need; nothing was run") from error
        raise WeightsError(f"{path} is damaged, or no checkpoint of torch: {first_line(error)}") from error


def _refuse_compressed(path: Path) -> None:
    """torch.save does not compress: an archive that unpacks to more than it is was made to fill the memory."""
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise WeightsError(f"{path} is damaged, or no checkpoint of torch: {first_line(error)}") from error
    size = path.stat().st_size
    if unpacked > size:
        raise WeightsError(f"{path} unpacks from {size:,} to {unpacked:,} bytes; checkpoints are not compressed")


def first_line(error: Exception) -> str:
    """What went wrong in short, where a library explains at length."""
    said = str(error).rpartition(UNPICKLER)[2].strip()  # what torch says before it is advice to trust the file
    line = next(iter(said.splitlines()), "") or type(error).__name__
    return line if len(line) <= 160 else f"{line[:157]}..."


def _article(noun: str) -> str:
    return f"an {noun}" if noun[0].lower() in "aeiou" else f"a {noun}"
