from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.trainer.importers.layouts import ONNX_WEIGHT, onnx_encoder, places, with_external_data
from trainer.errors import WeightsError
from trainer.export import embed_with_graph
from trainer.importers import Choices, ImportedEncoder, read_location_encoder

LONLAT = Choices(order="lonlat")


def expected(lonlat: np.ndarray, order: str) -> np.ndarray:
    columns = [0, 1] if order == "lonlat" else [1, 0]
    return np.sin(lonlat[:, columns].astype(np.float32) @ ONNX_WEIGHT)


def embed(encoder: ImportedEncoder, lonlat: np.ndarray) -> np.ndarray:
    assert encoder.tower is None
    return embed_with_graph(encoder.onnx, lonlat)


def refusal(path: Path, choices: Choices = LONLAT) -> str:
    with pytest.raises(WeightsError) as refused:
        read_location_encoder(path, choices)
    message = str(refused.value)
    assert "\n" not in message
    assert str(path) in message
    return message


@pytest.mark.parametrize("order", ["lonlat", "latlon"])
def test_a_place_embeds_the_same_whatever_order_the_graph_takes(tmp_path, order):
    encoder = read_location_encoder(onnx_encoder(tmp_path / "a.onnx"), Choices(order=order))
    np.testing.assert_allclose(embed(encoder, places()), expected(places(), order), atol=1e-6)
    assert (encoder.embedding_dim, encoder.dimensions) == (12, (12,))
    assert encoder.onnx_parity.max_abs_error < 1e-6


@pytest.mark.parametrize(("given", "made"), [("lonlat", "embedding"), ("embedding", "lonlat"), ("latlon", "W2")])
def test_any_names_will_do(tmp_path, given, made):
    path = onnx_encoder(tmp_path / "a.onnx", input=given, output=made)
    encoder = read_location_encoder(path, Choices(order="latlon", normalize=True))
    unscaled = expected(places(), "latlon")
    unit = unscaled / np.linalg.norm(unscaled, axis=1, keepdims=True)
    np.testing.assert_allclose(embed(encoder, places()), unit, atol=1e-6)
    assert encoder.normalized


@pytest.mark.parametrize("opset", [7, 11, 17, 21])
@pytest.mark.parametrize("dtype", [TensorProto.FLOAT, TensorProto.DOUBLE])
def test_opsets_and_types(tmp_path, opset, dtype):
    path = onnx_encoder(tmp_path / "a.onnx", opset=opset, dtype=dtype)
    encoder = read_location_encoder(path, Choices(order="latlon", normalize=True))
    rows = embed(encoder, places())
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)


def test_dimensions_are_prefixes_and_the_whole(tmp_path):
    path = onnx_encoder(tmp_path / "a.onnx")
    assert read_location_encoder(path, Choices(order="lonlat", dimensions=(8, 4, 8))).dimensions == (4, 8, 12)
    for wrong in ((13,), (0, 4), (-1,)):
        assert "12 values" in refusal(path, Choices(order="lonlat", dimensions=wrong))


def test_weights_beside_the_file_are_taken_in(tmp_path):
    path = with_external_data(tmp_path / "a.onnx", "data.bin")
    encoder = read_location_encoder(path, LONLAT)
    (tmp_path / "data.bin").unlink()
    np.testing.assert_allclose(embed(encoder, places()), expected(places(), "lonlat"), atol=1e-6)
    assert "data.bin, which does not exist" in refusal(path)


@pytest.mark.parametrize("kind", ["above", "absolute", "link"])
def test_weights_outside_the_folder_are_not_read(tmp_path, kind):
    folder = tmp_path / "folder"
    folder.mkdir()
    secret = tmp_path / "secret.bin"
    secret.write_bytes(ONNX_WEIGHT.tobytes())
    location = {"above": "../secret.bin", "absolute": str(secret), "link": "link.bin"}[kind]
    (folder / "link.bin").symlink_to(secret)
    assert "outside its folder" in refusal(with_external_data(folder / "a.onnx", location))


@pytest.mark.parametrize(("key", "value"), [("length", "999999"), ("offset", "90"), ("length", "-1"), ("offset", "x")])
def test_weights_that_their_file_does_not_hold_are_refused(tmp_path, key, value):
    path = with_external_data(tmp_path / "a.onnx", "data.bin")
    model = onnx.load_model(path, load_external_data=False)
    for entry in model.graph.initializer[0].external_data:
        if entry.key == key:
            entry.value = value
    path.write_bytes(model.SerializeToString())
    refusal(path)


def test_the_order_must_be_said(tmp_path):
    assert "--order lonlat or latlon" in refusal(onnx_encoder(tmp_path / "a.onnx"), Choices())


