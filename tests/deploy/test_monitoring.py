"""Alerts and dashboard: they ask for what the service exports, and the alerts fire when they should."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.promql import unknown_in

DEPLOY = Path(__file__).parents[2] / "deploy"
GROUPS = yaml.safe_load((DEPLOY / "prometheus/alerts.yml").read_text())["groups"]
ALERTS: list[dict[str, Any]] = [rule for group in GROUPS for rule in group["rules"]]
DASHBOARD = json.loads((DEPLOY / "grafana/dashboards/satcle.json").read_text())
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
TARGETS = [(panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]]
FIRES = Path(__file__).with_name("alerts.promtool.yml")


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_asks_for_what_the_service_exports(alert):
    assert unknown_in(alert["expr"]) == []
    assert alert["labels"]["severity"] in ("critical", "warning", "info")
    assert alert["annotations"]["summary"]


def test_what_the_service_does_not_export_is_noticed():
    assert unknown_in("rate(satcle_request_total[5m])") == ["satcle_request_total"]
    assert unknown_in('satcle_queue_points{modle="m"}') == ["satcle_queue_points{modle}"]
    assert unknown_in("sum by (tier) (satcle_queue_points)") == ["by (tier)"]


@pytest.mark.parametrize(("title", "expression"), TARGETS)
def test_a_panel_asks_for_what_the_service_exports(title, expression):
    assert unknown_in(expression.replace("$__rate_interval", "5m")) == []


def test_a_legend_names_labels_that_its_expression_leaves():
    for panel in PANELS:
        for target in panel["targets"]:
            by = re.search(r"by \(([^)]*)\)", target["expr"])
            kept = {label.strip() for label in by[1].split(",")} - {"le"} if by else set()
            named = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            aggregated = by or target["expr"].startswith("sum(")
            assert not aggregated or named <= kept, panel["title"]


def test_the_panels_lie_side_by_side_on_the_data_source_that_is_provisioned():
    (source,) = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"]
    assert {panel["datasource"]["uid"] for panel in PANELS} == {source["uid"]}
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in PANELS]
    assert len(set(places)) == len({panel["id"] for panel in PANELS}) == len(PANELS)


def test_the_dashboard_lies_where_it_is_looked_for():
    services = yaml.safe_load((DEPLOY.parent / "docker-compose.yml").read_text())["services"]
    (provider,) = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/satcle.yml").read_text())["providers"]
    folder = provider["options"]["path"]
    assert f"./deploy/grafana/dashboards:{folder}:ro" in services["grafana"]["volumes"]
    home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{folder}/satcle.json"


def test_prometheus_scrapes_the_job_that_the_alerts_name():
    config = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())
    assert [job["job_name"] for job in config["scrape_configs"]] == ["satcle"]
    assert (DEPLOY / "prometheus" / config["rule_files"][0]).is_file()
    assert any('job="satcle"' in alert["expr"] for alert in ALERTS)


def test_kubernetes_has_the_same_alerts():
    rules = yaml.safe_load((DEPLOY / "kubernetes/monitoring/alerts.yaml").read_text())
    assert rules["spec"] == {"groups": GROUPS}


def test_every_alert_is_tried_quiet_and_firing():
    cases = yaml.safe_load(FIRES.read_text())["tests"]
    tried = [(test["alertname"], bool(test.get("exp_alerts"))) for case in cases for test in case["alert_rule_test"]]
    assert set(tried) == {(alert["alert"], fires) for alert in ALERTS for fires in (True, False)}


def test_the_alerts_fire_when_they_should():
    if (promtool := shutil.which("promtool")) is None:
        pytest.skip("no promtool: install Debian's package prometheus")
    done = subprocess.run([promtool, "test", "rules", FIRES], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
