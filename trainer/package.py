"""A checkpoint as a bundle: the exported encoder, and a card that says what is known of it."""

from __future__ import annotations

from pathlib import Path

from service.bundle import (
    UNSIGNED,
    Bundle,
    BundleCard,
    BundleExists,
    Network,
    PositionalEncoding,
    Training,
    write_bundle,
)
from trainer.checkpoint import Checkpoint, read_checkpoint
from trainer.export import ExportedEncoder, export_encoder

ENCODER = "encoder.onnx"


def package(checkpoint_path: Path, out: Path, *, name: str | None = None, overwrite: bool = False) -> Bundle:
    """Export a checkpoint's location tower and write it as the bundle `out`, named as its config unless `name`.

    Raises CheckpointError, ExportError or BundleExists.
    """
    if out.exists() and not overwrite:  # known now rather than after the export
        raise BundleExists(f"{out} exists; choose another folder or ask to overwrite it")
    checkpoint = read_checkpoint(checkpoint_path)
    exported = export_encoder(checkpoint.location_tower())
    card = describe(checkpoint, exported, name or checkpoint.config.name)
    return write_bundle(out, card, {ENCODER: exported.onnx}, overwrite=overwrite)


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
        encoding=PositionalEncoding(variant="exact", legendre_polys=tower.legendre_polys),
        network=Network(
            hidden_dim=tower.hidden_dim, hidden_layers=tower.hidden_layers, w0_initial=tower.w0_initial, w0=tower.w0
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
