"""Whatever embeds places: a bundle, a checkpoint, a running service, a baseline."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from service.bundle import Bundle, read_bundle
from trainer.checkpoint import Checkpoint, read_checkpoint
from trainer.errors import EvaluationError
from trainer.evaluation.remote import ServiceEncoder
from trainer.export import embed_exactly, embed_with_graph
from trainer.shipped import bundle_folder
from trainer.snap import uniform_on_sphere
from trainer.storage import Place, place_of

BASELINE = "baseline:"
CHECKPOINT = ".ckpt"
FINGERPRINT_PLACES = 1024

Floats = NDArray[np.float64]
Embeddings = NDArray[np.float32]


class Encoder(Protocol):
    """`name` heads its row; `note` says what it is and where it is from."""

    @property
    def name(self) -> str: ...

    @property
    def note(self) -> str: ...

    def embed(self, lonlat: Floats) -> Embeddings:
        """(n, 2) lon and lat in degrees → (n, dim)."""
        ...


class BundleEncoder:
    def __init__(self, bundle: Bundle) -> None:
        card = bundle.card
        self.name = card.name
        self.note = f"bundle {card.version}, digest {card.digest[:12]}"
        self._graph = bundle.read(card.encoder)

    def embed(self, lonlat: Floats) -> Embeddings:
        return embed_with_graph(self._graph, lonlat)


class CheckpointEncoder:
    def __init__(self, checkpoint: Checkpoint, path: Place) -> None:
        self.name = checkpoint.config.name
        self.note = f"checkpoint {path}"
        self._tower = checkpoint.location_tower().double().eval()

    def embed(self, lonlat: Floats) -> Embeddings:
        return embed_exactly(self._tower, lonlat).astype(np.float32)


class Renamed:
    """An encoder under a name of the user's."""

    def __init__(self, name: str, encoder: Encoder) -> None:
        self.name, self.note = name, encoder.note
        self.embed = encoder.embed


def open_encoder(spec: str) -> Encoder:
    """A bundle's folder or shipped name, FILE.ckpt, http(s)://host:port[#model], or baseline:NAME; NAME=SPEC renames.

    A checkpoint may lie in a bucket. Raises EvaluationError, BundleError, CheckpointError or StorageError.
    """
    named = re.fullmatch(r"([^=:/]+)=(.+)", spec)
    if named:
        return Renamed(named[1], open_encoder(named[2]))
    if spec.startswith(BASELINE):
        from trainer.baselines import open_baseline

        return open_baseline(spec.removeprefix(BASELINE))
    if spec.startswith(("http://", "https://")):
        return ServiceEncoder(spec)
    if spec.endswith(CHECKPOINT):
        path = place_of(spec)
        return CheckpointEncoder(read_checkpoint(path), path)
    return BundleEncoder(read_bundle(bundle_folder(spec)))


def open_encoders(specs: Sequence[str]) -> list[Encoder]:
    """Raises EvaluationError where two have one name."""
    encoders = [open_encoder(spec) for spec in specs]
    names = [encoder.name for encoder in encoders]
    if twice := [name for name in names if names.count(name) > 1]:
        raise EvaluationError(f"two encoders are named {twice[0]!r}; name one yourself, as other={specs[-1]}")
    return encoders


def fingerprint(encoder: Encoder) -> str:
    """sha256 of what it says of a thousand places of the globe: another encoder, another fingerprint."""
    said = embeddings_of(encoder, uniform_on_sphere(FINGERPRINT_PLACES, seed=0))
    return hashlib.sha256(repr(said.shape).encode() + said.tobytes()).hexdigest()


def embeddings_of(encoder: Encoder, lonlat: Floats) -> Embeddings:
    """Raises EvaluationError where a row is missing or not finite."""
    embeddings = np.ascontiguousarray(encoder.embed(lonlat), np.float32)
    if embeddings.ndim != 2 or len(embeddings) != len(lonlat):
        raise EvaluationError(f"{encoder.name} gave {embeddings.shape} for {len(lonlat)} places")
    wrong = np.flatnonzero(~np.isfinite(embeddings).all(axis=1))
    if len(wrong):
        lon, lat = lonlat[wrong[0]]
        raise EvaluationError(
            f"{encoder.name} has no finite embedding of {len(wrong)} places, the first lon {lon:g}, lat {lat:g}"
        )
    return embeddings
