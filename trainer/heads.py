"""Heads: fitted on a table of places by a bundle's frozen embeddings, and added to that bundle (SatCLE §3.4.2)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError, model_validator

from service.bundle import Bundle, DataSource, HeadCard, HeadFit, check_target, read_bundle, write_bundle
from service.bundle.card import Color, Frozen, Name
from service.bundle.store import CARD
from trainer.class_colors import in_order_of
from trainer.data.tables import PlacesTable, read_table
from trainer.data.targets import Classes, Targets, read_classes, read_numbers, split
from trainer.errors import HeadError
from trainer.evaluation.head_metrics import head_metrics
from trainer.export import embed_with_graph
from trainer.graphs.head import export_head, predict_with_graph
from trainer.head_fitting import Fitted, Recipe, fit

SCALE_QUANTILES = (0.02, 0.98)
"""Of the training targets: the scale on which maps show a regression."""


class HeadRequest(Frozen):
    """What is to be fitted. `column` is the target's; what cannot be measured (unit, credit, …) is for the card."""

    id: Name
    column: str
    task: Literal["regression", "classification"]
    transform: Literal["log1p"] | None = None
    unit: str | None = None
    description: str = ""
    colormap_name: str | None = None
    class_colors: dict[str, Color] | None = None
    min_class_rows: int = 0
    source: DataSource
    recipe: Recipe = Recipe()

    @model_validator(mode="after")
    def _suits_the_task(self) -> HeadRequest:
        if self.task == "classification" and (self.unit or self.transform):
            raise ValueError("a classification has neither unit nor transform")
        if self.task == "regression" and self.class_colors is not None:
            raise ValueError("a regression has no classes to colour; choose a colour map with --colormap")
        return self


def read_request(**fields: object) -> HeadRequest:
    """A request from the words of a command line. Raises HeadError, one line: the field and what is wrong with it."""
    try:
        return HeadRequest.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        raise HeadError(f"{'.'.join(map(str, first['loc']))}: {first['msg'].removeprefix('Value error, ')}") from error


def fit_head(table: Path, request: HeadRequest, bundle: Path, out: Path, *, replace: bool) -> tuple[Bundle, HeadCard]:
    """Fit a head and write `bundle` with it as `out`, which may be `bundle` itself.

    `replace`: whether a head of that id, or another bundle at `out`, may be lost. Raises TableError, HeadError or
    BundleError.
    """
    original = read_bundle(bundle)
    in_place = out.resolve() == bundle.resolve()
    check_target(out, overwrite=replace or in_place)
    _check_free(original, request.id, replace=replace)
    read = read_table(table)
    targets = read_targets(read, request)
    colors = read_colors(read, request, targets)  # known now rather than after the fit
    embeddings = embed_with_graph(original.read(original.card.encoder), read.lonlat.degrees)[targets.rows]
    fitted = fit(embeddings, targets, request.recipe, log1p=request.transform == "log1p")
    held_out = split(targets, request.recipe.seed).test
    graph, parity = export_head(fitted.head, embeddings[held_out])
    card = describe(request, read, targets, fitted, parity)
    on = f"{len(held_out)} rows held out from {len(targets.rows)} of {table.name} (7:1:2, seed {request.recipe.seed})"
    predicted = predict_with_graph(graph, embeddings[held_out])
    metrics = head_metrics(card, predicted, targets.values[held_out], on)
    card = card.model_copy(update={"metrics": metrics, "class_colors": colors})
    return add_head(read_bundle(bundle), card, graph, out, replace=replace), card


def read_targets(table: PlacesTable, request: HeadRequest) -> Targets:
    """Raises TableError or HeadError."""
    if request.task == "classification":
        return read_classes(table, request.column, request.min_class_rows)
    return read_numbers(table, request.column, log1p=request.transform == "log1p")


def read_colors(table: PlacesTable, request: HeadRequest, targets: Targets) -> tuple[Color, ...] | None:
    """The colour of each class, where the request has colours. Raises HeadError."""
    if request.class_colors is None or not isinstance(targets, Classes):
        return None
    return in_order_of(targets.names, request.class_colors, set(table.labels(request.column).tolist()))


def describe(request: HeadRequest, table: PlacesTable, targets: Targets, fitted: Fitted, parity: float) -> HeadCard:
    """The head's card, without its metrics and colours."""
    parts = split(targets, request.recipe.seed)
    regression = request.task == "regression"
    return HeadCard(
        id=request.id,
        task=request.task,
        file=f"heads/{request.id}.onnx",
        description=request.description,
        unit=request.unit,
        classes=targets.names if isinstance(targets, Classes) else None,
        transform=request.transform,
        value_range=_scale(targets.values[parts.train]) if regression else None,
        colormap_name=request.colormap_name,
        source=request.source.model_copy(update={"sha256": table.sha256}),
        fit=HeadFit(
            column=request.column,
            rows=len(targets.rows),
            train=len(parts.train),
            validation=len(parts.validation),
            test=len(parts.test),
            seed=request.recipe.seed,
            hidden_dims=request.recipe.hidden_dims,
            epochs=fitted.epochs,
            parity=parity,
        ),
    )


def add_head(bundle: Bundle, card: HeadCard, graph: bytes, out: Path, *, replace: bool) -> Bundle:
    """Write `bundle` with one more head, or with another of that id. Everything else in it stays as it is."""
    _check_free(bundle, card.id, replace=replace)
    dropped = {head.file for head in bundle.card.heads if head.id == card.id}
    files = {name: bundle.read(name) for name in bundle.manifest.files if name not in {CARD, *dropped}}
    kept = list(bundle.card.heads)
    position = next((i for i, head in enumerate(kept) if head.id == card.id), len(kept))
    kept[position : position + 1] = [card]
    described = bundle.card.model_copy(update={"heads": tuple(kept)})
    overwrite = replace or out.resolve() == bundle.path.resolve()
    return write_bundle(out, described, {**files, card.file: graph}, overwrite=overwrite)


def _check_free(bundle: Bundle, head_id: str, *, replace: bool) -> None:
    if not replace and any(head.id == head_id for head in bundle.card.heads):
        raise HeadError(f"{bundle.card.name} has a head {head_id!r}; choose another --id, or replace it with --replace")


def _scale(values: NDArray[np.float64] | NDArray[np.int64]) -> tuple[float, float]:
    low, high = np.quantile(values, SCALE_QUANTILES).tolist()
    if low < high:
        return low, high
    return float(values.min()), float(values.max())
