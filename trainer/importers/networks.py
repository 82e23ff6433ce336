"""The networks of the published code (`pe_type`), by the names of their weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count, pairwise, takewhile
from pathlib import Path
from typing import Any

from torch import Tensor

from trainer.errors import WeightsError
from trainer.importers.untrusted import as_float64

W0_INITIAL, W0 = 30.0, 1.0
"""Fixed in the published code."""

Weights = Mapping[str, object]


@dataclass(frozen=True)
class PublishedNetwork:
    """A network's section of a config, and its float64 weights by the names that the module built from it has."""

    config: Mapping[str, Any]
    weights: Mapping[str, Tensor]
    in_dim: int
    out_dim: int


def find_network(path: Path, weights: Weights) -> PublishedNetwork | None:
    """The network whose weights these are; None where they are of none. Raises WeightsError where some are amiss."""
    for telling, read in READERS.items():
        if telling in weights:
            return read(path, weights)
    return None


def _siren(path: Path, weights: Weights) -> PublishedNetwork:
    names = _numbered(weights, "layers.{}")
    ours = {f"hidden.{at}": name for at, name in enumerate(names)} | {"last": "last_layer"}
    config = {"kind": "siren", "hidden_layers": len(names), "w0_initial": W0_INITIAL, "w0": W0}
    return read_network(path, weights, config, ours)


def _mlp(path: Path, weights: Weights) -> PublishedNetwork:
    """One hidden layer, applied again and again: its weights are there under every number."""
    names = [name for at in range(0, 2 * len(weights), 2) if f"{(name := f'features.{at}')}.weight" in weights]
    *hidden, last = names
    ours = {f"hidden.{at}": name for at, name in enumerate(hidden)} | {"last": last}
    return read_network(path, weights, {"kind": "mlp", "hidden_layers": len(hidden) - 1}, ours)


def _fcnet(path: Path, weights: Weights) -> PublishedNetwork:
    names = _numbered(weights, "feats.{}", start=2, of=".w1.weight")
    ours = {"first": "feats.0", "last": "class_emb"}
    ours |= {f"residual.{at}.{w}": f"{name}.{w}" for at, name in enumerate(names) for w in ("w1", "w2")}
    return read_network(path, weights, {"kind": "fcnet", "residual_layers": len(names)}, ours, without_bias="last")


def _linear(path: Path, weights: Weights) -> PublishedNetwork:
    parts = read_layer(path, "", weights)
    out_dim, in_dim = parts["weight"].shape
    return PublishedNetwork({"kind": "linear"}, parts, in_dim, out_dim)


READERS: Mapping[str, Callable[[Path, Weights], PublishedNetwork]] = {
    "last_layer.weight": _siren,
    "features.0.weight": _mlp,
    "class_emb.weight": _fcnet,
    "weight": _linear,
}
"""By the weight that tells each network from the others."""


def _numbered(weights: Weights, form: str, *, start: int = 0, of: str = ".weight") -> list[str]:
    return list(takewhile(lambda name: name + of in weights, map(form.format, count(start))))


def read_network(
    path: Path, weights: Weights, config: Mapping[str, Any], ours: Mapping[str, str], without_bias: str = ""
) -> PublishedNetwork:
    """Layers `ours`, from our names to theirs, each of which must be there and take what the one before makes."""
    _check_layers(path, weights, set(ours.values()))
    layers = {
        layer: read_layer(path, theirs, weights, has_bias=layer != without_bias) for layer, theirs in ours.items()
    }
    inner = [parts["weight"].shape for layer, parts in layers.items() if layer != "last"]
    chain = [*inner, layers["last"]["weight"].shape]
    for (made, _), (_, takes) in pairwise(chain):
        if made != takes or made != inner[0][0]:
            raise WeightsError(f"{path}: a layer of its network takes {takes} values, the one before it makes {made}")
    taken = {f"{layer}.{part}": value for layer, parts in layers.items() for part, value in parts.items()}
    hidden = {"hidden_dim": inner[0][0]} if inner else {}
    return PublishedNetwork({**config, **hidden}, taken, chain[0][1], chain[-1][0])


def read_layer(path: Path, layer: str, weights: Weights, *, has_bias: bool = True) -> dict[str, Tensor]:
    """The weight (out, in) and the bias (out,) of a linear layer, float64. Raises WeightsError where they are not."""
    parts = {part: f"{layer}.{part}".removeprefix(".") for part in (["weight", "bias"] if has_bias else ["weight"])}
    for name in parts.values():
        if name not in weights:
            raise WeightsError(f"{path}: the weights of its network lack {name}; the file is damaged")
    values = {part: as_float64(path, name, weights[name]) for part, name in parts.items()}
    weight = values["weight"]
    if weight.ndim != 2 or 0 in weight.shape or (has_bias and values["bias"].shape != weight.shape[:1]):
        shapes = " and ".join(str(tuple(value.shape)) for value in values.values())
        raise WeightsError(f"{path}: {parts['weight']} is not the weight of a layer: it has the shape {shapes}")
    return values


def _check_layers(path: Path, weights: Weights, layers: set[str]) -> None:
    """No layer is left over; and all have no more values than the file has bytes, though they may share storage."""
    families = {layer.partition(".")[0] for layer in layers}
    for name in weights:
        if name.partition(".")[0] in families and name.rpartition(".")[0] not in layers:
            raise WeightsError(f"{path}: {name} belongs to no layer, as if others were missing; the file is damaged")
    taken = [value for name, value in weights.items() if name.rpartition(".")[0] in layers]
    declared = sum(value.numel() for value in taken if isinstance(value, Tensor))
    if declared > path.stat().st_size:
        raise WeightsError(f"{path}: its network declares {declared:,} values, more than the file can hold")
