"""The figures of a bundle's card, measured on the tiles that training held out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from service.bundle import Metric
from trainer.config import Config
from trainer.data.kept import KeptTiles
from trainer.evaluation.probes import block_folds, random_folds, ridge_r2
from trainer.evaluation.retrieval import retrieval_ranks
from trainer.losses.contrastive import contrastive_loss
from trainer.models.distillation import DistillationTargets
from trainer.models.two_tower import TwoTower, untrained
from trainer.seeding import generator

MAX_HELD_OUT = 10_000
CHUNK = 2048


@torch.no_grad()
def measure(model: TwoTower, tiles: KeptTiles, config: Config) -> tuple[Metric, ...]:
    """What was trained: contrastive loss and retrieval after fusion, what is told of the image's components; ridge
    probes of the served embedding and of its untrained self.

    Images are seen in their plain view.
    """
    rows = tiles.validation_rows[:MAX_HELD_OUT]
    lonlat, features, band_means = tiles.lonlat[rows], tiles.features[0, rows], tiles.band_means[rows]
    metrics: list[Metric] = []
    if config.training.contrast_weight:
        location, image = _both_sides(model, lonlat, features, config)
        metrics += _contrastive(location, image, model.logit_scale, config.training.batch_size)
    if model.distillation is not None:
        embedding = torch.cat([model.location_tower(chunk) for chunk in torch.split(lonlat, CHUNK)])
        metrics.append(_told(model.distillation, embedding, features))
    bands = config.data.bands
    projection = model.image_projection
    towers = {"": model.served, ", untrained": untrained(config, projection.mean, projection.deviation).served}
    for band in config.card.probe_bands:
        metrics += _probe(towers, config.training.seed, lonlat, band_means[:, bands.index(band)], band)
    return tuple(metrics)


def _both_sides(model: TwoTower, lonlat: Tensor, features: Tensor, config: Config) -> tuple[Tensor, Tensor]:
    around = model.neighbourhoods.draw(lonlat, generator(config.training.seed, "measurement"))
    location = torch.cat([model.location(chunk) for chunk in torch.split(around, CHUNK)])
    image = torch.cat([model.image(chunk) for chunk in torch.split(features, CHUNK)])
    return location, image


def _contrastive(location: Tensor, image: Tensor, logit_scale: Tensor, batch_size: int) -> Iterator[Metric]:
    size = min(batch_size, len(location))
    whole = range(0, len(location) - size + 1, size)
    losses = [contrastive_loss(location[i : i + size], image[i : i + size], logit_scale) for i in whole]
    in_batches = f"{len(whole) * size} held-out tiles in batches of {size}, location side after fusion"
    yield Metric(name="validation contrastive loss", value=float(torch.stack(losses).mean()), on=in_batches)
    ranks = retrieval_ranks(location, image)
    among = f"a place's own tile among {len(ranks)} held-out tiles, location side after fusion"
    for k in (1, 5):
        yield Metric(name=f"retrieval top-{k}", value=float((ranks <= k).double().mean()), on=among)
    yield Metric(name="retrieval median rank", value=float(ranks.double().median()), on=among)


def _told(targets: DistillationTargets, embedding: Tensor, features: Tensor) -> Metric:
    asked, told = targets.of(features).double(), targets.told(embedding).double()
    missed = (told - asked).square().sum() / (asked - asked.mean(dim=0)).square().sum()
    on = f"share of variance of {asked.shape[1]} components of image features, {len(asked)} held-out tiles"
    return Metric(name="image told", value=float(1 - missed), on=on)


def _probe(towers: Mapping[str, nn.Module], seed: int, lonlat: Tensor, target: Tensor, band: str) -> Iterator[Metric]:
    """R² of a tile's band mean, by ridge from the embedding of each tower."""
    valid = ~target.isnan()
    lonlat, target = lonlat[valid], target[valid]
    for suffix, each in towers.items():
        embedding = torch.cat([each(chunk) for chunk in torch.split(lonlat, CHUNK)])
        for kind, folds in _folds(lonlat, seed).items():
            value = ridge_r2(embedding, target, folds)
            on = f"mean {band} of {len(target)} held-out tiles, ridge, 5 folds, {kind}"
            yield Metric(name=f"{band} R2, {kind}{suffix}", value=value, on=on)


def _folds(lonlat: Tensor, seed: int) -> dict[str, Tensor]:
    return {
        "random folds": random_folds(len(lonlat), generator(seed, "random folds")),
        "10° blocks": block_folds(lonlat, generator(seed, "block folds")),
    }
