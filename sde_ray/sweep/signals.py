"""SIGTERM is Ctrl-C: what a cluster's scheduler sends ends a sweep as a person would."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def sigterm_is_ctrl_c(on_first: Callable[[], None] | None = None) -> Iterator[None]:
    """Raise KeyboardInterrupt at SIGTERM, too; lease, MLflow run and Ray then end in order.

    Args:
        on_first: Called at the first signal of either kind, which then interrupts nothing; the second one does.
            Without it every signal interrupts.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    calls = [on_first] if on_first else []

    def interrupt(number: int, frame: Any) -> None:
        if not calls:
            raise KeyboardInterrupt
        calls.pop()()

    # A process in the background of a shell may ignore SIGINT: that is left so where nothing is to be called first.
    numbers = (signal.SIGTERM, signal.SIGINT) if on_first else (signal.SIGTERM,)
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    except SystemExit as end:
        if end.code == signal.SIGTERM:  # Ray has a handler of its own, which it sets as it starts
            raise KeyboardInterrupt from None
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
