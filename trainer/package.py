"""A checkpoint as a bundle: the exported encoder, and a card that says what is known of it."""

from __future__ import annotations

import logging
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np

from service.bundle import (
    UNSIGNED,
    Bundle,
    BundleCard,
    ComponentsCard,
    RasterCard,
    Training,
    check_target,
    write_bundle,
)
from trainer.checkpoint import Checkpoint, read_checkpoint
from trainer.config import Config
from trainer.errors import ImageryError
from trainer.evaluation.components import PLACES as PLACES_OF_COMPONENTS
from trainer.evaluation.components import QUANTILES, Components, principal_components
from trainer.evaluation.figures import land_mask, principal_components_png
from trainer.export import ExportedEncoder, embed_exactly, export_encoder, export_raster
from trainer.precision import with_precisions
from trainer.snap import PLACES
from trainer.storage import Place
from trainer.tower_card import encoding_card, served_network
from trainer.training_places import training_places, with_training_places

ENCODER = "encoder.onnx"
RASTER = "raster.onnx"
COMPONENTS = "components.npy"
PREVIEW = "preview.png"
IMAGERY = Path(".imagery")

logger = logging.getLogger(__name__)


def package(
    checkpoint_path: Place,
    out: Path,
    *,
    name: str | None = None,
    overwrite: bool = False,
    snap_places: int = PLACES,
    imagery: Path = IMAGERY,
) -> Bundle:
    """Export a checkpoint's location tower and write it as the bundle `out`, named as its config unless `name`.

    Snap errors are measured at `snap_places`; the preview shows the world in the first three principal components.
    A checkpoint that is too old to hold its training places has them from `imagery`; where that fails too, a warning
    says why, and the bundle has none.

    Raises CheckpointError, ExportError or BundleExists.
    """
    check_target(out, overwrite=overwrite)  # known now rather than after the export
    checkpoint = read_checkpoint(checkpoint_path)
    tower = checkpoint.location_tower()
    exported = export_encoder(tower, snap_places)
    embed = partial(embed_exactly, tower.double().eval())
    components = principal_components(embed)
    preview = principal_components_png(embed, components, land_mask())
    card = describe(checkpoint, exported, name or checkpoint.config.name)
    card, map_files = with_maps(card, exported.onnx, components)
    card, precision_files = with_precisions(card, exported.onnx)
    card, place_files = _with_places(card, checkpoint, imagery)
    files = {ENCODER: exported.onnx, PREVIEW: preview, **map_files, **precision_files, **place_files}
    return write_bundle(out, card, files, overwrite=overwrite)


def _with_places(card: BundleCard, checkpoint: Checkpoint, imagery: Path) -> tuple[BundleCard, dict[str, bytes]]:
    try:
        return with_training_places(card, training_places(checkpoint, imagery))
    except ImageryError as error:
        logger.warning("the bundle does not say where it was trained: its checkpoint holds no places, and %s", error)
        return card, {}


def with_maps(card: BundleCard, encoder: bytes, components: Components) -> tuple[BundleCard, dict[str, bytes]]:
    """The card with what maps need, and the files of that: colours of embeddings, and the encoder over grids if any.

    Raises ExportError where the graph over grids is not the encoder's.
    """
    described = ComponentsCard(
        file=COMPONENTS, explained=components.explained, quantiles=QUANTILES, places=PLACES_OF_COMPONENTS
    )
    array = BytesIO()
    np.save(array, components.affine.astype(np.float32), allow_pickle=False)
    card, files = card.model_copy(update={"components": described}), {COMPONENTS: array.getvalue()}
    if raster := export_raster(encoder):
        graph, parity = raster
        card = card.model_copy(update={"raster": RasterCard(file=RASTER, parity=parity)})
        files[RASTER] = graph
    return card, files


def describe(checkpoint: Checkpoint, exported: ExportedEncoder, name: str) -> BundleCard:
    """The card; its digest is left to `write_bundle`."""
    config, description = checkpoint.config, checkpoint.description
    tower = config.location_tower
    return BundleCard(
        name=name,
        version=config.card.version,
        digest=UNSIGNED,
        description=config.card.description,
        license=config.card.license,
        limits=config.card.limits,
        embedding_dim=tower.embedding_dim,
        dimensions=tuple(sorted({*config.card.dimensions, tower.embedding_dim})),
        encoder=ENCODER,
        encoding=encoding_card(tower.encoding),
        network=served_network(tower),
        snap_errors=exported.snap_errors,
        snap_resolution=exported.snap_resolution,
        parity=exported.parity,
        training=Training(
            method=method_of(config),
            sources=description.sources,
            samples=description.samples,
            epochs=description.epochs,
            seed=config.training.seed,
            fusion_served=config.refinement.serve_fusion,
            config_digest=config.digest,
        ),
        metrics=description.metrics,
    )


def method_of(config: Config) -> str:
    """The method and the refinements that were on, as in "satcle (geospatial, causal)"; csp where that was the loss."""
    method = "csp" if config.training.objective == "csp" else config.method
    refinements = {"geospatial": config.refinement.neighbours, "causal": config.causal}
    on = [name for name, asked in refinements.items() if asked]
    if config.refinement.neighbours and config.refinement.fusion == "published":
        on[0] = "geospatial as published"
    return f"{method} ({', '.join(on)})" if on else method
