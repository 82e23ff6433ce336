"""API keys: a file with a key a line, and the middleware that asks for one, as pure ASGI, before any body is read."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from time import monotonic

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service import logs
from service.api.problems import problem
from service.errors import InvalidSetting

OPEN_PATHS = frozenset(
    {"/", "/livez", "/readyz", "/metrics", "/docs", "/docs/oauth2-redirect", "/redoc", "/openapi.json"}
)
"""What needs no key: probes, metrics, and the description of the API. All else needs one, routes to come included."""

OPEN_FOLDER = "/assets/"
"""The files of the map page, which need no key either: the page asks its reader for one."""

LOOK_EVERY_S = 1.0
Fingerprint = tuple[int, int, int]


class ApiKeys:
    """The keys of a file, as sha256 digests. A change of the file is seen within a second of the next request.

    A file that can no longer be read, or has no key left, leaves the last good keys in force, and the log says so:
    a slip of an operator neither locks everybody out nor lets anybody in. Raises InvalidSetting where the
    file is so from the start.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = monotonic) -> None:
        self._path = path
        self._clock = clock
        try:
            self._fingerprint: Fingerprint | None = _fingerprint(path)
            self._digests = _read_digests(path)
        except (OSError, ValueError) as error:
            raise InvalidSetting(f"SATCLE_API_KEYS_FILE {path}: {_reason(error)}") from None
        self._looked_at = self._clock()

    def accept(self, key: bytes) -> bool:
        """Whether `key` is one of the keys; takes as long whichever it is, and whether or not it is one."""
        if self._clock() - self._looked_at >= LOOK_EVERY_S:
            self._reload_if_changed()
        given = sha256(key).digest()
        return sum([hmac.compare_digest(given, digest) for digest in self._digests]) > 0

    def _reload_if_changed(self) -> None:
        self._looked_at = self._clock()
        try:
            fingerprint = _fingerprint(self._path)
            if fingerprint == self._fingerprint:
                return
            self._digests = _read_digests(self._path)
        except (OSError, ValueError) as error:
            if self._fingerprint is not None:
                logs.service.error("%s: %s; the keys read before stay in force", self._path, _reason(error))
            self._fingerprint = None
        else:
            self._fingerprint = fingerprint
            logs.service.info("%s: %d keys read", self._path, len(self._digests))


def _fingerprint(path: Path) -> Fingerprint:
    found = path.stat()
    return found.st_mtime_ns, found.st_ino, found.st_size


def _read_digests(path: Path) -> list[bytes]:
    lines = [line.strip() for line in path.read_bytes().splitlines()]
    keys = {line for line in lines if line and not line.startswith(b"#")}
    if not keys:
        raise ValueError("has no key: write one a line")
    return [sha256(key).digest() for key in keys]


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror or "cannot be read") if isinstance(error, OSError) else str(error)


class KeyRequired:
    """Answers 401 to a request without a good key, in `Authorization: Bearer KEY` or in `X-API-Key`."""

    def __init__(self, app: ASGIApp, keys: ApiKeys) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _is_open(scope["path"]):
            await self._app(scope, receive, send)
            return
        key = _given_key(Headers(scope=scope))
        if key is not None and self._keys.accept(key):
            await self._app(scope, receive, send)
            return
        detail = (
            "the API key is wrong" if key else "an API key is required: Authorization: Bearer KEY, or X-API-Key: KEY"
        )
        await problem(scope, 401, detail, {"WWW-Authenticate": "Bearer"})(scope, receive, send)


def _is_open(path: str) -> bool:
    return path in OPEN_PATHS or path.startswith(OPEN_FOLDER)


def _given_key(headers: Headers) -> bytes | None:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    given = token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key")
    return given.encode("latin-1") if given else None
