"""Progress of a long work on a file: rows done, rate, time left; on stderr, in one line.

    1,240 rows · 38 rows/s · 61% · 2 min left · 3 errors

A terminal sees one line that changes; a log gets a plain line every half minute.
"""

from __future__ import annotations

import sys
import time
from typing import TextIO

EVERY_S = {True: 0.5, False: 30.0}  # by whether a terminal shows it


class Progress:
    """How far the rows of a file are. `total_bytes`: the size of the input; None: nobody knows."""

    def __init__(self, total_bytes: int | None = None, stream: TextIO | None = None) -> None:
        self.total_bytes, self.stream = total_bytes, stream or sys.stderr
        self.rows = self.errors = 0
        self._terminal = self.stream.isatty()
        self._started = self._shown = time.monotonic()
        self._first_byte = 0

    def skip(self, at_byte: int) -> None:
        """The work begins here, behind what an earlier attempt has done."""
        self._first_byte = at_byte

    def start(self) -> None:
        """The work begins now, as the model is loaded."""
        self._started = self._shown = time.monotonic()

    def add(self, rows: int, errors: int, at_byte: int) -> None:
        """So many more rows are done; the input was read up to `at_byte`."""
        self.rows, self.errors = self.rows + rows, self.errors + errors
        now = time.monotonic()
        if now - self._shown >= EVERY_S[self._terminal]:
            self._shown = now
            line = self.line(now - self._started, at_byte)
            self.stream.write(f"\r\x1b[2K{line}" if self._terminal else line + "\n")
            self.stream.flush()

    def end(self) -> None:
        """Nothing is left of the changing line."""
        if self._terminal:
            self.stream.write("\r\x1b[2K")
            self.stream.flush()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started

    def line(self, seconds: float, at_byte: int) -> str:
        """The line after so many seconds."""
        parts = [count_of(self.rows, "row"), f"{format_rate(self.rows, seconds)} rows/s"]
        if self.total_bytes:
            parts.append(f"{min(100, 100 * at_byte // self.total_bytes)}%")
            done = at_byte - self._first_byte
            if done > 0:
                parts.append(f"{format_seconds(seconds * max(0, self.total_bytes - at_byte) / done)} left")
        if self.errors:
            parts.append(count_of(self.errors, "error"))
        return " · ".join(parts)


def count_of(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"


def format_rate(rows: int, seconds: float) -> str:
    rate = rows / seconds if seconds else 0.0
    return f"{rate:.0f}" if rate >= 10 else f"{rate:.1f}"


def format_seconds(seconds: float) -> str:
    """A time as people say it: 40 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
