"""Strong ETags (RFC 9110 §8.8.3), known before the answer is computed, and what to answer to those who have it."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from importlib.metadata import version

from starlette.requests import Request
from starlette.responses import Response

MAX_AGE_S = 3600


def etag_of(parts: Iterable[object]) -> str:
    """Equal for equal parts, whose `repr` must say all of them. Another version of the service has other ETags."""
    return f'"{sha256(repr((version("satcle"), *parts)).encode()).hexdigest()[:32]}"'


def caching_headers(request: Request, etag: str) -> dict[str, str]:
    """To keep for an hour, then to ask again, since a name may stand for another bundle by then.

    Only the asker's own cache may keep what needs a key.
    """
    whose = "private" if request.app.state.settings.api_keys_file else "public"
    return {"ETag": etag, "Cache-Control": f"{whose}, max-age={MAX_AGE_S}"}


def not_modified(request: Request, etag: str) -> Response | None:
    """304 where If-None-Match holds the ETag (compared weakly: RFC 9110 §13.1.2), else None."""
    given = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    if etag not in given and given != ["*"]:
        return None
    return Response(status_code=304, headers=caching_headers(request, etag))
