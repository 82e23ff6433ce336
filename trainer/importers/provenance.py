"""What the cards of published encoders say: whose they are, under which licence, and what their authors warn of."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from service.bundle import DataSource
from trainer.importers.encoder import NOT_STATED, Provenance

S2_100K = DataSource(
    name="S2-100K",
    credit="Klemmer et al. 2025; contains modified Copernicus Sentinel data, by way of Microsoft's Planetary Computer",
    license=NOT_STATED,
    url="https://github.com/microsoft/satclip",
)
MP_16 = DataSource(
    name="MP-16",
    credit="Larson et al. 2017; geotagged photographs of Flickr's YFCC100M",
    license=NOT_STATED,
    url="https://github.com/VicenteVivan/geo-clip",
)
SATCLIP_LIMITS = (
    "For global scale, as its authors say: fine-grained problems (small areas, many close places) are out of scope. "
    "It holds what Sentinel-2 shows at 10 m a pixel, and is meant for research. "
    "Defence and surveillance are out of scope whatever it achieves there."
)
GEOCLIP_LIMITS = (
    "Learnt from photographs, which are dense in cities and rare over the sea, ice and deserts. "
    "Its map projection is cut at the antimeridian and draws a pole as a line: longitudes 180 and -180, and those of a "
    "pole, have different embeddings."
)
UNKNOWN_LIMITS = "Not stated with the file: measure before use."
TOWERS = {"moco_resnet18": "rn18", "moco_resnet50": "rn50", "moco_vit16": "vit16", "dino_vit16": "dino-vit16"}
"""The image towers of the published checkpoints, as their files are named."""


def satclip(path: Path, encoding: Mapping[str, Any], image_tower: str | None) -> Provenance:
    """`encoding` is that of its config, `image_tower` what it was trained against, where the file says it."""
    return Provenance(
        name="-".join(["satclip", *_tower_name(image_tower), _encoding_name(encoding)]),
        method="satclip",
        description=f"SatCLIP's location encoder, {_encoded(encoding)}{_trained_against(image_tower)}.",
        license="MIT",
        limits=SATCLIP_LIMITS,
        sources=(_weights(path, "Klemmer et al. 2025 (SatCLIP), Microsoft", "MIT", S2_100K.url), S2_100K),
    )


def satcle(path: Path, encoding: Mapping[str, Any], image_tower: str | None) -> Provenance:
    """The same of SatCLE; its fusion module is in the file, and is not served, as in the published code."""
    url = "https://github.com/CityMind-Lab/SatCLE"
    return Provenance(
        name="-".join(["satcle", *_tower_name(image_tower), _encoding_name(encoding)]),
        method="satcle",
        description=(
            f"SatCLE's location encoder, {_encoded(encoding)}{_trained_against(image_tower)}. The weights of its graph "
            "propagation fusion exist and are not served: it was a projection head in training."
        ),
        license=NOT_STATED,
        limits=SATCLIP_LIMITS.replace("as its authors say", "as SatCLIP's authors say of the encoder"),
        sources=(_weights(path, "SatCLE (WWW 2025), CityMind Lab", NOT_STATED, url), S2_100K),
    )


def geoclip(path: Path) -> Provenance:
    return Provenance(
        name="geoclip",
        method="geoclip",
        description="GeoCLIP's location encoder: random Fourier features of the Equal Earth map at three scales.",
        license="MIT",
        limits=GEOCLIP_LIMITS,
        sources=(_weights(path, "Vivanco Cepeda et al. 2023 (GeoCLIP)", "MIT", MP_16.url), MP_16),
    )


def unknown(path: Path) -> Provenance:
    """Of a file that says nothing of itself."""
    return Provenance(
        name=name_from(path.stem),
        method="imported",
        description=f"A location encoder, imported from {path.name}.",
        license=NOT_STATED,
        limits=UNKNOWN_LIMITS,
        sources=(_weights(path, NOT_STATED, NOT_STATED, None),),
    )


def name_from(stem: str) -> str:
    """A file's name as a bundle's: lower case, with nothing but letters, digits, dots, underscores and hyphens."""
    return re.sub(r"[^a-z0-9._-]+", "-", stem.lower()).strip("._-")[:64] or "imported"


def _weights(path: Path, credit: str, license_: str, url: str | None) -> DataSource:
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return DataSource(name=f"weights: {path.name}", credit=credit, license=license_, url=url, sha256=sha256)


def _tower_name(image_tower: str | None) -> list[str]:
    return [TOWERS[image_tower]] if image_tower in TOWERS else []


def _trained_against(image_tower: str | None) -> str:
    return f", trained against the image tower {image_tower}" if image_tower else ""


def _encoding_name(encoding: Mapping[str, Any]) -> str:
    return f"l{encoding['legendre_polys']}" if "legendre_polys" in encoding else str(encoding["kind"])


def _encoded(encoding: Mapping[str, Any]) -> str:
    if "legendre_polys" not in encoding:
        return f"with the encoding {encoding['kind']}"
    basis = "closed-form" if encoding["variant"] == "closed-form" else "analytic"
    return f"with {basis} spherical harmonics of {encoding['legendre_polys']} Legendre polynomials"
