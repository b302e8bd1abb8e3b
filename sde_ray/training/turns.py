"""Turns: a lock for threads that is fair. Who asks first is first, among those that may start."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Turns:
    """`with turns.turn(): ...` waits for its turn; inside no other thread has one."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: list[Callable[[], bool]] = []
        self._taken = False

    @contextmanager
    def turn(self, may_start: Callable[[], bool] | None = None) -> Iterator[None]:
        """Wait until this thread is the first of those that may start.

        Args:
            may_start: asked again whenever a turn has ended; until it is true, those behind pass by.
        """
        asked = may_start or (lambda: True)
        me: Callable[[], bool] = lambda: asked()  # noqa: E731 - an object of its own for each wait
        with self._changed:
            self._waiting.append(me)
            try:
                self._changed.wait_for(lambda: self._is_next(me))
                self._taken = True
            finally:
                self._waiting.remove(me)
        try:
            yield
        finally:
            with self._changed:
                self._taken = False
                self._changed.notify_all()

    def _is_next(self, me: Callable[[], bool]) -> bool:
        return not self._taken and next((one for one in self._waiting if one()), None) is me
