"""Before a sweep starts on a cluster: do all nodes see its folder, and can they all reach what is logged?

The driver writes a marker into the folder; every node reads it and writes one of its own, which the driver reads. A
folder that is merely of the same name on each machine would otherwise be found out trial by trial, each as "no result".
"""

from __future__ import annotations

import errno
import os
import shutil
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sde_ray.config.schema import SweepConfig
from sde_ray.errors import FaultList, UserError
from sde_ray.storage.mirror import LocalFolder
from sde_ray.storage.remote import RemoteFolder, reason
from sde_ray.storage.uri import MEMORY, is_uri, join, scheme
from sde_ray.sweep.cluster.gpus import with_gpus
from sde_ray.sweep.cluster.ray_session import bundles
from sde_ray.tracking.tracking_uri import check_tracking_uri, resolve_tracking_uri

MARKERS = ".nodes"
SHARE, SHARED = "share (NFS, a mounted bucket)", "Set storage_path to such a folder"
REACHED = "Give every node the store's package, and its variables (resources.env_vars)"
ANSWER_TIMEOUT_S = 120.0  # seconds in which a node must answer: it may have to unpack the job's files first
VISIBLE_TIMEOUT_S = 30.0  # seconds in which its file must be seen: a network folder may lag behind


def check_nodes(config: SweepConfig, store: LocalFolder) -> None:
    """Check that the nodes of the cluster can do a sweep's trials.

    Raises:
        UserError: when a node does not share the sweep's folder, when no node holds a whole trial although storage is
            an address, or when MLflow's store is a file on one of several nodes.
    """
    import ray

    if is_uri(store.location) and scheme(store.location) == MEMORY:
        raise UserError(
            f'storage_path is "{config.storage_path}", the memory of this process, but trials are processes of their '
            "own. Set storage_path to a folder, or to an address that they reach, such as file:///shared/runs."
        )
    nodes = [node for node in ray.nodes() if node["Alive"]]
    if store.remote:
        _check_room(config, nodes)
    if len(nodes) < 2 and not (store.remote and config.resources.address):  # a cluster's node has not our variables
        return
    if config.mlflow.enabled:
        check_tracking_uri(resolve_tracking_uri(config), nodes=len(nodes))
    check_shared(store.location, nodes)


def _check_room(config: SweepConfig, nodes: Sequence[Mapping[str, Any]]) -> None:
    """Raise UserError when no node can hold a whole trial: its workers write into one mirror of the store."""
    worker, workers = bundles(with_gpus(config.resources))[-1], config.resources.num_workers
    needed = {what: amount * workers for what, amount in worker.items()}
    if not any(all(node["Resources"].get(what, 0) >= amount for what, amount in needed.items()) for node in nodes):
        amounts = " and ".join(f"{amount:g} {what}" for what, amount in needed.items())
        raise UserError(
            f"A trial needs {amounts}, which no node has. With storage_path at an address, the workers of a trial "
            "share a node: lower resources.num_workers, or set storage_path to a folder that all nodes share."
        )


def check_shared(location: str, nodes: Sequence[Mapping[str, Any]]) -> None:
    """Exchange markers with each of Ray's nodes.

    Raises:
        UserError: names all nodes that do not read the driver's marker, or whose own the driver does not read.
    """
    token, markers = uuid.uuid4().hex, _Markers(join(location, MARKERS))
    try:
        markers.make()
        markers.write("driver", token)
        answers = _ask_nodes(markers.location, token, nodes)
        faults = FaultList(
            f'The sweep\'s folder "{location}" must be one that all nodes {"reach" if is_uri(location) else SHARE}, '
            f"but it is not. {REACHED if is_uri(location) else SHARED}"
        )
        for node, answer in answers.items():
            problem = answer or _check_marker(markers.location, node, token)
            if problem:
                name = next(str(row["NodeManagerHostname"]) for row in nodes if row["NodeID"] == node)
                faults.add(f"node {name} ({node[:8]}) {problem}")
        faults.raise_if_any()
    finally:
        markers.remove()


class _Markers:
    """The markers in a folder, or at an address."""

    def __init__(self, location: str) -> None:
        self.location = location
        self._remote = RemoteFolder(location) if is_uri(location) else None

    def make(self) -> None:
        if self._remote is None:
            Path(self.location).mkdir(parents=True, exist_ok=True)

    def read(self, name: str) -> str:
        if self._remote is None:
            return (Path(self.location) / name).read_text(encoding="utf-8")
        content = self._remote.read(name)
        if content is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        return content.decode()

    def write(self, name: str, text: str) -> None:
        if self._remote is None:
            (Path(self.location) / name).write_text(text, encoding="utf-8")
        else:
            self._remote.write(name, text.encode())

    def remove(self) -> None:
        if self._remote is None:
            shutil.rmtree(self.location, ignore_errors=True)
            return
        try:
            self._remote.remove(self._remote.list())
        except Exception:
            pass  # markers that stay do no harm


def check_from_node(location: str, token: str, name: str) -> str:
    """On a node: read the driver's marker and leave one; what is wrong, or nothing."""
    markers = _Markers(location)
    try:
        content = markers.read("driver")
    except Exception as error:  # each library of a store has its own
        return f"does not see what the driver wrote there ({_describe_error(error)})"
    if content != token:
        return "sees another folder of the same name"
    try:
        markers.write(name, token)
    except Exception as error:
        return f"cannot write there ({_describe_error(error)})"
    return ""


def _describe_error(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else "") or reason(error)


def _ask_nodes(location: str, token: str, nodes: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Each node's answer, "" when all is well. A node that dies meanwhile is no fault of the folder."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    task = ray.remote(check_from_node)
    calls = {}
    for node in (str(row["NodeID"]) for row in nodes):
        affinity = NodeAffinitySchedulingStrategy(node, soft=False)
        calls[task.options(num_cpus=0, max_retries=0, scheduling_strategy=affinity).remote(location, token, node)] = (
            node
        )
    done, silent = ray.wait(list(calls), num_returns=len(calls), timeout=ANSWER_TIMEOUT_S)
    answers = {calls[reference]: f"did not answer within {ANSWER_TIMEOUT_S:.0f} s" for reference in silent}
    for reference in done:
        try:
            answers[calls[reference]] = str(ray.get(reference))
        except ray.exceptions.RayError:
            pass  # the node is gone
    return answers


def _check_marker(location: str, name: str, token: str) -> str:
    """What is wrong with a node's marker, as the driver sees it; waits for a folder that lags."""
    markers, deadline = _Markers(location), time.monotonic() + VISIBLE_TIMEOUT_S
    while time.monotonic() < deadline:
        try:
            if markers.read(name) == token:
                return ""
        except Exception:
            pass  # not yet
        time.sleep(0.2)
    return "wrote there what the driver does not see"
