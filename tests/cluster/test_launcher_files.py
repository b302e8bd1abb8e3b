"""The launcher files and scripts of cluster/: through Ray's own schema and preparation, through bash, through linters.

Linters are optional: their tests skip. Manifests of Kubernetes are in test_kuberay_files.py, the MLflow server in
test_mlflow_server.py, the images in test_images.py.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.shipped_sweeps import planned

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "cluster"
LAUNCHERS = sorted(CLUSTER.glob("ray-*.yaml"))
MANIFESTS = sorted(CLUSTER.glob("ku*.yaml"))
COMPOSE = CLUSTER / "mlflow" / "compose.yaml"
SCRIPTS = sorted(CLUSTER.glob("*.sh"))


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
    assert {path.name for path in MANIFESTS} == {"kuberay-cluster.yaml", "kuberay-job.yaml", "kueue.yaml"}
    assert {path.name for path in SCRIPTS} == {"slurm.sh", "rayjob.sh"}


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


def test_every_node_on_aws_may_pull_the_image() -> None:
    """Ray gives the profile that it makes to the head alone, without a right to read ECR."""
    prepared_file = prepared(CLUSTER / "ray-aws.yaml")
    nodes = {name: kind["node_config"] for name, kind in prepared_file["available_node_types"].items()}
    profiles = {name: node.get("IamInstanceProfile", {}).get("Name") for name, node in nodes.items()}
    assert profiles == {"head": "sde-ray-head", "gpu": "sde-ray-worker"}
    assert any("ecr get-login-password" in command for command in prepared_file["initialization_commands"])
    readme = (CLUSTER / "README.md").read_text(encoding="utf-8")
    assert all(f"--instance-profile-name {name}" in readme for name in profiles.values())
    assert {node.get("ImageId") for node in nodes.values()} == {"ami-00000000000000000"}, "Ray's default is of 2018"


def test_every_node_on_google_cloud_may_pull_the_image() -> None:
    """The head has the account that Ray makes; workers have only what their node_config says."""
    types = prepared(CLUSTER / "ray-gcp.yaml")["available_node_types"]
    (account,) = types["gpu"]["node_config"]["serviceAccounts"]
    assert account["scopes"] == ["https://www.googleapis.com/auth/cloud-platform"]
    readme = (CLUSTER / "README.md").read_text(encoding="utf-8")
    for email in (account["email"], "ray-autoscaler-sa-v1@PROJECT.iam.gserviceaccount.com"):
        assert f"serviceAccount:{email}" in readme, "its right to read Artifact Registry"


@pytest.mark.parametrize("path", LAUNCHERS, ids=lambda path: path.name)
def test_an_image_has_a_tag_and_what_is_to_be_changed_is_said(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    head, body = text.split("cluster_name:")
    assert ":latest" not in body and "--user=root" in body, "the image's own user may not write to /shared there"
    for word in set(re.findall(r"\b(?:ACCOUNT|PROJECT|[A-Z]+_FAMILY|fs-0+|ami-0+)\b", body)):
        assert word in head.split("# Change:")[1], f"{word} is to be changed, and the first lines do not say so"


# ---- scripts, style -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_bash_reads_the_script(path: Path) -> None:
    assert os.access(path, os.X_OK)
    assert subprocess.run(["bash", "-n", str(path)], capture_output=True).returncode == 0


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_finds_nothing(path: Path) -> None:
    done = subprocess.run([linter("shellcheck"), str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", ["Dockerfile", "mlflow/Dockerfile"])
def test_hadolint_finds_nothing(name: str) -> None:
    done = subprocess.run([linter("hadolint"), str(CLUSTER / name)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_yamllint_finds_nothing() -> None:
    rules = "{document-start: disable, line-length: {max: 120}, braces: {max-spaces-inside: 1}, comments: disable}"
    files = [*map(str, LAUNCHERS + MANIFESTS), str(COMPOSE)]
    command = [linter("yamllint"), "-d", f"{{extends: default, rules: {rules}}}", *files]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_no_script_listens_to_the_world_by_itself() -> None:
    assert "--dashboard-host=127.0.0.1" in (CLUSTER / "slurm.sh").read_text(encoding="utf-8")


# ---- Slurm -----------------------------------------------------------------------------------------------------------


def sbatch(folder: Path, **more: str) -> list[dict[str, str]]:
    """slurm.sh on two nodes of a Slurm that only notes what is started: (program, arguments, its environment)."""
    log = folder / "log"
    note = "import json, os, sys; print(json.dumps({'line': ' '.join(sys.argv[1:]), **os.environ}))"
    programs = {
        "srun": f'{sys.executable} -c "{note}" srun "$@" >> {log}; case "$*" in *hostname*) echo 10.0.0.1;; esac',
        "scontrol": "echo node1; echo node2",
        "ray": "exit 0",
        "sde-ray": f'{sys.executable} -c "{note}" sde-ray "$@" >> {log}',
    }
    for name, body in programs.items():
        (folder / name).write_text(f"#!/bin/bash\n{body}\n", encoding="utf-8")
        (folder / name).chmod(0o755)
    env = {"PATH": f"{folder}:/usr/bin:/bin", "SLURM_JOB_ID": "77", "SLURM_JOB_NODELIST": "node[1-2]"}
    env |= {"SLURM_NNODES": "2", "SLURM_CPUS_PER_TASK": "32", **more}
    command = ["bash", str(CLUSTER / "slurm.sh"), "sweep.yaml"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]


def test_every_step_of_a_slurm_job_has_the_cores_that_ray_is_told(tmp_path: Path) -> None:
    """Since Slurm 22.05 a step has one core unless SRUN_CPUS_PER_TASK says more."""
    starts = [step for step in sbatch(tmp_path) if "ray start" in step["line"]]
    assert len(starts) == 2 and all("--num-cpus=32" in step["line"] for step in starts)
    assert [step.get("SRUN_CPUS_PER_TASK") for step in starts] == ["32", "32"]
    assert len({step["RAY_AUTH_TOKEN"] for step in starts}) == 1 and len(starts[0]["RAY_AUTH_TOKEN"]) == 64


def test_a_slurm_job_that_is_put_back_starts_afresh(tmp_path: Path) -> None:
    assert "#SBATCH --requeue\n" in (CLUSTER / "slurm.sh").read_text(encoding="utf-8")
    folders = []
    for count in ("", "1"):
        (here := tmp_path / f"try{count}").mkdir()
        line = next(step["line"] for step in sbatch(here, SLURM_RESTART_COUNT=count) if "--temp-dir" in step["line"])
        folders += re.findall(r"--temp-dir=(\S+)", line)
    assert folders == ["/tmp/ray-77-0", "/tmp/ray-77-1"]


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
        assert made.config.resources.resources_per_worker.gpus > 0, "its cost is one of GPUs"
