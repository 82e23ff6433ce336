"""The places that similarity is measured to, as requests name them."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from service.api.places import places_from_json
from service.api.query import Query, lon_lat
from service.bundle import LonLat
from service.embedding.model import Model
from service.embedding.timing import Timing
from service.errors import InvalidRequest, ItemError
from service.maps.layers import Similarity

MAX_IN_QUERY = 100
MAX_REMEMBERED = 1024


@dataclass(frozen=True)
class References:
    """Places to be like and, where there are negatives, places not to be like."""

    places: LonLat
    negatives: LonLat | None = None

    def __len__(self) -> int:
        return len(self.places) + (0 if self.negatives is None else len(self.negatives))

    @property
    def key(self) -> tuple[bytes, bytes]:
        """Equal for the same places in the same order."""
        return self.places.as_written.tobytes(), b"" if self.negatives is None else self.negatives.as_written.tobytes()


class Similarities:
    """Similarity layers by model and references: the most recent few are remembered, for a map asks for many tiles."""

    def __init__(self) -> None:
        self._recent: OrderedDict[tuple[str, bytes, bytes], Similarity] = OrderedDict()

    async def layer(self, model: Model, references: References, deadline: float, timing: Timing) -> Similarity:
        """The similarity to these places, which are encoded exactly. Raises what `Embedder.embed` raises."""
        key = (model.bundle.card.digest, *references.key)
        layer = self._recent.pop(key, None)
        if layer is None:
            layer = await _similarity(model, references, deadline, timing)
        if len(references) <= MAX_IN_QUERY:
            self._recent[key] = layer
        if len(self._recent) > MAX_REMEMBERED:
            self._recent.popitem(last=False)
        return layer


async def _similarity(model: Model, references: References, deadline: float, timing: Timing) -> Similarity:
    given = [references.places] if references.negatives is None else [references.places, references.negatives]
    every = LonLat.concatenate(given)
    rows = (await model.embedder.embed(every, exact=True, deadline=deadline, timing=timing)).rows
    return Similarity(rows[: len(references.places)], rows[len(references.places) :])


def references_from_json(fields: dict[str, Any], max_points: int) -> References:
    """Takes `reference` and `negative` out of the fields of a body. Raises InvalidRequest or TooLarge."""
    places = places_field(fields, "reference", max_points)
    negatives = places_field(fields, "negative", max_points) if "negative" in fields else None
    return References(places, negatives)


def places_field(fields: dict[str, Any], field: str, max_points: int) -> LonLat:
    """Takes the places of `field` out of the fields of a body. Raises InvalidRequest or TooLarge."""
    if field not in fields:
        raise InvalidRequest([ItemError(f"/{field}", "is missing")])
    return places_from_json(fields.pop(field), max_points, field)


def references_from_query(query: Query) -> References:
    """Each `reference=lon,lat` and `negative=lon,lat`. Raises InvalidRequest."""
    places = _places(query, "reference")
    if places is None:
        raise InvalidRequest([ItemError("/reference", "is missing: send reference=lon,lat, once or several times")])
    return References(places, _places(query, "negative"))


def _places(query: Query, name: str) -> LonLat | None:
    texts = query.each(name)
    if len(texts) > MAX_IN_QUERY:
        raise InvalidRequest([ItemError(f"/{name}", f"is there {len(texts)} times; at most {MAX_IN_QUERY} are read")])
    pairs = [lon_lat(text, f"/{name}/{index}") for index, text in enumerate(texts)]
    return places_from_json(pairs, MAX_IN_QUERY, name) if pairs else None
