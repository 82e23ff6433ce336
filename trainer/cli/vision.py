"""satcle pretrain-vision and satcle figures attention."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from trainer.cli.arguments import DEFAULT_IMAGERY, DEFAULT_RUNS, ConfigFile, Imagery, RunsAnywhere, one_line_errors


def pretrain_vision(
    config: ConfigFile,
    imagery: Imagery = DEFAULT_IMAGERY,
    runs: RunsAnywhere = str(DEFAULT_RUNS),
    resume: Annotated[bool, typer.Option(help="Go on from the last checkpoint, where there is one.")] = False,
) -> None:
    """Distil a vision backbone on the config's own tiles (DINO); it goes to RUNS/NAME/vision.ckpt."""
    with one_line_errors():
        from trainer.config import read_config
        from trainer.storage import place_of
        from trainer.vision.checkpoint import read_vision
        from trainer.vision.training import pretrain_vision as train

        path = train(read_config(config), imagery, place_of(runs), resume=resume)
        measured = read_vision(path).description.metrics
        told = ", ".join(f"{name} {value:.3f}" for name, value in measured.items())
        Console().print(f"{path}: {told}", highlight=False, soft_wrap=True)


def attention(
    config: ConfigFile,
    imagery: Imagery = DEFAULT_IMAGERY,
    runs: RunsAnywhere = str(DEFAULT_RUNS),
    rows: Annotated[str, typer.Option(help="Tiles by row, with commas; the first to be read by default.")] = "",
    out: Annotated[Path, typer.Option(help="The picture.")] = Path("attention.png"),
    weights: Annotated[Path | None, typer.Option(help="A file of the published weights that the config names.")] = None,
) -> None:
    """Tiles, what the ViT attends to, their causal patches, and their smoothing (SatCLE, figure 10)."""
    with one_line_errors():
        from trainer.config import read_config
        from trainer.evaluation.attention_figure import attention_figure, read_rows
        from trainer.storage import place_of

        place = place_of(runs)
        written = attention_figure(read_config(config), imagery, place, read_rows(rows), out, weights=weights)
        Console().print(f"{written}", highlight=False, soft_wrap=True)
