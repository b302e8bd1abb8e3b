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
from sde_ray.sweep.cluster.ray_session import bundles
from sde_ray.tracking.tracking_uri import check_tracking_uri, resolve_tracking_uri

MARKERS = ".nodes"
SHARE, SHARED = "share (NFS, a mounted bucket)", "Set storage_path to such a folder"
REACHED = "Give every node the store's package, and its variables (resources.env_vars)"
ANSWER = 120.0  # seconds in which a node must answer: it may have to unpack the job's files first
APPEAR = 30.0  # seconds in which its file must be seen: a network folder may lag behind


def check_nodes(config: SweepConfig, store: LocalFolder) -> None:
    """`UserError` where a node does not share the sweep's folder, or the tracking store is a file on one of many."""
    import ray

    if is_uri(store.place) and scheme(store.place) == MEMORY:
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
    check_shared(store.place, nodes)


def _check_room(config: SweepConfig, nodes: Sequence[Mapping[str, Any]]) -> None:
    """`UserError` where no node can hold a whole trial: its workers write into one mirror of the store."""
    each, workers = bundles(config.resources)[-1], config.resources.num_workers
    needed = {what: amount * workers for what, amount in each.items()}
    if not any(all(node["Resources"].get(what, 0) >= amount for what, amount in needed.items()) for node in nodes):
        wanted = " and ".join(f"{amount:g} {what}" for what, amount in needed.items())
        raise UserError(
            f"A trial needs {wanted}, which no node has. With storage_path at an address, the workers of a trial share "
            "a node: lower resources.num_workers, or set storage_path to a folder that all nodes share."
        )


def check_shared(place: str, nodes: Sequence[Mapping[str, Any]]) -> None:
    """Exchange markers with each of Ray's nodes; all that fail are named together."""
    token, marks = uuid.uuid4().hex, _Marks(join(place, MARKERS))
    try:
        marks.make()
        marks.write("driver", token)
        answers = _ask(marks.place, token, nodes)
        faults = FaultList(
            f'The sweep\'s folder "{place}" must be one that all nodes {"reach" if is_uri(place) else SHARE}, but it '
            f"is not. {REACHED if is_uri(place) else SHARED}"
        )
        for node, answer in answers.items():
            told = answer or _unseen(marks.place, node, token)
            if told:
                name = next(str(one["NodeManagerHostname"]) for one in nodes if one["NodeID"] == node)
                faults.add(f"node {name} ({node[:8]}) {told}")
        faults.raise_if_any()
    finally:
        marks.remove()


class _Marks:
    """The markers in a folder, or at an address."""

    def __init__(self, place: str) -> None:
        self.place = place
        self._remote = RemoteFolder(place) if is_uri(place) else None

    def make(self) -> None:
        if self._remote is None:
            Path(self.place).mkdir(parents=True, exist_ok=True)

    def read(self, name: str) -> str:
        if self._remote is None:
            return (Path(self.place) / name).read_text(encoding="utf-8")
        content = self._remote.read(name)
        if content is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        return content.decode()

    def write(self, name: str, text: str) -> None:
        if self._remote is None:
            (Path(self.place) / name).write_text(text, encoding="utf-8")
        else:
            self._remote.write(name, text.encode())

    def remove(self) -> None:
        if self._remote is None:
            shutil.rmtree(self.place, ignore_errors=True)
            return
        try:
            self._remote.remove(self._remote.list())
        except Exception:
            pass  # markers that stay do no harm


def answer(place: str, token: str, name: str) -> str:
    """On a node: read the driver's marker and leave one; what is wrong, or nothing."""
    marks = _Marks(place)
    try:
        seen = marks.read("driver")
    except Exception as error:  # each library of a store has its own
        return f"does not see what the driver wrote there ({_why(error)})"
    if seen != token:
        return "sees another folder of the same name"
    try:
        marks.write(name, token)
    except Exception as error:
        return f"cannot write there ({_why(error)})"
    return ""


def _why(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else "") or reason(error)


def _ask(place: str, token: str, nodes: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Each node's answer. A node that dies meanwhile is no fault of the folder; one that is silent is told."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    task = ray.remote(answer)
    asked = {}
    for node in (str(one["NodeID"]) for one in nodes):
        there = NodeAffinitySchedulingStrategy(node, soft=False)
        asked[task.options(num_cpus=0, max_retries=0, scheduling_strategy=there).remote(place, token, node)] = node
    done, silent = ray.wait(list(asked), num_returns=len(asked), timeout=ANSWER)
    answers = {asked[reference]: f"did not answer within {ANSWER:.0f} s" for reference in silent}
    for reference in done:
        try:
            answers[asked[reference]] = str(ray.get(reference))
        except ray.exceptions.RayError:
            pass  # the node is gone
    return answers


def _unseen(place: str, name: str, token: str) -> str:
    """What is wrong with a node's marker, as the driver sees it; waits for a folder that lags."""
    marks, deadline = _Marks(place), time.monotonic() + APPEAR
    while time.monotonic() < deadline:
        try:
            if marks.read(name) == token:
                return ""
        except Exception:
            pass  # not yet
        time.sleep(0.2)
    return "wrote there what the driver does not see"
