"""What a map shows: values of embeddings, one or more a place, each computed where the embeddings are.

Products are einsum's and not BLAS's, which would take every core in each of the workers' threads.
"""

from __future__ import annotations

from io import BytesIO
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from service.bundle import BundleCard
from service.embedding.backends.base import Rows
from service.embedding.heads import Head
from service.errors import BackendFailed, UnknownLayer

Values = NDArray[np.float32]


class Layer(Protocol):
    """`name` describes the values, `value_range` is the fixed scale of colours over the whole globe.

    With `categories` a value is the index of one of them. `category_colors`, one each as #rrggbb, and `colormap_name`
    are the layer's own choice, if it has one.
    """

    @property
    def name(self) -> str: ...

    @property
    def unit(self) -> str | None: ...

    @property
    def bands(self) -> int: ...

    @property
    def value_range(self) -> tuple[float, float]: ...

    @property
    def categories(self) -> tuple[str, ...] | None: ...

    @property
    def category_colors(self) -> tuple[str, ...] | None: ...

    @property
    def colormap_name(self) -> str | None: ...

    def values(self, rows: Rows) -> Values:
        """(n, embedding_dim) to (n, bands), finite; pure, and called by many threads at once."""
        ...


class Similarity:
    """Mean cosine to the references, minus the mean cosine to the negatives where there are any.

    As cosine is linear in the unit reference, both means are one product with one direction.
    """

    name = "similarity"
    unit = None
    bands = 1
    value_range = (-1.0, 1.0)
    categories = None
    category_colors = None
    colormap_name = None

    def __init__(self, references: Rows, negatives: Rows | None = None) -> None:
        """Embeddings (n, embedding_dim), at least one reference."""
        direction = unit_rows(references).mean(axis=0)
        self._bound = 1.0
        if negatives is not None and len(negatives):
            direction -= unit_rows(negatives).mean(axis=0)
            self._bound = 2.0
        self._direction = direction

    def values(self, rows: Rows) -> Values:
        exact = rows.astype(np.float64)
        lengths = np.sqrt(np.einsum("nd,nd->n", exact, exact))
        scores = np.einsum("nd,d->n", exact, self._direction)
        np.divide(scores, lengths, out=scores, where=lengths > 0)  # a row of zeros is like nothing: 0
        values: Values = scores.clip(-self._bound, self._bound).astype(np.float32)
        return values[:, None]


class Components:
    """The first principal components as red, green and blue, on one scale that the bundle fixes.

    `affine` (embedding_dim + 1, 3): a row's three values are (row, 1) @ affine, cut to 0..1.
    """

    name = "principal components"
    unit = None
    bands = 3
    value_range = (0.0, 1.0)
    categories = None
    category_colors = None
    colormap_name = None

    def __init__(self, affine: NDArray[np.float32]) -> None:
        self._axes, self._offset = np.ascontiguousarray(affine[:-1].T), affine[-1]

    @classmethod
    def of(cls, card: BundleCard, file: bytes | None) -> Components:
        """Those of the bundle's file. Raises UnknownLayer where there is none, BackendFailed where it holds none."""
        if card.components is None or file is None:
            raise UnknownLayer(f"model {card.name} has no principal components; export its bundle again to add them")
        shape = (card.embedding_dim + 1, cls.bands)
        try:
            affine = np.load(BytesIO(file), allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise BackendFailed(f"{card.components.file} of model {card.name} is no .npy file: {error}") from error
        if affine.shape != shape or affine.dtype != np.float32 or not np.isfinite(affine).all():
            raise BackendFailed(f"{card.components.file} of model {card.name} is not finite float32 {shape}")
        return cls(affine)

    def values(self, rows: Rows) -> Values:
        scaled: Values = (np.einsum("nd,kd->nk", rows, self._axes) + self._offset).clip(0, 1)
        return scaled


class HeadLayer:
    """A head's value in its unit, or the index of its most probable class."""

    bands = 1

    def __init__(self, head: Head) -> None:
        self._head = head
        card = head.card
        self.name, self.unit, self.categories = card.id, card.unit, card.classes
        self.category_colors, self.colormap_name = card.class_colors, card.colormap_name
        self.value_range = card.value_range or (0.0, float(max(1, card.columns - 1)))

    def values(self, rows: Rows) -> Values:
        predicted = self._head.predict(rows)
        values = predicted if self.categories is None else predicted.argmax(axis=1)
        return values.astype(np.float32)[:, None]


def unit_rows(rows: Rows) -> NDArray[np.float64]:
    """Each row at unit length, float64, so that no length over- or underflows; a row of zeros stays."""
    exact = rows.astype(np.float64)
    lengths = np.linalg.norm(exact, axis=1, keepdims=True)
    np.divide(exact, lengths, out=exact, where=lengths > 0)
    return exact
