"""The page and its files over HTTP: what the browser may keep, and what it may load."""

from __future__ import annotations

import gzip
import logging
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from service.api.page import page_router
from service.settings import Settings

SCRIPT = b"let satcle"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "index.html").write_text('<html data-basemap="%BASEMAP%" data-by="%BASEMAP_ATTRIBUTION%">')
    (tmp_path / "main-ABCDEF12.js").write_bytes(SCRIPT)
    (tmp_path / "main-ABCDEF12.js.gz").write_bytes(gzip.compress(SCRIPT))
    (tmp_path / "favicon.svg").write_text("<svg/>")
    return tmp_path


def client_of(folder: Path, **settings: str) -> TestClient:
    app = FastAPI()
    app.include_router(page_router(Settings(**settings), folder))
    return TestClient(app)


def policy(client: TestClient) -> dict[str, list[str]]:
    header = client.get("/").headers["content-security-policy"]
    return {name: sources for name, *sources in (directive.split() for directive in header.split("; "))}


def test_the_page_may_load_only_what_comes_from_here(folder: Path) -> None:
    allowed = policy(client_of(folder))
    assert allowed["default-src"] == ["'none'"]
    assert allowed["frame-ancestors"] == ["'none'"]
    for sources in allowed.values():
        assert set(sources) <= {"'none'", "'self'", "data:", "blob:"}
    assert allowed["script-src"] == allowed["style-src"] == ["'self'"]


def test_a_basemap_is_allowed_by_its_origin_and_told_to_the_page(folder: Path) -> None:
    url = "https://tiles.example.org:8443/a&b/{z}/{x}/{y}.png?token=1"
    client = client_of(folder, basemap_url=url, basemap_attribution='"<b>us</b>')
    assert policy(client)["img-src"] == ["'self'", "data:", "blob:", "https://tiles.example.org:8443"]
    assert policy(client)["connect-src"] == ["'self'", "https://tiles.example.org:8443"]
    assert client.get("/").text == (
        '<html data-basemap="https://tiles.example.org:8443/a&amp;b/{z}/{x}/{y}.png?token=1" '
        'data-by="&quot;&lt;b&gt;us&lt;/b&gt;">'
    )


def test_a_basemap_of_this_host_needs_no_more(folder: Path) -> None:
    assert policy(client_of(folder, basemap_url="/tiles/{z}/{x}/{y}"))["img-src"] == ["'self'", "data:", "blob:"]


def test_what_carries_a_hash_is_kept_for_ever_and_all_else_is_asked_for_again(folder: Path) -> None:
    client = client_of(folder)
    assert "immutable" in client.get("/assets/main-ABCDEF12.js").headers["cache-control"]
    assert client.get("/assets/favicon.svg").headers["cache-control"] == "no-cache"
    assert client.get("/").headers["cache-control"] == "no-cache"


def test_a_file_is_sent_gzipped_to_those_who_take_it(folder: Path) -> None:
    client = client_of(folder)
    for accepted, encoding in (("gzip, br", "gzip"), ("identity", None)):
        answer = client.get("/assets/main-ABCDEF12.js", headers={"Accept-Encoding": accepted})
        assert answer.headers.get("content-encoding") == encoding
        assert answer.content == SCRIPT
        assert answer.headers["vary"] == "Accept-Encoding"
    assert "content-encoding" not in client.get("/assets/favicon.svg").headers


def test_head_is_get_without_a_body(folder: Path) -> None:
    client = client_of(folder)
    for path in ("/", "/assets/favicon.svg"):
        head, get = client.head(path), client.get(path)
        assert head.status_code == 200
        assert head.content == b""
        assert head.headers["content-length"] == get.headers["content-length"]


def test_where_the_page_was_not_built_the_log_and_the_page_say_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        answer = client_of(tmp_path).get("/")
    assert answer.status_code == 404
    assert "map page" in answer.text
    assert "map page" in caplog.text


@pytest.mark.parametrize("name", ["nothing.js", "..%2Fbuild_hook.py", "%00", "index.html.gz", "\N{SNOWMAN}"])
def test_other_names_are_not_found(client: TestClient, name: str) -> None:
    answer = client.get(f"/assets/{name}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_the_page_needs_no_key_and_the_api_does(make_client, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("a-key\n")
    client = make_client(api_keys_file=keys)
    assert client.get("/").status_code == 200
    assert client.get("/assets/favicon.svg").status_code == 200
    assert client.get("/v1/models").status_code == 401
    assert client.get("/assets").status_code == 401


def test_each_asker_has_headers_of_its_own(make_client) -> None:
    client = make_client(cors_origins=("https://one.example", "https://other.example"))
    answers = [client.get("/", headers={"Origin": "https://one.example"}) for _ in range(3)]
    assert {answer.headers["vary"] for answer in answers} == {"Origin"}
    assert len({answer.headers["x-request-id"] for answer in answers}) == 3
