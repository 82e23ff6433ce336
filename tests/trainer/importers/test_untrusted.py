import argparse
import pickle
import struct
import zipfile
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import torch

from tests.trainer.importers.layouts import lightning, save, siren
from trainer.errors import WeightsError
from trainer.importers import read_location_encoder
from trainer.importers.untrusted import as_float64, kind_of, read_untrusted


class Malicious:
    """Unpickled by pickle itself, it makes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return (exec, (f"open({str(self.mark)!r}, 'w').close()",))


class Namespaced:
    def __init__(self, function):
        self.function = function

    def __reduce__(self):
        return self.function, ("touch /tmp/never",)


def refusal(path: Path) -> str:
    with pytest.raises(WeightsError) as refused:
        read_location_encoder(path)
    message = str(refused.value)
    assert "\n" not in message
    assert str(path) in message
    assert len(message) < 400 + len(str(path))
    return message


@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}], ids=["zip", "legacy"])
def test_a_malicious_pickle_is_not_run(tmp_path, options):
    mark = tmp_path / "mark"
    content = lightning(siren(36)) | {"hyper_parameters": Malicious(mark)}
    path = save(content, tmp_path / "a.ckpt", **options)
    with pytest.raises(Exception):  # noqa: B017, PT011 - whatever it is: without care, the mark is made
        pickle.loads(pickle.dumps(Malicious(mark)))["x"]
    assert mark.exists()
    mark.unlink()
    assert "exec, which no weights need; nothing was run" in refusal(path)
    assert not mark.exists()


def test_a_malicious_plain_pickle_is_not_run(tmp_path):
    mark, path = tmp_path / "mark", tmp_path / "a.pth"
    path.write_bytes(pickle.dumps({"state_dict": Malicious(mark)}, protocol=4))
    refusal(path)
    assert not mark.exists()


@pytest.mark.parametrize("function", [__import__("os").system, getattr, eval], ids=["system", "getattr", "eval"])
def test_functions_are_named_and_refused(tmp_path, function):
    path = save({"state_dict": {"x": Namespaced(function)}}, tmp_path / "a.ckpt")
    assert function.__name__ in refusal(path)


def test_the_classes_of_published_checkpoints_become_plain_values(tmp_path):
    namespace = argparse.Namespace(le_type="grid", depth=3)
    content = {"paths": PurePosixPath("a/b"), "scalar": np.float64(0.25), "space": namespace, "count": np.int64(7)}
    read = read_untrusted(save(content, tmp_path / "a.ckpt"))
    assert (read["paths"], read["scalar"], read["count"]) == ("a/b", 0.25, 7)
    assert vars(read["space"]) == {"le_type": "grid", "depth": 3}


def test_lightnings_dictionaries_become_dictionaries(tmp_path):
    from lightning.fabric.utilities.data import AttributeDict

    content = lightning(siren(36))
    content["hyper_parameters"] = AttributeDict(content["hyper_parameters"])
    path = save(content, tmp_path / "a.ckpt")
    assert type(read_untrusted(path)["hyper_parameters"]) is dict
    assert read_location_encoder(path).tower.encoding.legendre_polys == 6


@pytest.mark.parametrize("kept", [0, 3, 40, 1000, 0.5, 0.98])
@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}], ids=["zip", "legacy"])
def test_truncated_files_are_refused(tmp_path, kept, options):
    path = save(lightning(siren(36)), tmp_path / "a.ckpt", **options)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole)) if isinstance(kept, float) else kept])
    refusal(path)


@pytest.mark.parametrize("at", [2, 100, 700, 5000])
def test_altered_files_are_refused_or_read(tmp_path, at):
    path = save(lightning(siren(36)), tmp_path / "a.ckpt")
    content = bytearray(path.read_bytes())
    content[at : at + 40] = bytes(range(40))
    path.write_bytes(content)
    try:
        read_location_encoder(path)
    except WeightsError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either outcome is sound


@pytest.mark.parametrize(
    "content", [b"", b"GIF89a...........", b"\x89PNG\r\n\x1a\n0000000000", b"lon,lat\n1,2\n", b"II*\0" * 20]
)
def test_other_kinds_of_file_are_refused(tmp_path, content):
    path = tmp_path / "a.ckpt"
    path.write_bytes(content)
    assert "no weights that satcle knows" in refusal(path)


def test_absent_files_and_folders_are_refused(tmp_path):
    assert "does not exist" in refusal(tmp_path / "absent.ckpt")
    assert "is a folder" in refusal(tmp_path)


def test_an_archive_that_unpacks_to_more_than_it_is_is_refused(tmp_path):
    path = tmp_path / "bomb.ckpt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb/data.pkl", pickle.dumps({"a": 1}, protocol=2))
        archive.writestr("bomb/data/0", bytes(50_000_000))
    assert path.stat().st_size < 100_000
    assert "checkpoints are not compressed" in refusal(path)


def test_an_archive_that_is_no_checkpoint_is_refused(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "nothing here")
    assert "no checkpoint of torch" in refusal(path)


@pytest.mark.parametrize("content", [[1, 2], torch.zeros(3), "text", {1: torch.zeros(2)}], ids=str)
def test_what_is_no_dictionary_of_weights_is_refused(tmp_path, content):
    assert "holds no dictionary of weights" in refusal(save(content, tmp_path / "a.pth"))


def huge(*shape: int) -> torch.Tensor:
    """One value in memory and in the file, and many by its shape."""
    return torch.zeros(1, dtype=torch.float64).as_strided(shape, [0] * len(shape))


def test_huge_declared_shapes_take_no_memory(tmp_path):
    width = 1024**2
    state = {"layers.0.weight": huge(width, 36), "layers.0.bias": huge(width)}
    state |= {"layers.1.weight": huge(width, width), "layers.1.bias": huge(width)}
    state |= {"last_layer.weight": huge(8, width), "last_layer.bias": huge(8)}
    assert "more than the file can hold" in refusal(save(lightning(state), tmp_path / "a.ckpt"))


def test_a_weight_that_repeats_one_value_is_refused(tmp_path):
    state = siren(36) | {"last_layer.bias": huge(8)}
    message = refusal(save(lightning(state), tmp_path / "a.ckpt"))
    assert "last_layer.bias declares the shape (8,), which the file does not hold" in message


def test_a_storage_that_declares_more_than_the_file_holds_is_refused(tmp_path):
    path = save({"state_dict": {"x": torch.zeros(4)}}, tmp_path / "a.ckpt")
    with zipfile.ZipFile(path) as archive:
        parts = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    name = next(name for name in parts if name.endswith("data.pkl"))
    declared = b"K\x04tq"  # four values, the last of the storage's description
    assert parts[name].count(declared) == 1
    parts[name] = parts[name].replace(declared, b"J" + struct.pack("<i", 2**31 - 1) + b"tq")
    with zipfile.ZipFile(path, "w") as archive:
        for part, content in parts.items():
            archive.writestr(part, content)
    refusal(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_values_that_are_not_finite_are_refused(tmp_path, value):
    state = siren(36)
    state["layers.1.bias"][3] = value
    assert "not finite" in refusal(save(lightning(state), tmp_path / "a.ckpt"))


@pytest.mark.parametrize(
    "weight", [torch.zeros(3, 4, dtype=torch.int64), torch.zeros(3, 4).to_sparse(), "text", None], ids=str
)
def test_what_is_no_dense_tensor_of_numbers_is_refused(tmp_path, weight):
    with pytest.raises(WeightsError, match=r"x is not a tensor of floating-point numbers"):
        as_float64(tmp_path, "x", weight)


def test_kinds_are_told_by_content(tmp_path):
    from safetensors.torch import save_file

    path = tmp_path / "anything"
    save_file({"a": torch.zeros(2)}, path)
    assert kind_of(path) == "safetensors"
    assert kind_of(save({}, path)) == "torch"
    assert kind_of(save({}, path, _use_new_zipfile_serialization=False)) == "torch"


@pytest.mark.parametrize(
    "header", [b'{"a": 1}', b"{", b'{"x":{"dtype":"F64","shape":[99999999],"data_offsets":[0,8]}}']
)
def test_damaged_safetensors_are_refused(tmp_path, header):
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))
    refusal(path)


def test_reading_leaves_nothing_behind(tmp_path):
    save(lightning(siren(36)), tmp_path / "a.ckpt")
    read_location_encoder(tmp_path / "a.ckpt")
    assert [path.name for path in tmp_path.iterdir()] == ["a.ckpt"]


def test_what_is_no_checkpoint_is_refused_without_advice_to_trust_it(tmp_path):
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(Malicious(tmp_path / "mark")))
    message = refusal(path)
    assert "weights_only" not in message
    assert "operand" in message
    assert not (tmp_path / "mark").exists()
