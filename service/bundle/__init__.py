"""The bundle: what the trainer makes and the service serves, and the only thing that crosses between them."""

from service.bundle.card import (
    UNSIGNED,
    BundleCard,
    DataSource,
    HeadCard,
    Metric,
    Network,
    Parity,
    PositionalEncoding,
    SnapError,
    Training,
)
from service.bundle.coordinates import LonLat
from service.bundle.errors import (
    BundleCorrupt,
    BundleError,
    BundleExists,
    BundleNotFound,
    BundleUnsupported,
    CoordinateError,
    CoordinateProblem,
)
from service.bundle.store import Bundle, check_target, find_bundles, read_bundle, write_bundle

__all__ = [
    "UNSIGNED",
    "Bundle",
    "BundleCard",
    "BundleCorrupt",
    "BundleError",
    "BundleExists",
    "BundleNotFound",
    "BundleUnsupported",
    "CoordinateError",
    "CoordinateProblem",
    "DataSource",
    "HeadCard",
    "LonLat",
    "Metric",
    "Network",
    "Parity",
    "PositionalEncoding",
    "SnapError",
    "Training",
    "check_target",
    "find_bundles",
    "read_bundle",
    "write_bundle",
]
