"""The manifests of cluster/: KubeRay's API, Kubernetes' own models, Ray's reader, and what the finished pods may do.

`helpers/kuberay.py` says where its schemas come from, and how the operator's own definitions take their place.
"""

from __future__ import annotations

import copy
import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.kuberay import SCHEMAS, SINCE, crd_schema, fields_of, model_faults, models_of, spec_faults

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "cluster"
MANIFESTS = sorted(CLUSTER.glob("ku*.yaml"))


def documents(path: Path) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all(path.read_text(encoding="utf-8")) if one]


RAY = [(path.name, one) for path in MANIFESTS for one in documents(path) if one["kind"] in SCHEMAS]
(CLUSTER_MANIFEST,) = [one for _, one in RAY if one["kind"] == "RayCluster"]
(JOB_MANIFEST,) = [one for _, one in RAY if one["kind"] == "RayJob"]
each_ray = pytest.mark.parametrize(("name", "manifest"), RAY, ids=[name for name, _ in RAY])


def cluster_of(manifest: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = manifest["spec"]
    return spec.get("rayClusterSpec", spec)


def pods(manifest: dict[str, Any]) -> dict[str, dict[str, Any]]:
    spec = cluster_of(manifest)
    groups = {group["groupName"]: group["template"] for group in spec["workerGroupSpecs"]}
    return {"head": spec["headGroupSpec"]["template"], **groups}


def own_definitions() -> dict[str, Any]:
    """The operator's own schemas, where SDE_KUBERAY_CRDS names their folder."""
    if not (folder := os.environ.get("SDE_KUBERAY_CRDS")):
        pytest.skip("SDE_KUBERAY_CRDS names no folder with KubeRay's definitions (helpers/kuberay.py)")
    files = [Path(folder) / f"ray.io_{plural}.yaml" for plural in ("rayclusters", "rayjobs")]
    return dict(crd_schema(file) for file in files)


# ---- the operator's schema -------------------------------------------------------------------------------------------


def test_the_manifests_are_these() -> None:
    assert [path.name for path in MANIFESTS] == ["kuberay-cluster.yaml", "kuberay-job.yaml", "kueue.yaml"]
    assert [one["apiVersion"] for _, one in RAY] == ["ray.io/v1"] * 2


@each_ray
def test_the_manifest_fits_kuberays_schema(name: str, manifest: dict[str, Any]) -> None:
    assert spec_faults(manifest["kind"], manifest["spec"]) == []


@each_ray
def test_the_manifest_fits_the_operators_own_definition(name: str, manifest: dict[str, Any]) -> None:
    assert spec_faults(manifest["kind"], manifest["spec"], own_definitions()) == []


def test_the_schemas_of_the_tests_are_the_operators_own_reduced() -> None:
    own = own_definitions()

    def compare(kind: str, reduced: dict[str, Any], full: dict[str, Any], path: str) -> list[str]:
        faults = []
        for key, inner in reduced.get("properties", {}).items():
            if key not in full.get("properties", {}):
                faults.append(f"{kind}{path}.{key}")
            else:
                faults += compare(kind, inner, full["properties"][key], f"{path}.{key}")
        if "items" in reduced:
            faults += compare(kind, reduced["items"], full["items"], f"{path}[]")
        if reduced.get("type", full.get("type")) != full.get("type"):
            faults.append(f"{kind}{path}: {reduced['type']} is {full.get('type')} there")
        return faults

    assert [fault for kind, reduced in SCHEMAS.items() for fault in compare(kind, reduced, own[kind], "")] == []


def test_a_definition_of_the_operator_is_read_and_refuses_what_it_would_drop(tmp_path: Path) -> None:
    spec = {
        "type": "object",
        "properties": {
            "memory": {"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": True},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "properties": {}},
        },
    }
    version = {"name": "v1", "schema": {"openAPIV3Schema": {"properties": {"spec": spec}}}}
    crd = {"spec": {"names": {"kind": "RayCluster"}, "versions": [{"name": "v1alpha1"}, version]}}
    file = tmp_path / "ray.io_rayclusters.yaml"
    file.write_text(yaml.safe_dump(crd), encoding="utf-8")
    schemas = dict([crd_schema(file)])
    assert spec_faults("RayCluster", {"memory": "4Gi", "free": {"any": 1}}, schemas) == []
    assert "authOptions" in spec_faults("RayCluster", {"authOptions": {}}, schemas)[0]


