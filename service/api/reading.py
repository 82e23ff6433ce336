"""Requests in: bodies counted as they stream, Content-Type → places and options, deadlines, callers that leave."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Collection, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from starlette.datastructures import Headers
from starlette.requests import Request

from service.api.arrow import ArrowLimits, places_from_arrow
from service.api.formats import ARROW_STREAM, JSON, OCTET_STREAM
from service.api.large_json import split_pairs
from service.api.places import places_from_columns, places_from_float64, places_from_json
from service.bundle import LonLat
from service.errors import (
    ClientGone,
    DeadlineExceeded,
    InvalidRequest,
    ItemError,
    MalformedBody,
    TooLarge,
    UnsupportedMediaType,
)

T = TypeVar("T")
Options = TypeVar("Options", bound=BaseModel)
MAX_NAME = 60
INLINE_BYTES = 65_536
"""A larger body is parsed in a thread, so that the event loop goes on."""
INLINE_OBJECT_BYTES = 8_192
"""The same where a body may hold geometries, which take longer to check than places."""

LINGER_S = 1.0
"""How long a body that is refused is read on, so that its sender has the answer."""


@dataclass(frozen=True)
class Limits:
    body_bytes: int
    points: int
    deadline_ms: int


async def read_body(request: Request, max_bytes: int, deadline: float) -> bytes:
    """The whole body, counted as it streams, whatever Content-Length claims, by `deadline` in the event loop's time.

    Raises TooLarge, ClientGone, or DeadlineExceeded where the client is slower than that.
    """
    chunks: list[bytes] = []
    received, more = 0, True
    try:
        async with asyncio.timeout_at(deadline):
            while more and received <= max_bytes:
                chunk, more = await _next_chunk(request)
                received += len(chunk)
                chunks.append(chunk)
    except TimeoutError:
        request.app.state.metrics.rejected.labels("deadline").inc()
        await _discard_rest(request)
        raise DeadlineExceeded(f"the deadline passed after {received} bytes of the body") from None
    if received > max_bytes:
        chunks.clear()
        if more:
            await _discard_rest(request)
        raise TooLarge(f"the body is over the {max_bytes} bytes of SATCLE_MAX_BODY_BYTES: split the request")
    return b"".join(chunks)


async def _next_chunk(request: Request) -> tuple[bytes, bool]:
    """Some of the body, and whether there is more of it. Raises ClientGone."""
    message = await request.receive()
    if message["type"] == "http.disconnect":
        raise ClientGone("the client left while sending")
    return message.get("body", b""), message.get("more_body", False)


async def _discard_rest(request: Request) -> None:
    """Read on for LINGER_S, keeping nothing: to close a connection on bytes unread would reset it, answer and all."""
    with suppress(TimeoutError, ClientGone):
        async with asyncio.timeout(LINGER_S):
            while (await _next_chunk(request))[1]:
                pass


async def read_places(
    request: Request, options_type: type[Options], limits: Limits, deadline: float
) -> tuple[LonLat, Options]:
    """Places and options, by Content-Type; options may be query parameters, and a JSON body's come first."""
    media_type = _media_type(request.headers, (JSON, OCTET_STREAM, ARROW_STREAM))
    body = await read_body(request, limits.body_bytes, deadline)
    parse = partial(_parse, body, media_type, query_of(request), options_type, limits)
    return parse() if len(body) <= INLINE_BYTES else await asyncio.to_thread(parse)


def query_of(request: Request) -> dict[str, str]:
    """Query parameters; the values of one that is repeated are joined by commas, so that none is lost unsaid."""
    given = request.query_params
    return {name: ",".join(given.getlist(name)) for name in given}


async def read_json(request: Request, limits: Limits, deadline: float, read: Callable[[dict[str, Any]], T]) -> T:
    """What `read` makes of the JSON object that the body is."""
    _media_type(request.headers, (JSON,))
    body = await read_body(request, limits.body_bytes, deadline)

    def parse() -> T:
        return read(parse_json_object(body))

    return parse() if len(body) <= INLINE_OBJECT_BYTES else await asyncio.to_thread(parse)


