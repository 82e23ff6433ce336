import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from trainer.export import embed_with_graph, parity_places
from trainer.graphs.encoder import encoder_graph
from trainer.graphs.half import half_graph
from trainer.graphs.in_torch import TorchGraph, cut_to_tf32
from trainer.models.encodings.plain import wrap
from trainer.models.encodings.space2vec import grid
from trainer.models.encodings.utm import UtmSoft
from trainer.models.location_tower import LocationTower, harmonics_tower
from trainer.models.networks.siren import Siren

PLACES = parity_places()[::7]


def graph_of(legendre_polys: int = 10) -> onnx.ModelProto:
    torch.manual_seed(0)
    return encoder_graph(harmonics_tower(legendre_polys=legendre_polys, hidden_dim=64, embedding_dim=16).eval())


def in_torch(model: onnx.ModelProto, operand=None) -> np.ndarray:
    return TorchGraph(model, operand=operand)(lonlat=torch.from_numpy(PLACES)).numpy()


@pytest.mark.parametrize("legendre_polys", [1, 2, 10, 40])
def test_rows_are_those_of_onnxruntime(legendre_polys):
    model = graph_of(legendre_polys)
    expected = embed_with_graph(model.SerializeToString(), PLACES)
    np.testing.assert_allclose(in_torch(model), expected, atol=5e-6)


@pytest.mark.parametrize("encoding", [wrap, lambda: grid(4, 0.01, 360), lambda: UtmSoft(4, 2e5)])
def test_traced_towers_too(encoding):
    torch.manual_seed(0)
    made = encoding()
    tower = LocationTower(made, Siren(made.feature_dim, 32, 1, 8)).eval()
    model = encoder_graph(tower)
    expected = embed_with_graph(model.SerializeToString(), PLACES)
    np.testing.assert_allclose(in_torch(model), expected, atol=1e-4)


def test_an_operator_without_an_operation_is_named():
    node = helper.make_node("Softplus", ["lonlat"], ["embedding"])
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [node], "g", [value("lonlat", TensorProto.FLOAT, [1])], [value("embedding", TensorProto.FLOAT, [1])]
    )
    with pytest.raises(NotImplementedError, match="Softplus"):
        TorchGraph(helper.make_model(graph))


def test_what_is_cut_to_tf32_has_ten_bits_and_is_no_larger():
    values = torch.randn(1000, generator=torch.Generator().manual_seed(0)) * 10.0 ** torch.arange(-20, 20).repeat(25)
    cut = cut_to_tf32(values)
    mantissa, _ = torch.frexp(cut)
    assert torch.equal(mantissa * 2**11, (mantissa * 2**11).round())  # ten bits, and the one that is not written
    assert (cut.abs() <= values.abs()).all()
    assert ((values - cut).abs() < values.abs() * 2**-10).all()
    assert torch.equal(cut_to_tf32(cut), cut)


@pytest.mark.parametrize("value", [0.0, 1.0, -1.5, 1 + 2**-10, float("inf"), -float("inf")])
def test_what_tf32_can_hold_stays(value):
    assert cut_to_tf32(torch.tensor([value])).item() == value


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.int64])
def test_other_types_stay(dtype):
    values = torch.arange(-5, 5).to(dtype) / (1 if dtype == torch.int64 else 3)
    values = values.to(dtype)
    assert torch.equal(cut_to_tf32(values), values)


def test_operands_are_those_of_products_alone():
    seen = []

    def record(values):
        seen.append(values.dtype)
        return values

    np.testing.assert_array_equal(in_torch(graph_of(), record), in_torch(graph_of()))
    products = [node for node in graph_of().graph.node if node.op_type in ("Gemm", "MatMul")]
    assert len(seen) == 2 * len(products)


def test_a_network_in_float16_has_an_encoding_that_is_not():
    encoder = graph_of(40)
    half = half_graph(encoder)
    types = {constant.name: constant.data_type for constant in half.graph.initializer}
    before = {constant.name: constant.data_type for constant in encoder.graph.initializer}
    network = {name for name in before if name.startswith(("weight_", "bias_"))}
    assert {name for name in before if types[name] != before[name]} == network
    assert all(types[name] == TensorProto.FLOAT16 for name in network)
    assert [tensor.name for tensor in (*half.graph.input, *half.graph.output)] == ["lonlat", "embedding"]
    assert half.graph.output[0].type.tensor_type.elem_type == TensorProto.FLOAT


@pytest.mark.parametrize("hidden_layers", [1, 2, 3])
def test_a_network_in_float16_embeds_nearly_alike(hidden_layers):
    torch.manual_seed(0)
    tower = harmonics_tower(legendre_polys=10, hidden_dim=64, hidden_layers=hidden_layers, embedding_dim=16).eval()
    model = encoder_graph(tower)
    expected = embed_with_graph(model.SerializeToString(), PLACES)
    half = half_graph(model)
    scale = np.abs(expected).max()
    for rows in (in_torch(half), embed_with_graph(half.SerializeToString(), PLACES)):
        assert rows.dtype == np.float32
        error = np.abs(rows - expected).max() / scale
        assert 1e-5 < error < 1e-2