@pytest.mark.parametrize(
    ("path", "value", "fault"),
    [
        (("authOptoins",), {}, "authOptoins"),
        (("authOptions", "mode"), "tokens", "'tokens' is not one of"),
        (("headGroupSpec", "rayStartParams", "num-cpus"), 0, "0 is not of type 'string'"),
        (("autoscalerOptions", "idleTimeoutSeconds"), "600", "'600' is not of type 'integer'"),
    ],
    ids=lambda value: ".".join(value) if isinstance(value, tuple) else "",
)
def test_a_slip_in_a_manifest_would_be_seen(path: tuple[str, ...], value: object, fault: str) -> None:
    spec = copy.deepcopy(CLUSTER_MANIFEST["spec"])
    place = spec
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert [fault in line for line in spec_faults("RayCluster", spec)] == [True]


@each_ray
def test_the_stated_release_of_kuberay_has_every_field(name: str, manifest: dict[str, Any]) -> None:
    stated = re.search(r"KubeRay (?:operator )?(\d+)\.(\d+)\.(\d+) or later", (CLUSTER / name).read_text("utf-8"))
    assert stated is not None, "the first lines name the oldest release"
    newest = max(SINCE.get(field, (1, 0, 0)) for field in fields_of(SCHEMAS[manifest["kind"]], manifest["spec"]))
    assert tuple(map(int, stated.groups())) == newest == (1, 6, 0)


@each_ray
def test_kubernetes_own_models_take_what_is_kubernetes(name: str, manifest: dict[str, Any]) -> None:
    client = pytest.importorskip("kubernetes.client")
    objects = list(models_of(SCHEMAS[manifest["kind"]], manifest["spec"]))
    assert len(objects) >= 2
    assert [fault for path, kind, one in objects for fault in model_faults(client, one, kind, path)] == []


def test_a_slip_in_a_pod_would_be_seen() -> None:
    client = pytest.importorskip("kubernetes.client")
    pod = {"spec": {"containers": [{"name": "x", "imagee": "y"}], "terminationGracePeriodSeconds": "120"}}
    assert list(model_faults(client, pod, "V1PodTemplateSpec", "x")) == [
        "x.spec.containers[].imagee is unknown",
        "x.spec.terminationGracePeriodSeconds is no int: '120'",
    ]


