"""Concurrency: how many trials may be under way, running or waiting for room, on a cluster that may grow.

    concurrency = Concurrency(resources, room=1, grows=True)
    concurrency.limit(depends_on_results=False)      200: all wait at once, so that the autoscaler brings all nodes
    concurrency.limit(depends_on_results=True)       2: what runs, and one that brings the next node

An autoscaler starts nodes for trials that wait. Trials that are planned in any case all wait at once. A trial that
depends on the results of others is not chosen before it can run, or the search would run ahead of what it learns: it
may wait where the cluster's own configuration says that there will be room. `resources.max_concurrent_trials` holds
whatever the cluster grows to.
"""

from __future__ import annotations

import time

from sde_ray.config.schema import Resources
from sde_ray.errors import UserError
from sde_ray.sweep.cluster.ray_session import MAX_PENDING_TRIALS, trials_that_fit

REFRESH_S = 2.0  # seconds for which the number of nodes is taken as known


class Concurrency:
    """How many trials may be under way.

    Args:
        resources: What a trial needs, and how many the user allows.
        room: How many trials fit at the start.
        grows: The cluster may grow or shrink; this machine's own Ray does not.
    """

    def __init__(self, resources: Resources, room: int, grows: bool) -> None:
        self._resources, self._room, self._grows = resources, room, grows
        self._cap = resources.max_concurrent_trials
        self._checked = -REFRESH_S

    @property
    def max_pending(self) -> int:
        """How many trials may wait for room at a time."""
        if self._grows:
            return self._cap or MAX_PENDING_TRIALS
        return self._cap if self._cap and self._cap < self._room else 1

    def limit(self, depends_on_results: bool) -> int:
        """How many trials may be under way when the next one is chosen.

        Args:
            depends_on_results: Which one is next depends on results that are still to come.
        """
        if not self._grows:  # one trial waits beside those that run, for the process that is free next
            return self._cap if self._cap and self._cap < self._room else self._room + 1
        most = self._cap or MAX_PENDING_TRIALS
        if not depends_on_results:
            return most
        self._refresh()
        return min(most, self._room + 1)

    def _refresh(self) -> None:
        if time.monotonic() - self._checked >= REFRESH_S:
            self._room, self._checked = max(_room(self._resources), _future_room(self._resources)), time.monotonic()


def _room(resources: Resources) -> int:
    """How many trials fit the nodes there are."""
    import ray

    try:
        return trials_that_fit(resources, ray.cluster_resources())
    except UserError:
        return 0  # all nodes were taken away; others may come


def _future_room(resources: Resources) -> int:
    """How many trials fit the cluster at its largest; 0 where its configuration is not known to Ray."""
    import ray

    try:  # not a public interface; Ray Train asks in the same way
        return trials_that_fit(resources, ray._private.state.state.get_max_resources_from_cluster_config() or {})
    except Exception:
        return 0
