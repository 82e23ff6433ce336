"""The map page at `/` and its files under `/assets`, from memory, and what the page may load."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, Response

from service import logs
from service.settings import Settings
from service.web.built import FOLDER, INDEX, File, read_built

ASSETS = "/assets/"
FOREVER = "public, max-age=31536000, immutable"
HASHED = re.compile(r"-[A-Z0-9]{8}\.")
"""What the names of files hold that change their name when they change."""

NOT_BUILT = (
    "the map page is not part of this installation: its build needs an npm registry. "
    "Install satcle again (pip install -e '.[serve]' in a checkout) where one can be reached"
)


def page_router(settings: Settings, folder: Path = FOLDER) -> APIRouter:
    """`/` and `/assets/{name}`. Where the page was not built, the log says so now, and `/` when asked."""
    files = read_built(folder)
    router = APIRouter(include_in_schema=False)
    page = _page(files[INDEX], settings) if INDEX in files else _apology()

    @router.api_route("/", methods=["GET", "HEAD"])
    async def index() -> Response:
        return page()

    @router.api_route(ASSETS + "{name}", methods=["GET", "HEAD"])
    async def asset(request: Request, name: str) -> Response:
        file = files.get(name)
        if file is None:
            raise HTTPException(404, f"no file {name!r}")
        headers = {
            "Cache-Control": FOREVER if HASHED.search(name) else "no-cache",
            "X-Content-Type-Options": "nosniff",
            "Vary": "Accept-Encoding",
        }
        body = file.content
        if file.gzipped is not None and "gzip" in request.headers.get("accept-encoding", ""):
            body = file.gzipped
            headers["Content-Encoding"] = "gzip"
        return Response(body, headers=headers, media_type=file.media_type)

    return router


def _apology() -> Callable[[], Response]:
    logs.service.warning(NOT_BUILT)
    text = f"{NOT_BUILT[0].upper()}{NOT_BUILT[1:]}."
    page = f'<!doctype html><title>satcle</title><p>{text}<p><a href="docs">The API</a>'
    return partial(HTMLResponse, page, 404)


def _page(file: File, settings: Settings) -> Callable[[], Response]:
    """The page, told of the basemap; a response of its own for each asker, since middleware adds headers to it."""
    values = {"%BASEMAP%": settings.basemap_url, "%BASEMAP_ATTRIBUTION%": settings.basemap_attribution}
    text = file.content.decode()
    for mark, value in values.items():
        text = text.replace(mark, html.escape(value or ""))
    headers = {
        "Content-Security-Policy": _policy(settings.basemap_url),
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-cache",
    }
    return partial(HTMLResponse, text, headers=headers)


def _policy(basemap_url: str | None) -> str:
    """Only what comes from here, and the tiles of the basemap; no inline script or style.

    MapLibre decodes tiles through `blob:` and takes the icons of its style sheet from `data:`.
    """
    basemap = ""
    if basemap_url and (parts := urlsplit(basemap_url)).netloc:
        basemap = f" {parts.scheme}://{parts.netloc}"
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "font-src 'self'",
            f"img-src 'self' data: blob:{basemap}",
            f"connect-src 'self'{basemap}",
            "worker-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )
