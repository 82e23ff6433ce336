"""SatCLIP and SatCLE: Lightning checkpoints, and the state dicts of their location encoder alone.

The location encoder is a positional encoding without weights (`le_type`), then a network (`pe_type`) whose weights a
checkpoint holds twice, under `model.nnet.` and `model.location.nnet.`; libraries keep one copy under `location.nnet.`
or `nnet.`. What the encoding was is in the hyper-parameters. A state dict alone has none: it is taken for what is
published so, spherical harmonics and a SIREN.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from trainer.config.location import LocationTowerConfig
from trainer.errors import WeightsError
from trainer.importers.encoder import Choices, ImportedEncoder, Provenance
from trainer.importers.networks import PublishedNetwork, find_network
from trainer.importers.provenance import satcle, satclip
from trainer.importers.untrusted import Content
from trainer.models.encodings.spherical_harmonics import harmonics
from trainer.models.location_tower import build_location_tower

PREFIXES = ("model.location.nnet.", "location.nnet.", "model.nnet.", "nnet.", "")
"""Where a network's weights are, the location encoder's own first: it is what is served."""

ALONE = "last_layer.weight"
"""What tells a SIREN's weights that have no prefix; those of other networks could be anybody's."""

FUSION = "model.fuse."
PUBLISHED_M0_SCALE = math.pi
MAX_HARMLESS = 1e-7
"""Up to so large a difference in its Fourier coefficients, a printed polynomial is the exact one."""

FEATURES_PER_FREQUENCY = {"grid": 4, "theory": 6, "spherec": 6, "spherecplus": 12, "spherem": 10, "spheremplus": 16}
PLAIN = {"direct": 2, "cartesian3d": 3, "wrap": 4}
"""The features that encodings without a scale make."""


@dataclass(frozen=True)
class _Found:
    """The weights of a location encoder, and what the file says of it."""

    network: PublishedNetwork
    stated: Mapping[str, Any]
    fusion: bool


def read_satclip(path: Path, content: Content, choices: Choices) -> ImportedEncoder | None:
    """The location encoder of SatCLIP's or SatCLE's layout in `content`; None where it is of another layout.

    Raises WeightsError where it is of that layout, but damaged, or of an encoding that is not known.
    """
    found = _find(path, content)
    if found is None:
        return None
    encoding = _encoding(path, found, choices)
    config = _config(path, found.network, encoding)
    tower = build_location_tower(config).double()
    tower.network.load_state_dict(found.network.weights)
    return ImportedEncoder(_provenance(path, found, encoding), (found.network.out_dim,), tower.eval(), config)


def _find(path: Path, content: Content) -> _Found | None:
    state = content.get("state_dict", content)
    stated = content.get("hyper_parameters", content.get("metadata", {}))
    stated = stated if isinstance(stated, dict) else vars(stated) if hasattr(stated, "__dict__") else {}
    if not isinstance(state, dict):
        raise WeightsError(f"{path}: state_dict is not a dictionary of weights")
    for prefix in PREFIXES:
        weights = {str(name).removeprefix(prefix): v for name, v in state.items() if str(name).startswith(prefix)}
        network = find_network(path, weights) if prefix or ALONE in weights else None
        if network is not None:
            return _Found(network, stated, fusion=any(str(name).startswith(FUSION) for name in state))
    return None


def _encoding(path: Path, found: _Found, choices: Choices) -> dict[str, Any]:
    """The encoding's section of a config. Raises WeightsError where it does not make what the network takes."""
    kind, features = str(found.stated.get("le_type", "sphericalharmonics")), found.network.in_dim
    if kind == "sphericalharmonics":
        return _harmonics(path, found, choices)
    if choices.variant or choices.m0_scale:
        raise WeightsError(f"{path} has the encoding {kind}; --variant and --m0-scale are for spherical harmonics")
    if kind in PLAIN:
        if PLAIN[kind] != features:
            raise WeightsError(
                f"{path}: {kind} makes {PLAIN[kind]} features, but its network takes {features} features"
            )
        return {"kind": kind}
    if kind in FEATURES_PER_FREQUENCY:
        frequencies = _number(path, found.stated, "frequency_num")
        if frequencies * FEATURES_PER_FREQUENCY[kind] != features:
            raise WeightsError(f"{path}: frequency_num is {frequencies}, but its network takes {features} features")
        radii = {name: _number(path, found.stated, name) for name in ("min_radius", "max_radius")}
        return {"kind": kind, "frequencies": int(frequencies), **radii}
    raise WeightsError(f"{path} has the encoding {kind!r}, which satcle does not know")


def _harmonics(path: Path, found: _Found, choices: Choices) -> dict[str, Any]:
    legendre_polys = math.isqrt(found.network.in_dim)
    stated = found.stated.get("legendre_polys", legendre_polys)
    if legendre_polys**2 != found.network.in_dim or stated != legendre_polys:
        raise WeightsError(
            f"{path}: its network takes {found.network.in_dim} features, not those of {stated} Legendre polynomials"
        )
    basis = found.stated.get("harmonics_calculation", "analytic")
    if basis not in ("analytic", "closed-form"):
        raise WeightsError(f"{path} has {basis!r} harmonics; satcle knows analytic and closed-form")
    variant = choices.variant or ("closed-form" if basis == "closed-form" else None)
    if (variant == "closed-form") != (basis == "closed-form") and "harmonics_calculation" in found.stated:
        raise WeightsError(f"{path} was trained with {basis} harmonics; its weights are for no other --variant")
    m0_scale = choices.m0_scale or (1.0 if variant == "closed-form" else PUBLISHED_M0_SCALE)
    section = {"kind": "spherical_harmonics", "legendre_polys": legendre_polys, "m0_scale": m0_scale}
    return {**section, "variant": variant or _published_variant(path, legendre_polys, m0_scale)}


def _published_variant(path: Path, legendre_polys: int, m0_scale: float) -> str:
    """`printed` where the published code's rounded polynomials are not the exact ones; `exact` where they are."""
    try:
        exact, printed = (harmonics(legendre_polys, m0_scale, variant) for variant in ("exact", "printed"))
    except ValueError as error:
        raise WeightsError(f"{path}: {error}") from error
    return "printed" if abs(exact.legendre - printed.legendre).max() > MAX_HARMLESS else "exact"


def _config(path: Path, network: PublishedNetwork, encoding: Mapping[str, Any]) -> LocationTowerConfig:
    sections = {"encoding": encoding, "network": network.config, "embedding_dim": network.out_dim}
    try:
        return LocationTowerConfig.model_validate(sections)
    except ValidationError as error:
        first = error.errors()[0]
        raise WeightsError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def _provenance(path: Path, found: _Found, encoding: Mapping[str, Any]) -> Provenance:
    images = found.stated.get("vision_layers")
    return (satcle if found.fusion else satclip)(path, encoding, images if isinstance(images, str) else None)


def _number(path: Path, stated: Mapping[str, Any], name: str) -> float:
    value = stated.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise WeightsError(f"{path}: its hyper-parameter {name} is {value!r}, not a positive number")
    return value
