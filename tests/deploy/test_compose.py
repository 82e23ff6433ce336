"""`docker compose up`, and what may happen to it: on a real Docker Engine."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import pytest

from service.bundle import LonLat, read_bundle
from service.bundles import DEFAULT, bundle_path
from service.embedding.backends.onnx import OnnxBackend
from service.embedding.cells import cells_of, centres_of
from tests.deploy.engine import REPOSITORY, Stack

RAW = {"content-type": "application/octet-stream", "accept": "application/octet-stream"}
ATTEMPTS = 2000


def places(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform([-180, -85], [180, 85], (count, 2))


def model_rows(degrees: np.ndarray) -> np.ndarray:
    """What the model itself makes of the centres of the cells of `degrees`."""
    bundle = read_bundle(bundle_path(DEFAULT))
    centres = centres_of(cells_of(LonLat.from_degrees(degrees), bundle.card.snap_resolution))
    return OnnxBackend(bundle, "cpu").embed(centres)


def embed(client: httpx.Client, degrees: np.ndarray) -> np.ndarray:
    answer = client.post("/v1/embeddings", content=degrees.astype("<f8").tobytes(), headers=RAW)
    assert answer.status_code == 200, answer.text
    return np.frombuffer(answer.content, "<f4").reshape(len(degrees), -1)


def metric(client: httpx.Client, series: str) -> float:
    """The sum of a series of /metrics, given as it is written there up to its value; 0 where there is none."""
    lines = client.get("/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(series))


def redis_hits(client: httpx.Client) -> float:
    return metric(client, 'satcle_cache_hits_total{tier="redis"}')


def test_the_readme_s_first_request_works_on_the_published_port(stack):
    request = re.search(r"^curl -s localhost:8000(\S+) .*\\\n\s+-d '(.*)'$", readme(), re.MULTILINE)
    assert request
    with stack.client() as client:
        answer = client.post(request[1], content=request[2], headers={"content-type": "application/json"})
        assert answer.status_code == 200
        rows = np.array([item["embedding"] for item in answer.json()["data"]])
        np.testing.assert_allclose(rows, model_rows(np.array(json.loads(request[2])["input"])), atol=1e-4)
        assert "<html" in client.get("/").text


def readme() -> str:
    return (REPOSITORY / "README.md").read_text()


def test_every_format_is_answered(stack):
    """The image was made slim: what each needs must still be there."""
    body = {"input": [[116.4, 39.9], [2.35, 48.86]]}
    box = {"bbox": [0, 40, 10, 50], "reference": [[2.35, 48.86]]}
    with stack.client() as client:
        for media_type in ("octet-stream", "x-npy", "vnd.apache.arrow.stream", "vnd.apache.parquet", "json"):
            accept = {"accept": f"application/{media_type}"}
            assert client.post("/v1/embeddings", json=body, headers=accept).status_code == 200, media_type
        for media_type in ("image/tiff", "image/png"):
            asked = box | {"width": 64, "height": 64}
            answer = client.post("/v1/similarity/map", json=asked, headers={"accept": media_type})
            assert answer.status_code == 200, media_type
        for suffix in ("png", "webp", "tif", "npy"):
            tile = f"/v1/embeddings/tiles/WebMercatorQuad/1/0/0.{suffix}"
            assert client.get(tile).status_code == 200, suffix
        assert client.post("/v1/predictions", json=body | {"head": "elevation"}).status_code == 200


def test_the_service_is_confined(stack):
    host = stack.inspect("api")["HostConfig"]
    assert host["ReadonlyRootfs"] is True
    assert host["CapDrop"] == ["ALL"]
    assert "no-new-privileges:true" in host["SecurityOpt"]
    assert host["Memory"] == 2**30
    assert stack.compose("exec -T api id -u").strip() == "10001"
    refused = stack.compose("exec -T api sh -c 'touch /opt/satcle/x 2>&1 || true; touch /bundles/x 2>&1 || true'")
    assert refused.count("Read-only file system") == 2


def test_rows_are_found_in_redis_after_the_service_has_started_again(stack):
    degrees = places(200)
    with stack.client() as client:
        before = embed(client, degrees)
        wait_for_rows(stack, 200)
        stack.compose("restart api")
        stack.up()
        assert np.array_equal(embed(client, degrees), before)
        assert redis_hits(client) == 200
        assert metric(client, 'satcle_points_total{model="earth-l30",source="compute"}') == 0


def wait_for_rows(stack: Stack, count: int) -> None:
    """Rows are written behind the answer."""
    found = 0
    for _ in range(100):
        if (found := int(stack.compose("exec -T redis redis-cli dbsize"))) >= count:
            return
    pytest.fail(f"Redis holds {found} rows of {count}")


@dataclass
class Traffic:
    """What callers were answered, in order."""

    answered: int = 0
    failures: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)


@contextmanager
def traffic(stack: Stack, callers: int = 4) -> Iterator[Traffic]:
    """Callers that ask without pause for places of their own, and compare what they get with the model's rows."""
    seen = Traffic()

    def ask(caller: int) -> None:
        degrees = places(50, seed=caller)
        expected = model_rows(degrees)
        with stack.client() as client:
            while not seen.stop.is_set():
                try:
                    rows = embed(client, degrees)
                    if not np.allclose(rows, expected, atol=1e-4):
                        seen.failures.append("other rows")
                    seen.answered += 1
                except (httpx.HTTPError, AssertionError) as error:
                    seen.failures.append(repr(error))

    threads = [threading.Thread(target=ask, args=(caller,)) for caller in range(callers)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        seen.stop.set()
        for thread in threads:
            thread.join()


def more_are_answered(seen: Traffic, stack: Stack, count: int = 200) -> None:
    """Returns once so many more requests were answered; each look is a request of its own."""
    goal = seen.answered + count
    with stack.client() as client:
        for _ in range(ATTEMPTS):
            if seen.answered >= goal:
                return
            client.get("/livez")
    pytest.fail(f"only {seen.answered} of {goal} requests were answered: {seen.failures[:3]}")


def test_redis_killed_in_the_middle_of_traffic_loses_no_request_and_is_used_again(stack):
    # without a cache in process, every request goes to Redis
    stack.up(SATCLE_CACHE_MEMORY_MB="0")
    with stack.client() as client, traffic(stack) as seen:
        more_are_answered(seen, stack)
        assert redis_hits(client) > 0
        stack.compose("kill redis")
        more_are_answered(seen, stack)
        assert metric(client, 'satcle_cache_errors_total{tier="redis"}') > 0
        assert client.get("/readyz").status_code == 200
        hits = redis_hits(client)
        stack.compose("restart redis")
        for _ in range(ATTEMPTS):
            if redis_hits(client) > hits:
                break
        else:
            pytest.fail("Redis is not used again")
        more_are_answered(seen, stack)
    assert seen.failures == []


def test_the_service_that_dies_is_started_again(stack):
    """Killed from within, as by the kernel where memory is out."""
    with stack.client() as client:
        stack.compose("exec -T api sh -c 'kill -KILL $(cat /proc/1/task/1/children)'")
        wait_for_a_restart(stack)
        stack.up()
        assert client.get("/readyz").status_code == 200
    assert stack.inspect("api")["RestartCount"] == 1


def wait_for_a_restart(stack: Stack) -> None:
    """`up --wait` gives up at once on a container that it sees dying."""
    for _ in range(ATTEMPTS):
        api = stack.inspect("api")
        if api["RestartCount"] == 1 and api["State"]["Running"]:
            return
    pytest.fail("the service was not started again")


def test_told_to_stop_it_finishes_what_it_has_begun(stack):
    degrees = places(100_000)
    with (
        stack.client() as client,
        client.stream(
            "POST", "/v1/embeddings?exact=true", content=degrees.astype("<f8").tobytes(), headers=RAW
        ) as answer,
    ):
        assert answer.status_code == 200
        stack.compose("kill --signal SIGTERM api")
        assert len(answer.read()) == 100_000 * 256 * 4
    stack.docker(f"wait {stack.inspect('api')['Id']}")
    assert stack.inspect("api")["State"]["ExitCode"] == 0


def test_it_drains_before_it_stops(stack):
    stack.up(SATCLE_DRAIN_SECONDS="3")
    with stack.client() as client:
        stack.compose("kill --signal SIGTERM api")
        for _ in range(ATTEMPTS):
            if (ready := client.get("/readyz")).status_code == 503:
                break
        assert "draining" in ready.json()["detail"]
        embed(client, places(10))
    stack.docker(f"wait {stack.inspect('api')['Id']}")
    assert stack.inspect("api")["State"]["ExitCode"] == 0


def test_bundles_survive_down_and_up(stack):
    stack.into_bundles("cp -r $SHIPPED /bundles/mine")
    stack.compose("down --timeout 5")
    stack.up(SATCLE_BUNDLES="/bundles/mine")
    with stack.client() as client:
        np.testing.assert_allclose(embed(client, places(10)), model_rows(places(10)), atol=1e-4)
    assert stack.compose("exec -T api ls /bundles").split() == ["mine"]


def test_a_reload_takes_what_is_in_the_volume_in_every_worker(stack, keys: Path):
    stack.into_bundles("cp -r $SHIPPED /bundles/mine")
    stack.up(SATCLE_BUNDLES="/bundles", SATCLE_API_KEYS_FILE=str(keys), API_WORKERS="2")
    stack.into_bundles("cp -r $SHIPPED /bundles/broken; echo >> /bundles/broken/encoder.onnx")
    with stack.client(headers={"authorization": "Bearer first"}) as client:
        changed = {each["id"]: each for each in client.post("/v1/models/reload").json()["data"]}
        assert changed["earth-l30"]["change"] == "kept"
        assert changed["broken"]["change"] == "refused"
        assert "encoder.onnx" in changed["broken"]["problem"]["detail"]
        np.testing.assert_allclose(embed(client, places(10)), model_rows(places(10)), atol=1e-4)


def test_redis_keeps_rows_over_down_and_up_only_when_asked(stack):
    for save, kept in (("", 0), ("1 1", 100)):
        stack.up(REDIS_SAVE=save)
        with stack.client() as client:
            embed(client, places(100))
        wait_for_rows(stack, 100)
        stack.compose("down --timeout 10", REDIS_SAVE=save)
        stack.up(REDIS_SAVE=save)
        assert int(stack.compose("exec -T redis redis-cli dbsize")) == kept


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A file with one key, which user 10001 may read."""
    path = tmp_path / "keys"
    path.write_text("first\n")
    path.chmod(0o644)
    return path


def test_keys_come_as_a_file_and_change_with_it(stack, keys: Path):
    stack.up(SATCLE_API_KEYS_FILE=str(keys))
    with stack.client() as client:
        assert status(client, None) == 401
        assert status(client, "first") == 200
        keys.write_text("second\n")
        for _ in range(ATTEMPTS):
            if status(client, "second") == 200:
                break
        assert status(client, "first") == 401
        assert status(client, "second") == 200


def status(client: httpx.Client, key: str | None) -> int:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    return client.get("/v1/models", headers=headers).status_code


def test_workers_count_as_one(stack):
    stack.up(API_WORKERS="2")
    for _ in range(8):
        with stack.client() as client:
            embed(client, places(10))
    with stack.client() as client:
        assert metric(client, 'satcle_requests_total{method="POST",route="/v1/embeddings",status="200"}') == 8
