"""The files of cluster/monitoring: each name on the Grafana board is exported, and the monitor finds KubeRay's pods."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from sde_ray.sweep.ray_metrics import METRICS, Metric

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "cluster" / "monitoring"
BOARD = json.loads((MONITORING / "grafana-dashboard.json").read_text("utf-8"))
MONITOR = yaml.safe_load((MONITORING / "pod-monitor.yaml").read_text("utf-8"))
EXPORTED = {metric.exported: metric for metric in METRICS}
PANELS = BOARD["panels"]
EXPRESSIONS = [(panel["title"], target) for panel in PANELS for target in panel["targets"]]
each_expression = pytest.mark.parametrize(
    ("title", "target"), EXPRESSIONS, ids=[f"{title}-{target['refId']}" for title, target in EXPRESSIONS]
)


def metrics_in(expression: str) -> list[Metric]:
    """The metrics that an expression names; a name that the code does not export is a KeyError."""
    return [EXPORTED[name] for name in re.findall(r"\bray_\w+", expression)]


# ---- the board -------------------------------------------------------------------------------------------------------


@each_expression
def test_each_expression_names_a_metric_that_is_exported_and_labels_that_it_has(
    title: str, target: dict[str, Any]
) -> None:
    expression = target["expr"]
    (metric,) = metrics_in(expression)
    labels = set(re.findall(r"[{,]\s*(\w+)\s*(?:=~|!~|!=|=)", expression))
    for grouped in re.findall(r"\bby \(([^)]*)\)", expression):
        labels |= set(grouped.split(", "))
    assert labels <= set(metric.tags), f"{metric.name} has no such label"
    kept = re.search(
        r"^\W*(?:\d+ \* )?\w+ by \(([^)]*)\)", expression.replace("time() - ", "").replace("-3600", "3600")
    )
    shown = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
    assert shown <= set(kept[1].split(", ") if kept else ()), "a label that the sum has taken away is empty"
    assert expression.count("(") == expression.count(")") and expression.count("{") == expression.count("}")
    assert "sweep=~" in expression, "the board's choice of a sweep"


def test_every_metric_is_on_the_board() -> None:
    shown = {metric.name for _, target in EXPRESSIONS for metric in metrics_in(target["expr"])}
    assert shown == {metric.name for metric in METRICS}


def test_a_metric_that_is_not_exported_would_be_seen() -> None:
    with pytest.raises(KeyError):
        metrics_in('sum(ray_sde_trails{sweep=~"$sweep"})')


def test_two_drivers_of_one_sweep_are_not_added_up() -> None:
    """For 20 s Ray has the gauges of a driver that was killed beside those of the next one."""
    for _, target in EXPRESSIONS:
        inner = re.search(r"(\w+)(?: by \([^)]*\))? ?\(ray_", target["expr"])
        assert inner is not None and inner[1] in ("max", "deriv"), target["expr"]


def test_the_board_is_one_that_grafana_10_imports() -> None:
    assert BOARD["schemaVersion"] == 38 and BOARD["id"] is None and BOARD["uid"] and BOARD["title"]
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    variables = {one["name"]: one for one in BOARD["templating"]["list"]}
    assert list(variables) == ["datasource", "sweep", "phase"]
    source = {"type": "prometheus", "uid": "${datasource}"}
    for name in ("sweep", "phase"):
        metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variables[name]["query"]["query"]).groups()  # type: ignore[union-attr]
        assert label == name and label in EXPORTED[metric].tags and variables[name]["datasource"] == source
    for panel in PANELS:
        assert panel["type"] in ("stat", "timeseries") and panel["datasource"] == source
        assert all(target["datasource"] == source for target in panel["targets"])


def squares(panel: dict[str, Any]) -> Iterator[tuple[int, int]]:
    place = panel["gridPos"]
    assert place["x"] + place["w"] <= 24
    for x in range(place["x"], place["x"] + place["w"]):
        for y in range(place["y"], place["y"] + place["h"]):
            yield x, y


def test_no_panel_lies_on_another() -> None:
    taken = [square for panel in PANELS for square in squares(panel)]
    assert len(taken) == len(set(taken))


# ---- the monitor -----------------------------------------------------------------------------------------------------

# Prometheus operator, monitoring.coreos.com/v1, PodMonitorSpec and PodMetricsEndpoint: the fields that ours may use.
SPEC = {"selector", "podTargetLabels", "podMetricsEndpoints", "namespaceSelector", "jobLabel", "sampleLimit"}
ENDPOINT = {"port", "path", "scheme", "interval", "scrapeTimeout", "relabelings", "metricRelabelings", "honorLabels"}


def rays_own_labels(cluster: str, kind: str, group: str) -> dict[str, str]:
    """What KubeRay writes on a pod."""
    return {
        "ray.io/cluster": cluster,
        "ray.io/node-type": kind,
        "ray.io/group": group,
        "ray.io/is-ray-node": "yes",
        "app.kubernetes.io/name": "kuberay",
    }


def chosen(labels: dict[str, str]) -> bool:
    """Whether the monitor's selector takes a pod with these labels."""
    rules = MONITOR["spec"]["selector"]["matchExpressions"]
    assert {rule["operator"] for rule in rules} == {"Exists", "In"}
    return all(
        rule["key"] in labels and (rule["operator"] == "Exists" or labels[rule["key"]] in rule["values"])
        for rule in rules
    )


def test_the_monitor_has_fields_of_the_prometheus_operator_only() -> None:
    assert (MONITOR["apiVersion"], MONITOR["kind"]) == ("monitoring.coreos.com/v1", "PodMonitor")
    assert set(MONITOR["spec"]) <= SPEC
    for endpoint in MONITOR["spec"]["podMetricsEndpoints"]:
        assert set(endpoint) <= ENDPOINT
        seconds = [int(endpoint[name].removesuffix("s")) for name in ("scrapeTimeout", "interval")]
        assert seconds == sorted(seconds) and seconds[1] <= 20, "Ray forgets a gauge after 20 s"


def test_the_monitors_selector_is_kubernetes_own() -> None:
    client = pytest.importorskip("kubernetes.client")
    from helpers.kuberay import model_faults

    assert list(model_faults(client, MONITOR["spec"]["selector"], "V1LabelSelector", "selector")) == []


@pytest.mark.parametrize("kind", ["head", "worker"])
def test_the_monitor_takes_every_ray_pod_and_no_other(kind: str) -> None:
    labels = rays_own_labels("sde-x7k2p", kind, "gpu")
    assert chosen(labels) and set(MONITOR["spec"]["podTargetLabels"]) <= set(labels)
    assert not chosen({"app": "mlflow"}) and not chosen({**labels, "ray.io/node-type": "redis-cleanup"})


@pytest.mark.parametrize("name", ["kuberay-cluster.yaml", "kuberay-job.yaml"])
def test_head_and_workers_export_at_the_port_that_the_monitor_reads(name: str) -> None:
    documents = [one for one in yaml.safe_load_all((ROOT / "cluster" / name).read_text("utf-8")) if one]
    (manifest,) = [one for one in documents if one["kind"] in ("RayCluster", "RayJob")]
    spec = manifest["spec"].get("rayClusterSpec", manifest["spec"])
    (wanted,) = {endpoint["port"] for endpoint in MONITOR["spec"]["podMetricsEndpoints"]}
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        (container,) = group["template"]["spec"]["containers"]
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        assert str(ports[wanted]) == group["rayStartParams"]["metrics-export-port"]
