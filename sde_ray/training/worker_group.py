"""Worker group: the processes of one runner, as Ray actors or in this process, started once and reused.

Every call goes to all workers at once and gives one value a worker, since the steps of a ZeRO trial need them all. When
a call fails in a group of several, the others may wait in a collective for ever: then the whole group is killed, and
the next call starts a fresh one. A single worker stays after an ordinary exception; a dead one is started again. A
worker's death is raised as `WorkerDiedError`, whatever its partners say of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sde_ray.errors import UserError
from sde_ray.training.nodes import draining_nodes, node_id, placement_nodes, was_preempted
from sde_ray.training.runner import RunnerResources, WorkerDiedError
from sde_ray.training.worker import Worker

START_LOOK_S = 5.0  # between two looks at whether workers that do not start are to be on a draining node
DEATH_TIMEOUT_S = 20.0  # in which Ray has noticed that a process is gone


class WorkerGroup:
    """`call("train", 25)` runs `Worker.train(25)` on all workers and returns their values in the order of ranks."""

    def __init__(self, resources: RunnerResources, in_process: bool) -> None:
        assert not (in_process and resources.num_workers > 1), "one process can be one worker only"
        self.resources, self.in_process = resources, in_process
        self._workers: list[Any] = []
        self._nodes: frozenset[str] = frozenset()

    @property
    def running(self) -> bool:
        return bool(self._workers)

    @property
    def draining(self) -> bool:
        """Whether a node of this process or of a worker will be taken away."""
        return not self.in_process and bool(self._nodes & draining_nodes())

    def call(self, method: str, *arguments: Any) -> list[Any]:
        return self.map(method, [arguments] * self.resources.num_workers)

    def map(self, method: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Like `call`, with separate arguments for each worker."""
        self._start()
        if self.in_process:
            return [getattr(self._workers[0], method)(*arguments[0])]
        return self._gather([getattr(w, method).remote(*a) for w, a in zip(self._workers, arguments, strict=True)])

    def close(self) -> None:
        """Kill the workers, whatever they are doing."""
        if not self.in_process:
            import ray

            for worker in self._workers:
                ray.kill(worker)
        self._workers = []

    def _start(self) -> None:
        if self._workers:
            return
        resources = self.resources
        if self.in_process:
            self._workers = [Worker(0, 1, resources.cpus)]
            self._workers[0].join(*self._workers[0].address())
            return
        self._workers = [_actor(resources, rank) for rank in range(resources.num_workers)]
        self._nodes = self._wait_for_nodes()
        address, port = self._gather([self._workers[0].address.remote()])[0]
        self._gather([worker.join.remote(address, port) for worker in self._workers])

    def _wait_for_nodes(self) -> frozenset[str]:
        """The nodes of the workers and of this process, once all have started; a draining node starts none any more."""
        import ray

        references = [worker.node.remote() for worker in self._workers]
        while ray.wait(references, num_returns=len(references), timeout=START_LOOK_S)[1]:
            if placement_nodes() & draining_nodes():
                self.close()
                raise WorkerDiedError("A worker was to start on a node that will be taken away.", preempted=True)
        return frozenset([node_id(), *self._gather(references)])

    def _gather(self, references: list[Any]) -> list[Any]:
        """Wait for all, but no longer than the first failure."""
        import ray

        waiting = list(references)
        try:
            while waiting:
                done, waiting = ray.wait(waiting, num_returns=1)
                ray.get(done)
            return list(ray.get(references))
        except ray.exceptions.RayTaskError as error:
            user_error = error.cause if isinstance(error.cause, UserError) else None
            death = None if user_error else _death(waiting)
            if self.resources.num_workers > 1:
                self.close()
            raise (death or user_error or error) from None
        except (ray.exceptions.RayActorError, ray.exceptions.OutOfMemoryError) as error:
            self.close()
            raise _worker_died(error) from error


def _actor(resources: RunnerResources, rank: int) -> Any:
    """A worker in bundle `rank + 1` of the trial's placement group (the first is the trial's own), else anywhere."""
    import ray
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    options: dict[str, Any] = {"num_cpus": resources.cpus, "num_gpus": resources.gpus}
    group = ray.util.get_current_placement_group()
    if group is not None:
        options["scheduling_strategy"] = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=rank + 1)
    return ray.remote(Worker).options(**options).remote(rank, resources.num_workers, resources.cpus, resources.gpus)


def _death(waiting: list[Any]) -> WorkerDiedError | None:
    """Whether another worker's death is behind a failure: its partners lose their connection before Ray knows of it."""
    import ray

    for reference in waiting:
        try:
            ray.get(reference, timeout=DEATH_TIMEOUT_S / len(waiting))
        except (ray.exceptions.RayActorError, ray.exceptions.OutOfMemoryError) as error:
            return _worker_died(error)
        except Exception:
            continue  # failed in the same way, or still at work
    return None


def _worker_died(error: Exception) -> WorkerDiedError:
    import ray

    reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    preempted = isinstance(error, ray.exceptions.RayActorError) and was_preempted(error)
    return WorkerDiedError(f"A worker process died ({reason}). The next trial starts a new one.", preempted)
