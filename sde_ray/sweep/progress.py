"""What a user sees while a sweep runs: one live line on a terminal, else a line for each trial.

12/216 done · 2 running · 3 pruned · 1 failed · best 0.781 Inst-first, No-MI, Lines, PU, ... · 14 min left
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from rich.console import Console
from rich.live import Live
from rich.text import Text

from sde_ray.config.trial import TrialConfig
from sde_ray.design.designs import design_of, paper_label
from sde_ray.types import TrialResult


class Progress:
    """Counts trials and shows them; `total` and `done` are known at `begin`."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self._live: Live | None = None
        self.total: float = 0
        self.done: float = 0
        self.pruned = self.failed = 0
        self._cost: Callable[[TrialResult], float] = lambda result: 1
        self.running: dict[str, TrialConfig] = {}
        self.best: tuple[float, str] | None = None
        self._ended_here: float = 0
        self._failures: Counter[str] = Counter()
        self._waiting_for = ""
        self._clock = time.monotonic
        self._began = self._clock()

    def begin(
        self,
        total: float,
        earlier: list[tuple[TrialResult, float | None]],
        cost: Callable[[TrialResult], float] = lambda result: 1,
        in_flight: int = 0,
    ) -> None:
        """Start showing, from nothing. `earlier` are trials that the ledger has, with their scores.

        `in_flight`: how many trials go on from a checkpoint of an earlier run.
        `cost`: what a trial has used of `total`, where that may be less than one.
        """
        self.total, self._cost, self._began = total, cost, self._clock()
        self.done = self._ended_here = 0
        self.pruned = self.failed = 0
        self.best = None
        self._failures.clear()
        for result, score in earlier:
            self._count(result, score)
        if earlier or in_flight:
            more = {0: "", 1: ", 1 goes on from its checkpoint"}.get(
                in_flight, f", {in_flight} go on from their checkpoints"
            )
            self.console.print(f"Resuming: {self.done:g} of {total:g} trials are in the ledger{more}.", highlight=False)
        if self.console.is_terminal:
            self._live = Live(console=self.console, get_renderable=self._line, refresh_per_second=2, transient=True)
            self._live.start()

    def wait(self, what: str) -> None:
        """Say what is being done before the first trial can start."""
        self._waiting_for = what
        if self._live is None:
            self.console.print(f"{what} ...", highlight=False)

    def started(self, trial: TrialConfig) -> None:
        self._waiting_for = ""
        if not self._ended_here and not self.running:
            self._began = self._clock()  # the start of Ray is no part of the pace
        self.running[trial.key] = trial

    def ended(self, result: TrialResult, score: float | None) -> None:
        self.running.pop(result.key, None)
        self._ended_here += self._count(result, score)
        if result.status == "failed":
            self._failures[_failure(result)] += 1
        if self._live is None or self._failures[_failure(result)] == 1:  # live, a failure is told once of its kind
            self.console.print(self._event(result, score), highlight=False, soft_wrap=True, markup=False)

    def say(self, trial: TrialConfig, note: str) -> None:
        """A remark on a trial."""
        self.console.print(f"{paper_label(trial.design)}: {note}", highlight=False, soft_wrap=True, markup=False)

    def finish(self) -> None:
        """Stop showing; the last line stays."""
        if self._live is not None:
            self._live.stop()
            self._live = None
            self.console.print(self._line())
        for error, count in self._failures.items():
            if count > 1:
                self.console.print(
                    f"{count} trials failed alike: {error}", highlight=False, soft_wrap=True, markup=False
                )
        self._failures.clear()

    def line(self) -> str:
        """Where the sweep stands, in one line."""
        if self._waiting_for:
            return f"{self._waiting_for} ..."
        parts = [f"{self.done:g}/{self.total:g} done", f"{len(self.running)} running"]
        parts += [f"{count} {what}" for count, what in ((self.pruned, "pruned"), (self.failed, "failed")) if count]
        if self.best:
            parts.append(f"best {self.best[0]:.3f} {self.best[1]}")
        if (left := self.seconds_left()) is not None:
            parts.append(f"{duration(left)} left")
        return " · ".join(parts)

    def seconds_left(self) -> float | None:
        """At the pace of this run; None before its first trial has ended."""
        if not self._ended_here:
            return None
        pace = (self._clock() - self._began) / self._ended_here
        return pace * max(0, self.total - self.done)

    def _count(self, result: TrialResult, score: float | None) -> float:
        used = self._cost(result)
        self.done += used
        self.pruned += result.status == "pruned"
        self.failed += result.status == "failed"
        if result.status == "finished" and score is not None and (self.best is None or score > self.best[0]):
            self.best = (score, paper_label(design_of(result)))
        return used

    def _event(self, result: TrialResult, score: float | None) -> str:
        name = paper_label(design_of(result))
        error = _failure(result)
        what = f"failed: {error}" if self._failures[error] < 2 else f"failed alike ({self._failures[error]} now)"
        if result.status != "failed":
            what = "no score" if score is None else f"{score:.3f}"
            what += " pruned" if result.status == "pruned" else ""
        left = self.seconds_left()
        return f"[{self.done:g}/{self.total:g}] {name}: {what}" + (f" · {duration(left)} left" if left else "")

    def _line(self) -> Text:
        return Text(self.line(), no_wrap=True, overflow="ellipsis")


def _failure(result: TrialResult) -> str:
    """The first line of a failed trial's error; empty for a trial that did not fail."""
    if result.status != "failed":
        return ""
    return result.error.splitlines()[0] if result.error else "without a message"


def duration(seconds: float) -> str:
    """`40 s`, `14 min`, `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
