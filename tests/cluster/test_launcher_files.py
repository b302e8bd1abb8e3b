"""The files of cluster/ against the real thing's own readers, where one can be installed.

Ray's launcher files go through Ray's own schema and preparation; KubeRay's manifests through Ray's own reader of a
RayCluster, and their pods through the models of Kubernetes' own client. KubeRay's schema comes in no package, so
`FIELDS` repeats, by hand, which fields its API reference has on each level. Linters are optional: their tests skip.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.shipped_sweeps import planned

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "cluster"
LAUNCHERS = sorted(CLUSTER.glob("ray-*.yaml"))
MANIFESTS = sorted(CLUSTER.glob("kube*.yaml"))
SCRIPTS = sorted(CLUSTER.glob("*.sh"))

# KubeRay's API reference (ray.io/v1), the fields that a user may set.
CLUSTER_FIELDS = set(
    "headGroupSpec workerGroupSpecs rayVersion enableInTreeAutoscaling autoscalerOptions headServiceAnnotations "
    "suspend gcsFaultToleranceOptions managedBy authOptions upgradeStrategy networkPolicy".split()
)
FIELDS: dict[str, set[str]] = {
    "cluster": CLUSTER_FIELDS,
    "head": set("serviceType headService enableIngress rayStartParams template resources labels".split()),
    "workers": set(
        "groupName replicas minReplicas maxReplicas numOfHosts rayStartParams template scaleStrategy suspend "
        "idleTimeoutSeconds resources labels".split()
    ),
    "autoscaler": set(
        "resources image imagePullPolicy env envFrom volumeMounts securityContext idleTimeoutSeconds upscalingMode "
        "version command args".split()
    ),
    "job": set(
        "activeDeadlineSeconds backoffLimit rayClusterSpec submitterPodTemplate metadata clusterSelector "
        "submitterConfig managedBy deletionStrategy entrypoint runtimeEnvYAML jobId submissionMode entrypointResources "
        "entrypointNumCpus entrypointNumGpus ttlSecondsAfterFinished shutdownAfterJobFinishes suspend "
        "preRunningDeadlineSeconds".split()
    ),
}
MODES = {"K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"}


def documents(path: Path) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all(path.read_text(encoding="utf-8")) if one]


def clusters() -> list[tuple[str, dict[str, Any]]]:
    """Every RayCluster spec of the manifests, a RayJob's own one too."""
    found = [(path.name, one) for path in MANIFESTS for one in documents(path)]
    return [
        (name, one["spec"].get("rayClusterSpec", one["spec"]))
        for name, one in found
        if one["kind"] in ("RayCluster", "RayJob")
    ]


def pods() -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{name}:{group.get('groupName', 'head')}", group["template"])
        for name, spec in clusters()
        for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"])
    ]


