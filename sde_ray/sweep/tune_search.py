"""Ray Tune searcher, schedulers and stopper: which trial is next, whether one continues at a rung, whether all stop.

They hand Tune's questions to the sweep's queue; the search methods themselves are in `sde_ray/search`, without Ray.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

from ray.tune import Stopper
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler
from ray.tune.search import Searcher

from sde_ray.config.schema import Asha
from sde_ray.config.trial import TrialConfig

SCORE_KEY = "score"
BUDGET_KEY = "budget"
RUNG_KEY = "rung"
PROMOTED_KEY = "passed"  # an earlier run of the trial was let go on at this rung
NOTE_KEY = "note"  # a remark for the user


class QueueSearcher(Searcher):
    """Ray Tune `Searcher` over a `TrialQueue`: suggests its trials; `SweepCallback` reports the scores to it.

    `limit`: how many of its trials may be under way, running or waiting for room.
    """

    def __init__(
        self,
        following: Callable[[], TrialConfig | None],
        waiting: Callable[[], bool],
        describe: Callable[[TrialConfig], Any],
        limit: Callable[[], int] = lambda: sys.maxsize,
    ) -> None:
        super().__init__(metric=SCORE_KEY, mode="max")
        self._following, self._waiting, self._describe, self._limit = following, waiting, describe, limit
        self._under_way: set[str] = set()

    def suggest(self, trial_id: str) -> Any:
        if len(self._under_way) >= self._limit():
            return None  # Tune asks again
        trial = self._following()
        if trial is None:
            return None if self._waiting() else Searcher.FINISHED
        self._under_way.add(trial_id)
        return self._describe(trial)

    def set_search_properties(self, metric: str | None, mode: str | None, config: Any, **spec: Any) -> bool:
        return True

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        """One fewer is under way; `SweepCallback` reports results to the queue."""
        self._under_way.discard(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: a sweep resumes from its ledger."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: a sweep resumes from its ledger."""


class GroupedASHAScheduler(FIFOScheduler):
    """Successive halving among comparable trials: those of one task, model and training size.

    A trial reports `budget` after each rung: 1, then the reduction factor, then its square, so that Ray's milestones
    are exactly the rungs of the configuration. `earlier` are (trial, scores by rung) of an earlier run of the sweep.
    """

    def __init__(self, asha: Asha, earlier: Iterable[tuple[TrialConfig, list[float]]] = ()) -> None:
        super().__init__()
        self._asha = asha
        self._brackets: dict[tuple[str, str, int], Any] = {}
        for trial, scores in earlier:
            self._replay(trial, scores)

    def _bracket(self, trial: TrialConfig) -> Any:
        peers = (trial.task, trial.model, trial.train_size)
        if peers not in self._brackets:
            self._brackets[peers] = ASHAScheduler(
                time_attr=BUDGET_KEY,
                metric=SCORE_KEY,
                mode="max",
                max_t=budget(self._asha, len(self._asha.rungs)) * 2,  # a trial ends by itself, not by its budget
                grace_period=1,
                reduction_factor=self._asha.reduction_factor,
            )
        return self._brackets[peers]

    def _replay(self, trial: TrialConfig, scores: list[float]) -> None:
        bracket, stand_in = self._bracket(trial), SimpleNamespace(trial_id=f"earlier-{trial.key}")
        bracket.on_trial_add(None, stand_in)
        for rung, score in enumerate(scores):
            bracket.on_trial_result(None, stand_in, {BUDGET_KEY: budget(self._asha, rung), SCORE_KEY: score})

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        self._bracket(trial.config["trial"]).on_trial_add(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        decision: str = self._bracket(trial.config["trial"]).on_trial_result(tune_controller, trial, result)
        return self.CONTINUE if result.get(PROMOTED_KEY) else decision

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        self._bracket(trial.config["trial"]).on_trial_complete(tune_controller, trial, result)


class CallbackScheduler(FIFOScheduler):
    """Ray Tune scheduler that asks the search at every rung: `should_continue(trial, rung, score)`; False stops it."""

    def __init__(self, should_continue: Callable[[TrialConfig, int, float | None], bool]) -> None:
        super().__init__()
        self._should_continue = should_continue

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        promote = self._should_continue(trial.config["trial"], int(result[RUNG_KEY]), result.get(SCORE_KEY))
        decision: str = self.CONTINUE if promote or result.get(PROMOTED_KEY) else self.STOP
        return decision


def budget(asha: Asha | None, rung: int) -> float:
    """What a trial has used after its rung number `rung` (0 is the first)."""
    return float((asha.reduction_factor if asha else 2.0) ** rung)


class StopOnRequest(Stopper):
    """Ends Tune's loop when `stopping` says so."""

    def __init__(self, stopping: Callable[[], bool]) -> None:
        self._stopping = stopping

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self._stopping()

    def __reduce__(self) -> Any:
        return StopOnRequest, (bool,)  # Tune saves its stoppers; a saved one has no sweep to end
