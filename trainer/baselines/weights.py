"""Rows whose encoder was learned: from a file of published weights, or of weights trained here."""

from __future__ import annotations

from pathlib import Path

from trainer.baselines.baseline import Baseline, Embeddings, Places, of_module
from trainer.checkpoint import Checkpoint, read_checkpoint
from trainer.errors import BaselineError, CheckpointError
from trainer.export import embed_with_graph
from trainer.importers import ImportedEncoder, read_location_encoder

GEOCLIP = Path("geoclip")
"""The importer's name for the weights within the installed package."""


def geoclip() -> Baseline:
    """GeoCLIP's location encoder, 512-d; no other part of it is read. Raises WeightsError where it is not installed."""
    return _published("geoclip", read_location_encoder(GEOCLIP), "the package geoclip")


def learned(name: str, file: Path) -> Baseline:
    """The row `name` with the weights in `file`.

    Raises WeightsError where `file` holds none that are known, BaselineError where it is not there.
    """
    if not file.is_file():
        raise BaselineError(f"baseline {name}={file}: there is no such file")
    try:
        return _trained_here(name, read_checkpoint(file))
    except CheckpointError:  # then it is one that others made
        return _published(name, read_location_encoder(file), file.name)


def _trained_here(name: str, checkpoint: Checkpoint) -> Baseline:
    described = checkpoint.description
    sources = ", ".join(source.name for source in described.sources)
    epochs = "1 epoch" if described.epochs == 1 else f"{described.epochs} epochs"
    length = f"{described.samples:,} places, {epochs}"
    note = f"trained here, as {checkpoint.config.name}, on {sources}: {length}"
    return of_module(name, note, checkpoint.location_tower())


def _published(name: str, encoder: ImportedEncoder, origin: str) -> Baseline:
    note = f"published weights, from {origin}"
    if encoder.tower is not None:
        return of_module(name, note, encoder.tower)
    graph = encoder.onnx
    assert graph is not None

    def embed(places: Places) -> Embeddings:
        return embed_with_graph(graph, places)

    return Baseline(name, note, embed)
