"""A run from imagery to the best checkpoint.

Several processes share one run where torchrun starts them:

    torchrun --nproc-per-node=4 --no-python satcle pretrain trainer/configs/s2-100k-satcle.yaml

The batch size is that of all together, and the same seed gives the same batches as one process would see. The first
process of a machine computes the image features and the others wait for them; the first of all writes the run folder.
Where one fails, torchrun ends the others, and `--resume` goes on.
"""

from __future__ import annotations

from pathlib import Path

from trainer.checkpoint import complete, read_checkpoint
from trainer.config import Config
from trainer.data.kept import KeptTiles, keep_tiles
from trainer.data.tiles import Tiles, open_tiles
from trainer.errors import RunError
from trainer.evaluation.measure import measure
from trainer.models.image_side import open_image_side
from trainer.processes import Processes
from trainer.run_folder import RunFolder
from trainer.storage import Place
from trainer.training.fitting import accelerator_of, fit
from trainer.training.module import ContrastiveTraining, initial_model


def pretrain(
    config: Config,
    imagery: Path,
    runs: Place,
    *,
    resume: bool = False,
    vision: Place | None = None,
    weights: Path | None = None,
) -> Place:
    """Train as `config` says, measure, and return the best checkpoint: `runs`/name/best.ckpt.

    `vision` is the checkpoint of a vision pretraining, by default `runs`/name/vision.ckpt; `weights` a file that
    stands for the published weights of the image tower. With `resume`, goes on from last.ckpt where there is one, and
    does nothing where the run is finished.

    Raises ConfigError, ImageryError, CheckpointError, StorageError, or RunError where the folder holds a run and
    `resume` was not asked for, or holds one of another config, or is not one and the same for all processes.
    """
    processes = Processes.of_environment()
    accelerator = accelerator_of(config.training.accelerator, processes)
    processes.meet(accelerator)
    run = RunFolder(runs / config.name)
    epochs, finished = run.epochs_of(config, resume=resume), run.finished
    if not processes.agree((epochs, finished), accelerator):
        raise RunError(f"{run.path} is not the same for all machines; --runs must be a mounted folder or a bucket")
    if finished:
        return run.best
    tiles = open_tiles(config, imagery)
    if processes.is_first:
        run.describe(config, processes.count)
    kept = _keep(config, imagery, tiles, processes, vision=vision or run.vision, weights=weights)
    module = ContrastiveTraining(initial_model(config, kept), kept, config, tiles.sources, processes)
    fit(module, run)
    if processes.is_first:
        model = read_checkpoint(run.best).model()
        if model.readout is not None:
            components = config.distillation.components if config.distillation else 0
            prefix = min(config.card.dimensions, default=0)
            model.readout.fit(model.location_tower, kept.lonlat[kept.train_rows], components, prefix)
        metrics = measure(model, kept, config)
        complete(run.best, model, metrics)
        run.finish(metrics)
    processes.wait()
    return run.best


def _keep(
    config: Config, imagery: Path, tiles: Tiles, processes: Processes, *, vision: Place, weights: Path | None
) -> KeptTiles:
    """The first process of a machine computes what is not there yet; the others wait, and read."""
    if processes.local_rank:
        processes.wait()
    kept = keep_tiles(config, imagery, tiles, open_image_side(config, tiles, vision=vision, weights=weights))
    if not processes.local_rank:
        processes.wait()
    return kept
