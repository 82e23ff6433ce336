"""An encoder behind a running service: raw float64 out, raw float32 back, in chunks."""

from __future__ import annotations

import os
import time

import httpx
import numpy as np
from numpy.typing import NDArray

from trainer.errors import EvaluationError

API_KEY = "SATCLE_API_KEY"
CHUNK = 2048
TIMEOUT_S = 120.0
MAX_ATTEMPTS = 20
MAX_WAIT_S = 30.0
BUSY = (429, 503)
RAW = "application/octet-stream"


class ServiceEncoder:
    """`url` is http(s)://host:port[/v1][#model]. The key, where the service wants one, is in $SATCLE_API_KEY."""

    def __init__(self, url: str) -> None:
        address, _, model = url.partition("#")
        base = address.rstrip("/").removesuffix("/v1")
        key = os.environ.get(API_KEY)
        self._base = base
        self._headers = {"authorization": f"Bearer {key}"} if key else {}
        with self._client() as client:
            served = _served(self._base, self._answer(client, "GET", "/v1/models"))
        if model and model not in served:
            raise EvaluationError(f"{base} serves no model {model!r}; it serves {', '.join(served)}")
        self.name = model or served[0]
        self.note = f"served by {base}"

    def embed(self, lonlat: NDArray[np.float64]) -> NDArray[np.float32]:
        """Of the very coordinates, not of their cells. Raises EvaluationError."""
        with self._client() as client:
            return np.concatenate([self._embed(client, lonlat[i : i + CHUNK]) for i in range(0, len(lonlat), CHUNK)])

    def _client(self) -> httpx.Client:
        return httpx.Client(base_url=self._base, timeout=TIMEOUT_S, headers=self._headers)

    def _embed(self, client: httpx.Client, lonlat: NDArray[np.float64]) -> NDArray[np.float32]:
        answer = self._answer(
            client,
            "POST",
            "/v1/embeddings",
            params={"model": self.name, "exact": "true"},
            content=np.ascontiguousarray(lonlat, "<f8").tobytes(),
            headers={"content-type": RAW, "accept": RAW},
        )
        size = len(answer.content)
        if size == 0 or size % (4 * len(lonlat)):
            raise EvaluationError(f"{self._base} answers {size} bytes, no float32 row for each of {len(lonlat)} places")
        return np.frombuffer(answer.content, "<f4").reshape(len(lonlat), -1)

    def _answer(self, client: httpx.Client, method: str, path: str, **request: object) -> httpx.Response:
        for attempt in range(MAX_ATTEMPTS):
            try:
                answer = client.request(method, path, **request)  # type: ignore[arg-type]
            except httpx.HTTPError as error:
                raise EvaluationError(f"{self._base} does not answer: {error}") from error
            if answer.status_code not in BUSY or attempt == MAX_ATTEMPTS - 1:
                break
            time.sleep(_wait(answer))
        if answer.status_code == 401:
            raise EvaluationError(f"{self._base} wants an API key: set {API_KEY}")
        if not answer.is_success:
            raise EvaluationError(f"{self._base}{path} answers {answer.status_code}: {_why(answer)}")
        return answer


def _served(base: str, answer: httpx.Response) -> list[str]:
    """The ids of /v1/models. Raises EvaluationError where what answers is something else, or serves none."""
    try:
        ids = [str(each["id"]) for each in answer.json()["data"]]
    except (ValueError, KeyError, TypeError) as error:
        raise EvaluationError(f"{base} is no satcle service: /v1/models is no list of models") from error
    if not ids:
        raise EvaluationError(f"{base} serves no model")
    return ids


def _wait(answer: httpx.Response) -> float:
    """Seconds that a busy service asks for; one where it does not say."""
    asked = answer.headers.get("retry-after", "")
    return min(float(asked), MAX_WAIT_S) if asked.isdecimal() else 1.0


def _why(answer: httpx.Response) -> str:
    try:
        return " ".join(str(answer.json()["detail"]).split())
    except (ValueError, KeyError, TypeError):
        return answer.reason_phrase
