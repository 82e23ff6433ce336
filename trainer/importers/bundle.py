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
from trainer.export import ExportedEncoder, embed_exactly, embed_with_graph, export_encoder, parity_places
from trainer.importers import Choices, ImportedEncoder, read_location_encoder
from trainer.importers.provenance import name_from
from trainer.package import ENCODER, PREVIEW, with_maps
from trainer.precision import with_precisions
from trainer.snap import PLACES, coarsest_resolution, measure_snap_errors
from trainer.tower_card import encoding_card, network_card

SNAP_WORK, PREVIEW_WORK = 1e10, 1.2e11
"""Parameters times places: a large encoder's snap errors and preview are of fewer places, so that both take minutes."""

FEWEST_PLACES = 200
MAX_PERIOD_DIFFERENCE = 1e-4
"""Between one place's embeddings by two longitudes, in units of max(1, the largest value): more is no rounding."""

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
    _check_tells_places_apart(source, encoder)
    size = _parameters(encoder)
    places = snap_places or min(PLACES, max(FEWEST_PLACES, int(SNAP_WORK / max(1, size))))
    exported = _exported(encoder, places)
    card = _card(encoder, exported, said)
    embed = partial(_embed, exported.onnx)
    components = principal_components(embed)
    preview = principal_components_png(embed, components, _land(size))
    card, map_files = with_maps(card, exported.onnx, components)
    card, precision_files = with_precisions(card, exported.onnx)
    files = {ENCODER: exported.onnx, PREVIEW: preview, **map_files, **precision_files}
    return write_bundle(out, card, files, overwrite=overwrite)


def _check_tells_places_apart(source: Path, encoder: ImportedEncoder) -> None:
    """Raises WeightsError where all embeddings are equal: nothing can be measured of such an encoder."""
    lonlat = parity_places()[:FEWEST_PLACES]
    if encoder.tower is not None:
        rows = embed_exactly(encoder.tower, lonlat)
    else:
        assert encoder.onnx is not None
        rows = _embed(encoder.onnx, lonlat)
    if not np.ptp(rows, axis=0).any():
        raise WeightsError(f"{source} embeds all places alike; its weights are not those of a trained encoder")


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
        periodic=_is_periodic(exported.onnx),
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


def _is_periodic(graph: bytes) -> bool:
    """Whether longitudes -180 and 180 are one place to it, and all those of a pole."""
    lats = np.linspace(-90, 90, 37)
    west, east = (_embed(graph, np.stack([np.full_like(lats, lon), lats], axis=1)) for lon in (-180, 180))
    poles = [_embed(graph, np.stack([lats * 2, np.full_like(lats, lat)], axis=1)) for lat in (-90, 90)]
    difference = max(float(np.abs(a - b).max()) for a, b in [(west, east), *((pole, pole[:1]) for pole in poles)])
    return difference <= MAX_PERIOD_DIFFERENCE * max(1.0, float(np.abs(east).max()))


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
