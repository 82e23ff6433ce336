"""Every alert has its section in the runbook, and what the runbook names exists."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from service.settings import Settings

DEPLOY = Path(__file__).parents[2] / "deploy"
RUNBOOK = (DEPLOY / "RUNBOOK.md").read_text()


def test_every_alert_has_a_section_and_every_such_section_an_alert():
    groups = yaml.safe_load((DEPLOY / "prometheus/alerts.yml").read_text())["groups"]
    alerts = [rule["alert"] for group in groups for rule in group["rules"]]
    assert re.findall(r"^### (\w+)$", RUNBOOK, re.MULTILINE) == alerts


def test_no_alert_s_section_is_empty():
    for section in re.split(r"^### \w+$", RUNBOOK, flags=re.MULTILINE)[1:]:
        assert re.split(r"^## ", section, flags=re.MULTILINE)[0].strip()


def test_every_setting_that_it_names_exists():
    named = set(re.findall(r"SATCLE_([A-Z_]+)", RUNBOOK))
    assert {name.lower() for name in named} <= set(Settings.model_fields)


def test_every_variable_of_compose_that_it_names_exists():
    named = set(re.findall(r"`((?:API|REDIS|TRAIN|GRAFANA|PROMETHEUS)_[A-Z_]+)", RUNBOOK))
    compose = (DEPLOY.parent / "docker-compose.yml").read_text()
    assert named <= set(re.findall(r"\$\{([A-Z_]+)", compose))


def test_every_file_that_it_names_exists():
    for path in re.findall(r"\b(deploy/[\w/.-]+|docker/[\w.-]+)", RUNBOOK):
        assert (DEPLOY.parent / path).exists(), path
    for path in re.findall(r"`((?:base|monitoring)/[\w.]+)`", RUNBOOK):
        assert (DEPLOY / "kubernetes" / path).exists(), path
