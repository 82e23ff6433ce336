"""What the card of a bundle says of its heads, measured again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.bundle import Bundle, HeadCard, Metric
from trainer.data.tables import PlacesTable
from trainer.data.targets import Targets, classes_of, read_numbers, split
from trainer.errors import HeadError
from trainer.evaluation.head_metrics import head_metrics
from trainer.export import embed_with_graph
from trainer.graphs.head import predict_with_graph

TOLERANCE = 1e-3
"""How far a figure may be from its card's, relative to max(1, |card's|): other processors round otherwise."""


@dataclass(frozen=True)
class Measured:
    """The metrics of a head on rows of a table. `again`: on those held out when it was fitted, as its card's were."""

    card: HeadCard
    rows: int
    metrics: tuple[Metric, ...]
    again: bool

    def compared(self) -> Iterator[tuple[Metric, float | None]]:
        """Each metric, and the card's value of the same name."""
        said = {metric.name: metric.value for metric in self.card.metrics}
        for metric in self.metrics:
            yield metric, said.get(metric.name)

    @property
    def differs(self) -> bool:
        """Whether a figure that should be the card's is not."""
        return self.again and any(
            value is None or abs(metric.value - value) > TOLERANCE * max(1, abs(value))
            for metric, value in self.compared()
        )


def measure_heads(bundle: Bundle, tables: Sequence[PlacesTable], head_ids: Sequence[str]) -> Iterator[Measured]:
    """Measure the heads asked for, or all, on each table that has the column they predict.

    On the very table that a head was fitted on, the rows held out then; on any other, all of its rows. Raises
    HeadError where no table serves a head asked for, or where there is nothing to measure.
    """
    cards = {card.id: card for card in bundle.card.heads}
    if unknown := [head_id for head_id in head_ids if head_id not in cards]:
        raise HeadError(f"{bundle.card.name} has no head {unknown[0]!r}; it has {', '.join(cards) or 'none'}")
    pairs = [
        (cards[i], table)
        for i in head_ids or cards
        for table in tables
        if _column(cards[i]) in table.columns.column_names
    ]
    unserved = set(head_ids) - {card.id for card, _ in pairs}
    if unserved or not pairs:
        wanted = ", ".join(_column(card) for card in cards.values() if not unserved or card.id in unserved)
        raise HeadError(f"no table has what {bundle.card.name}'s heads predict: {wanted or 'it has no heads'}")
    encoder = bundle.read(bundle.card.encoder)
    for card, table in pairs:
        yield measure_head(bundle, card, table, embed_with_graph(encoder, table.lonlat.degrees))


def measure_head(bundle: Bundle, card: HeadCard, table: PlacesTable, embeddings: NDArray[np.float32]) -> Measured:
    """`embeddings` are those of the table's rows. Raises TableError or HeadError."""
    targets = _targets(card, table)
    positions = np.arange(len(targets.rows))
    again = card.fit is not None and table.sha256 == card.source.sha256
    if again and card.fit:
        positions = split(targets, card.fit.seed).test
    predicted = predict_with_graph(bundle.read(card.file), embeddings[targets.rows[positions]])
    on = f"{len(positions)} rows of {table.path.name}"
    metrics = head_metrics(card, predicted, targets.values[positions], on)
    return Measured(card, len(positions), metrics, again)


def _column(card: HeadCard) -> str:
    return card.fit.column if card.fit else card.id


def _targets(card: HeadCard, table: PlacesTable) -> Targets:
    column = _column(card)
    if card.task == "regression":
        return read_numbers(table, column, log1p=card.transform == "log1p")
    classes = classes_of(table.labels(column), card.classes or ())
    if len(classes.rows) == 0:
        raise HeadError(f"{table.path}: no row of {column} is of a class that head {card.id} knows")
    return classes
