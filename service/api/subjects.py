"""What maps and tiles show: similarity, a head's predictions, principal components. Known before it is computed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import cast
from urllib.parse import quote

from starlette.requests import Request

from service.api.query import Query
from service.api.references import References, Similarities, references_from_query
from service.bundle import DataSource
from service.embedding.model import Model
from service.embedding.models import Models
from service.embedding.timing import Timing
from service.maps.layers import Components, HeadLayer, Layer, Similarity

SIMILARITY_LOOK = cast(Layer, Similarity)
"""All but its values, which are the references' own; the class has the rest."""


@dataclass(frozen=True)
class Subject:
    """What is shown: `look` is the layer, or, where there are `references`, all of it but its values."""

    path: str
    model: Model
    look: Layer
    references: References | None = None
    sources: tuple[DataSource, ...] = ()
    """What a head was fitted to."""

    @property
    def key(self) -> tuple[str | bytes, ...]:
        """Equal where every value is. A provider's last bits are its own, and a precision's."""
        card = self.model.bundle.card
        places = self.references.key if self.references else ()
        return (self.path, card.digest, self.model.backend.provider, self.model.precision, *places)

    async def layer(self, similarities: Similarities, deadline: float, timing: Timing) -> Layer:
        """The layer itself. Raises what `Embedder.embed` raises."""
        if self.references is None:
            return self.look
        return await similarities.layer(self.model, self.references, deadline, timing)


SubjectOf = Callable[[Model, Request, Query], Subject]


def similarity_to(model: Model, references: References) -> Subject:
    return Subject("/v1/similarity", model, SIMILARITY_LOOK, references)


def prediction_by(model: Model, head_id: str) -> Subject:
    """Raises UnknownHead."""
    head = model.heads.named(head_id)
    return Subject(f"/v1/predictions/{quote(head.card.id)}", model, HeadLayer(head), sources=(head.card.source,))


def components_of(model: Model, read: dict[str, Components]) -> Subject:
    """`read` keeps the components of bundles, by digest. Raises what `Components.of` raises."""
    digest = model.bundle.card.digest
    if digest not in read:
        read[digest] = Components.of(model.bundle.card, model.components)
    return Subject("/v1/embeddings", model, read[digest])


def _similarity_of(model: Model, request: Request, query: Query) -> Subject:
    return similarity_to(model, references_from_query(query))


def _prediction_of(model: Model, request: Request, query: Query) -> Subject:
    return prediction_by(model, request.path_params["head"])


def _components_of(model: Model, request: Request, query: Query) -> Subject:
    return components_of(model, cast(dict[str, Components], request.app.state.components))


@dataclass(frozen=True)
class Kind:
    """A family of endpoints: the path they begin with, and the query parameters that say what they show."""

    path: str
    summary: str
    subject_of: SubjectOf
    parameters: tuple[str, ...] = ()

    @asynccontextmanager
    async def subject(self, request: Request, query: Query, deadline: float) -> AsyncIterator[Subject]:
        """What the request asks for, of a model that is not unloaded meanwhile. Raises what `Models.using` raises."""
        async with cast(Models, request.app.state.models).using(query.one("model"), deadline) as model:
            yield self.subject_of(model, request, query)


KINDS = (
    Kind("/v1/similarity", "similarity to the references", _similarity_of, ("reference", "negative")),
    Kind("/v1/predictions/{head}", "a head's predictions", _prediction_of),
    Kind("/v1/embeddings", "the first three principal components as red, green and blue", _components_of),
)
