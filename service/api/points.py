"""GET …/point/{lon},{lat}: the value at a place, as maps have it there."""

from __future__ import annotations

from typing import Any, cast

from fastapi import Request
from starlette.responses import JSONResponse, Response

from service.api.places import places_from_json
from service.api.query import Query, lon_lat
from service.api.reading import Limits, deadline_of, unless_client_leaves
from service.api.references import Similarities
from service.api.subjects import Kind, Subject
from service.bundle import LonLat
from service.embedding.cells import cell_strings, cells_of
from service.embedding.timing import Timing
from service.maps.layers import Values
from service.maps.raster import values_at


async def point(request: Request, kind: Kind) -> Response:
    """The value at the very place; `cell` says where embeddings and predictions would snap it to."""
    deadline = deadline_of(request, cast(Limits, request.app.state.limits))
    query = Query(request, (*kind.parameters, "model"))
    place = "{lon},{lat}".format_map(request.path_params)
    lonlat = places_from_json(lon_lat(place, "/point"), 1, "point")
    request.state.places = lonlat
    async with kind.subject(request, query, deadline) as subject:

        async def value() -> Values:
            timing = cast(Timing, request.state.timing)
            layer = await subject.layer(cast(Similarities, request.app.state.similarities), deadline, timing)
            with timing.stage("raster"):
                return await values_at(subject.model, lonlat, layer, deadline)

        found = await unless_client_leaves(request, value())
        return JSONResponse(_answer(subject, lonlat, _shortest(found[0])))


def _answer(subject: Subject, lonlat: LonLat, value: list[float]) -> dict[str, Any]:
    lon, lat = lonlat.degrees[0].tolist()
    answer: dict[str, Any] = {"lon": lon, "lat": lat}
    if (resolution := subject.model.bundle.card.snap_resolution) is not None:
        answer["cell"] = cell_strings(cells_of(lonlat, resolution))[0]
    look = subject.look
    answer["value"] = value[0] if look.bands == 1 else value
    if look.unit is not None:
        answer["unit"] = look.unit
    if look.categories is not None:
        answer["value"] = int(value[0])
        answer["label"] = look.categories[int(value[0])]
    return answer


def _shortest(values: Values) -> list[float]:
    """With no more digits than say the same float32."""
    return [float(str(value)) for value in values]
