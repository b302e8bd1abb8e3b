"""Before a sweep starts on a cluster: do all nodes see its folder, and can they all reach what is logged?

The driver writes a marker into the folder; every node reads it and writes one of its own, which the driver reads. A
folder that is merely of the same name on each machine would otherwise be found out trial by trial, each as "no result".
"""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sde_ray.config import SweepConfig
from sde_ray.errors import FaultList
from sde_ray.track import check_address, tracking_of

MARKERS = ".nodes"
ANSWER = 120.0  # seconds in which a node must answer: it may have to unpack the job's files first
APPEAR = 30.0  # seconds in which its file must be seen: a network folder may lag behind


def check_nodes(config: SweepConfig, folder: Path) -> None:
    """`UserError` where a node does not share the sweep's folder, or the tracking store is a file on one of many."""
    import ray

    nodes = [node for node in ray.nodes() if node["Alive"]]
    if len(nodes) < 2:
        return
    if config.mlflow.enabled:
        check_address(tracking_of(config), nodes=len(nodes))
    check_shared(folder, nodes)


def check_shared(folder: Path, nodes: Sequence[Mapping[str, Any]]) -> None:
    """Exchange markers with each of Ray's nodes; all that fail are named together."""
    token, place = uuid.uuid4().hex, folder / MARKERS
    place.mkdir(parents=True, exist_ok=True)
    try:
        (place / "driver").write_text(token, encoding="utf-8")
        answers = _ask(place, token, nodes)
        faults = FaultList(
            f'The sweep\'s folder "{folder}" must be one that all nodes share (NFS, a mounted bucket), but it is not. '
            "Set storage to such a folder"
        )
        for node, answer in answers.items():
            told = answer or _unseen(place / node, token)
            if told:
                name = next(str(one["NodeManagerHostname"]) for one in nodes if one["NodeID"] == node)
                faults.add(f"node {name} ({node[:8]}) {told}")
        faults.raise_if_any()
    finally:
        shutil.rmtree(place, ignore_errors=True)


def answer(place: str, token: str, name: str) -> str:
    """On a node: read the driver's marker and leave one; what is wrong, or nothing."""
    try:
        seen = (Path(place) / "driver").read_text(encoding="utf-8")
    except OSError as error:
        return f"does not see what the driver wrote there ({error.strerror})"
    if seen != token:
        return "sees another folder of the same name"
    try:
        (Path(place) / name).write_text(token, encoding="utf-8")
    except OSError as error:
        return f"cannot write there ({error.strerror})"
    return ""


def _ask(place: Path, token: str, nodes: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Each node's answer. A node that dies meanwhile is no fault of the folder; one that is silent is told."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    task = ray.remote(answer)
    asked = {}
    for node in (str(one["NodeID"]) for one in nodes):
        there = NodeAffinitySchedulingStrategy(node, soft=False)
        asked[task.options(num_cpus=0, max_retries=0, scheduling_strategy=there).remote(str(place), token, node)] = node
    done, silent = ray.wait(list(asked), num_returns=len(asked), timeout=ANSWER)
    answers = {asked[reference]: f"did not answer within {ANSWER:.0f} s" for reference in silent}
    for reference in done:
        try:
            answers[asked[reference]] = str(ray.get(reference))
        except ray.exceptions.RayError:
            pass  # the node is gone
    return answers


def _unseen(marker: Path, token: str) -> str:
    """What is wrong with a node's marker, as the driver sees it; waits for a folder that lags."""
    deadline = time.monotonic() + APPEAR
    while time.monotonic() < deadline:
        if marker.is_file() and marker.read_text(encoding="utf-8") == token:
            return ""
        time.sleep(0.2)
    return "wrote there what the driver does not see"
