"""Many calls on an object that is dear to make, such as a model: in this process, or on workers that keep it.

    for n, value in spread(config.resources, partial(Reader, model), [(look, 0), (look, 2)]):
        ...                                     values by the place of their call, as they come

A few calls are made right here. Many, and all where models need GPUs or a cluster, go to as many Ray workers as trials
would run at a time, each with a worker's share; each makes its own object once and keeps it to the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sde_ray.config.schema import Resources
from sde_ray.errors import UserError
from sde_ray.sweep.cluster.ray_session import bundles, ray_session

Call = tuple[Any, ...]
FEW = 24  # calls, below which starting Ray costs more than it saves


def spread(
    resources: Resources, make: Callable[[], Callable[..., Any]], calls: Sequence[Call]
) -> Iterator[tuple[int, Any]]:
    """`make()(*call)` for each call, with the call's place. A `UserError` of a worker is raised here as it is."""
    if not calls:
        return
    if len(calls) <= FEW and not resources.address and not resources.resources_per_worker.GPU:
        answer = make()
        for n, call in enumerate(calls):
            yield n, answer(*call)
        return
    with ray_session(resources) as room:
        actors = [_actor(resources, make) for _ in range(min(room, len(calls)))]
        yield from _answers(actors, calls)


class LazyActor:
    """A worker process: makes its object at the first call."""

    def __init__(self, make: Callable[[], Callable[..., Any]], cpus: float) -> None:
        import torch

        torch.set_num_threads(max(1, round(cpus)))
        self._make = make
        self._answer: Callable[..., Any] | None = None

    def call(self, *given: Any) -> Any:
        self._answer = self._answer or self._make()
        return self._answer(*given)


def _actor(resources: Resources, make: Callable[[], Callable[..., Any]]) -> Any:
    import ray

    own = bundles(resources)[1]
    options = {"num_cpus": own["CPU"], "num_gpus": own.get("GPU", 0)}
    return ray.remote(LazyActor).options(**options).remote(make, resources.resources_per_worker.CPU)


def _answers(actors: Sequence[Any], calls: Sequence[Call]) -> Iterator[tuple[int, Any]]:
    """Each actor gets the next call when it has answered its last one."""
    import ray

    todo = iter(enumerate(calls))
    waiting: dict[Any, tuple[int, Any]] = {}

    def hand_out(actor: Any) -> None:
        following = next(todo, None)
        if following is not None:
            n, call = following
            waiting[actor.call.remote(*call)] = (n, actor)

    try:
        for actor in actors:
            hand_out(actor)
        while waiting:
            (done,), _ = ray.wait(list(waiting), num_returns=1)
            n, actor = waiting.pop(done)
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
