"""A cluster that grows by itself: Ray's own autoscaler, whose nodes are processes of this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from helpers.nodes import Drivers, Nodes, free_port

HEAD = "f" * 51 + "00000"  # by what Ray's provider of such nodes calls the head
COMMANDS = ("initialization", "setup", "head_setup", "worker_setup", "head_start_ray", "worker_start_ray")


@dataclass
class AutoscalingNodes(Nodes):
    """A head that runs drivers only; nodes with a CPU each come when something waits for one, up to `most`."""

    most: int = 4

    @property
    def env(self) -> dict[str, str]:
        own = {"RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1", "RAY_worker_niceness": "0"}
        return {**super().env, **own}

    def start(self, nodes: int = 0) -> None:
        self.drivers = Drivers(self.env, self.folder)
        file = self.folder / "autoscaling.json"
        file.write_text(json.dumps(self._config()))
        options = [f"--port={self.port}", f"--dashboard-port={self.dashboard}", "--dashboard-host=127.0.0.1"]
        options += [f"--ray-client-server-port={free_port()}", f"--autoscaling-config={file}"]
        self._ray("--head", *options, "--include-dashboard=true", "--num-cpus=0")
        self._wait(lambda: self.ask("/api/version") is not None, "the head's dashboard")

    def placement_groups(self, state: str) -> int:
        """How many are in this state: CREATED or PENDING."""
        return sum(one["state"] == state for one in self.listed("placement_groups"))

    def _config(self) -> dict[str, object]:
        from ray._private.services import get_node_ip_address

        provider = {
            "type": "fake_multinode",
            "head_node_id": HEAD,
            "gcs_address": f"{get_node_ip_address()}:{self.port}",
        }
        worker = {"resources": {"CPU": 1, "object_store_memory": 80_000_000}, "node_config": {}}
        return {
            "cluster_name": "growing",
            "max_workers": self.most,
            "upscaling_speed": 100,
            "idle_timeout_minutes": 10,
            "provider": {**provider, "disable_node_updaters": True, "disable_launch_config_check": True},
            "auth": {},
            "head_node_type": "ray.head.default",
            "available_node_types": {
                "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
                "worker": {**worker, "min_workers": 0, "max_workers": self.most},
            },
            "head_node": {},
            "worker_nodes": {},
            "file_mounts": {},
            "cluster_synced_files": [],
            "file_mounts_sync_continuously": False,
            "rsync_exclude": [],
            "rsync_filter": [],
            **{f"{name}_commands": [] for name in COMMANDS},
        }


@contextmanager
def autoscaling_nodes() -> Iterator[AutoscalingNodes]:
    """Such a cluster, without nodes at first."""
    nodes = AutoscalingNodes()
    try:
        nodes.start()
        yield nodes
    finally:
        nodes.close()