def _media_type(headers: Headers, known: Collection[str]) -> str:
    if (coding := headers.get("content-encoding", "identity").strip().lower()) != "identity":
        raise UnsupportedMediaType(f"Content-Encoding is {coding[:MAX_NAME]!a}; send the body as it is")
    media_type = headers.get("content-type", "").split(";")[0].strip().lower()
    if media_type not in known:
        found = repr(media_type[:MAX_NAME]) if media_type else "missing"
        raise UnsupportedMediaType(f"Content-Type is {found}; send {' or '.join(known)}")
    return media_type


def _parse(
    body: bytes, media_type: str, query: dict[str, str], options_type: type[Options], limits: Limits
) -> tuple[LonLat, Options]:
    if media_type == JSON:
        if len(body) > INLINE_BYTES and (split := split_pairs(body)):
            pairs, fields = split
            places = places_from_columns(pairs[:, 0], pairs[:, 1], limits.points)
            return places, parse_options(options_type, query, fields)
        fields = parse_json_object(body)
        if "input" not in fields:
            raise InvalidRequest([ItemError("/input", "is missing")])
        places = places_from_json(fields.pop("input"), limits.points)
        return places, parse_options(options_type, query, fields)
    options = parse_options(options_type, query, {})
    if media_type == OCTET_STREAM:
        return places_from_float64(body, limits.points), options
    return places_from_arrow(body, ArrowLimits(limits.points, limits.body_bytes)), options


def parse_json_object(body: bytes) -> dict[str, Any]:
    """Raises MalformedBody where the body is not JSON, InvalidRequest where it is not an object."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        value = _parse_lenient_json(body)
    if not isinstance(value, dict):
        raise InvalidRequest([ItemError("", 'the body must be a JSON object: {"name": value, …}')])
    return value


def _parse_lenient_json(body: bytes) -> object:
    """Reads the NaN and Infinity that many clients write, so that the item can be named."""
    try:
        return json.loads(body)
    except RecursionError:
        raise MalformedBody("the body is nested too deeply") from None
    except ValueError as error:
        raise MalformedBody(f"the body is not JSON: {ascii(str(error))[1:-1]}") from None


def parse_options(
    options_type: type[Options], query: dict[str, str], fields: dict[str, Any], beside: str = "input"
) -> Options:
    """Options from query text (`true`, `64`) and from JSON fields, which must have the very type.

    `beside` names the fields that were read already.
    """
    try:
        from_query = options_type.model_validate_strings(query)
        from_json = options_type.model_validate(fields, strict=True)
    except ValidationError as error:
        known = f"besides {beside} there are {', '.join(options_type.model_fields)}"
        raise InvalidRequest([_item_error(e, known) for e in error.errors(include_input=False)]) from None
    if not fields:
        return from_query
    return from_query.model_copy(update=from_json.model_dump(exclude_unset=True))


def _item_error(error: ErrorDetails, known: str) -> ItemError:
    steps = (str(step)[:MAX_NAME].replace("~", "~0").replace("/", "~1") for step in error["loc"])
    message = error["msg"][0].lower() + error["msg"][1:]
    if error["type"] == "extra_forbidden":
        message = f"is not a field; {known}"
    return ItemError("".join(f"/{step}" for step in steps), message)


def deadline_of(request: Request, limits: Limits) -> float:
    """When the answer must be ready, in the event loop's time: the setting, or X-Deadline-Ms where that is sooner."""
    milliseconds: float = limits.deadline_ms
    if (header := request.headers.get("x-deadline-ms")) is not None:
        if not (header.isascii() and header.isdigit()) or int(header[:12]) == 0:
            raise InvalidRequest(
                [ItemError("", "the header X-Deadline-Ms must be a whole number of milliseconds over 0")]
            )
        milliseconds = min(milliseconds, int(header[:12]))
    return asyncio.get_running_loop().time() + milliseconds / 1000


async def unless_client_leaves(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is cancelled where the client disconnects first. The body must have been read."""
    watching: asyncio.Task[None] | None = None
    try:
        async with asyncio.timeout(None) as scope:
            watching = asyncio.ensure_future(_end_on_disconnect(request, scope))
            return await work
    except TimeoutError:
        if not scope.expired():
            raise
        raise ClientGone("the client left before the answer was ready") from None
    finally:
        if watching:
            watching.cancel()


async def _end_on_disconnect(request: Request, scope: asyncio.Timeout) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    scope.reschedule(asyncio.get_running_loop().time())