@each_ray
def test_rays_own_reader_takes_the_cluster(name: str, manifest: dict[str, Any]) -> None:
    from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr

    spec = cluster_of(manifest)
    read = _derive_autoscaling_config_from_ray_cr({"metadata": {"name": "sde", "namespace": "x"}, "spec": spec})
    types = read["available_node_types"]
    assert types["headgroup"]["resources"]["CPU"] == 0
    assert types["gpu"]["resources"]["GPU"] == 1 and types["gpu"]["max_workers"] > 0
    assert spec["rayVersion"] == re.search(r"^ray==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)[1]  # type: ignore[index]


# ---- the token, secrets and rights -----------------------------------------------------------------------------------


@each_ray
def test_the_operator_carries_the_token_to_all_that_need_it(name: str, manifest: dict[str, Any]) -> None:
    """By `authOptions` alone: an `env` of the Ray containers reaches neither autoscaler nor submitter nor operator."""
    assert cluster_of(manifest)["authOptions"] == {"mode": "token", "secretName": "sde-ray-token"}
    assert "RAY_AUTH" not in yaml.safe_dump(manifest)
    assert "auth_token=" in (CLUSTER / "kuberay-cluster.yaml").read_text("utf-8"), "the key that the operator reads"


@each_ray
def test_keys_of_hub_and_storage_reach_every_ray_container(name: str, manifest: dict[str, Any]) -> None:
    secret = {"secretRef": {"name": "sde-secrets", "optional": True}}
    assert [secret in pod["spec"]["containers"][0]["envFrom"] for pod in pods(manifest).values()] == [True, True]


def test_the_password_of_mlflow_is_the_drivers_alone() -> None:
    assert {name for name, pod in pods(JOB_MANIFEST).items() if "sde-mlflow" in yaml.safe_dump(pod)} == {"head"}


@each_ray
def test_no_pod_runs_as_root_or_may_become_it(name: str, manifest: dict[str, Any]) -> None:
    for pod in pods(manifest).values():
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
        assert pod["spec"]["securityContext"]["runAsUser"] == pod["spec"]["securityContext"]["fsGroup"] == 1000
        assert pod["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["spec"]["containers"]:
            security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
            assert container["securityContext"] == security
    assert "useradd --uid 1000" in (CLUSTER / "Dockerfile").read_text("utf-8")


@each_ray
def test_only_a_head_that_scales_speaks_to_kubernetes(name: str, manifest: dict[str, Any]) -> None:
    needs = {"head"} if cluster_of(manifest).get("enableInTreeAutoscaling") else set()
    speaks = {name for name, pod in pods(manifest).items() if pod["spec"].get("automountServiceAccountToken", True)}
    assert speaks == needs


@each_ray
def test_the_head_with_the_driver_is_not_moved(name: str, manifest: dict[str, Any]) -> None:
    notes = pods(manifest)["head"]["metadata"]["annotations"]
    assert notes["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false"
    assert cluster_of(manifest)["headGroupSpec"]["serviceType"] == "ClusterIP"


@each_ray
def test_every_mount_has_its_volume_and_the_image_is_one(name: str, manifest: dict[str, Any]) -> None:
    images = set()
    for pod in pods(manifest).values():
        (container,) = pod["spec"]["containers"]
        images.add(container["image"])
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        assert {"shared", "shm"} <= mounted == {volume["name"] for volume in pod["spec"]["volumes"]}
    assert len(images) == 1 and not images.pop().endswith(":latest")


# ---- one sweep as a job ----------------------------------------------------------------------------------------------


def test_the_job_resumes_on_a_retry_ends_in_time_and_cleans_up() -> None:
    spec = JOB_MANIFEST["spec"]
    assert spec["backoffLimit"] > 0 and spec["shutdownAfterJobFinishes"] is True
    assert 0 < spec["preRunningDeadlineSeconds"] < spec["activeDeadlineSeconds"]
    words = spec["entrypoint"].split()
    assert words[0] == "sde-rayjob", "the entrypoint that stops a job which would fail again"
    assert "--address auto" in spec["entrypoint"] and "storage_path=/shared" in spec["entrypoint"]


def test_the_job_names_a_queue_and_a_priority_that_kueue_has() -> None:
    kueue = documents(CLUSTER / "kueue.yaml")
    assert {one["apiVersion"] for one in kueue} == {"kueue.x-k8s.io/v1beta2"}
    names = {kind: {one["metadata"]["name"] for one in kueue if one["kind"] == kind} for kind in ("LocalQueue",)}
    ranks = {one["metadata"]["name"]: one["value"] for one in kueue if one["kind"] == "WorkloadPriorityClass"}
    labels = JOB_MANIFEST["metadata"]["labels"]
    assert labels["kueue.x-k8s.io/queue-name"] in names["LocalQueue"]
    assert labels["kueue.x-k8s.io/priority-class"] in ranks
    assert ranks["sde-urgent"] > ranks["sde-normal"] > ranks["sde-background"]


def test_kueues_quota_has_room_for_the_job() -> None:
    (queue,) = [one for one in documents(CLUSTER / "kueue.yaml") if one["kind"] == "ClusterQueue"]
    quota = {one["name"]: one["nominalQuota"] for one in queue["spec"]["resourceGroups"][0]["flavors"][0]["resources"]}
    spec = cluster_of(JOB_MANIFEST)
    groups = [(1, spec["headGroupSpec"]), *((group["replicas"], group) for group in spec["workerGroupSpecs"])]
    for resource, limit in quota.items():
        requests = [
            (count, group["template"]["spec"]["containers"][0]["resources"]["requests"].get(resource, "0"))
            for count, group in groups
        ]
        assert sum(count * int(amount.removesuffix("Gi")) for count, amount in requests) <= int(
            limit.removesuffix("Gi")
        )


def test_the_option_for_a_head_that_restarts_fits_the_schema() -> None:
    """`gcsFaultToleranceOptions`, as cluster/README.md has it, in the manifest of the cluster that stays."""
    text = (CLUSTER / "README.md").read_text("utf-8")
    (block,) = [one for one in re.findall(r"```\n(.*?)```", text, re.DOTALL) if "gcsFaultTolerance" in one]
    option = yaml.safe_load(block)
    assert list(option) == ["gcsFaultToleranceOptions"]
    assert spec_faults("RayCluster", {**CLUSTER_MANIFEST["spec"], **option}) == []
    assert SINCE.keys().isdisjoint(fields_of(SCHEMAS["RayCluster"], option)), "no newer operator for it"
