"""satcle import."""

from __future__ import annotations

import math
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from trainer.cli.arguments import one_line_errors

if TYPE_CHECKING:
    from trainer.importers.comparison import Band


class M0Scale(StrEnum):
    PI = "pi"
    ONE = "1"


class Variant(StrEnum):
    EXACT = "exact"
    PRINTED = "printed"
    CLOSED_FORM = "closed-form"


class Order(StrEnum):
    LONLAT = "lonlat"
    LATLON = "latlon"


M0_SCALES = {M0Scale.PI: math.pi, M0Scale.ONE: 1.0}


def import_(
    file: Annotated[Path, typer.Argument(help="A checkpoint, .pth, .safetensors or .onnx; or geoclip, the package.")],
    out: Annotated[Path | None, typer.Option(help="The bundle's folder.")] = None,
    name: Annotated[str | None, typer.Option(help="The bundle's name; from what the file holds by default.")] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Print how far exact and printed harmonics are apart, by latitude.")
    ] = False,
    variant: Annotated[
        Variant | None, typer.Option(help="Of spherical harmonics; what the published code computes by default.")
    ] = None,
    m0_scale: Annotated[
        M0Scale | None, typer.Option(help="Factor of the m = 0 harmonics; pi as published, 1 in copies of late 2024.")
    ] = None,
    order: Annotated[Order | None, typer.Option(help="ONNX: which coordinate the graph takes first.")] = None,
    dimensions: Annotated[
        str, typer.Option(metavar="64,128,…", help="ONNX: prefixes that are embeddings of their own.")
    ] = "",
    normalize: Annotated[bool, typer.Option("--normalize", help="ONNX: scale embeddings to unit length.")] = False,
    output: Annotated[str | None, typer.Option(metavar="NAME", help="ONNX: the output, where it has several.")] = None,
    version: Annotated[str, typer.Option(help="The bundle's version.")] = "1",
    description: Annotated[str | None, typer.Option(help="What it is, for the card.")] = None,
    license_: Annotated[str | None, typer.Option("--license", help="Of the weights, for the card.")] = None,
    limits: Annotated[str | None, typer.Option(help="What it is not good for, for the card.")] = None,
    credit: Annotated[str | None, typer.Option(help="Whom the weights are credited to, for the card.")] = None,
    url: Annotated[str | None, typer.Option(help="Where the weights are from, for the card.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a bundle that is there.")] = False,
    snap_places: Annotated[
        int | None, typer.Option(min=1, help="Places at which snap errors are measured; by its size by default.")
    ] = None,
) -> None:
    """Turn a published location encoder into a bundle: SatCLIP, SatCLE, GeoCLIP, or any ONNX encoder of places."""
    with one_line_errors():
        from trainer.importers import Choices
        from trainer.importers.bundle import Said, import_bundle
        from trainer.importers.comparison import compare_variants

        if out is None and not compare:
            raise typer.BadParameter("give the bundle's folder, or --compare", param_hint="--out")
        choices = Choices(
            m0_scale=None if m0_scale is None else M0_SCALES[m0_scale],
            variant=None if variant is None else variant.value,
            order=None if order is None else order.value,
            dimensions=_whole_numbers(dimensions),
            normalize=normalize,
            output=output,
        )
        if compare:
            Console().print(_table(compare_variants(file, choices)))
        if out is None:
            return
        said = Said(name, version, description, license_, limits, credit, url)
        bundle = import_bundle(file, out, choices, said, overwrite=overwrite, snap_places=snap_places)
        card = bundle.card
        parity, snapping = f"parity {card.parity.max_abs_error:.1e}", f"snap resolution {card.snap_resolution}"
        line = f"{bundle.path}: {card.name} {card.version}, {parity}, {snapping}, digest {card.digest[:12]}"
        Console().print(line, highlight=False, soft_wrap=True)


def _whole_numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise typer.BadParameter("whole numbers with commas, as 64,128", param_hint="--dimensions") from error


def _table(bands: list[Band]) -> Table:
    table = Table("latitude", "cosine distance, median", "largest", "harmonics, largest difference")
    for band in bands:
        values = (f"{value:.1e}" for value in (band.cosine_median, band.cosine_max, band.feature_max))
        table.add_row(f"{band.low}° to {band.high}°", *values)
    return table
