"""Actor pool: many calls on an object that is expensive to make, such as a model; in this process or on Ray workers.

    for n, value in map_on_actors(config.resources, partial(Reader, model), [(look, 0), (look, 2)]):
        ...                                     values with the index of their call, as they come

A few calls, and those of a single worker, are made right here. Many, and all where there are GPUs or a cluster, go to
as many Ray workers as trials would run at a time, each with a worker's share; each makes its own object once and keeps
it to the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sde_ray.config.schema import Resources
from sde_ray.errors import UserError
from sde_ray.sweep.cluster.gpus import local_gpus, with_gpus
from sde_ray.sweep.cluster.ray_session import bundles, ray_session
from sde_ray.training.worker import hide_gpus

Call = tuple[Any, ...]
MAX_CALLS_WITHOUT_RAY = 24  # for so few, starting Ray costs more than it saves


def map_on_actors(
    resources: Resources, make: Callable[[], Callable[..., Any]], calls: Sequence[Call]
) -> Iterator[tuple[int, Any]]:
    """Compute `make()(*call)` for each call.

    Args:
        resources: how many workers, and what each of them gets, as for the trials of a sweep.
        make: makes the object that is called; once a worker.
        calls: the arguments of each call.

    Yields:
        (index of the call, its value), as the values come.

    Raises:
        UserError: as raised by a call, or when a worker process dies.
    """
    if not calls:
        return
    alone = resources.max_concurrent_trials == 1  # a single worker is as fast here as in a process of its own
    here = (alone or len(calls) <= MAX_CALLS_WITHOUT_RAY) and not resources.address
    if here and not (resources.resources_per_worker.gpus or local_gpus()):
        answer = make()
        for n, call in enumerate(calls):
            yield n, answer(*call)
        return
    resources = resources.model_copy(update={"pack": 1})
    with ray_session(resources) as room:
        resources = with_gpus(resources)
        actors = [_actor(resources, make) for _ in range(min(room, len(calls)))]
        yield from _answers(actors, calls)


class LazyActor:
    """A Ray actor that makes its object at the first call and keeps it."""

    def __init__(self, make: Callable[[], Callable[..., Any]], cpus: float, gpus: float) -> None:
        if not gpus:
            hide_gpus()
        import torch

        torch.set_num_threads(max(1, round(cpus)))
        self._make = make
        self._answer: Callable[..., Any] | None = None

    def call(self, *arguments: Any) -> Any:
        self._answer = self._answer or self._make()
        return self._answer(*arguments)


def _actor(resources: Resources, make: Callable[[], Callable[..., Any]]) -> Any:
    import ray

    worker = bundles(resources)[1]
    options = {"num_cpus": worker["CPU"], "num_gpus": worker.get("GPU", 0)}
    return (
        ray.remote(LazyActor).options(**options).remote(make, resources.resources_per_worker.CPU, options["num_gpus"])
    )


def _answers(actors: Sequence[Any], calls: Sequence[Call]) -> Iterator[tuple[int, Any]]:
    """Each actor gets the next call when it has answered its last one."""
    import ray

    remaining = iter(enumerate(calls))
    running: dict[Any, tuple[int, Any]] = {}

    def hand_out(actor: Any) -> None:
        following = next(remaining, None)
        if following is not None:
            n, call = following
            running[actor.call.remote(*call)] = (n, actor)

    try:
        for actor in actors:
            hand_out(actor)
        while running:
            (done,), _ = ray.wait(list(running), num_returns=1)
            n, actor = running.pop(done)
            value = _value(done)
            hand_out(actor)
            yield n, value
    finally:
        for actor in actors:
            ray.kill(actor)


def _value(reference: Any) -> Any:
    import ray

    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise (error.cause if isinstance(error.cause, UserError) else error) from None
    except ray.exceptions.RayActorError as error:
        why = (str(error).strip().splitlines() or [""])[-1].strip()
        raise UserError(
            f"A worker process died ({why}). What it had finished is kept: run the same command again, with a smaller "
            "generation.batch_size if memory was short."
        ) from error
