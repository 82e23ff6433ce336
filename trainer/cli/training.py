"""satcle pretrain and satcle export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from trainer.cli.arguments import DEFAULT_IMAGERY, DEFAULT_RUNS, ConfigFile, Imagery, RunsAnywhere, one_line_errors


def pretrain(
    config: ConfigFile,
    imagery: Imagery = DEFAULT_IMAGERY,
    runs: RunsAnywhere = str(DEFAULT_RUNS),
    resume: Annotated[bool, typer.Option(help="Go on from the last checkpoint, where there is one.")] = False,
    vision: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="A checkpoint of satcle pretrain-vision; RUNS/NAME/vision.ckpt by default."),
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
        from trainer.storage import place_of
        from trainer.training import pretrain as train

        place, vision_place = place_of(runs), place_of(vision) if vision else None
        best = train(read_config(config), imagery, place, resume=resume, vision=vision_place, weights=weights)
        if Processes.of_environment().is_first:
            Console().print(f"{best}", highlight=False, soft_wrap=True)


def export(
    checkpoint: Annotated[
        str, typer.Argument(help="A checkpoint, e.g. runs/earth-l30/best.ckpt, here or in a bucket (s3://…).")
    ],
    out: Annotated[Path, typer.Option(help="The bundle's folder.")],
    name: Annotated[str | None, typer.Option(help="The bundle's name; the config's by default.")] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace a bundle that is there.")] = False,
    snap_places: Annotated[int, typer.Option(min=1, help="Places at which snap errors are measured.")] = 20_000,
    imagery: Annotated[
        Path, typer.Option(help="Its imagery, which tells where it was trained if an older checkpoint does not.")
    ] = DEFAULT_IMAGERY,
) -> None:
    """Turn a checkpoint into a bundle, checked for parity, its snap errors measured."""
    with one_line_errors():
        from trainer.package import package
        from trainer.storage import place_of

        bundle = package(
            place_of(checkpoint), out, name=name, overwrite=overwrite, snap_places=snap_places, imagery=imagery
        )
        card = bundle.card
        parity, snapping = f"parity {card.parity.max_abs_error:.1e}", f"snap resolution {card.snap_resolution}"
        places = f"{card.training_places.count if card.training_places else 'no'} training places"
        line = f"{bundle.path}: {card.name} {card.version}, {parity}, {snapping}, {places}, digest {card.digest[:12]}"
        Console().print(line, highlight=False, soft_wrap=True)
