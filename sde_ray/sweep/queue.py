"""Which trial comes next: between the search methods, which think in designs, and Ray Tune, which runs trials.

    queue = DesignQueue(plan, score, results)
    while (trial := queue.next_trial()) is not None: ...
    queue.on_trial_end(result)               # whenever a trial ends, in any order

A design's trials (seeds × training sizes) are handed out together. When all have ended, the method learns their mean
score. What the ledger has is not handed out again, except a failed trial, once. One contest follows another, so that
a worker changes its base model as seldom as possible.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from types import MappingProxyType

from sde_ray.config.trial import TrialConfig
from sde_ray.search import METHODS, Searcher
from sde_ray.sweep.contest import Contest
from sde_ray.sweep.plan import Plan
from sde_ray.sweep.resume import match_finished
from sde_ray.training.checkpoint import Checkpoint
from sde_ray.types import Design, TrialResult

Score = Callable[[TrialResult], float | None]


class TrialQueue(ABC):
    """Trials still to run, one after another.

    Args:
        trials: All trials that may run.
        results: What the ledger has, by trial key.
        in_flight: Checkpoints of trials that an earlier run has left unfinished, by key; these are handed out first.
        ended: The status of an earlier result after which a trial is not run again.

    `matched` has the earlier result of each trial, `earlier` those that count, in the ledger's order.
    """

    def __init__(
        self,
        trials: Iterable[TrialConfig],
        results: Mapping[str, TrialResult],
        in_flight: Mapping[str, Checkpoint],
        ended: Collection[str] = ("finished", "pruned"),
    ) -> None:
        self.matched = match_finished(trials, results)
        self.earlier = tuple(result for result in self.matched.values() if result.status != "failed")
        done = {key for key, result in self.matched.items() if result.status in ended}
        self.in_flight = {key: checkpoint for key, checkpoint in in_flight.items() if key not in done}

    @property
    @abstractmethod
    def remaining(self) -> float:
        """What is still to run, in trials; 0: nothing."""

    @property
    def blocked(self) -> bool:
        """Whether there is nothing to run now, but perhaps when a running trial has ended."""
        return False

    @property
    def depends_on_results(self) -> bool:
        """Whether results that are still to come may change which trial is next."""
        return False

    @abstractmethod
    def next_trial(self) -> TrialConfig | None:
        """The next trial to run; None when there is none now."""

    @abstractmethod
    def on_trial_end(self, result: TrialResult) -> None:
        """A trial has ended."""


class ListQueue(TrialQueue):
    """Hands out given trials, each once: those that were started first, then in their order."""

    def __init__(
        self,
        trials: Sequence[TrialConfig],
        results: Mapping[str, TrialResult],
        in_flight: Mapping[str, Checkpoint] = MappingProxyType({}),
    ) -> None:
        super().__init__(trials, results, in_flight)
        done = {key for key, result in self.matched.items() if result.status != "failed"}
        started = {*self.matched, *self.in_flight}
        missing = [trial for trial in trials if trial.key not in done]
        self._trials = deque(sorted(missing, key=lambda trial: trial.key not in started))
        self._remaining = len(missing)

    @property
    def remaining(self) -> float:
        return self._remaining

    def next_trial(self) -> TrialConfig | None:
        return self._trials.popleft() if self._trials else None

    def on_trial_end(self, result: TrialResult) -> None:
        self._remaining -= 1


class DesignQueue(TrialQueue):
    """Hands out the trials of a plan, design by design as the search method suggests them."""

    def __init__(
        self,
        plan: Plan,
        score: Score,
        results: Mapping[str, TrialResult],
        in_flight: Mapping[str, Checkpoint] = MappingProxyType({}),
    ) -> None:
        super().__init__(plan.trials, results, in_flight)
        self._score, self._learns = score, METHODS[plan.config.search.method].adaptive
        self._results = {key: result for key, result in self.matched.items() if result.status != "failed"}
        self._states = [_ContestState(contest, contest.searcher(plan.config)) for contest in plan.contests]
        self._designs = {
            trial.key: (state, design)
            for state in self._states
            for design, trials in state.contest.trials.items()
            for trial in trials
        }
        for state in self._states:
            self._resume(state, started={*self.matched, *self.in_flight})
        self._remaining = max(0, plan.count - len(self._results))

    @property
    def remaining(self) -> float:
        return self._remaining

    @property
    def depends_on_results(self) -> bool:
        return self._learns

    def next_trial(self) -> TrialConfig | None:
        for state in self._states:
            while not state.trials:
                design = state.searcher.suggest()
                if design is None:
                    break
                state.trials.extend(state.contest.trials[design])
            if state.trials:
                return state.trials.popleft()
        return None

    def on_trial_end(self, result: TrialResult) -> None:
        """A trial has ended; the search method observes its design's mean score when it was the design's last."""
        state, design = self._designs[result.key]
        self._results[result.key] = result
        self._remaining = max(0, self._remaining - 1)
        if all(trial.key in self._results for trial in state.contest.trials[design]):
            state.searcher.observe(design, self._mean(state, design))

    def _resume(self, state: _ContestState, started: set[str]) -> None:
        """Let the method observe what an earlier run has finished; put first what that run left unfinished."""
        for design, trials in state.contest.trials.items():
            missing = [trial for trial in trials if trial.key not in self._results]
            if not missing:
                state.searcher.observe(design, self._mean(state, design))
            elif any(trial.key in started for trial in trials):
                state.searcher.mark_used(design)
                state.trials.extend(sorted(missing, key=lambda trial: trial.key not in self.in_flight))

    def _mean(self, state: _ContestState, design: Design) -> float | None:
        """Mean score of a design; of its means at the nuisance values, each of which must have a score."""
        by_value: dict[Design, list[float]] = {trial.design: [] for trial in state.contest.trials[design]}
        for trial in state.contest.trials[design]:
            score = self._score(self._results[trial.key])
            if score is not None:
                by_value[trial.design].append(score)
        means = [sum(scores) / len(scores) for scores in by_value.values() if scores]
        return sum(means) / len(means) if len(means) == len(by_value) else None


class _ContestState:
    """A contest in progress: its searcher, and the trials of suggested designs that are not handed out yet."""

    def __init__(self, contest: Contest, searcher: Searcher) -> None:
        self.contest, self.searcher = contest, searcher
        self.trials: deque[TrialConfig] = deque()
