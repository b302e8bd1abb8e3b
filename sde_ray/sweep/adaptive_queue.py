"""The queue of a search that asks for trials one by one, and decides at every rung whether to train one further.

    queue = make_trial_queue(plan, score, results)

    trial = queue.next_trial()
    queue.should_continue(trial, rung, score)               at each rung but the last
    queue.on_trial_end(result)

Every task, model and training size is a contest of its own with the same effects more or less; the contests of one
model are worked on together, and models one after another, so that a worker changes its base as seldom as possible.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from sde_ray.config.load import open_tasks
from sde_ray.config.trial import TrialConfig
from sde_ray.metrics import metric_bounds
from sde_ray.search import METHODS
from sde_ray.search.adaptive.request import TrialRequest
from sde_ray.search.adaptive.search import Adaptive
from sde_ray.sweep.budget import budget
from sde_ray.sweep.plan import Plan
from sde_ray.sweep.queue import DesignQueue, Score, TrialQueue
from sde_ray.training.checkpoint import Checkpoint
from sde_ray.types import Design, TrialResult


def make_trial_queue(
    plan: Plan,
    score: Score,
    results: Mapping[str, TrialResult],
    in_flight: Mapping[str, Checkpoint] = MappingProxyType({}),
) -> TrialQueue:
    """The queue for a plan's search method. `results` is what the ledger has, `in_flight` what is unfinished."""
    queue = AdaptiveQueue if METHODS[plan.config.search.method].trials else DesignQueue
    return queue(plan, score, results, in_flight)


