"""A service that is busy is asked again, and one that refuses is quoted."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest

from trainer.errors import EvaluationError
from trainer.evaluation.remote import ServiceEncoder

MODELS = json.dumps({"data": [{"id": "one"}, {"id": "two"}]}).encode()
LISTS = {"page": b"<html>", "other": b'{"models": []}', "list": b"[1]", "none": b'{"data": []}'}
"""By the first part of a path, what something else than a service answers."""


@pytest.fixture
def service():
    """A stand-in: lists two models, is busy for the first two requests, and echoes coordinates as embeddings."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def reply(self, status, body, **headers):
            self.send_response(status)
            for name, value in {"content-length": str(len(body)), **headers}.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self):
            if self.headers.get("authorization") == "Bearer wrong":
                return self.reply(401, b"{}")
            return self.reply(200, LISTS.get(self.path.split("/")[1], MODELS))

        def do_POST(self):
            asked.append(self.path)
            body = self.rfile.read(int(self.headers["content-length"]))
            if len(asked) <= 2:
                return self.reply((429, 503)[len(asked) - 1], b"{}", retry_after="0")
            places = np.frombuffer(body, "<f8").reshape(-1, 2)
            if (places < -500).any():
                return self.reply(200, b"\0" * int(places[0, 1]))
            if (places > 500).any():
                return self.reply(422, json.dumps({"detail": "out of range"}).encode())
            return self.reply(200, places.astype("<f4").tobytes())

        def log_message(self, *arguments):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()
    thread.join()


def test_it_asks_again_while_the_service_is_busy_in_chunks_and_exactly(service, monkeypatch):
    monkeypatch.setattr("trainer.evaluation.remote.CHUNK", 4)
    url, asked = service
    encoder = ServiceEncoder(f"{url}#two")
    places = np.arange(20.0).reshape(10, 2)
    np.testing.assert_array_equal(encoder.embed(places), places.astype(np.float32))
    assert asked == ["/v1/embeddings?model=two&exact=true"] * 5  # two refused, then three chunks
    assert (encoder.name, ServiceEncoder(url).name) == ("two", "one")


def test_what_it_refuses_is_one_line(service, monkeypatch):
    url, _ = service
    with pytest.raises(EvaluationError, match="answers 422: out of range"):
        ServiceEncoder(url).embed(np.full((1, 2), 999.0))
    with pytest.raises(EvaluationError, match="serves no model 'three'; it serves one, two"):
        ServiceEncoder(f"{url}#three")
    monkeypatch.setenv("SATCLE_API_KEY", "wrong")
    with pytest.raises(EvaluationError, match="set SATCLE_API_KEY"):
        ServiceEncoder(url)


def test_a_service_that_is_not_there_is_one_line():
    with pytest.raises(EvaluationError, match="does not answer"):
        ServiceEncoder("http://127.0.0.1:1")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("page", "is no satcle service: /v1/models is no list of models"),
        ("other", "is no satcle service"),
        ("list", "is no satcle service"),
        ("none", "serves no model"),
    ],
)
def test_what_is_no_service_is_one_line(service, path, message):
    url, _ = service
    with pytest.raises(EvaluationError, match=message):
        ServiceEncoder(f"{url}/{path}")


def test_a_url_may_end_in_v1_as_clients_of_openai_have_it(service):
    url, _ = service
    assert ServiceEncoder(f"{url}/v1/#two").note == f"served by {url}"


@pytest.mark.parametrize("size", [0, 3, 12])
def test_an_answer_without_a_row_for_each_place_is_refused(service, size):
    url, asked = service
    asked += ["", ""]
    with pytest.raises(EvaluationError, match=f"answers {size} bytes, no float32 row for each of 2 places"):
        ServiceEncoder(url).embed(np.array([[-999.0, size], [0, 0]]))
