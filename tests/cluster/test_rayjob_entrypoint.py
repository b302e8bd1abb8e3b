"""The entrypoint of a RayJob: what KubeRay retries, and what it must not.

KubeRay gives a job that FAILED a new cluster, whatever its exit code; one that was STOPPED ends there.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from helpers.nodes import Nodes

SCRIPT = Path(__file__).parents[2] / "cluster" / "rayjob.sh"


def run(folder: Path, code: int) -> tuple[int, str, str]:
    """(exit code, what was called, stderr) of the entrypoint, where `sde-ray` ends with this code."""
    calls = folder / "calls"
    calls.touch()
    for name, end in (("sde-ray", code), ("ray", 0), ("sleep", 0)):
        program = folder / name
        program.write_text(f'#!/bin/sh\necho "{name} $*" >> {calls}\nexit {end}\n', encoding="utf-8")
        program.chmod(0o755)
    config = json.dumps({"metadata": {"job_submission_id": "sde-sweep-abc12"}})
    env = {"PATH": f"{folder}:{os.environ['PATH']}", "RAY_JOB_CONFIG_JSON_ENV_VAR": config}
    done = subprocess.run(["bash", str(SCRIPT), "/sweep/a b.yaml"], env=env, capture_output=True, text=True)
    return done.returncode, calls.read_text(encoding="utf-8"), done.stderr


@pytest.mark.parametrize("code", [0, 1, 130, 137])
def test_any_other_end_is_the_jobs_own(tmp_path: Path, code: int) -> None:
    assert run(tmp_path, code) == (code, "sde-ray run /sweep/a b.yaml\n", "")


def test_a_refused_sweep_stops_its_job_and_says_why(tmp_path: Path) -> None:
    code, calls, errors = run(tmp_path, 2)
    assert "ray job stop --no-wait --address http://127.0.0.1:8265 sde-sweep-abc12" in calls
    assert code == 2 and "Not tried again" in errors


@pytest.mark.cluster
@pytest.mark.long
def test_on_a_real_cluster_a_refused_sweep_is_stopped_not_failed(tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text("task: masa:d1\nserach: {}\n", encoding="utf-8")
    job, log = submitted(tmp_path / "sweep.yaml")
    assert job["status"] == "STOPPED", log
    assert "serach" in log and "Not tried again" in log


def submitted(sweep: Path, tries: int = 4) -> tuple[dict[str, Any], str]:
    """(the job's state at its end, its log) of the entrypoint on a head of its own.

    Ray gives a head 30 s to start all its servers, too little where the machine is busy: one that gave up starts again.
    """
    for attempt in range(tries):
        nodes = Nodes()
        try:
            nodes.start(nodes=0)
            env = {**nodes.env, "RAY_ADDRESS": nodes.url}
            submit = ["ray", "job", "submit", "--no-wait", "--submission-id=sde-sweep-abc12", "--"]
            entrypoint = ["env", f"RAYJOB_DASHBOARD={nodes.url}", str(SCRIPT), str(sweep), "--address", "auto"]
            done = subprocess.run([*submit, *entrypoint], env=env, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            job: dict[str, Any] = {}

            def ended(nodes: Nodes = nodes, job: dict[str, Any] = job) -> bool:
                job.update(nodes.ask("/api/jobs/sde-sweep-abc12") or {})
                return job.get("status") in ("STOPPED", "SUCCEEDED", "FAILED")

            nodes._wait(ended, "the end of the job")
            return job, nodes.ask("/api/jobs/sde-sweep-abc12/logs")["logs"]
        except AssertionError:
            if attempt + 1 == tries:
                raise
        finally:
            nodes.close()
    raise AssertionError("unreachable")
