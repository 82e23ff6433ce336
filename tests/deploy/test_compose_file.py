"""docker-compose.yml, as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
PROFILES = {
    "api": [],
    "redis": [],
    "api-gpu": ["gpu"],
    "prometheus": ["observability"],
    "grafana": ["observability"],
    "train": ["train"],
}


def test_without_a_profile_there_are_the_service_and_redis():
    assert {name: service.get("profiles", []) for name, service in SERVICES.items()} == PROFILES


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_is_confined(name):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"] == ("no" if name == "train" else "unless-stopped")
    assert service["deploy"]["resources"]["limits"]["memory"]
    assert service["logging"]["options"]["max-size"]
    assert "privileged" not in service


def test_redis_is_bounded_writes_nothing_unasked_and_is_reached_by_its_own_network_alone():
    redis = SERVICES["redis"]
    command = " ".join(redis["command"])
    assert "--maxmemory ${REDIS_MAXMEMORY:-256mb} --maxmemory-policy allkeys-lru" in command
    assert "--save ${REDIS_SAVE:-} --appendonly no" in command
    assert redis["networks"] == ["cache"]
    assert COMPOSE["networks"]["cache"] == {"internal": True}
    assert "ports" not in redis


@pytest.mark.parametrize("name", ["api", "api-gpu"])
def test_the_service_waits_for_redis_and_reads_bundles_and_keys_only(name):
    service = SERVICES[name]
    assert service["depends_on"] == {"redis": {"condition": "service_healthy"}}
    assert service["volumes"] == ["bundles:/bundles:ro"]
    assert service["secrets"] == ["api_keys"]


def test_the_gpu_is_reserved():
    (device,) = SERVICES["api-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}
    assert SERVICES["api-gpu"]["environment"]["SATCLE_PROVIDER"] == "cuda"


def test_only_this_machine_reaches_what_is_published_unless_told_otherwise():
    for service in SERVICES.values():
        for port in service.get("ports", []):
            assert port.startswith(("127.0.0.1:", "${API_ADDRESS:-127.0.0.1}:"))


def test_volumes_and_secrets_are_declared_and_files_are_there():
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume.replace("${TRAIN_CONFIGS:-./trainer/configs}", "./trainer/configs").partition(":")[0]
            assert (REPOSITORY / source).is_dir() if source.startswith(".") else source in COMPOSE["volumes"]
        assert set(service.get("secrets", [])) <= set(COMPOSE["secrets"])


def test_what_is_built_is_built_from_a_stage_that_exists():
    for service in SERVICES.values():
        if build := service.get("build"):
            dockerfile = (REPOSITORY / build["dockerfile"]).read_text()
            assert "target" not in build or f" AS {build['target']}\n" in dockerfile
