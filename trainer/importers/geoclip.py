"""GeoCLIP's location encoder: random Fourier features of the Equal Earth map at several scales, an MLP for each.

It comes in the package `geoclip`, as the .pth in it, within a whole model's state dict, or as safetensors. It takes
(lat, lon) itself; our features of the same place are its features.
"""

from __future__ import annotations

import importlib.util
import math
from itertools import count, takewhile
from pathlib import Path

import torch
from torch import Tensor

from trainer.config.location import LocationTowerConfig
from trainer.errors import WeightsError
from trainer.importers.encoder import ImportedEncoder
from trainer.importers.networks import PublishedNetwork, Weights, read_network
from trainer.importers.provenance import geoclip
from trainer.importers.untrusted import Content, as_float64
from trainer.models.location_tower import build_location_tower

PACKAGE = "geoclip"
WEIGHTS = Path("model", "weights", "location_encoder_weights.pth")
PREFIXES = ("", "location_encoder.", "model.location_encoder.")
CAPSULE = "LocEnc{}."
FREQUENCIES = "LocEnc{}.capsule.0.b"


def installed_weights() -> Path:
    """The weights in the installed package, which is not imported. Raises WeightsError where it is not installed."""
    spec = importlib.util.find_spec(PACKAGE)
    folders = spec.submodule_search_locations if spec else None
    if not folders:
        raise WeightsError(f"the package {PACKAGE} is not installed: pip install geoclip, or give the file of weights")
    return Path(next(iter(folders))) / WEIGHTS


def read_geoclip(path: Path, content: Content) -> ImportedEncoder | None:
    """GeoCLIP's location encoder in `content`; None where it is of another layout.

    Raises WeightsError where it is of that layout, but damaged.
    """
    state = content.get("state_dict", content)
    for prefix in PREFIXES:
        if isinstance(state, dict) and prefix + FREQUENCIES.format(0) in state:
            weights = {str(name).removeprefix(prefix): v for name, v in state.items() if str(name).startswith(prefix)}
            return _encoder(path, weights)
    return None


def _encoder(path: Path, weights: Weights) -> ImportedEncoder:
    scales = list(takewhile(lambda at: FREQUENCIES.format(at) in weights, count()))
    drawn = [as_float64(path, name, weights[name]) for name in map(FREQUENCIES.format, scales)]
    capsules = [_capsule(path, at, weights) for at in scales]
    first, frequencies = capsules[0], len(drawn[0])
    if any(b.shape != (frequencies, 2) for b in drawn):
        raise WeightsError(f"{path}: its scales do not have the same number of frequencies, each of two numbers")
    if any(_size(capsule) != _size(first) for capsule in capsules) or first.in_dim != 2 * frequencies:
        raise WeightsError(f"{path}: its scales do not fit each other; the file is damaged")
    encoding = {"kind": "random_fourier", "sigmas": tuple(map(_sigma, drawn)), "frequencies": frequencies}
    sections = {"encoding": encoding, "network": first.config, "embedding_dim": first.out_dim}
    config = LocationTowerConfig.model_validate(sections)
    tower = build_location_tower(config).double()
    state = {"encoding.drawn": torch.cat(drawn)}
    for at, capsule in zip(scales, capsules, strict=True):
        state |= {f"network.capsules.{at}.{name}": value for name, value in capsule.weights.items()}
    tower.load_state_dict(state)
    return ImportedEncoder(geoclip(path), (first.out_dim,), tower.eval(), config)


def _capsule(path: Path, at: int, weights: Weights) -> PublishedNetwork:
    """One scale's MLP."""
    theirs = CAPSULE.format(at)
    weights = {name: value for name, value in weights.items() if name != FREQUENCIES.format(at)}
    layers = takewhile(lambda name: f"{name}.weight" in weights, (f"{theirs}capsule.{2 * k + 1}" for k in count()))
    ours = {f"hidden.{k}": name for k, name in enumerate(layers)} | {"last": f"{theirs}head.0"}
    if len(ours) == 1:
        raise WeightsError(f"{path}: the weights of {theirs}capsule are missing; the file is damaged")
    return read_network(path, weights, {"kind": "capsules", "hidden_layers": len(ours) - 2}, ours)


def _size(capsule: PublishedNetwork) -> tuple[object, int, int]:
    return capsule.config, capsule.in_dim, capsule.out_dim


def _sigma(frequencies: Tensor) -> float:
    """The scale that frequencies were drawn at, which files do not say; GeoCLIP's are powers of two."""
    spread = float(frequencies.square().mean().sqrt())
    return 2.0 ** round(math.log2(spread)) if spread > 0 else 1.0
