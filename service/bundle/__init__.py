"""The bundle: what the trainer makes and the service serves, and the only thing that crosses between them."""

from service.bundle.card import (
    UNSIGNED,
    BundleCard,
    ComponentsCard,
    DataSource,
    HeadCard,
    HeadFit,
    Metric,
    Network,
    OtherPart,
    Parity,
    PositionalEncoding,
    RasterCard,
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
    "ComponentsCard",
    "CoordinateError",
    "CoordinateProblem",
    "DataSource",
    "HeadCard",
    "HeadFit",
    "LonLat",
    "Metric",
    "Network",
    "OtherPart",
    "Parity",
    "PositionalEncoding",
    "RasterCard",
    "SnapError",
    "Training",
    "check_target",
    "find_bundles",
    "read_bundle",
    "write_bundle",
]
