"""One setting, one name: the service's own, those docker-compose.yml hands on, those .env.example shows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from service.settings import Settings

REPOSITORY = Path(__file__).parents[2]
SETTINGS = {f"SATCLE_{name.upper()}" for name in Settings.model_fields}
COMPOSE = (REPOSITORY / "docker-compose.yml").read_text()


def environment_of(service: str) -> dict[str, str | None]:
    environment: dict[str, str | None] = yaml.safe_load(COMPOSE)["services"][service]["environment"]
    return environment


def example() -> dict[str, str]:
    """What .env.example shows, each name once."""
    shown = re.findall(r"^#([A-Z_]+)=(.*)$", (REPOSITORY / ".env.example").read_text(), re.MULTILINE)
    assert len(shown) == len(dict(shown))
    return dict(shown)


def read_by_compose() -> set[str]:
    """Every variable that docker-compose.yml reads: in ${…}, or by a bare name."""
    bare = {name for service in ("api", "api-gpu") for name, value in environment_of(service).items() if value is None}
    return bare | set(re.findall(r"(?<!\$)\$\{([A-Z_]+)", COMPOSE))


def test_both_services_take_every_setting_and_nothing_else():
    assert set(environment_of("api")) == set(environment_of("api-gpu")) == SETTINGS


def test_the_example_shows_every_variable_that_compose_reads_and_nothing_else():
    assert set(example()) == read_by_compose()


def test_the_example_shows_the_defaults_that_compose_gives():
    given: dict[str, str] = {}
    for name, default in re.findall(r"(?<!\$)\$\{([A-Z_]+):?-([^}]*)\}", COMPOSE):
        assert given.setdefault(name, default) == default
    unset = {"SATCLE_API_KEYS_FILE", "GRAFANA_PASSWORD_FILE"}  # then /dev/null is mounted
    assert {name: default for name, default in given.items() if name not in unset} == {
        name: value for name, value in example().items() if name in given and name not in unset
    }
    assert all(example()[name] == "" for name in unset)


def test_where_compose_gives_none_the_example_shows_the_service_s_own_default():
    own = Settings().model_dump(mode="json")
    for name, value in example().items():
        if name in SETTINGS and environment_of("api")[name] is None and name != "SATCLE_WORKER_THREADS":
            assert value == written(own[name.removeprefix("SATCLE_").lower()]), name


def written(value: Any) -> str:
    """As one writes it in a .env file."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    return ",".join(value) if isinstance(value, list | tuple | dict) else str(value)


def test_the_service_starts_on_the_example_as_it_is(monkeypatch):
    for name, value in example().items():
        if name in SETTINGS:
            monkeypatch.setenv(name, value)
    assert Settings().bundles == Settings(bundles=("earth-l30",)).bundles
