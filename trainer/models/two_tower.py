"""Both towers, the refinement between the location tower and the loss, and the temperature."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from trainer.config import Config
from trainer.models.distillation import DistillationTargets
from trainer.models.fused_tower import FusedTower
from trainer.models.image_tower import ImageProjection
from trainer.models.location_tower import LocationTower, build_location_tower
from trainer.models.readout import Readout
from trainer.refinement.geospatial import (
    GraphPropagationFusion,
    Neighbourhoods,
    TangentNeighbourhoods,
    fusion_of,
    neighbourhoods_of,
)
from trainer.seeding import generator


class TwoTower(nn.Module):
    """Embeddings of places and of image features in one space, and `logit_scale`, the inverse temperature.

    A model never computes a loss: `location` and `image` give what a loss takes.
    """

    def __init__(
        self,
        location_tower: LocationTower,
        image_projection: ImageProjection,
        neighbourhoods: Neighbourhoods,
        fusion: nn.Module | None,
        *,
        serve_fusion: bool,
        temperature: float,
        max_logit_scale: float,
        distillation: DistillationTargets | None = None,
        readout: Readout | None = None,
    ) -> None:
        super().__init__()
        self.distillation = distillation
        self.readout = readout
        self.serve_fusion = serve_fusion
        self.location_tower = location_tower
        self.image_projection = image_projection
        self.neighbourhoods = neighbourhoods
        self.fusion = fusion
        self.max_log_scale = math.log(max_logit_scale)
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)))

    @property
    def logit_scale(self) -> Tensor:
        return self.log_scale.exp()

    @property
    def served(self) -> LocationTower | FusedTower:
        """What is exported: the location tower as one network, with the fusion folded in where `serve_fusion` asks
        for it, or with its readout where it has one."""
        if self.readout is not None:
            return self.readout.of(self.location_tower.merged())
        if not self.serve_fusion:
            return self.location_tower.merged()
        assert isinstance(self.fusion, GraphPropagationFusion)
        assert isinstance(self.neighbourhoods, TangentNeighbourhoods)
        return FusedTower(self.location_tower.merged(), self.fusion, self.neighbourhoods)

    def location(self, around: Tensor) -> Tensor:
        """Neighbourhoods (n, k, 2) float64 degrees → (n, embedding_dim), fused where there is a fusion."""
        return self.fused(self.nodes(around), around)

    def nodes(self, around: Tensor) -> Tensor:
        """Neighbourhoods (n, k, 2) → the embedding of each of their places, (n, k, embedding_dim)."""
        n, k, _ = around.shape
        h: Tensor = self.location_tower(around.reshape(n * k, 2))
        return h.view(n, k, -1)

    def fused(self, nodes: Tensor, around: Tensor) -> Tensor:
        """The embeddings `nodes` of neighbourhoods `around` → (n, embedding_dim), what is contrasted."""
        if self.fusion is None:
            return nodes[:, 0]
        fused: Tensor = self.fusion(nodes, self.neighbourhoods.adjacency(around))
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
    with torch.random.fork_rng(devices=()):
        torch.default_generator.set_state(generator(config.training.seed, "location tower").get_state())
        return build_location_tower(config.location_tower)


def untrained(config: Config, feature_mean: Tensor, feature_deviation: Tensor) -> TwoTower:
    """What a run starts from; `feature_mean` and `feature_deviation` are those of the training tiles' features."""
    dim = config.location_tower.embedding_dim
    tower = untrained_location_tower(config)
    with torch.random.fork_rng(devices=()):
        torch.default_generator.set_state(generator(config.training.seed, "heads").get_state())
        projection = ImageProjection(feature_mean, feature_deviation, dim)
        fusion = fusion_of(config.refinement, dim)
        targets = DistillationTargets(config.distillation, len(feature_mean)) if config.distillation else None
    return TwoTower(
        tower,
        projection,
        neighbourhoods_of(config.refinement),
        fusion,
        serve_fusion=config.refinement.serve_fusion,
        temperature=config.training.temperature,
        max_logit_scale=config.training.max_logit_scale,
        distillation=targets,
        readout=Readout(dim) if config.distillation or config.card.dimensions else None,
    )
