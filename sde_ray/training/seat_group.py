"""Seat group: a worker group for a trial that is packed, whose one worker is a seat of a process with others on it.

The process outlives the trial: closing the group gives up the seat. Where the process died, each of its trials is told
so, and takes a seat in another one.
"""

from __future__ import annotations

from typing import Any

from sde_ray.training.nodes import node_id
from sde_ray.training.runner import RunnerResources
from sde_ray.training.worker_group import WorkerGroup


class SeatGroup(WorkerGroup):
    """`call("train", 25)` runs `Worker.train(25)` on the trial's seat.

    `packs`: a Ray actor with `take` and `leave`.
    """

    def __init__(self, resources: RunnerResources, packs: Any) -> None:
        assert resources.num_workers == 1, "a trial of several workers is not packed"
        super().__init__(resources, in_process=False)
        self._packs = packs

    def close(self) -> None:
        for seat in self._workers:
            self._packs.leave.remote(seat.pack_id, seat.number)
        self._workers = []

    def _start(self) -> None:
        if self._workers:
            return
        import ray

        here = ray.get_runtime_context()
        gpus = [str(gpu) for gpu in ray.get_gpu_ids()] if self.resources.gpus else []
        pack, pack_id, number = ray.get(self._packs.take.remote(here.get_node_id(), gpus, here.current_actor))
        self._workers = [_RemoteSeat(pack, pack_id, number)]
        self._nodes = frozenset([node_id()])


class _RemoteSeat:
    """A seat as an actor: `seat.train.remote(25)`."""

    def __init__(self, pack: Any, pack_id: int, number: int) -> None:
        self._pack, self.pack_id, self.number = pack, pack_id, number

    def __getattr__(self, method: str) -> Any:
        return _RemoteMethod(self._pack, self.number, method)


class _RemoteMethod:
    def __init__(self, pack: Any, number: int, method: str) -> None:
        self._pack, self._number, self._method = pack, number, method

    def remote(self, *arguments: Any) -> Any:
        return self._pack.call.remote(self._number, self._method, *arguments)
