"""Ray's nodes: whether one is draining (told that it will be taken away) or gone, and whether a process died with it.

    draining_nodes()         {"5f0c..."}     ids of nodes that have a notice: spot, `ray start --block` at SIGTERM
    was_preempted(error)     True            the actor died with its node, not by its own doing

Ray tells drain notices to its own libraries only (Ray Train and Ray Data ask in the same way); where it does not, there
are none, and a node that goes is noticed when it is gone.
"""

from __future__ import annotations

import time
from typing import Any

NODE_DEATH_TIMEOUT_S = 5.0  # a machine that shuts down ends its processes in any order, the node's own maybe last


def node_id() -> str:
    """The id of this process' node."""
    import ray

    return str(ray.get_runtime_context().get_node_id())


def placement_nodes() -> frozenset[str]:
    """Ids of the nodes that this process' placement group is on; of its own node where it has none."""
    import ray

    group = ray.util.get_current_placement_group()
    if group is None:
        return frozenset([node_id()])
    return frozenset(ray.util.placement_group_table(group)["bundles_to_node_id"].values())


def draining_nodes() -> frozenset[str]:
    """Ids of the nodes that have a drain notice."""
    import ray

    try:
        return frozenset(ray._private.state.state.get_draining_nodes())
    except Exception:  # not a public interface: without it there is no notice
        return frozenset()


def was_preempted(error: Any, timeout_s: float = NODE_DEATH_TIMEOUT_S) -> bool:
    """Whether an actor's death (`RayActorError`) is that of its node, which is gone, draining or out of reach.

    A process that dies on a node that lives is told by that node at once. So an actor that is merely "unavailable" has
    lost its node, too. Waits up to `timeout_s` for the death of a node that is not this one.
    """
    from ray.exceptions import ActorUnavailableError

    if error.preempted or isinstance(error, ActorUnavailableError):
        return True
    node = _node_of(error.actor_id)
    if not node:
        return False
    deadline = time.monotonic() + (0.0 if node == node_id() else timeout_s)
    while not _is_going(node):
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.2)
    return True


def _is_going(node: str) -> bool:
    import ray

    return node in draining_nodes() or node not in {str(row["NodeID"]) for row in ray.nodes() if row["Alive"]}


def _node_of(actor_id: str | None) -> str:
    """The node that an actor was on; "" where Ray does not say."""
    import ray

    try:
        return str(ray._private.state.actors(actor_id)["Address"]["NodeID"]) if actor_id else ""
    except Exception:  # not a public interface
        return ""
