"""Batcher: texts of many requests answered together, by one thread that has the model.

    with Batcher(predictor, max_batch=32, max_waiting=1024) as batcher:
        rows = await batcher.answer(["Great food!", "Bad."])       rows of `answer_rows`, in their order

Dynamic batching: when the model is free, whatever waits is decoded together, up to `max_batch` texts, oldest first. No
answer depends on that. A text that takes the model down fails alone. When it closes, what waits is still answered.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from math import ceil
from typing import TYPE_CHECKING, Any

from sde_ray.errors import UserError, format_error
from sde_ray.models.answer_rows import answer_rows
from sde_ray.safe_text import printable, redact

if TYPE_CHECKING:
    from sde_ray.models.predictor import Predictor

Row = dict[str, Any]
PACE = 0.2  # weight of the newest batch in the mean seconds of a text


class FullError(Exception):
    """The queue has no room. `retry_after`: seconds after which it may have."""

    def __init__(self, retry_after: int) -> None:
        super().__init__("Too many texts are waiting.")
        self.retry_after = retry_after


class AnswerError(Exception):
    """The model could not answer a text; what is wrong is on the server's own log, not in this message."""


@dataclass(eq=False)
class _Waiting:
    text: Any
    row: Future[Row] = field(default_factory=Future)


class Batcher:
    """One thread that answers, and the queue before it.

    `on_batch`: told how many texts each batch has.
    """

    def __init__(
        self,
        predictor: Predictor,
        max_batch: int = 32,
        max_waiting: int = 1024,
        on_batch: Callable[[int], None] = lambda texts: None,
    ) -> None:
        self.predictor, self.max_batch, self.max_waiting, self.on_batch = predictor, max_batch, max_waiting, on_batch
        self._queue: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._seconds = 0.05  # of a text
        self._thread = threading.Thread(target=self._run, name="batcher", daemon=True)

    def __enter__(self) -> Batcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Answer what waits, and end."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    @property
    def waiting(self) -> int:
        """Texts that no batch has taken yet."""
        return len(self._queue)

    async def answer(self, texts: Sequence[Any]) -> list[Row]:
        """The rows of these texts; if it is cancelled, those that no batch has taken are forgotten.

        Raises:
            FullError: when there is no room for all of them.
            AnswerError: when the model has failed on one.
        """
        entries = [_Waiting(text) for text in texts]
        with self._changed:
            if len(self._queue) + len(entries) > self.max_waiting or self._closing:
                raise FullError(max(1, ceil(self._seconds * len(self._queue))))
            self._queue.extend(entries)
            self._changed.notify()
        try:
            return [await asyncio.wrap_future(entry.row) for entry in entries]
        finally:
            for entry in entries:
                entry.row.cancel()

    def _run(self) -> None:
        while batch := self._next_batch():
            started = time.monotonic()
            self.on_batch(len(batch))
            self._answer(batch)
            self._seconds += PACE * ((time.monotonic() - started) / len(batch) - self._seconds)

    def _next_batch(self) -> list[_Waiting]:
        """What waits, oldest first; empty: it is closed, and nothing is left."""
        batch: list[_Waiting] = []
        with self._changed:
            while not batch:
                self._changed.wait_for(lambda: self._queue or self._closing)
                if not self._queue:
                    return []
                while self._queue and len(batch) < self.max_batch:
                    entry = self._queue.popleft()
                    if entry.row.set_running_or_notify_cancel():  # else whoever has asked is gone
                        batch.append(entry)
        return batch

    def _answer(self, batch: Sequence[_Waiting]) -> None:
        try:
            rows = answer_rows(self.predictor, [entry.text for entry in batch], self.max_batch)
        except Exception as error:
            if len(batch) > 1:  # whose fault it is shows when each is asked alone
                for entry in batch:
                    self._answer([entry])
                return
            batch[0].row.set_exception(_failure(error))
            return
        for entry, row in zip(batch, rows, strict=True):
            entry.row.set_result(row)


def _failure(error: Exception) -> Exception:
    """What is told to whoever has asked."""
    if isinstance(error, UserError):
        return error
    sys.stderr.write(printable(redact(f"error: a text could not be answered: {type(error).__name__}: "
                                      f"{format_error(error)}\n")))  # fmt: skip
    return AnswerError("The model could not answer this text.")
