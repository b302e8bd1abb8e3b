"""Which trial comes next: between the search methods, which think in designs, and Ray Tune, which runs trials.

    agenda = Agenda(plan, score, ledger.results())
    while (trial := agenda.next()) is not None: ...
    agenda.ended(result)                     # whenever a trial ends, in any order

A design's trials (seeds × training sizes) are handed out together. When all have ended, the method learns their mean
score. What the ledger has is not handed out again, except a failed trial, once. One contest follows another, so that
a worker changes its base model as seldom as possible.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Protocol

from sde_ray.config.trial import TrialConfig
from sde_ray.search import Searcher
from sde_ray.sweep.plan import Contest, Plan
from sde_ray.sweep.resume import known
from sde_ray.training.checkpoint import Checkpoint
from sde_ray.types import Design, TrialResult

Score = Callable[[TrialResult], float | None]


class TrialQueue(Protocol):
    """What a sweep needs of an agenda: this one, or one that asks for single trials (`asked.py`).

    `earlier` are the results of earlier runs that count; `left` is 0 when nothing is to run. `in_flight`: trials that
    an earlier run has left on their way, by key; they are handed out before any other.
    """

    earlier: tuple[TrialResult, ...]
    in_flight: Mapping[str, Checkpoint]

    @property
    def left(self) -> float: ...

    @property
    def waiting(self) -> bool:
        """Is there nothing to run now, but perhaps when a running trial has ended?"""
        ...

    def next(self) -> TrialConfig | None: ...
    def ended(self, result: TrialResult) -> None: ...


class DesignQueue:
    """Hands out the trials of a plan that have not ended yet; `left` says how many are still to end."""

    def __init__(
        self,
        plan: Plan,
        score: Score,
        results: Mapping[str, TrialResult],
        in_flight: Mapping[str, Checkpoint] = MappingProxyType({}),
    ) -> None:
        self._score = score
        begun = known(plan.trials, results)
        self._results = {key: result for key, result in begun.items() if result.status != "failed"}
        self.earlier = tuple(self._results.values())
        self.in_flight: Mapping[str, Checkpoint] = {
            key: mark for key, mark in in_flight.items() if key not in self._results
        }
        self._tables = [_Table(contest, contest.searcher(plan.config)) for contest in plan.contests]
        self._place = {
            trial.key: (table, design)
            for table in self._tables
            for design, trials in table.contest.trials.items()
            for trial in trials
        }
        for table in self._tables:
            self._resume(table, begun={*begun, *self.in_flight})
        self.left: float = max(0, plan.count - len(self._results))

    @property
    def waiting(self) -> bool:
        return False  # what a method will propose does not hang on how far trials got

    def next(self) -> TrialConfig | None:
        """The next trial to run, or None when there is no more."""
        for table in self._tables:
            while not table.waiting:
                design = table.searcher.suggest()
                if design is None:
                    break
                table.waiting.extend(table.contest.trials[design])
            if table.waiting:
                return table.waiting.popleft()
        return None

    def ended(self, result: TrialResult) -> None:
        """Take note of a trial's end; tells the search method when it was its design's last."""
        table, design = self._place[result.key]
        self._results[result.key] = result
        self.left = max(0, self.left - 1)
        if all(trial.key in self._results for trial in table.contest.trials[design]):
            table.searcher.observe(design, self._mean(table, design))

    def _resume(self, table: _Table, begun: set[str]) -> None:
        """Tell the method what an earlier run has done, and put first what that run left half done."""
        for design, trials in table.contest.trials.items():
            missing = [trial for trial in trials if trial.key not in self._results]
            if not missing:
                table.searcher.observe(design, self._mean(table, design))
            elif any(trial.key in begun for trial in trials):
                table.searcher.mark_used(design)
                table.waiting.extend(sorted(missing, key=lambda trial: trial.key not in self.in_flight))

    def _mean(self, table: _Table, design: Design) -> float | None:
        results = [self._results[trial.key] for trial in table.contest.trials[design]]
        scores = [score for score in map(self._score, results) if score is not None]
        return sum(scores) / len(scores) if scores else None


class _Table:
    """A contest in progress."""

    def __init__(self, contest: Contest, searcher: Searcher) -> None:
        self.contest, self.searcher = contest, searcher
        self.waiting: deque[TrialConfig] = deque()