def linter(name: str) -> str:
    """The path of an optional linter, beside this Python or on the PATH."""
    found = shutil.which(name, path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if found is None:
        pytest.skip(f"{name} is not installed (it is among the dev requirements)")
    return found


# ---- Ray's cluster launcher ------------------------------------------------------------------------------------------


def prepared(path: Path) -> dict[str, Any]:
    """As `ray up` prepares it: defaults merged, node types filled in, the schema checked."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    config: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    if config["provider"]["type"] == "local":
        config = {**config, "cluster_name": f"test-{os.getpid()}"}  # its state is kept by name, in a file
    ready: dict[str, Any] = prepare_config(config)
    validate_config(ready)
    return ready


def test_the_promised_files_are_there() -> None:
    assert {path.name for path in LAUNCHERS} == {"ray-ssh.yaml", "ray-aws.yaml", "ray-gcp.yaml"}
    assert {path.name for path in MANIFESTS} == {"kuberay-cluster.yaml", "kuberay-job.yaml"}
    assert {path.name for path in SCRIPTS} == {"slurm.sh", "mlflow.sh"}


@pytest.mark.parametrize("path", LAUNCHERS, ids=lambda path: path.name)
def test_ray_takes_the_launcher_file(path: Path) -> None:
    ready = prepared(path)
    assert ready["head_node_type"] in ready["available_node_types"]
    assert "/shared:/shared" in " ".join(ready["docker"]["run_options"])
    starts = " ".join(ready["head_start_ray_commands"])
    assert "--dashboard-host=127.0.0.1" in starts, "the dashboard takes jobs from whoever reaches it"
    assert any("RAY_AUTH_MODE=token" in option for option in ready["docker"]["run_options"])
    assert list(ready["file_mounts"]) == ["/root/.ray/auth_token"]


def test_ray_would_refuse_a_launcher_file_with_a_slip(tmp_path: Path) -> None:
    slip = tmp_path / "ray-aws.yaml"
    text = (CLUSTER / "ray-aws.yaml").read_text(encoding="utf-8")
    slip.write_text(text.replace("idle_timeout_minutes: 10", "idle_timeout_minutes: soon"), encoding="utf-8")
    with pytest.raises(Exception, match="'soon' is not of type 'number'"):
        prepared(slip)


@pytest.mark.parametrize("name", ["ray-aws.yaml", "ray-gcp.yaml"])
def test_gpu_workers_are_spot_and_scale_from_nothing(name: str) -> None:
    types = prepared(CLUSTER / name)["available_node_types"]
    gpu, head = types["gpu"], types["head"]
    assert gpu["min_workers"] == 0 < gpu["max_workers"]
    assert head["resources"]["CPU"] == 0, "no trial on the head, which is not taken away"
    node = gpu["node_config"]
    assert node.get("InstanceMarketOptions") == {"MarketType": "spot"} or {"preemptible": True} in node["scheduling"]


# ---- KubeRay ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "spec"), clusters(), ids=lambda value: value if isinstance(value, str) else "")
def test_rays_own_reader_takes_the_kuberay_cluster(name: str, spec: dict[str, Any]) -> None:
    from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr

    read = _derive_autoscaling_config_from_ray_cr({"metadata": {"name": "sde", "namespace": "x"}, "spec": spec})
    types = read["available_node_types"]
    assert types["headgroup"]["resources"]["CPU"] == 0
    assert types["gpu"]["resources"]["GPU"] == 1 and types["gpu"]["max_workers"] > 0


@pytest.mark.parametrize(("name", "spec"), clusters(), ids=lambda value: value if isinstance(value, str) else "")
def test_kuberay_fields_are_those_of_its_reference(name: str, spec: dict[str, Any]) -> None:
    head = spec["headGroupSpec"]
    assert set(spec) <= FIELDS["cluster"] and set(head) <= FIELDS["head"]
    assert {"rayStartParams", "template"} <= set(head)
    assert set(spec.get("autoscalerOptions", {})) <= FIELDS["autoscaler"]
    for group in spec["workerGroupSpecs"]:
        assert set(group) <= FIELDS["workers"]
        assert {"groupName", "minReplicas", "maxReplicas", "rayStartParams", "template"} <= set(group)
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    starts = [head["rayStartParams"], *(group["rayStartParams"] for group in spec["workerGroupSpecs"])]
    assert all(isinstance(value, str) for start in starts for value in start.values())


def test_the_ray_job_resumes_on_a_retry_and_cleans_up() -> None:
    (job,) = documents(CLUSTER / "kuberay-job.yaml")
    spec = job["spec"]
    assert job["apiVersion"] == "ray.io/v1" and set(spec) <= FIELDS["job"]
    assert spec["backoffLimit"] > 0 and spec["shutdownAfterJobFinishes"] is True
    assert spec["submissionMode"] in MODES
    assert "--address auto" in spec["entrypoint"] and "storage_path=/shared" in spec["entrypoint"]


@pytest.mark.parametrize(("name", "pod"), pods(), ids=lambda value: value if isinstance(value, str) else "")
def test_kubernetes_own_models_take_the_pods(name: str, pod: dict[str, Any]) -> None:
    client = pytest.importorskip("kubernetes.client")
    assert not list(unknown_fields(client, pod, "V1PodTemplateSpec", name))
    mounted = {mount["name"] for mount in pod["spec"]["containers"][0]["volumeMounts"]}
    assert mounted <= {volume["name"] for volume in pod["spec"]["volumes"]}, "every mount has its volume"


def test_an_unknown_field_of_a_pod_would_be_seen() -> None:
    client = pytest.importorskip("kubernetes.client")
    pod = {"spec": {"containers": [{"name": "x", "imagee": "y"}]}}
    assert list(unknown_fields(client, pod, "V1PodTemplateSpec", "x")) == ["x.spec.containers[].imagee"]


def unknown_fields(client: Any, value: Any, kind: str, path: str) -> Iterator[str]:
    """Fields that Kubernetes' model of this kind does not have, at any depth."""
    if match := re.fullmatch(r"[Ll]ist\[(.*)\]", kind):
        for one in value:
            yield from unknown_fields(client, one, match[1], f"{path}[]")
    elif hasattr(client, kind):
        model = getattr(client, kind)
        names = {json_name: name for name, json_name in model.attribute_map.items()}
        for key, inner in value.items():
            if key not in names:
                yield f"{path}.{key}"
            else:
                yield from unknown_fields(client, inner, model.openapi_types[names[key]], f"{path}.{key}")


# ---- scripts, image, style -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_bash_reads_the_script(path: Path) -> None:
    assert os.access(path, os.X_OK)
    assert subprocess.run(["bash", "-n", str(path)], capture_output=True).returncode == 0


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_finds_nothing(path: Path) -> None:
    done = subprocess.run([linter("shellcheck"), str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_hadolint_finds_nothing() -> None:
    done = subprocess.run([linter("hadolint"), str(CLUSTER / "Dockerfile")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_yamllint_finds_nothing() -> None:
    rules = "{document-start: disable, line-length: {max: 120}, braces: {max-spaces-inside: 1}, comments: disable}"
    command = [linter("yamllint"), "-d", f"{{extends: default, rules: {rules}}}", *map(str, LAUNCHERS + MANIFESTS)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_image_copies_what_it_installs() -> None:
    text = (CLUSTER / "Dockerfile").read_text(encoding="utf-8")
    for line in re.findall(r"^COPY (.+)$", text, re.MULTILINE):
        assert all((ROOT / source).exists() for source in line.split()[:-1])
    assert "ARG DEVICE=cuda" in text and "cpu)" in text


def test_no_script_listens_to_the_world_by_itself() -> None:
    text = (CLUSTER / "mlflow.sh").read_text(encoding="utf-8")
    assert "BIND=${BIND:-127.0.0.1}" in text and '--publish "$BIND:$PORT:5000"' in text
    assert "--allowed-hosts" in text
    assert "--dashboard-host=127.0.0.1" in (CLUSTER / "slurm.sh").read_text(encoding="utf-8")


@pytest.mark.faults
def test_mlflow_sh_without_a_verb_says_how() -> None:
    done = subprocess.run([str(CLUSTER / "mlflow.sh")], capture_output=True, text=True)
    assert done.returncode == 2 and "up or down" in done.stderr


# ---- the table of costs ----------------------------------------------------------------------------------------------


def costs() -> list[tuple[str, int, float, float]]:
    """(sweep, trials, GPU hours a trial, GPU hours) of the table in docs/cluster.md."""
    text = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \|.*\| ([\d,]+) \| ([\d.]+) \| ([\d,]+) \|$", text, re.MULTILINE)
    return [(name, int(n.replace(",", "")), float(each), float(sum_.replace(",", ""))) for name, n, each, sum_ in rows]


def test_the_costs_on_the_page_are_those_of_the_plans(tmp_path: Path) -> None:
    rows = costs()
    assert {name for name, *_ in rows} >= {"paper", "paper_models", "zero3", "confirm_genia", "confirm_maven"}
    for name, trials, each, hours in rows:
        (tmp_path / name).mkdir()
        made = planned(name, tmp_path / name)
        assert made.count == trials, name
        assert round(trials * each) == hours, name
        assert made.config.resources.resources_per_worker.GPU > 0, "its cost is one of GPUs"
