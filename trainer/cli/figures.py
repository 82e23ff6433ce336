"""satcle figures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from trainer.cli.arguments import DEFAULT_IMAGERY, ConfigFile, Imagery, one_line_errors
from trainer.cli.vision import attention

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

figures = typer.Typer(help="Pictures of encoders, of what they tell, and of their data.", no_args_is_help=True)
figures.command()(attention)

EncoderSpec = Annotated[
    str, typer.Argument(metavar="ENCODER", help="A bundle, FILE.ckpt, http(s)://host:port[#model] or baseline:NAME.")
]
Box = Annotated[str, typer.Option(metavar="W,S,E,N", help="The map, in degrees; the world by default.")]
THE_WORLD = "-180,-90,180,90"


def _say(path: Path) -> None:
    Console().print(f"{path}", highlight=False, soft_wrap=True)


@figures.command()
def pca(encoder: EncoderSpec, out: Annotated[Path, typer.Option()] = Path("pca.png"), bbox: Box = THE_WORLD) -> None:
    """The first three principal components of the embedding of every place, as red, green and blue."""
    with one_line_errors():
        from trainer.evaluation.drawing import read_box
        from trainer.evaluation.encoders import open_encoder
        from trainer.evaluation.world_figures import pca_figure

        _say(pca_figure(open_encoder(encoder), out, read_box(bbox)))


@figures.command()
def similarity(
    encoder: EncoderSpec,
    reference: Annotated[str, typer.Option(metavar="LON,LAT", help="Beijing by default.")] = "116.4,39.9",
    out: Annotated[Path, typer.Option()] = Path("similarity.png"),
    bbox: Box = THE_WORLD,
) -> None:
    """How like the embedding of a place that of every other is."""
    with one_line_errors():
        from trainer.evaluation.drawing import read_box, read_place
        from trainer.evaluation.encoders import open_encoder
        from trainer.evaluation.world_figures import similarity_figure

        place, box = read_place(reference, "--reference"), read_box(bbox)
        _say(similarity_figure(open_encoder(encoder), place, out, box))


@figures.command()
def prediction(
    encoder: EncoderSpec,
    suite: Annotated[Path, typer.Option("--tasks", help="The suite that has the task.")],
    task: Annotated[str, typer.Option(help="Its name there.")],
    data_dir: Annotated[Path, typer.Option(help="The folder that the suite's data is in.")] = Path(),
    out: Annotated[Path, typer.Option()] = Path("prediction.png"),
) -> None:
    """A task's truth, what ridge tells of held-out blocks from the embedding, and the error, as maps."""
    with one_line_errors():
        from trainer.errors import EvaluationError
        from trainer.evaluation.encoders import open_encoder
        from trainer.evaluation.prediction_figure import prediction_figure
        from trainer.evaluation.suites import read_suite
        from trainer.evaluation.task_data import open_task

        asked = {each.name: each for each in read_suite(suite).tasks}
        if task not in asked:
            raise EvaluationError(f"{suite} has no task {task!r}; it has {', '.join(asked)}")
        opened = open_task(asked[task], data_dir / asked[task].data)
        _say(prediction_figure(open_encoder(encoder), opened, out))


@figures.command()
def transfer(
    leaderboard: Annotated[Path, typer.Argument(help="What satcle evaluate --probes transfer --out made.")],
    encoders: Annotated[str, typer.Option(metavar="A,B", help="Which rows; the first two by default.")] = "",
    out: Annotated[Path, typer.Option()] = Path("transfer.png"),
) -> None:
    """How much better one encoder is than another on a continent that neither probe had seen, but for one place in
    a hundred."""
    with one_line_errors():
        from trainer.evaluation.transfer_figure import transfer_figure

        _say(transfer_figure(leaderboard, [name.strip() for name in encoders.split(",") if name.strip()], out))


@figures.command()
def distribution(
    config: ConfigFile,
    imagery: Imagery = DEFAULT_IMAGERY,
    out: Annotated[Path, typer.Option()] = Path("distribution.png"),
) -> None:
    """Where a config's training places are, and how far from one every place is."""
    with one_line_errors():
        from trainer.config import read_config
        from trainer.data.tiles import open_tiles
        from trainer.evaluation.distribution_figure import distribution_figure

        read = read_config(config)
        tiles = open_tiles(read, imagery)
        _say(distribution_figure(read.name, tiles.lonlat[tiles.train_rows].numpy(), out))


@figures.command()
def continuity(
    encoders: Annotated[
        list[str], typer.Argument(metavar="ENCODER...", help="As satcle evaluate takes them; NAME=… names one.")
    ],
    config: Annotated[
        Path | None, typer.Option(help="A config, run or FILE.ckpt: steps also from its training places, and between.")
    ] = None,
    imagery: Imagery = DEFAULT_IMAGERY,
    steps: Annotated[
        int, typer.Option(min=2, help="How many steps of each length, from each kind of starts.")
    ] = 10_000,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    out: Annotated[Path, typer.Option(help="The picture; .csv and .md go beside it.")] = Path("continuity.png"),
) -> None:
    """How much an embedding changes over 0.1 to 100 km along random great circles, and where places were trained on."""
    with one_line_errors():
        from trainer.evaluation.continuity import STEPS_KM, measure_changes, starting_places
        from trainer.evaluation.continuity_figure import continuity_figure, write_continuity
        from trainer.evaluation.encoders import open_encoders

        opened = open_encoders(encoders)
        starts = starting_places(steps, seed, _training_places(config, imagery) if config else None)
        changes = [change for encoder in opened for change in measure_changes(encoder, starts, STEPS_KM, seed)]
        picture = continuity_figure(changes, out)
        write_continuity(changes, {"steps": steps, "seed": seed, "training places of": config or "none"}, out)
        _say(picture)


def _training_places(config: Path, imagery: Path) -> NDArray[np.float64]:
    from trainer.data.tiles import open_tiles
    from trainer.evaluation.overlap import trained_config

    tiles = open_tiles(trained_config(config), imagery)
    return tiles.lonlat[tiles.train_rows].numpy()
