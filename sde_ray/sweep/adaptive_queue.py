"""The queue of a search that asks for trials one by one, and decides at every rung whether to train one further.

    queue = make_trial_queue(plan, score, results)

    trial = queue.next_trial()
    queue.should_continue(trial, rung, score)               at each rung but the last
    queue.on_trial_end(result)

Every task, model and training size is a contest of its own with the same effects more or less; the contests of one
model are worked on together, and models one after another, so that a worker changes its base as seldom as possible.

With a nuisance axis the search asks for a *block*: the trials of a design and seed at every value. They run one after
another to the rung that it asked for, and it hears of their mean when all are there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType

from sde_ray.config.load import open_tasks
from sde_ray.config.trial import TrialConfig
from sde_ray.design.designs import compared_size, without_nuisance
from sde_ray.metrics import metric_bounds
from sde_ray.search import METHODS
from sde_ray.search.adaptive.request import TrialRequest
from sde_ray.search.adaptive.search import Adaptive
from sde_ray.sweep.block_progress import BlockProgress
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
        self.names = list(dict.fromkeys(_contest_name(trial) for trial in _model_by_model(plan)))
        contests = {name: contest for contest, name in enumerate(self.names)}
        self._blocks: dict[tuple[int, Design, int], list[TrialConfig]] = {}
        for trial in plan.trials:
            contest = contests[_contest_name(trial)]
            self._blocks.setdefault((contest, without_nuisance(trial.design), trial.seed), []).append(trial)
        self._requests = {trial.key: TrialRequest(*name, 0) for name, block in self._blocks.items() for trial in block}
        self._num_values = max(map(len, self._blocks.values()))
        self._rungs = plan.config.rungs()
        self.search = self._build()
        self._progress: dict[TrialRequest, BlockProgress] = {}
        self._unfinished: deque[TrialConfig] = deque()
        if self._num_values > 1:
            self._resume_blocks()
        else:
            self._resume_trials()
        # Whether there is anything to do is known before Ray starts; what follows an unfinished trial is not.
        self._next_request = None if self._unfinished else self.search.suggest()

    @property
    def remaining(self) -> float:
        if self._next_request is None and not self._unfinished:
            return 0
        used = sum(self.search.used_budget(contest) for contest in range(len(self.names)))
        rungs = [self._target(trial) for trial in self._unfinished]
        if self._next_request is not None:
            rungs = [self._next_request.rung] * self._num_values
        return max(self._plan.count - used * self._num_values, 0) + sum(self._rungs[rung] for rung in rungs)

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
        if request is None:
            return None
        first, *others = self._blocks[request.contest, request.design, request.seed]
        if others:
            self._begin(request, [first, *others])
            self._unfinished.extend(others)
        return first

    def should_continue(self, trial: TrialConfig, rung: int, score: float | None) -> bool:
        """Early-stopping decision at a rung: True = train the trial to the next rung."""
        block = self._progress.get(self._requests[trial.key])
        if block is None:
            return self.search.report(self._requests[trial.key], rung, score)
        return rung < block.request.rung  # together, so that its design is seen at all values alike

    def on_trial_end(self, result: TrialResult) -> None:
        request = self._requests[result.key]
        if request not in self._progress:
            self._replay_result(request, result)
            return
        block = self._progress[request]
        block.end(result, self._scores_by_rung(result))
        if block.ended:
            self._report_block(self._progress.pop(request))

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
        for contest, design, seed in self._blocks:
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

    # ---- blocks ------------------------------------------------------------------------------------------------------

    def _begin(self, request: TrialRequest, trials: Iterable[TrialConfig]) -> BlockProgress:
        """Expect the trials of a block, which go to the rung of its request."""
        block = BlockProgress(request, {trial.key for trial in trials})
        self._progress[replace(request, rung=0)] = block
        return block

    def _report_block(self, block: BlockProgress) -> None:
        """Let the search observe a block whose trials have all ended: the mean at each rung that all have reached."""
        means = block.means()
        for rung, mean in means.items():
            self.search.observe(block.request, rung, mean)
        self.search.on_trial_end(block.request, None if block.failed or not means else max(means))

    def _scores_by_rung(self, result: TrialResult) -> dict[int, float]:
        """A result's scores by the number of the sweep's rung; none of a failed trial."""
        if result.status == "failed":
            return {}
        shares, scores = result.config["rungs"], {}
        for rung in result.rungs:
            if float(shares[rung.rung]) in self._rungs:
                partial = replace(result, status="pruned", scores=rung.scores)
                scores[self._rungs.index(float(shares[rung.rung]))] = self._score(partial)
        if result.status == "finished":
            scores[len(self._rungs) - 1] = self._score(result)
        return {rung: score for rung, score in scores.items() if score is not None}

    def _target(self, trial: TrialConfig) -> int:
        """The rung that an unfinished trial is on its way to."""
        block = self._progress.get(self._requests[trial.key])
        return block.request.rung if block else self.in_flight[trial.key].promoted_rungs

    def _resume_blocks(self) -> None:
        """Let the search observe the blocks that an earlier run has finished; what others lack of theirs runs first.

        A block that was begun goes on to the furthest rung that one of its trials has reached or was on its way to.
        """
        for (contest, design, seed), trials in self._blocks.items():
            counted = [self.matched[trial.key] for trial in trials if trial.key in self.matched]
            results = {one.key: one for one in counted if one.status != "failed"}
            marks = [self.in_flight[trial.key] for trial in trials if trial.key in self.in_flight]
            if not results and not marks:
                continue
            reached = [max(scores) for one in results.values() if (scores := self._scores_by_rung(one))]
            target = max([*reached, *(mark.promoted_rungs for mark in marks)], default=len(self._rungs) - 1)
            request = TrialRequest(contest, design, seed, target)
            block = self._begin(request, trials)
            self.search.resume_trial(request)
            missing = []
            for trial in trials:
                scores = self._scores_by_rung(result) if (result := self._result_of(trial)) else {}
                if result and scores and max(scores) >= target:
                    block.end(replace(result, key=trial.key), scores)
                else:
                    missing.append(trial)
            if block.ended:
                self._report_block(self._progress.pop(replace(request, rung=0)))
            self._unfinished.extend(sorted(missing, key=lambda trial: trial.key not in self.in_flight))

    def _result_of(self, trial: TrialConfig) -> TrialResult | None:
        result = self.matched.get(trial.key)
        return None if result is None or result.status == "failed" else result

    # ---- single trials -----------------------------------------------------------------------------------------------

    def _resume_trials(self) -> None:
        """Let the search observe what an earlier run has finished; what that run left unfinished runs first."""
        for key, result in self.matched.items():
            if result.status != "failed":  # a failed trial may be asked for again
                self._replay_result(self._requests[key], result)
        self._unfinished.extend(trial for trial in self._plan.trials if trial.key in self.in_flight)
        for trial in self._unfinished:
            self._resume_trial(trial, self.in_flight[trial.key])

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


def _contest_name(trial: TrialConfig) -> tuple[str, str, int]:
    return trial.task, trial.model, compared_size(dict(trial.design.options), trial.train_size)


def _model_by_model(plan: Plan) -> list[TrialConfig]:
    models = list(dict.fromkeys(trial.model for trial in plan.trials))
    return sorted(plan.trials, key=lambda trial: models.index(trial.model))
