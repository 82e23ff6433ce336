"""Heads: task models on the embeddings of a bundle. Real units and probabilities out, checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from service.bundle import Bundle, HeadCard
from service.embedding.backends.base import Rows, checked
from service.embedding.backends.onnx import Cuda, OnnxHead, Provider
from service.errors import BackendFailed, UnknownHead

Predictions = NDArray[np.float32]
"""Shape (n,) in the head's unit where it regresses; (n, classes), probabilities, where it classifies."""


class Graph(Protocol):
    """What computes a head; many threads call it at once."""

    def predict(self, rows: Rows) -> NDArray[np.float32]:
        """(n, embedding_dim) → (n, columns)."""
        ...


@dataclass(frozen=True)
class Head:
    """A head and its card."""

    card: HeadCard
    graph: Graph

    def predict(self, rows: Rows) -> Predictions:
        """Row i is predicted from embedding i. Blocks. Raises BackendFailed: what is not finite never leaves here."""
        try:
            predictions = np.asarray(self.graph.predict(rows))
        except Exception as error:  # whatever the graph is made of, its callers know one error
            raise BackendFailed(f"head {self.card.id} failed on a batch of {len(rows)} embeddings: {error}") from error
        predictions = checked(predictions, (len(rows), self.card.columns), f"head {self.card.id}")
        return predictions[:, 0] if self.card.task == "regression" else predictions


class Heads(Mapping[str, Head]):
    """The heads of one model, by id, in the order of its card."""

    def __init__(self, model: str, heads: tuple[Head, ...]) -> None:
        self._model = model
        self._by_id = {head.card.id: head for head in heads}

    def named(self, head_id: str) -> Head:
        """Raises UnknownHead, which names those there are."""
        if not self._by_id:
            raise UnknownHead(f"model {self._model} has no heads; add one with satcle fit-head")
        if head_id not in self._by_id:
            raise UnknownHead(f"model {self._model} has no head {head_id[:64]!a}; there is {', '.join(self._by_id)}")
        return self._by_id[head_id]

    def __getitem__(self, head_id: str) -> Head:
        return self._by_id[head_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_id)

    def __len__(self) -> int:
        return len(self._by_id)


def open_heads(bundle: Bundle, provider: Provider, cuda: Cuda = Cuda()) -> Heads:  # noqa: B008 - frozen
    """Every head of the bundle, each tried on one embedding. Raises what OnnxHead and `Head.predict` raise."""
    heads = tuple(Head(card, OnnxHead(bundle, card, provider, cuda)) for card in bundle.card.heads)
    for head in heads:
        head.predict(np.zeros((1, bundle.card.embedding_dim), np.float32))
    return Heads(bundle.card.name, heads)
