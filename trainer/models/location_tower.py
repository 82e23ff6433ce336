"""The location tower: spherical harmonics of a place, then a SIREN."""

from __future__ import annotations

from torch import Tensor, nn

from trainer.models.siren import Siren
from trainer.models.spherical_harmonics import SphericalHarmonics


class LocationTower(nn.Module):
    """Places to embeddings: `encoding` (SphericalHarmonics), then `network` (Siren).

    `hidden_layers` counts sine layers; a linear layer to `embedding_dim` follows them. The defaults are
    the published L = 10 tower, but for m0_scale, which is π there and 1 in orthonormal harmonics.
    """

    def __init__(
        self,
        *,
        legendre_polys: int = 10,
        hidden_dim: int = 512,
        hidden_layers: int = 2,
        embedding_dim: int = 256,
        w0_initial: float = 30.0,
        w0: float = 1.0,
        m0_scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.legendre_polys = legendre_polys
        self.hidden_dim = hidden_dim
        self.hidden_layers = hidden_layers
        self.embedding_dim = embedding_dim
        self.w0_initial = w0_initial
        self.w0 = w0
        self.m0_scale = m0_scale
        self.encoding = SphericalHarmonics(legendre_polys, m0_scale)
        self.network = Siren(
            self.encoding.feature_dim, hidden_dim, hidden_layers, embedding_dim, w0_initial=w0_initial, w0=w0
        )

    def forward(self, lonlat: Tensor) -> Tensor:
        """(n, 2) float64 lon and lat in degrees to (n, embedding_dim) in the parameters' dtype, not normalised."""
        embedding: Tensor = self.network(self.encoding(lonlat))
        return embedding
