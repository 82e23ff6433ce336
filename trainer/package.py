"""A checkpoint as a bundle: the exported encoder, and a card that says what is known of it."""

from __future__ import annotations

from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np

from service.bundle import (
    UNSIGNED,
    Bundle,
    BundleCard,
    ComponentsCard,
    Network,
    PositionalEncoding,
    RasterCard,
    Training,
    check_target,
    write_bundle,
)
from trainer.checkpoint import Checkpoint, read_checkpoint
from trainer.evaluation.components import PLACES as PLACES_OF_COMPONENTS
from trainer.evaluation.components import QUANTILES, Components, principal_components
from trainer.evaluation.figures import land_mask, principal_components_png
from trainer.export import ExportedEncoder, embed_exactly, export_encoder, export_raster
from trainer.snap import PLACES

ENCODER = "encoder.onnx"
RASTER = "raster.onnx"
COMPONENTS = "components.npy"
PREVIEW = "preview.png"


def package(
    checkpoint_path: Path, out: Path, *, name: str | None = None, overwrite: bool = False, snap_places: int = PLACES
) -> Bundle:
    """Export a checkpoint's location tower and write it as the bundle `out`, named as its config unless `name`.

    Snap errors are measured at `snap_places`; the preview shows the world in the first three principal components.

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
    return write_bundle(out, card, {ENCODER: exported.onnx, PREVIEW: preview, **map_files}, overwrite=overwrite)


def with_maps(card: BundleCard, encoder: bytes, components: Components) -> tuple[BundleCard, dict[str, bytes]]:
    """The card with what maps need, and the files of that: the encoder over grids, and the colours of embeddings.

    Raises ExportError where the graph over grids is not the encoder's.
    """
    graph, parity = export_raster(encoder)
    described = card.model_copy(
        update={
            "raster": RasterCard(file=RASTER, parity=parity),
            "components": ComponentsCard(
                file=COMPONENTS, explained=components.explained, quantiles=QUANTILES, places=PLACES_OF_COMPONENTS
            ),
        }
    )
    array = BytesIO()
    np.save(array, components.affine.astype(np.float32), allow_pickle=False)
    return described, {RASTER: graph, COMPONENTS: array.getvalue()}


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
        dimensions=(tower.embedding_dim,),
        encoder=ENCODER,
        encoding=PositionalEncoding(variant="exact", legendre_polys=tower.encoding.legendre_polys),
        network=Network(
            hidden_dim=tower.network.hidden_dim,
            hidden_layers=tower.network.hidden_layers,
            w0_initial=tower.network.w0_initial,
            w0=tower.network.w0,
        ),
        snap_errors=exported.snap_errors,
        snap_resolution=exported.snap_resolution,
        parity=exported.parity,
        training=Training(
            method="satcle-geospatial" if config.refinement.neighbours else "satclip",
            sources=description.sources,
            samples=description.samples,
            epochs=description.epochs,
            seed=config.training.seed,
            fusion_served=False,
            config_digest=config.digest,
        ),
        metrics=description.metrics,
    )
