"""What evaluation and training share: how far every place of a task is from training, and which files are in both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.bundle import DataSource
from trainer.checkpoint import read_checkpoint
from trainer.config import Config, MosaicData, read_config
from trainer.data.tiles import Tiles
from trainer.errors import EvaluationError
from trainer.evaluation.distribution_figure import nearest_km
from trainer.evaluation.tasks import Task

WITHIN_KM = (0.1, 1.0, 10.0, 100.0)
QUANTILES = (0.05, 0.5, 0.95)
S2_PIXEL_KM = 0.01
CONFIG, CHECKPOINT = "config.yaml", ".ckpt"

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Overlap:
    """Of a task, how far each of its places is from the centre of the nearest training tile; `shared` are the training
    sources that are the very file of its targets."""

    task: Task
    nearest_km: Floats
    shared: tuple[str, ...]

    def share_within(self, km: float) -> float:
        return float((self.nearest_km <= km).mean())


@dataclass(frozen=True)
class Overlaps:
    """Of `tasks` with the training of `config`: `samples` tiles of `footprint_km` a side, from `sources`."""

    config: Config
    samples: int
    footprint_km: float
    sources: tuple[DataSource, ...]
    tasks: tuple[Overlap, ...]


def trained_config(what: Path) -> Config:
    """Of a config, a run's folder or a checkpoint. Raises ConfigError or CheckpointError."""
    if what.is_dir():
        return read_config(what / CONFIG)
    return read_checkpoint(what).config if what.suffix == CHECKPOINT else read_config(what)


def overlaps(config: Config, tiles: Tiles, tasks: Sequence[Task]) -> Overlaps:
    """Between the training tiles, those held out left aside, and each task."""
    samples = tiles.lonlat[tiles.train_rows].numpy()
    found = tuple(
        Overlap(
            task,
            nearest_km(samples, task.lonlat),
            tuple(source.name for source in tiles.sources if source.sha256 == task.sha256),
        )
        for task in tasks
    )
    data = config.data
    footprint = data.tile.footprints_km[-1] if isinstance(data, MosaicData) else data.size * S2_PIXEL_KM
    return Overlaps(config, len(samples), footprint, tiles.sources, found)


def write_overlaps(found: Overlaps, command: str, out: Path) -> Path:
    """As Markdown. Raises EvaluationError."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text("\n".join(_markdown(found, command)) + "\n", encoding="utf-8")
    except OSError as error:
        raise EvaluationError(f"--out {out} cannot be written: {error.strerror}") from error
    return out


def _markdown(found: Overlaps, command: str) -> Iterator[str]:
    half = found.footprint_km / 2
    yield f"# What evaluation shares with the training of {found.config.name}\n"
    yield f"{found.samples:,} training tiles of {found.footprint_km:g} km. An encoder was trained on the imagery around"
    yield "many of the evaluation places, without any label; what it may not have seen is a task's targets.\n"
    shared = [each for each in found.tasks if each.shared]
    if shared:
        yield "**Targets that were trained on:** " + "; ".join(
            f"{each.task.name} is {', '.join(each.shared)}" for each in shared
        )
    else:
        yield "No file of targets is a source of training, by sha256."
    yield "\n## Distance from the nearest training tile's centre\n"
    heads = (
        [f"{100 * q:g} %" for q in QUANTILES] + [f"≤ {km:g} km" for km in WITHIN_KM] + [f"in a tile (≤ {half:g} km)"]
    )
    yield f"| task | places | {' | '.join(heads)} |\n|---|" + "---:|" * (len(heads) + 1)
    for each in found.tasks:
        at = [f"{km:.2f} km" for km in np.quantile(each.nearest_km, QUANTILES)]
        shares = [f"{100 * each.share_within(km):.1f} %" for km in (*WITHIN_KM, half)]
        yield f"| {each.task.name} | {len(each.task.lonlat):,} | {' | '.join(at + shares)} |"
    yield "\n## Files\n\n| what | file or source | sha256 |\n|---|---|---|"
    for source in found.sources:
        yield f"| trained on | {source.name}: {source.credit} | {(source.sha256 or '-')[:16]} |"
    for each in found.tasks:
        yield f"| targets of {each.task.name} | {each.task.source} | {each.task.sha256[:16]} |"
    yield f"\n```sh\n{command}\n```"
