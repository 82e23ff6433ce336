"""A published location encoder as a bundle: exported, measured, and with a card that says whose it is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from service.bundle import UNSIGNED, Bundle, BundleCard, OtherPart, Training, check_target, write_bundle
from trainer.errors import WeightsError
from trainer.evaluation.components import principal_components
from trainer.evaluation.figures import land_mask, principal_components_png
from trainer.export import ExportedEncoder, embed_with_graph, export_encoder
from trainer.importers import Choices, ImportedEncoder, read_location_encoder
from trainer.importers.provenance import name_from
from trainer.package import ENCODER, PREVIEW, with_maps
from trainer.snap import PLACES, coarsest_resolution, measure_snap_errors
from trainer.tower_card import encoding_card, network_card

SNAP_WORK, PREVIEW_WORK = 1e10, 1.2e11
"""Parameters times places: a large encoder's snap errors and preview are of fewer places, so that both take minutes."""

FEWEST_PLACES = 200
MAX_VERSION = 64


@dataclass(frozen=True)
class Said:
    """What the user says of an encoder, in the place of what is known of it; None leaves that."""

    name: str | None = None
    version: str = "1"
    description: str | None = None
    license: str | None = None
    limits: str | None = None
    credit: str | None = None
    url: str | None = None


def import_bundle(
    source: Path,
    out: Path,
    choices: Choices | None = None,
    said: Said | None = None,
    *,
    overwrite: bool = False,
    snap_places: int | None = None,
) -> Bundle:
    """Read the encoder in `source`, measure it, and write it as the bundle `out`, whole or not at all.

    Raises WeightsError, ExportError or BundleExists.
    """
    check_target(out, overwrite=overwrite)  # known now rather than after the export
    said = _fitting(said or Said())
    encoder = read_location_encoder(source, choices)
    size = _parameters(encoder)
    places = snap_places or min(PLACES, max(FEWEST_PLACES, int(SNAP_WORK / max(1, size))))
    exported = _exported(encoder, places)
    card = _card(encoder, exported, said)
    embed = partial(_embed, exported.onnx)
    components = principal_components(embed)
    preview = principal_components_png(embed, components, _land(size))
    card, map_files = with_maps(card, exported.onnx, components)
    return write_bundle(out, card, {ENCODER: exported.onnx, PREVIEW: preview, **map_files}, overwrite=overwrite)


def _exported(encoder: ImportedEncoder, places: int) -> ExportedEncoder:
    if encoder.tower is not None:
        return export_encoder(encoder.tower, places)
    assert encoder.onnx is not None
    assert encoder.onnx_parity is not None
    snap_errors = measure_snap_errors(partial(_embed, encoder.onnx), places)
    return ExportedEncoder(encoder.onnx, encoder.onnx_parity, snap_errors, coarsest_resolution(snap_errors))


def _fitting(said: Said) -> Said:
    """`said`, which must fit in a card. Raises WeightsError."""
    if not 1 <= len(said.version) <= MAX_VERSION:
        raise WeightsError(
            f"a version has 1 to {MAX_VERSION} characters, not {len(said.version)}: give it with --version"
        )
    if said.name is not None and said.name != name_from(said.name):
        raise WeightsError(
            f"{said.name!r} is no bundle's name; {name_from(said.name)!r} would be one: give it with --name"
        )
    return said


def _card(encoder: ImportedEncoder, exported: ExportedEncoder, said: Said) -> BundleCard:
    """The card; its digest is left to `write_bundle`."""
    known, config = encoder.provenance, encoder.config
    weights, *data = known.sources
    credited = {"credit": said.credit, "license": said.license, "url": said.url}
    weights = weights.model_copy(update={key: value for key, value in credited.items() if value is not None})
    return BundleCard(
        name=said.name or known.name,
        version=said.version,
        digest=UNSIGNED,
        description=said.description or known.description,
        license=said.license or known.license,
        limits=said.limits or known.limits,
        embedding_dim=encoder.embedding_dim,
        dimensions=encoder.dimensions,
        normalization="l2" if encoder.normalized else "none",
        encoder=ENCODER,
        encoding=encoding_card(config.encoding) if config else OtherPart(kind="onnx"),
        network=network_card(config.network) if config else OtherPart(kind="onnx"),
        snap_errors=exported.snap_errors,
        snap_resolution=exported.snap_resolution,
        parity=exported.parity,
        training=Training(
            method=known.method,
            sources=(weights, *data),
            samples=None,
            epochs=None,
            seed=None,
            fusion_served=False,
            config_digest=None,
        ),
    )


def _parameters(encoder: ImportedEncoder) -> int:
    """How many there are: what an embedding costs."""
    if encoder.tower is not None:
        return sum(parameter.numel() for parameter in encoder.tower.parameters())
    assert encoder.onnx is not None
    weights = onnx.load_from_string(encoder.onnx).graph.initializer
    return sum(int(np.prod(weight.dims)) for weight in weights)


def _land(parameters: int) -> NDArray[np.bool_]:
    """The land mask, coarser for a large encoder."""
    land = land_mask()
    step = math.sqrt(parameters * land.size / PREVIEW_WORK)
    divisor = next(k for k in range(1, len(land) + 1) if len(land) % k == 0 and (k >= step or k == len(land)))
    return land[::divisor, ::divisor]


def _embed(graph: bytes, lonlat: NDArray[np.float64]) -> NDArray[np.float64]:
    return embed_with_graph(graph, lonlat).astype(np.float64)
