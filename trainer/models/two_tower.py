"""Both towers, the refinement between the location tower and the loss, and the temperature."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from trainer.config import Config
from trainer.models.image_tower import ImageProjection
from trainer.models.location_tower import LocationTower
from trainer.refinement.geospatial import GraphPropagationFusion, adjacency
from trainer.seeding import generator


class TwoTower(nn.Module):
    """Embeddings of places and of image features in one space, and `logit_scale`, the inverse temperature.

    A model never computes a loss: `location` and `image` give what a loss takes.
    """

    def __init__(
        self,
        location_tower: LocationTower,
        image_projection: ImageProjection,
        fusion: GraphPropagationFusion | None,
        *,
        sigma_deg: float,
        temperature: float,
        max_logit_scale: float,
    ) -> None:
        super().__init__()
        self.location_tower = location_tower
        self.image_projection = image_projection
        self.fusion = fusion
        self.sigma_deg = sigma_deg
        self.max_log_scale = math.log(max_logit_scale)
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)))

    @property
    def logit_scale(self) -> Tensor:
        return self.log_scale.exp()

    def location(self, neighbourhoods: Tensor) -> Tensor:
        """(n, k, 2) float64 degrees, node 0 the place → (n, embedding_dim), fused where there is a fusion."""
        n, k, _ = neighbourhoods.shape
        h: Tensor = self.location_tower(neighbourhoods.reshape(n * k, 2)).view(n, k, -1)
        if self.fusion is None:
            return h[:, 0]
        fused: Tensor = self.fusion(h, adjacency(neighbourhoods, self.sigma_deg))
        return fused

    def image(self, features: Tensor) -> Tensor:
        """Kept image features (n, features) → (n, embedding_dim)."""
        projected: Tensor = self.image_projection(features)
        return projected

    @torch.no_grad()
    def clamp_logit_scale(self) -> None:
        """To be called after each step: beyond the maximum the parameter itself is set back, so it can come down."""
        self.log_scale.clamp_(max=self.max_log_scale)


def untrained_location_tower(config: Config) -> LocationTower:
    """The tower as it is before the first step: the same weights for one seed, whatever was drawn before."""
    asked = config.location_tower
    with torch.random.fork_rng(devices=()):
        torch.default_generator.set_state(generator(config.training.seed, "location tower").get_state())
        return LocationTower(
            legendre_polys=asked.encoding.legendre_polys,
            hidden_dim=asked.network.hidden_dim,
            hidden_layers=asked.network.hidden_layers,
            embedding_dim=asked.embedding_dim,
            w0_initial=asked.network.w0_initial,
            w0=asked.network.w0,
        )


def untrained(config: Config, feature_mean: Tensor, feature_deviation: Tensor) -> TwoTower:
    """What a run starts from; `feature_mean` and `feature_deviation` are those of the training tiles' features."""
    refinement, dim = config.refinement, config.location_tower.embedding_dim
    tower = untrained_location_tower(config)
    with torch.random.fork_rng(devices=()):
        torch.default_generator.set_state(generator(config.training.seed, "heads").get_state())
        projection = ImageProjection(feature_mean, feature_deviation, dim)
        fusion = None
        if refinement.neighbours:
            fusion = GraphPropagationFusion(
                dim,
                layers=refinement.fusion_layers,
                negative_slope=refinement.negative_slope,
                normalise_rows=refinement.normalise_rows,
            )
    return TwoTower(
        tower,
        projection,
        fusion,
        sigma_deg=refinement.sigma_deg,
        temperature=config.training.temperature,
        max_logit_scale=config.training.max_logit_scale,
    )
