"""API keys and CORS: who may ask, and from which pages."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from service.api.security import LOOK_EVERY_S, ApiKeys
from service.errors import InvalidSetting

KEY = "k-0123456789abcdef"
OTHER = "k-another"
SOUND = {"input": [[1, 2]]}
PROTECTED = [("POST", "/v1/embeddings"), ("GET", "/v1/models"), ("GET", "/v1/models/tiny"), ("GET", "/info")]
OPEN = ["/livez", "/readyz", "/metrics", "/docs", "/openapi.json"]


class Clock:
    """Time that passes when told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_text(f"# who may ask\n\n  {KEY}  \n{OTHER}\n")
    return path


@pytest.fixture
def keyed(make_client, keys_file: Path) -> TestClient:
    return make_client(api_keys_file=keys_file)


@pytest.mark.parametrize(("method", "path"), [*PROTECTED, ("GET", "/v1/nothing"), ("GET", "/info/")])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer"},
        {"authorization": f"Basic {KEY}"},
        {"authorization": f"Bearer {KEY}x"},
        {"x-api-key": KEY[:-1]},
        {"x-api-key": "# who may ask"},
        {"x-api-key": b"\xff\xfe"},
    ],
)
def test_without_a_good_key_the_answer_is_401(keyed: TestClient, method: str, path: str, headers: dict) -> None:
    answer = keyed.request(method, path, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "unauthorized"
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize(
    "headers", [{"authorization": f"Bearer {KEY}"}, {"authorization": f"bearer  {OTHER} "}, {"x-api-key": KEY}]
)
def test_with_a_good_key_all_is_answered(keyed: TestClient, headers: dict) -> None:
    for method, path in PROTECTED:
        assert keyed.request(method, path, headers=headers, json=SOUND).status_code == 200


def test_probes_metrics_and_the_description_need_no_key(keyed: TestClient) -> None:
    for path in OPEN:
        assert keyed.get(path).status_code == 200


def test_a_401_is_counted_and_speaks_openais_language(keyed: TestClient) -> None:
    assert keyed.post("/v1/embeddings", json=SOUND).json()["error"]["code"] == "unauthorized"
    assert 'status="401"} 1.0' in keyed.get("/metrics").text


def test_a_401_reads_no_body(keyed: TestClient) -> None:
    async def receive():
        pytest.fail("the body was read")

    async def send(message) -> None:
        sent.append(message)

    sent: list = []
    scope = {"type": "http", "method": "POST", "path": "/v1/embeddings", "headers": [], "query_string": b""}
    asyncio.run(keyed.app(scope, receive, send))
    assert sent[0]["status"] == 401


def test_no_key_is_in_info_nor_in_a_log(keyed: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        info = keyed.get("/info", headers={"x-api-key": KEY}).text
        keyed.get("/info", headers={"x-api-key": "wrong-" + KEY})
    assert "api_keys_file" in info
    assert KEY not in info + caplog.text


def test_a_changed_file_is_read_again_within_a_second(keys_file: Path) -> None:
    clock = Clock()
    keys = ApiKeys(keys_file, clock)
    keys_file.write_text("new-key\n")
    assert keys.accept(KEY.encode())
    clock.now = LOOK_EVERY_S
    assert not keys.accept(KEY.encode())
    assert keys.accept(b"new-key")


def test_a_file_replaced_by_another_of_one_size_and_time_is_read_again(keys_file: Path, tmp_path: Path) -> None:
    clock = Clock()
    keys = ApiKeys(keys_file, clock)
    new = tmp_path / "new"
    new.write_text(keys_file.read_text().replace(KEY, KEY[::-1]))
    stat = keys_file.stat()
    os.utime(new, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    new.replace(keys_file)
    clock.now = LOOK_EVERY_S
    assert keys.accept(KEY[::-1].encode())


@pytest.mark.parametrize("spoil", [lambda path: path.unlink(), lambda path: path.write_text("# none\n")])
def test_a_file_that_is_lost_or_emptied_leaves_the_last_keys_and_says_so_once(
    keys_file: Path, spoil, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    keys = ApiKeys(keys_file, clock)
    spoil(keys_file)
    for _ in range(3):
        clock.now += LOOK_EVERY_S
        assert keys.accept(KEY.encode())
        assert not keys.accept(b"")
    assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 1
    keys_file.write_text("new-key\n")
    clock.now += LOOK_EVERY_S
    assert keys.accept(b"new-key")


@pytest.mark.parametrize("content", [None, "", "\n# only a comment\n"])
def test_a_file_without_keys_is_refused_at_start(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "keys"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InvalidSetting, match="SATCLE_API_KEYS_FILE"):
        ApiKeys(path)


PAGE = "https://maps.example"


def test_every_answer_can_be_read_by_an_allowed_page(make_client, keys_file: Path) -> None:
    client = make_client(api_keys_file=keys_file, cors_origins=(PAGE,))
    page, key = {"origin": PAGE}, {"x-api-key": KEY}
    answers = [
        client.get("/livez", headers=page),
        client.get("/info", headers=page),
        client.get("/nowhere", headers=page | key),
        client.post("/v1/embeddings", headers=page | key, json={"input": []}),
        client.post("/v1/embeddings", headers=page | key, json=SOUND),
    ]
    client.app.state.limits = None  # breaks the handler as a bug would
    answers.append(client.post("/v1/embeddings", headers=page | key, json=SOUND))
    assert [answer.status_code for answer in answers] == [200, 401, 404, 422, 200, 500]
    for answer in answers:
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert "X-Request-Id" in answer.headers["access-control-expose-headers"]
    assert (
        "access-control-allow-origin" not in client.get("/livez", headers={"origin": "https://other.example"}).headers
    )


def test_a_preflight_needs_no_key(make_client, keys_file: Path) -> None:
    client = make_client(api_keys_file=keys_file, cors_origins=("*",))
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "authorization, content-type"}
    answer = client.options("/v1/embeddings", headers={"origin": PAGE} | asked)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "authorization" in answer.headers["access-control-allow-headers"]


def test_by_default_no_page_of_another_origin_may_read(client: TestClient) -> None:
    assert "access-control-allow-origin" not in client.get("/livez", headers={"origin": PAGE}).headers
