"""The agenda of a search that asks for trials one by one, and decides at every rung whether one goes on.

    agenda = make_trial_queue(plan, score, ledger.results())

    trial = agenda.next()
    agenda.go_on(trial, rung, score)                        at each rung but the last
    agenda.ended(result)

Every task, model and training size is a contest of its own with the same effects more or less; the contests of one
model are worked on together, and models one after another, so that a worker changes its base as seldom as possible.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from sde_ray.config.trial import TrialConfig
from sde_ray.search import METHODS
from sde_ray.search.adaptive.search import Adaptive, TrialRequest
from sde_ray.sweep.budget import budget
from sde_ray.sweep.plan import Plan
from sde_ray.sweep.queue import DesignQueue, Score, TrialQueue
from sde_ray.sweep.resume import known
from sde_ray.training.checkpoint import Checkpoint
from sde_ray.types import Design, TrialResult


def make_trial_queue(
    plan: Plan,
    score: Score,
    results: Mapping[str, TrialResult],
    in_flight: Mapping[str, Checkpoint] = MappingProxyType({}),
) -> TrialQueue:
    """The agenda for a plan's search method. `results` is what the ledger has, `in_flight` what was on its way."""
    asks = METHODS[plan.config.search.method].trials
    return Asked(plan, score, results, in_flight) if asks else DesignQueue(plan, score, results, in_flight)


class Asked:
    """Hands out what the search asks for; `left` is what it may still use, 0 when it has nothing to ask."""

    def __init__(
        self,
        plan: Plan,
        score: Score,
        results: Mapping[str, TrialResult],
        in_flight: Mapping[str, Checkpoint] = MappingProxyType({}),
    ) -> None:
        self._plan, self._score = plan, score
        self.names = list(dict.fromkeys((trial.task, trial.model, trial.train_size) for trial in _model_by_model(plan)))
        places = {name: place for place, name in enumerate(self.names)}
        self._trials = {
            (places[trial.task, trial.model, trial.train_size], trial.design, trial.seed): trial
            for trial in plan.trials
        }
        self._asks = {trial.key: TrialRequest(*name, 0) for name, trial in self._trials.items()}
        self._rungs = plan.config.rungs()
        self.search = self._build()
        found = known(plan.trials, results)
        self.earlier = tuple(result for result in found.values() if result.status != "failed")
        for key, result in found.items():
            if result.status != "failed":  # a failed trial may be asked for again
                self._recall(self._asks[key], result)
        done = {key for key, result in found.items() if result.status == "finished"}
        self.in_flight: Mapping[str, Checkpoint] = {key: mark for key, mark in in_flight.items() if key not in done}
        self._first = deque(trial for trial in plan.trials if trial.key in self.in_flight)
        for trial in self._first:
            self._take_up(trial, self.in_flight[trial.key])
        # Whether there is anything to do is known before Ray starts; what follows a trial on its way is not.
        self._held = None if self._first else self.search.suggest()

    @property
    def left(self) -> float:
        if self._held is None and not self._first:
            return 0
        used = sum(self.search.used_budget(contest) for contest in range(len(self.names)))
        held = [self._held.rung] if self._held else [self.in_flight[trial.key].promoted_rungs for trial in self._first]
        return max(self._plan.count - used, 0) + sum(self._rungs[rung] for rung in held)

    @property
    def waiting(self) -> bool:
        return self.search.running  # one that is stopped early leaves budget for another

    def next(self) -> TrialConfig | None:
        """The next trial to run, or None when there is none now."""
        if self._first:
            return self._first.popleft()
        ask, self._held = self._held or self.search.suggest(), None
        return None if ask is None else self._trials[ask.contest, ask.design, ask.seed]

    def go_on(self, trial: TrialConfig, rung: int, score: float | None) -> bool:
        """Whether a trial that has reached this rung is trained further."""
        return self.search.report(self._asks[trial.key], rung, score)

    def ended(self, result: TrialResult) -> None:
        """Take note of a trial's end."""
        self._recall(self._asks[result.key], result)

    def recommend(self) -> dict[tuple[str, str, int], Design]:
        """The best design so far by task, model and training size."""
        return {name: self.search.recommend(place) for place, name in enumerate(self.names)}

    def expected(self, name: tuple[str, str, int]) -> float | None:
        """The expected score of the recommended design; None before the first score."""
        place = self.names.index(name)
        return self.search.expected_score(place, self.search.recommend(place))

    def _build(self) -> Adaptive:
        config = self._plan.config
        contests: list[list[Design]] = [[] for _ in self.names]
        for contest, design, seed in self._trials:
            if seed == config.seeds[0]:
                contests[contest].append(design)
        models = list(dict.fromkeys(model for _, model, _ in self.names))
        method = METHODS[config.search.method]
        made: Adaptive = method.build(
            contests,
            seeds=config.seeds,
            rungs=self._rungs,
            budget=[budget(config, own) for own in contests],
            seed=config.search.seed,
            groups=[models.index(model) for _, model, _ in self.names],
            **{name: getattr(config.search, name) for name in method.options},
        )
        return made

    def _take_up(self, trial: TrialConfig, mark: Checkpoint) -> None:
        """A trial of an earlier run goes on: the search knows how it scored where it was let go on.

        At a rung where that was not decided yet, the trial reports its score once more, and the search is asked.
        """
        ask = replace(self._asks[trial.key], rung=mark.promoted_rungs)
        self.search.resume_trial(ask)
        for rung in mark.rungs[: mark.promoted_rungs]:
            seen = TrialResult(trial.key, trial.resolved(), "pruned", rung.scores)
            self.search.observe(ask, rung.rung, self._score(seen))

    def _recall(self, ask: TrialRequest, result: TrialResult) -> None:
        """Tell the search a result that has ended, rung by rung."""
        shares = result.config["rungs"]
        last = None
        for rung in result.rungs:
            at = float(shares[rung.rung])
            if at in self._rungs:
                last = self._rungs.index(at)
                seen = replace(result, status="pruned", scores=rung.scores)
                self.search.observe(ask, last, self._score(seen))
        if result.status == "finished":
            last = len(self._rungs) - 1
            self.search.observe(ask, last, self._score(result))
        useless = result.status == "failed" or self._score(result) is None
        self.search.on_trial_end(ask, None if useless else last)


def _model_by_model(plan: Plan) -> list[TrialConfig]:
    models = list(dict.fromkeys(trial.model for trial in plan.trials))
    return sorted(plan.trials, key=lambda trial: models.index(trial.model))
