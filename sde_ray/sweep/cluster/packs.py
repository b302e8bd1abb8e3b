"""Packs of a sweep: which processes there are on which node and GPU, and who has a seat in them.

    factory = packed_runners(make_runner, resources)     for Ray Tune's trials; each takes a seat when it starts

Ray gives each trial its part of a CPU or GPU (`ray_session.bundles`). Trials that Ray has put on the same GPU, or on
the same node without one, share a process there. One actor knows them all. It is the driver's, and the processes are
its own, so that none of them outlives the driver.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any

from sde_ray.config.schema import Resources
from sde_ray.training.runner import RunnerFactory

SPARE_THREADS = 2  # of a process, beside one a seat: for who comes, leaves, or asks whether it lives
ANSWER_TIMEOUT_S = 0.5  # seconds in which Ray tells of a process that is gone


def packed_runners(factory: RunnerFactory, resources: Resources) -> RunnerFactory:
    """Runners whose trials share processes; to be called where Ray is running, in the driver."""
    import ray

    packs = ray.remote(Packs).options(num_cpus=0).remote(resources.pack, resources.resources_per_worker.CPU)
    return partial(factory, packs=packs)  # type: ignore[call-arg]


@dataclass(eq=False)
class _Pack:
    """A process with seats. `owners`: of each taken seat, the actor whose trial it is."""

    number: int
    actor: Any
    place: tuple[str, tuple[str, ...]]
    owners: dict[int, Any] = field(default_factory=dict)


class Packs:
    """The Ray actor that gives seats. `seats`: of a process; `cpus`: its threads."""

    def __init__(self, seats: int, cpus: float) -> None:
        self._seats, self._cpus = seats, cpus
        self._packs: list[_Pack] = []
        self._numbers, self._seat_numbers = count(), count()

    def take(self, node: str, gpus: Sequence[str], owner: Any) -> tuple[Any, int, int]:
        """A seat on this node and these GPUs: (the process' actor, its number, the seat's number)."""
        place = (node, tuple(gpus))
        pack = next((one for one in self._packs if one.place == place and self._has_seat(one)), None)
        if pack is None:
            pack = _Pack(next(self._numbers), _start(node, gpus, self._cpus, self._seats), place)
            self._packs.append(pack)
        seat = next(self._seat_numbers)
        pack.owners[seat] = owner
        return pack.actor, pack.number, seat

    def leave(self, number: int, seat: int) -> None:
        """Give up a seat; a process without any ends."""
        import ray

        pack = next((one for one in self._packs if one.number == number), None)
        if pack is None or pack.owners.pop(seat, None) is None:
            return
        pack.actor.leave.remote(seat)
        if not pack.owners:
            self._packs.remove(pack)
            ray.kill(pack.actor)

    def _has_seat(self, pack: _Pack) -> bool:
        """Whether a process lives and has a free seat, or one whose owner is gone."""
        if _is_gone(pack.actor, "ready"):
            self._packs.remove(pack)
            return False
        if len(pack.owners) >= self._seats:
            for seat, owner in list(pack.owners.items()):
                if _is_gone(owner, "__ray_ready__"):
                    del pack.owners[seat]
                    pack.actor.leave.remote(seat)
        return len(pack.owners) < self._seats


def _is_gone(actor: Any, method: str) -> bool:
    """Whether an actor has died. One that is busy does not answer, but lives."""
    import ray

    call = getattr(actor, method).remote()
    done, _ = ray.wait([call], timeout=ANSWER_TIMEOUT_S)
    try:
        ray.get(done)
    except ray.exceptions.RayActorError:
        return True
    return False


def _start(node: str, gpus: Sequence[str], cpus: float, seats: int) -> Any:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    from sde_ray.training.pack import Pack

    options: dict[str, Any] = {
        "num_cpus": 0,  # its trials have taken what it uses
        "max_concurrency": seats + SPARE_THREADS,
        "scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=False),
    }
    return ray.remote(Pack).options(**options).remote(cpus, gpus)
