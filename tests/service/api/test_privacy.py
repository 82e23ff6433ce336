"""No coordinate, cell, key or query string is logged, whatever fails, unless it is asked for."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from service import logs
from service.embedding.backends.fake import FakeBackend

LON, LAT = 12.345678, 45.678912
CELL = "8a31aa42a4affff"
KEY = "k-0123456789"
URL = "/v1/embeddings"
SECRETS = ("12.345", "45.678", "99.875", CELL[:8], "k-0123", "wrong-key", "secret", "?")


@pytest.fixture
def logged(capsys: pytest.CaptureFixture[str]) -> Iterator:
    """Configures the logs as `serve` does; a call gives what has been written."""
    loggers = [logging.getLogger(name) for name in ("satcle", "uvicorn", "opentelemetry")]
    before = [(logger.handlers, logger.propagate, logger.level) for logger in loggers]
    yield lambda: capsys.readouterr().err
    for logger, (logger.handlers, logger.propagate, level) in zip(loggers, before, strict=True):
        logger.setLevel(level)


class Indiscreet(FakeBackend):
    """Fails with what it was given."""

    def embed(self, lonlat):
        if len(lonlat) == 2:
            raise RuntimeError(f"cannot embed {lonlat.degrees.tolist()}")
        return super().embed(lonlat)


def ask_whatever_may_fail(client: TestClient) -> list[int]:
    key = {"x-api-key": KEY}
    statuses = [
        client.post(URL, headers=key, json={"input": [[LON, LAT]]}).status_code,
        client.post(URL, headers=key, json={"input": [CELL]}).status_code,
        client.post(f"{URL}?model=secret", headers=key, json={"input": [[LON, LAT]]}).status_code,
        client.post(URL, headers=key, json={"input": [[LON, 99.875]]}).status_code,
        client.post(URL, headers=key, json={"input": [[LON, LAT], [LAT, LON]], "exact": True}).status_code,
        client.post(URL, headers={"x-api-key": "wrong-key"}, json={"input": [[LON, LAT]]}).status_code,
        client.get(f"/v1/{LON},{LAT}/{CELL}?reference={LON}", headers=key).status_code,
        client.get(f"/v1/similarity/point/{LON},{LAT}?reference={LON},{LAT}", headers=key).status_code,
        client.get(f"/v1/similarity/point/{LON},99.875?reference={LON},{LAT}", headers=key).status_code,
        client.post("/v1/similarity", headers=key, json={"reference": CELL, "candidates": [[LON, 99.875]]}).status_code,
    ]
    client.app.state.limits = [LON, LAT, CELL, KEY]  # breaks the handler as a bug would
    statuses.append(client.post(URL, headers=key, json={"input": [[LON, LAT]]}).status_code)
    return statuses


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_by_default_nothing_of_a_request_is_logged(make_client, tmp_path, logged, log_format: str) -> None:
    (tmp_path / "keys").write_text(KEY)
    logs.configure(log_format)
    client = make_client(backend=Indiscreet(8), api_keys_file=tmp_path / "keys", max_batch_points=3)
    assert ask_whatever_may_fail(client) == [200, 200, 404, 422, 503, 401, 404, 200, 422, 422, 500]
    text = logged()
    assert text.count("POST /v1/embeddings") == 6
    assert "AttributeError" in text
    for secret in SECRETS:
        assert secret not in text


def test_an_exceptions_message_is_not_logged_but_its_stack_is(logged) -> None:
    logs.configure("json")
    try:
        try:
            raise KeyError(LON)
        except KeyError as cause:
            raise ValueError(f"near {LON}, {LAT}") from cause
    except ValueError:
        logs.service.exception("a request failed")
    text = logged()
    assert "ValueError" in text
    assert "KeyError" in text
    assert "test_privacy.py" in text
    assert "12.345" not in text


def test_where_it_is_asked_for_a_line_has_the_first_places(make_client, logged) -> None:
    logs.configure("json", exception_messages=True)
    client = make_client(log_coordinates=True)
    client.post(URL, json={"input": [[LON, LAT], [1, 2], [3, 4], [5, 6]]})
    assert '"places": [[12.345678, 45.678912], [1.0, 2.0], [3.0, 4.0]]' in logged()
