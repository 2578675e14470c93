"""The rules and the dashboard are what Prometheus and Grafana take, and speak of what there is."""

from __future__ import annotations

import json
import re

import promql_parser
import pytest
import yaml

from clew_services.metrics import catalogue
from support.up import ROOT

RULES = yaml.safe_load((ROOT / "infra/prometheus/alerts.yml").read_text())
ALERTS = [rule for group in RULES["groups"] for rule in group["rules"]]
DASHBOARD = json.loads((ROOT / "infra/grafana/dashboard.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
SCRAPED = {"job", "instance"}
GUIDE = (ROOT / "docs/operating/alerts.md").read_text()
MARKS = {"$__rate_interval": "5m", "$job": ".*"}


def series() -> dict[str, set[str]]:
    """Every series that there can be, and its labels."""
    found: dict[str, set[str]] = {}
    for metric in catalogue.ALL:
        labels = {*metric.labels, *SCRAPED}
        if metric.kind == "histogram":
            found |= {f"{metric.name}_sum": labels, f"{metric.name}_count": labels}
            found[f"{metric.name}_bucket"] = labels | {"le"}
        else:
            found[metric.name] = labels
    return found


SERIES = series()


def wrongs(expression: str) -> list[str]:
    """What an expression says that cannot be."""
    asked: list[promql_parser.VectorSelector] = []
    grouped: set[str] = set()

    def see(node: object) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            asked.append(node)
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None:
            grouped.update(node.modifier.labels)

    promql_parser.walk(promql_parser.parse(expression), see)
    known = set.intersection(*(SERIES.get(each.name, set()) for each in asked)) if asked else set()
    return [
        *([] if asked else ["it asks for nothing"]),
        *(f"there is no {each.name}" for each in asked if each.name not in SERIES),
        *(
            f"{each.name} has no label {matcher.name}"
            for each in asked
            for matcher in each.matchers.matchers
            if each.name in SERIES and matcher.name not in SERIES[each.name]
        ),
        *(f"not all have the label {label}" for label in sorted(grouped - known)),
    ]


def asked_by(panel: dict[str, list[dict[str, str]]]) -> list[str]:
    """What a panel asks, with Grafana's own marks put in."""
    return [re.sub(r"\$\w+", lambda found: MARKS[found[0]], target["expr"]) for target in panel["targets"]]


@pytest.mark.parametrize("alert", ALERTS, ids=[alert["alert"] for alert in ALERTS])
def test_an_alert_asks_for_what_there_is_and_says_what_to_do(alert: dict[str, dict[str, str]]) -> None:
    assert wrongs(str(alert["expr"])) == []
    assert set(alert) == {"alert", "expr", "for", "labels", "annotations"}
    assert re.fullmatch(r"[0-9]+[sm]", str(alert["for"]))
    assert alert["labels"]["severity"] in {"warning", "critical"}
    file, _, heading = alert["annotations"]["runbook"].partition("#")
    assert file == "docs/operating/alerts.md"
    assert f"### {alert['alert']}\n" in GUIDE
    assert heading == str(alert["alert"]).lower()
    for label in re.findall(r"\$labels\.(\w+)", str(alert["annotations"])):
        assert re.search(rf"by \([^)]*\b{label}\b", str(alert["expr"])), f"{label} is not kept"


def test_every_alert_of_the_guide_exists_and_none_twice() -> None:
    names = [alert["alert"] for alert in ALERTS]
    assert re.findall(r"^### (Clew\w+)$", GUIDE, re.MULTILINE) == names
    assert len(set(names)) == len(names) > 10


@pytest.mark.parametrize("panel", PANELS, ids=[panel["title"] for panel in PANELS])
def test_a_panel_asks_for_what_there_is(panel: dict[str, list[dict[str, str]]]) -> None:
    questions = asked_by(panel)
    assert questions
    assert [wrongs(question) for question in questions] == [[] for _ in questions]


def test_panels_lie_side_by_side_and_have_an_id_of_their_own() -> None:
    places = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & places, panel["title"]
        places |= cells
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)


def test_every_metric_is_on_the_dashboard_or_in_an_alert() -> None:
    said = " ".join([*(str(alert["expr"]) for alert in ALERTS), json.dumps(DASHBOARD)])
    assert [metric.name for metric in catalogue.ALL if not re.search(rf"\b{metric.name}(_|\b)", said)] == []


def test_a_wrong_expression_is_found() -> None:
    assert wrongs("rate(clew_gone_total[5m])") == ["there is no clew_gone_total"]
    assert wrongs('clew_log_commits{tenant="acme"} > 0') == ["clew_log_commits has no label tenant"]
    assert wrongs("sum by (le) (clew_log_commits)") == ["not all have the label le"]
    assert wrongs("vector(1)") == ["it asks for nothing"]
    with pytest.raises(ValueError):
        wrongs("sum by (clew_ready")


def test_what_prometheus_and_grafana_are_given_is_whole() -> None:
    prometheus = yaml.safe_load((ROOT / "infra/prometheus/prometheus.yml").read_text())
    for name in prometheus["rule_files"]:
        assert (ROOT / "infra/prometheus" / name).is_file()
    assert prometheus["scrape_configs"][0]["static_configs"][0]["targets"] == ["127.0.0.1:8787"]
    sources = yaml.safe_load((ROOT / "infra/grafana/provisioning/datasources/prometheus.yml").read_text())
    assert sources["datasources"][0]["type"] == "prometheus"
    dashboards = yaml.safe_load((ROOT / "infra/grafana/provisioning/dashboards/clew.yml").read_text())
    assert dashboards["providers"][0]["type"] == "file"
