"""Where a model was trained, as a file of its bundle: float32 `.npy` (n, 2), lon and lat in degrees."""

from __future__ import annotations

from io import BytesIO

import numpy as np

from service.bundle.coordinates import LonLat
from service.bundle.errors import BundleCorrupt
from service.bundle.store import Bundle


def training_places_file(places: LonLat) -> bytes:
    """The content of the file: float32 is within two metres."""
    file = BytesIO()
    np.save(file, places.degrees.astype(np.float32), allow_pickle=False)
    return file.getvalue()


def read_training_places(bundle: Bundle) -> LonLat | None:
    """None where the bundle has none. Raises BundleCorrupt where the file is not as its card says."""
    card = bundle.card.training_places
    if card is None:
        return None
    try:
        degrees = np.load(BytesIO(bundle.read(card.file)), allow_pickle=False)
        places = LonLat.from_degrees(degrees)  # CoordinateError is a ValueError
    except (ValueError, EOFError, AttributeError) as error:
        raise BundleCorrupt(f"{bundle.path / card.file} holds no places ({error}); export the bundle again") from error
    if len(places) != card.count:
        counts = f"holds {len(places)} places, and its card says {card.count}"
        raise BundleCorrupt(f"{bundle.path / card.file} {counts}; export the bundle again")
    return places
