"""A run from imagery to the best checkpoint.

Several processes share one run where torchrun starts them:

    torchrun --nproc-per-node=4 --no-python satcle pretrain trainer/configs/s2-100k-satcle.yaml

The batch size is that of all together, and the same seed gives the same batches as one process would see. The first
process of a machine computes the image features and the others wait for them; the first of all writes the run folder.
Where one fails, torchrun ends the others, and `--resume` goes on.
"""

from __future__ import annotations

from pathlib import Path

from trainer.checkpoint import add_metrics, read_checkpoint
from trainer.config import Config
from trainer.data.kept import KeptTiles, keep_tiles
from trainer.data.tiles import Tiles, open_tiles
from trainer.evaluation.measure import measure
from trainer.models.image_side import open_image_side
from trainer.processes import Processes
from trainer.run_folder import RunFolder
from trainer.training.fitting import accelerator_of, fit
from trainer.training.module import ContrastiveTraining, initial_model


def pretrain(
    config: Config,
    imagery: Path,
    runs: Path,
    *,
    resume: bool = False,
    vision: Path | None = None,
    weights: Path | None = None,
) -> Path:
    """Train as `config` says, measure, and return the best checkpoint: `runs`/name/best.ckpt.

    `vision` is the checkpoint of a vision pretraining, by default `runs`/name/vision.ckpt; `weights` a file that
    stands for the published weights of the image tower. With `resume`, goes on from last.ckpt where there is one, and
    does nothing where the run is finished.

    Raises ConfigError, ImageryError, CheckpointError, or RunError where the folder holds a run and `resume` was not
    asked for, or holds one of another config.
    """
    processes = Processes.of_environment()
    run = RunFolder(runs / config.name)
    run.check_free_for(config, resume=resume)
    if run.finished:
        return run.best
    processes.meet(accelerator_of(config.training.accelerator, processes))
    tiles = open_tiles(config, imagery)
    kept = _keep(config, imagery, tiles, processes, vision=vision or run.vision, weights=weights)
    if processes.is_first:
        run.describe(config, processes.count)
    module = ContrastiveTraining(initial_model(config, kept), kept, config, tiles.sources, processes)
    fit(module, run)
    if processes.is_first:
        model = read_checkpoint(run.best).model()
        metrics = measure(model, kept, config)
        add_metrics(run.best, metrics)
        run.finish(metrics)
    processes.wait()
    return run.best


def _keep(
    config: Config, imagery: Path, tiles: Tiles, processes: Processes, *, vision: Path, weights: Path | None
) -> KeptTiles:
    """The first process of a machine computes what is not there yet; the others wait, and read."""
    if processes.local_rank:
        processes.wait()
    kept = keep_tiles(config, imagery, tiles, open_image_side(config, tiles, vision=vision, weights=weights))
    if not processes.local_rank:
        processes.wait()
    return kept
