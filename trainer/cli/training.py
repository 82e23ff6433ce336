"""satcle pretrain and satcle export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from trainer.cli.arguments import DEFAULT_IMAGERY, DEFAULT_RUNS, ConfigFile, Imagery, Runs, one_line_errors


def pretrain(
    config: ConfigFile,
    imagery: Imagery = DEFAULT_IMAGERY,
    runs: Runs = DEFAULT_RUNS,
    resume: Annotated[bool, typer.Option(help="Go on from the last checkpoint, where there is one.")] = False,
    vision: Annotated[
        Path | None, typer.Option(help="A checkpoint of satcle pretrain-vision; RUNS/NAME/vision.ckpt by default.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="A file of the image tower's published weights, instead of fetching them.")
    ] = None,
) -> None:
    """Train a location encoder; checkpoints, logs and metrics go to RUNS/NAME.

    On several devices: torchrun --nproc-per-node=4 --no-python satcle pretrain CONFIG. The config's batch size is that
    of all together.
    """
    with one_line_errors():
        from trainer.config import read_config
        from trainer.processes import Processes
        from trainer.training import pretrain as train

        best = train(read_config(config), imagery, runs, resume=resume, vision=vision, weights=weights)
        if Processes.of_environment().is_first:
            Console().print(f"{best}", highlight=False, soft_wrap=True)


def export(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint, e.g. runs/earth-l10/best.ckpt.")],
    out: Annotated[Path, typer.Option(help="The bundle's folder.")],
    name: Annotated[str | None, typer.Option(help="The bundle's name; the config's by default.")] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace a bundle that is there.")] = False,
    snap_places: Annotated[int, typer.Option(min=1, help="Places at which snap errors are measured.")] = 20_000,
) -> None:
    """Turn a checkpoint into a bundle, checked for parity, its snap errors measured."""
    with one_line_errors():
        from trainer.package import package

        bundle = package(checkpoint, out, name=name, overwrite=overwrite, snap_places=snap_places)
        card = bundle.card
        parity, snapping = f"parity {card.parity.max_abs_error:.1e}", f"snap resolution {card.snap_resolution}"
        line = f"{bundle.path}: {card.name} {card.version}, {parity}, {snapping}, digest {card.digest[:12]}"
        Console().print(line, highlight=False, soft_wrap=True)
