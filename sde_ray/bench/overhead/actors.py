"""In-process actors: Ray Tune's trials run in the driver, so that hundreds of nodes need no process each.

    with in_process_actors() as clock:
        tune.run(...)
    clock.seconds, clock.cpu_seconds            what the trials themselves took, to be taken off

Everything else is Ray's own: the placement groups, the futures, Tune's loop. A call of a method runs at once and its
value is put into the object store, so each trial ends as soon as Tune looks.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch


@dataclass
class Clock:
    """Seconds spent inside of actors, by the wall clock and of this thread's CPU."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        began, cpu_began = time.perf_counter(), time.thread_time()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - began
            self.cpu_seconds += time.thread_time() - cpu_began


def _actor_class(trainable: type, clock: Clock) -> Any:
    """Stands for `ray.remote(trainable)`; makes the object itself."""
    from ray.actor import ActorClass

    class InProcessClass(ActorClass):  # Tune makes remote what is none
        def __init__(self) -> None:
            """Nothing of Ray's own is needed."""

        def options(self, **options: Any) -> InProcessClass:
            return self

        def remote(self, *arguments: Any, **keywords: Any) -> _Actor:
            with clock.running():
                return _Actor(trainable(*arguments, **keywords), clock)

    return InProcessClass()


class _Actor:
    """Stands for an actor's handle."""

    def __init__(self, instance: Any, clock: Clock) -> None:
        self._instance, self._clock = instance, clock

    def __getattr__(self, name: str) -> _Method:
        known = name in ("__ray_ready__", "__ray_terminate__")
        return _Method((lambda: None) if known else getattr(self._instance, name), self._clock)


class _Method:
    """Stands for an actor's method: runs it at once."""

    def __init__(self, function: Any, clock: Clock) -> None:
        self._function, self._clock = function, clock

    def remote(self, *arguments: Any, **keywords: Any) -> Any:
        import ray

        with self._clock.running():
            value = self._function(*arguments, **keywords)
        return ray.put(value)

    def options(self, **options: Any) -> _Method:
        return self


class _ClassCache:
    """Stands for Tune's cache of actor classes."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def get(self, trainable_cls: type) -> Any:
        return _actor_class(trainable_cls, self._clock)


@contextmanager
def in_process_actors() -> Iterator[Clock]:
    """Inside, the trials of Tune run in this process; the clock tells what they took."""
    clock = Clock()
    with patch("ray.tune.execution.tune_controller._ActorClassCache", lambda: _ClassCache(clock)):
        yield clock
