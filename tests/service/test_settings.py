import os

import pytest
from pydantic import ValidationError

from service.settings import Settings


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch):
    for name in os.environ:
        if name.upper().startswith("SATCLE_"):
            monkeypatch.delenv(name)


def test_the_defaults_are_those_that_are_documented():
    settings = Settings()
    assert settings.bundles == ("earth-l30",)
    assert settings.provider == "auto"
    assert settings.snap == "cell"
    assert settings.max_batch_points is None
    assert settings.precision == "float32"
    assert settings.max_queue_points == 262_144
    assert settings.max_points_per_request == 131_072
    assert settings.max_body_bytes == 33_554_432
    assert settings.deadline_ms == 30_000
    assert settings.cache_memory_mb == 64
    assert settings.worker_threads >= 1


@pytest.mark.parametrize(
    ("variable", "text", "field", "value"),
    [
        ("SATCLE_BUNDLES", "a", "bundles", ("a",)),
        ("SATCLE_BUNDLES", " a , /b/c ,", "bundles", ("a", "/b/c")),
        ("SATCLE_PROVIDER", "cuda", "provider", "cuda"),
        ("SATCLE_PRECISION", "tf32", "precision", "tf32"),
        ("SATCLE_CUDA_DEVICES", "0, 3", "cuda_devices", (0, 3)),
        ("SATCLE_CUDA_OPTIONS", "a=1, b=x=y ,", "cuda_options", {"a": "1", "b": "x=y"}),
        ("SATCLE_SNAP", "exact", "snap", "exact"),
        ("SATCLE_MAX_BATCH_POINTS", "1", "max_batch_points", 1),
        ("SATCLE_MAX_BODY_BYTES", "10", "max_body_bytes", 10),
        ("SATCLE_DEADLINE_MS", "5", "deadline_ms", 5),
        ("SATCLE_WORKER_THREADS", "3", "worker_threads", 3),
        ("SATCLE_CACHE_MEMORY_MB", "0", "cache_memory_mb", 0),
        ("SATCLE_LOG_FORMAT", "json", "log_format", "json"),
        ("SATCLE_BASEMAP_URL", "https://t.example/{z}/{x}/{y}.png", "basemap_url", "https://t.example/{z}/{x}/{y}.png"),
        ("SATCLE_BASEMAP_URL", "/tiles/{z}/{y}/{x}?a=b", "basemap_url", "/tiles/{z}/{y}/{x}?a=b"),
    ],
)
def test_each_variable_sets_its_field(monkeypatch, variable, text, field, value):
    monkeypatch.setenv(variable, text)
    assert getattr(Settings(), field) == value


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("SATCLE_BUNDLES", ","),
        ("SATCLE_BUNDLES", " , "),
        ("SATCLE_PROVIDER", "gpu"),
        ("SATCLE_BASEMAP_URL", "https://t.example/{z}/{x}.png"),
        ("SATCLE_BASEMAP_URL", "https://{s}.example/{z}/{x}/{y}.png"),
        ("SATCLE_BASEMAP_URL", "https://a; script-src *;/{z}/{x}/{y}.png"),
        ("SATCLE_BASEMAP_URL", "ftp://t.example/{z}/{x}/{y}.png"),
        ("SATCLE_BASEMAP_URL", "t.example/{z}/{x}/{y}.png"),
        ("SATCLE_PRECISION", "bfloat16"),
        ("SATCLE_CUDA_DEVICES", "-1"),
        ("SATCLE_CUDA_DEVICES", "cuda:0"),
        ("SATCLE_CUDA_OPTIONS", "enable_cuda_graph"),
        ("SATCLE_CUDA_OPTIONS", "=1"),
        ("SATCLE_CUDA_OPTIONS", "device_id=1"),
        ("SATCLE_CUDA_OPTIONS", "use_tf32=1"),
        ("SATCLE_SNAP", "yes"),
        ("SATCLE_MAX_BATCH_POINTS", "0"),
        ("SATCLE_MAX_QUEUE_POINTS", "-1"),
        ("SATCLE_MAX_POINTS_PER_REQUEST", "0"),
        ("SATCLE_MAX_BODY_BYTES", "0"),
        ("SATCLE_DEADLINE_MS", "1.5"),
        ("SATCLE_WORKER_THREADS", "0"),
        ("SATCLE_CACHE_MEMORY_MB", "-1"),
        ("SATCLE_CACHE_MEMORY_MB", "lots"),
        ("SATCLE_LOG_FORMAT", "xml"),
    ],
)
def test_a_value_out_of_bounds_is_refused_by_name(monkeypatch, variable, text):
    monkeypatch.setenv(variable, text)
    with pytest.raises(ValidationError, match=variable.removeprefix("SATCLE_").lower()):
        Settings()


def test_a_request_that_could_never_be_queued_is_refused_at_start(monkeypatch):
    monkeypatch.setenv("SATCLE_MAX_QUEUE_POINTS", "100")
    with pytest.raises(ValidationError, match=r"SATCLE_MAX_POINTS_PER_REQUEST 131072 is more than.*100"):
        Settings()
    monkeypatch.setenv("SATCLE_MAX_POINTS_PER_REQUEST", "100")
    assert Settings().max_points_per_request == 100


def test_an_argument_goes_before_the_environment(monkeypatch):
    monkeypatch.setenv("SATCLE_DEADLINE_MS", "5")
    assert Settings(deadline_ms=7).deadline_ms == 7


def test_an_unknown_argument_is_refused_and_an_unknown_variable_is_not(monkeypatch):
    monkeypatch.setenv("SATCLE_UNHEARD_OF", "1")
    assert "unheard_of" not in Settings().model_dump()
    with pytest.raises(ValidationError, match="unheard_of"):
        Settings(unheard_of=1)


def test_settings_are_read_once_and_stay(monkeypatch):
    settings = Settings()
    monkeypatch.setenv("SATCLE_DEADLINE_MS", "5")
    assert settings.deadline_ms == 30_000
    with pytest.raises(ValidationError, match="frozen"):
        settings.deadline_ms = 5


def test_an_empty_variable_as_compose_writes_it_is_the_default(monkeypatch):
    monkeypatch.setenv("SATCLE_MAX_BATCH_POINTS", "")
    monkeypatch.setenv("SATCLE_REDIS_URL", "")
    assert Settings().max_batch_points is None
    assert Settings().redis_url is None


@pytest.mark.parametrize(
    ("devices", "of_workers"), [((), [0, 1, 2]), ((0,), [0, 0, 0]), ((2, 3), [2, 3, 2]), ((1, 0, 5), [1, 0, 5])]
)
def test_each_worker_has_its_gpu(devices, of_workers):
    settings = Settings(cuda_devices=devices)
    assert [settings.of_worker(number).cuda_device for number in range(3)] == of_workers
    assert settings.cuda_device == (devices[0] if devices else 0)