class AdaptiveQueue(TrialQueue):
    """Hands out what the search asks for; `remaining` is the budget that it may still use."""

    def __init__(
        self,
        plan: Plan,
        score: Score,
        results: Mapping[str, TrialResult],
        in_flight: Mapping[str, Checkpoint] = MappingProxyType({}),
    ) -> None:
        super().__init__(plan.trials, results, in_flight, ended=("finished",))  # a pruned trial may be asked for again
        self._plan, self._score = plan, score
        self.names = list(dict.fromkeys((trial.task, trial.model, trial.train_size) for trial in _model_by_model(plan)))
        contests = {name: contest for contest, name in enumerate(self.names)}
        self._trials = {
            (contests[trial.task, trial.model, trial.train_size], trial.design, trial.seed): trial
            for trial in plan.trials
        }
        self._requests = {trial.key: TrialRequest(*name, 0) for name, trial in self._trials.items()}
        self._rungs = plan.config.rungs()
        self.search = self._build()
        for key, result in self.matched.items():
            if result.status != "failed":  # a failed trial may be asked for again
                self._replay_result(self._requests[key], result)
        self._unfinished = deque(trial for trial in plan.trials if trial.key in self.in_flight)
        for trial in self._unfinished:
            self._resume_trial(trial, self.in_flight[trial.key])
        # Whether there is anything to do is known before Ray starts; what follows an unfinished trial is not.
        self._next_request = None if self._unfinished else self.search.suggest()

    @property
    def remaining(self) -> float:
        if self._next_request is None and not self._unfinished:
            return 0
        used = sum(self.search.used_budget(contest) for contest in range(len(self.names)))
        rungs = [self.in_flight[trial.key].promoted_rungs for trial in self._unfinished]
        if self._next_request is not None:
            rungs = [self._next_request.rung]
        return max(self._plan.count - used, 0) + sum(self._rungs[rung] for rung in rungs)

    @property
    def blocked(self) -> bool:
        return self.search.running  # one that is stopped early leaves budget for another

    @property
    def depends_on_results(self) -> bool:
        return not self._unfinished and self._next_request is None and not self.search.has_first_trials

    def next_trial(self) -> TrialConfig | None:
        if self._unfinished:
            return self._unfinished.popleft()
        request, self._next_request = self._next_request or self.search.suggest(), None
        return None if request is None else self._trials[request.contest, request.design, request.seed]

    def should_continue(self, trial: TrialConfig, rung: int, score: float | None) -> bool:
        """Early-stopping decision at a rung: True = train the trial to the next rung."""
        return self.search.report(self._requests[trial.key], rung, score)

    def on_trial_end(self, result: TrialResult) -> None:
        self._replay_result(self._requests[result.key], result)

    def recommendation(self, name: tuple[str, str, int]) -> list[tuple[Design, float]]:
        """The best design of a task, model and training size and its near-ties, best first, with expected scores.

        Empty before the first score.
        """
        return self.search.near_ties(self.names.index(name))

    def recommend(self) -> dict[tuple[str, str, int], Design]:
        """The best design so far by task, model and training size."""
        return {name: self.search.recommend(contest) for contest, name in enumerate(self.names)}

    def expected(self, name: tuple[str, str, int]) -> float | None:
        """The expected score of the recommended design; None before the first score."""
        contest = self.names.index(name)
        return self.search.expected_score(contest, self.search.recommend(contest))

    def _build(self) -> Adaptive:
        config = self._plan.config
        contests: list[list[Design]] = [[] for _ in self.names]
        for contest, design, seed in self._trials:
            if seed == config.seeds[0]:
                contests[contest].append(design)
        models = list(dict.fromkeys(model for _, model, _ in self.names))
        method = METHODS[config.search.method]
        search: Adaptive = method.build(
            contests,
            seeds=config.seeds,
            rungs=self._rungs,
            budget=[budget(config, own) for own in contests],
            seed=config.search.seed,
            groups=[models.index(model) for _, model, _ in self.names],
            points_to_evaluate=self._points_to_evaluate(),
            bounds=self._bounds(),
            **{name: getattr(config.search, name) for name in method.options},
        )
        return search

    def _bounds(self) -> tuple[float, float] | None:
        """Lowest and highest value of the metric; None where it has none, or where tasks have metrics that differ."""
        config = self._plan.config
        bounds = {metric_bounds(config.metric_for(task)) for task in open_tasks(config).values()}
        return bounds.pop() if len(bounds) == 1 else None

    def _points_to_evaluate(self) -> list[list[Design]]:
        """What each contest tries first; a design that occurs twice is tried with two seeds."""
        by_contest = {(contest.task, contest.model): contest for contest in self._plan.contests}
        chosen = [by_contest[task, model] for task, model, _ in self.names]
        return [
            [*([] if contest.repeated is None else [contest.repeated]), *contest.points_to_evaluate]
            for contest in chosen
        ]

    def _resume_trial(self, trial: TrialConfig, checkpoint: Checkpoint) -> None:
        """Resume a trial of an earlier run: the search observes its scores at the rungs where it was promoted.

        At a rung where that was not decided yet, the trial reports its score once more, and the search is asked.
        """
        request = replace(self._requests[trial.key], rung=checkpoint.promoted_rungs)
        self.search.resume_trial(request)
        for rung in checkpoint.rungs[: checkpoint.promoted_rungs]:
            partial = TrialResult(trial.key, trial.resolved(), "pruned", rung.scores)
            self.search.observe(request, rung.rung, self._score(partial))

    def _replay_result(self, request: TrialRequest, result: TrialResult) -> None:
        """Let the search observe a result, rung by rung."""
        shares = result.config["rungs"]
        last = None
        for rung in result.rungs:
            at = float(shares[rung.rung])
            if at in self._rungs:
                last = self._rungs.index(at)
                partial = replace(result, status="pruned", scores=rung.scores)
                self.search.observe(request, last, self._score(partial))
        if result.status == "finished":
            last = len(self._rungs) - 1
            self.search.observe(request, last, self._score(result))
        useless = result.status == "failed" or self._score(result) is None
        self.search.on_trial_end(request, None if useless else last)


def _model_by_model(plan: Plan) -> list[TrialConfig]:
    models = list(dict.fromkeys(trial.model for trial in plan.trials))
    return sorted(plan.trials, key=lambda trial: models.index(trial.model))