def test_operators_of_other_makers_are_refused_by_name(tmp_path):
    assert "com.example.Sine" in refusal(onnx_encoder(tmp_path / "a.onnx", domain="com.example"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"shape": [1, 2]}, "1 places at a time; export it with a dynamic batch axis"),
        ({"shape": ["n", 3]}, "must have the shape (n, 2), not (n, 3)"),
        ({"shape": [2]}, "must have the shape (n, 2), not (2)"),
        ({"opset": 6}, "opset 6"),
    ],
)
def test_other_inputs_are_refused(tmp_path, changes, said):
    assert said in refusal(onnx_encoder(tmp_path / "a.onnx", **changes))


def edited(path: Path, edit) -> Path:
    model = onnx.load(onnx_encoder(path))
    edit(model)
    path.write_bytes(model.SerializeToString())
    return path


def test_two_inputs_are_refused_by_name(tmp_path):
    extra = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3])
    path = edited(tmp_path / "a.onnx", lambda model: model.graph.input.append(extra))
    assert "it has 2: coordinates, image" in refusal(path)


def test_whole_numbers_are_no_coordinates(tmp_path):
    def to_whole(model):
        model.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64

    assert "floating-point" in refusal(edited(tmp_path / "a.onnx", to_whole))


def test_of_two_outputs_one_must_be_chosen(tmp_path):
    def add_output(model):
        model.graph.output.append(helper.make_tensor_value_info("phases", TensorProto.FLOAT, ["batch", 12]))

    path = edited(tmp_path / "a.onnx", add_output)
    assert "features, phases; say which with --output" in refusal(path)
    assert "no output x; it has features, phases" in refusal(path, Choices(order="lonlat", output="x"))
    chosen = read_location_encoder(path, Choices(order="lonlat", output="phases"))
    np.testing.assert_allclose(embed(chosen, places()), places().astype(np.float32) @ ONNX_WEIGHT, rtol=1e-4, atol=1e-4)


def test_values_that_are_not_finite_are_refused(tmp_path):
    def poison(model):
        weight = ONNX_WEIGHT.copy()
        weight[0, 0] = np.nan
        model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight, "W"))

    assert "is not finite" in refusal(edited(tmp_path / "a.onnx", poison))


def test_a_graph_that_mixes_places_is_refused(tmp_path):
    def centre(model):
        model.graph.node[0].input[0] = "centred"
        made = [
            helper.make_node("ReduceMean", ["coordinates"], ["mean"], axes=[0], keepdims=1),
            helper.make_node("Sub", ["coordinates", "mean"], ["centred"]),
        ]
        nodes = [*made, *model.graph.node]
        del model.graph.node[:]
        model.graph.node.extend(nodes)

    assert "depends on the rest of its batch" in refusal(edited(tmp_path / "a.onnx", centre))


def test_an_output_that_is_no_row_for_each_place_is_refused(tmp_path):
    def sum_up(model):
        model.graph.node.append(helper.make_node("ReduceSum", ["features"], ["total"], keepdims=0))
        model.graph.output[0].name = "total"

    assert "no row for each place" in refusal(edited(tmp_path / "a.onnx", sum_up))


def test_a_weight_that_declares_more_than_it_holds_is_refused(tmp_path):
    def declare(model):
        model.graph.initializer[0].dims[:] = [2, 10**12]

    assert "W" in refusal(edited(tmp_path / "a.onnx", declare))


@pytest.mark.parametrize("kept", [1, 20, 60, 0.9])
def test_truncated_files_are_refused(tmp_path, kept):
    path = onnx_encoder(tmp_path / "a.onnx")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole)) if isinstance(kept, float) else kept])
    refusal(path)


def test_local_functions_are_inlined(tmp_path):
    function = helper.make_function(
        "local", "Wave", ["x"], ["y"], [helper.make_node("Sin", ["x"], ["y"])], [helper.make_opsetid("", 17)]
    )

    def call(model):
        model.functions.append(function)
        model.opset_import.append(helper.make_opsetid("local", 1))
        model.graph.node[1].op_type, model.graph.node[1].domain = "Wave", "local"

    encoder = read_location_encoder(edited(tmp_path / "a.onnx", call), LONLAT)
    np.testing.assert_allclose(embed(encoder, places()), expected(places(), "lonlat"), atol=1e-6)


def test_nothing_is_known_of_it_but_its_file(tmp_path):
    provenance = read_location_encoder(onnx_encoder(tmp_path / "Some Model (v2).onnx"), LONLAT).provenance
    assert provenance.name == "some-model-v2"
    assert provenance.license.startswith("not stated")
    assert provenance.sources[0].name == "weights: Some Model (v2).onnx"


def test_options_of_checkpoints_are_refused(tmp_path):
    choices = Choices(order="lonlat", variant="exact")
    assert "for checkpoints" in refusal(onnx_encoder(tmp_path / "a.onnx"), choices)
