"""Every setting is in the README with its default, and in /info; there is one source, `Settings`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from service.settings import Settings, read_settings

README = (Path(__file__).parents[3] / "README.md").read_text()
ROW = re.compile(r"^\| `SATCLE_(\w+)` \| (.*?) \| .+ \|$", re.MULTILINE)
BY_MACHINE = {"worker_threads"}


def documented() -> dict[str, str]:
    section = README.split("\n## Settings\n")[1].split("\n## ")[0]
    return {name.lower(): default.strip("`") for name, default in ROW.findall(section)}


def shown(value: object) -> str:
    if isinstance(value, tuple | dict):
        return ",".join(value) or "none"
    if isinstance(value, bool) or value is None:
        return "none" if value is None else str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def test_the_readme_has_each_setting_and_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    defaults = {
        name: shown(field.get_default(call_default_factory=True)) for name, field in Settings.model_fields.items()
    }
    table = documented()
    assert table.keys() == defaults.keys()
    assert {name: table[name] for name in table.keys() - BY_MACHINE} == {
        name: defaults[name] for name in defaults.keys() - BY_MACHINE
    }


def test_info_has_each_setting(make_client) -> None:
    assert make_client().get("/info").json()["settings"].keys() == Settings.model_fields.keys()


def test_the_standard_variable_says_where_traces_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://standard:4318")
    assert read_settings().otel_exporter_otlp_endpoint == "http://standard:4318"
    monkeypatch.setenv("SATCLE_OTEL_EXPORTER_OTLP_ENDPOINT", "http://our:4318")
    assert read_settings().otel_exporter_otlp_endpoint == "http://our:4318"


def test_credentials_in_an_address_are_not_shown() -> None:
    settings = Settings(otel_exporter_otlp_endpoint="https://user:password@collector:4318/x")
    assert settings.model_dump()["otel_exporter_otlp_endpoint"] == "https://***@collector:4318/x"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("cors_origins", "maps.example"),
        ("cors_origins", "https://maps.example/"),
        ("otel_exporter_otlp_endpoint", "collector:4318"),
        ("drain_seconds", -1),
        ("drain_seconds", "inf"),
        ("log_coordinates", "perhaps"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_name(field: str, value: object) -> None:
    from service.errors import InvalidSetting

    with pytest.raises(InvalidSetting, match=f"SATCLE_{field.upper()}"):
        read_settings(**{field: value})
