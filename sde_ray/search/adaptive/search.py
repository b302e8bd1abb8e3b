"""Adaptive search, a Bayesian optimisation of designs: the next score is requested where it helps the decision most.

    search = Adaptive([designs], seeds=(0, 1), rungs=(0.25, 0.5, 1.0), budget=22)
    while (request := search.suggest()) is not None:          # a design, a seed, and how far to train it
        for rung in range(request.rung + 1):
            if not search.report(request, rung, score_of(request, rung)):
                break                                          # the rest is not worth its cost
        search.on_trial_end(request, rung)
    search.recommend()

It begins with `points_to_evaluate`, trained to the end, and with screening at the first rung (`screening.py`). From
then on a Gaussian process over all designs (`surrogate.py`, `posterior.py`) gives the knowledge gradient of each
possible score (`knowledge_gradient.py`); the one with the highest gain per cost is requested. So contenders are trained
further and repeated with other seeds, and what cannot win is not.
Scores may come late, in any order or not at all: running trials count as expected. The search ends with its budget, or
with a winner that is sure enough; a part of the budget is reserved for a full trial of the recommended design.

The same seed and the same scores in the same order give the same requests. Results of an earlier run enter by `observe`
and `on_trial_end`, with a request made up for them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from sde_ray.search.adaptive.knowledge_gradient import (
    Candidates,
    acquisition_values,
    expected_scores,
    near_ties,
    prob_best_within,
    total_gain,
)
from sde_ray.search.adaptive.posterior import ModelSpace, Observation
from sde_ray.search.adaptive.request import TrialRequest
from sde_ray.search.adaptive.screening import Points, first_trials, screening_designs
from sde_ray.search.adaptive.surrogate import Posterior, Surrogate, refuse_too_large
from sde_ray.search.adaptive.trials import MAX_FAILURES, TrialId, Trials
from sde_ray.search.kernel import DesignKernel, Index, Mask
from sde_ray.search.scale import Scale, candidate_scales
from sde_ray.types import Design

MAX_POOL = 3000  # expected scores that the posterior holds at most (contests x rungs x designs)
NEAR_TIE = 0.2  # share of the margin by which designs are expected to differ when they count as equal
CHECK_EVERY = 8  # sampling is expensive: whether the winner is sure is checked after so many observations


class Adaptive:
    """Search method that requests single trials, over all contests (tasks, models, training sizes) at once.

    Contests share the effects of options and differ by deviations of their own.

    Args:
        contests: the valid designs of each contest.
        seeds: the seeds that a design's trials may have.
        rungs: shares of the training at which a trial is scored, ascending, ending with 1.0.
        budget: in full trials, for each contest the same or its own.
        seed: of everything random.
        confidence: the search ends when, with this probability, no design is better than the best by more than the
            margin; 1: it ends with its budget.
        margin: in units of the score.
        groups: a number for each contest; contests of one number (those of one base model) are searched together,
            one group after another.
        bounds: lowest and highest score that the metric can take; None: it has none. Where there are bounds, scores are
            modelled as they are or on a logit scale, whichever fits them better.
        points_to_evaluate: designs that are tried first, with the whole training: the same in every contest, or a
            sequence for each. One that occurs twice is tried with two seeds, with one more than `seeds` has where that
            is one. Designs that are not valid in a contest are ignored there.

    Raises:
        UserError: for a space and budget that would take too much time and memory.
    """

    def __init__(
        self,
        contests: Sequence[Sequence[Design]],
        seeds: Sequence[int] = (0,),
        rungs: Sequence[float] = (1.0,),
        budget: float | Sequence[float] = math.inf,
        seed: int = 0,
        confidence: float = 1.0,
        margin: float = 0.0,
        groups: Sequence[int] | None = None,
        points_to_evaluate: Points = (),
        bounds: tuple[float, float] | None = None,
    ) -> None:
        self.designs = tuple(sorted({design for valid in contests for design in valid}))
        self.seeds, self.rungs, self.seed = tuple(seeds), tuple(rungs), seed
        self.budgets = tuple(budget) if isinstance(budget, Sequence) else (budget,) * len(contests)
        self.confidence, self.margin = confidence, margin
        self._groups = tuple(groups or (0,) * len(contests))
        self._number = {design: n for n, design in enumerate(self.designs)}
        members = [set(valid) for valid in contests]
        self._valid = np.array([[design in valid for design in self.designs] for valid in members])
        self.space = ModelSpace(DesignKernel(self.designs), len(contests), tuple(rungs))
        refuse_too_large(self.space, self._valid, self.budgets, len(self.seeds))
        self._points = [
            first_trials(points_to_evaluate, number, len(contests), valid, self.seeds)
            for number, valid in enumerate(members)
        ]
        self._screens = [
            screening_designs(designs, [*dict(points)], own, self.rungs[0], seed)
            for designs, points, own in zip(contests, self._points, self.budgets, strict=True)
        ]
        self._trials = Trials(self.designs, self._valid, self.seeds, self.rungs)
        self._surrogate = Surrogate(self.space, self._pool, candidate_scales(bounds))
        self._num_checked = 0
        self._decided: set[int] = set()
        self._candidates: tuple[tuple[int, ...], Candidates] | None = None

    # ---- requests and reports ---------------------------------------------------------------------------------------

    def suggest(self) -> TrialRequest | None:
        """Next trial to run; None when the budget or the designs are used up, or when the best design is sure."""
        for contests in self._contests_by_group():
            request = self._next_request(contests)
            if request is None and self._refit():
                request = self._next_request(contests)
            if request is not None:
                self._trials.start(self._trial_id(request), request.rung)
                return request
        return None

    def report(self, request: TrialRequest, rung: int, score: float | None) -> bool:
        """Report the score of a trial at a rung. Early-stopping decision: True = train it to the next rung."""
        trial_id = self._trial_id(request)
        # A trial that runs once more, to get further, passes the rungs that it has passed before.
        is_repeat = trial_id in self._trials and rung in self._trials[trial_id].scores
        self.observe(request, rung, score)
        if rung >= len(self.rungs) - 1:
            return False
        is_point = (request.design, request.seed) in self._points[request.contest]
        unconditional = is_repeat or is_point or not self._surrogate.is_fitted
        if unconditional or score is None or not math.isfinite(score):
            return rung < self._trials[trial_id].rung
        return self._should_continue(trial_id, rung)

    def observe(self, request: TrialRequest, rung: int, score: float | None) -> None:
        """Observe a score without a decision, such as one of an earlier run. None or not finite: no information."""
        trial_id = self._trial_id(request)
        trial = self._trials.get(trial_id) or self._trials.start(trial_id, request.rung)
        if score is not None and math.isfinite(score) and rung not in trial.scores:
            trial.scores[rung] = score
            self._trials.scored[trial_id[:2]] = True
            self._surrogate.observe(Observation(*trial_id, rung), score)

    def resume_trial(self, request: TrialRequest) -> None:
        """Resume a trial of an earlier run; `request.rung` is the rung that it is on its way to."""
        self._trials.start(self._trial_id(request), request.rung)

    def on_trial_end(self, request: TrialRequest, rung: int | None) -> None:
        """Record the end of a trial after this rung; None: it failed."""
        trial_id = self._trial_id(request)
        if trial_id not in self._trials:
            self._trials.start(trial_id, request.rung)
        self._trials.end(trial_id, rung)

    def recommend(self, contest: int = 0) -> Design:
        """Recommended design: of those that have a score, the one with the highest posterior mean.

        One that was never tried may have a higher mean still. The search will try it; until then that is only the
        model's extrapolation, which knows no ceiling and no surprise.
        """
        if not self._trials.scored[contest].any():
            return self._best_eligible(contest)
        return self._highest(contest, self._trials.scored[contest])

    def _best_eligible(self, contest: int) -> Design:
        """Design with the highest posterior mean, tried or not, except those that have failed."""
        return self._highest(
            contest,
            self._trials.scored[contest] | (self._trials.eligible()[contest] & (self._trials.failures[contest] == 0)),
        )

    def _highest(self, contest: int, among: Mask) -> Design:
        posterior = self._surrogate.posterior()
        if posterior is None:
            return self._screens[contest][0]
        expected = expected_scores(posterior, self._surrogate.scale, contest)
        value = np.where(among[posterior.pool], expected, -np.inf)
        return self.designs[int(posterior.pool[int(value.argmax())])]

    def near_ties(self, contest: int = 0) -> list[tuple[Design, float]]:
        """Designs that are expected to be as good as the recommended one, and it, best first, with expected scores.

        Their expected scores are lower by at most `NEAR_TIE` of the margin, and by no more than the standard deviation
        of the difference: what is known tells them apart neither clearly nor by much. Empty before the first score.
        """
        posterior = self._surrogate.posterior()
        if posterior is None or not self._trials.scored[contest].any():
            return []
        scale, best = self._surrogate.scale, self._number[self.recommend(contest)]
        positions = near_ties(posterior, scale, contest, int(np.flatnonzero(posterior.pool == best)[0]),
                              self._trials.scored[contest][posterior.pool], NEAR_TIE * self.margin)  # fmt: skip
        expected = expected_scores(posterior, scale, contest)
        return [(self.designs[int(posterior.pool[n])], float(expected[n])) for n in positions]

    def expected_score(self, contest: int, design: Design) -> float | None:
        """Posterior mean of a design's score after the whole training, in units of the metric; None without any."""
        posterior = self._surrogate.posterior()
        if posterior is None:
            return None
        positions = np.flatnonzero(posterior.pool == self._number[design])
        expected = expected_scores(posterior, self._surrogate.scale, contest)
        return float(expected[positions[0]]) if len(positions) else None

    def hyperparameters(self) -> Mapping[str, float]:
        """Standard deviation of every term of the kernel, on the scale that scores are modelled on."""
        return self._surrogate.hyperparameters()

    @property
    def scale(self) -> Scale:
        """Scale that scores are modelled on, as chosen from the scores so far."""
        self._surrogate.posterior()
        return self._surrogate.scale

    @property
    def running(self) -> bool:
        """Whether a trial is running."""
        return any(True for _ in self._trials.running())

    @property
    def has_first_trials(self) -> bool:
        """Whether the next request is one of the first trials, which are the same whatever the scores are."""
        for contests in self._contests_by_group():
            budget = self._remaining_budget(contests)
            if budget >= self.rungs[0]:
                return self._first_trial(contests, budget) is not None
        return False

    def used_budget(self, contest: int) -> float:
        """Budget that a contest has used, in full trials; running trials count with what they are meant to use."""
        return self._trials.cost(contest)

    # ---- decisions --------------------------------------------------------------------------------------------------

    def _contests_by_group(self) -> list[list[int]]:
        """The contests of each group, in the order in which groups are searched."""
        groups = sorted(set(self._groups))
        return [[contest for contest, number in enumerate(self._groups) if number == group] for group in groups]

    def _trial_id(self, request: TrialRequest) -> TrialId:
        return request.contest, self._number[request.design], request.seed

    def _remaining_budget(self, contests: Sequence[int]) -> float:
        return sum(self.budgets[contest] - self.used_budget(contest) for contest in contests) + 1e-9

    def _next_request(self, contests: Sequence[int]) -> TrialRequest | None:
        budget = self._remaining_budget(contests)
        if budget < self.rungs[0]:
            return None
        first = self._first_trial(contests, budget)
        if first is not None:
            return first
        posterior = self._expected_posterior()
        if posterior is None:
            return None
        missing = self._unconfirmed(contests)
        if not self._is_decided(contests):
            candidates = self._acquisition_values(contests, posterior)
            best = candidates.best(budget - len(missing))
            if best is not None:
                return self._request_of(candidates, best)
        if not missing or budget < 1:
            return None
        return missing[0]

    def _first_trial(self, contests: Sequence[int], budget: float) -> TrialRequest | None:
        """The next of the trials before the first model: `points_to_evaluate`, then screening."""
        eligible = self._trials.eligible()
        for contest in contests:
            for design, seed in self._points[contest] if budget >= 1 else ():
                number = self._number[design]
                if (contest, number, seed) not in self._trials and eligible[contest, number]:
                    return TrialRequest(contest, design, seed, len(self.rungs) - 1)
        for contest in contests:
            if np.count_nonzero(self._trials.used[contest]) < len(self._screens[contest]):
                for design in self._screens[contest]:
                    number = self._number[design]
                    if not self._trials.used[contest, number] and eligible[contest, number]:
                        return TrialRequest(contest, design, self.seeds[0], 0)
        return None

    def _unconfirmed(self, contests: Sequence[int]) -> list[TrialRequest]:
        """Full trials of recommended designs that have none: a part of the budget is reserved for them."""
        last = len(self.rungs) - 1
        missing = []
        for contest in contests:
            design = self._best_eligible(contest)
            number = self._number[design]
            trials = {seed: trial for seed in self.seeds if (trial := self._trials.get((contest, number, seed)))}
            tried = any(last in trial.scores or (trial.running and trial.rung == last) for trial in trials.values())
            idle = [seed for seed in self.seeds if seed not in trials or not trials[seed].running]
            if not tried and idle and self._trials.failures[contest, number] < MAX_FAILURES:
                seed = next((seed for seed in idle if seed not in trials), idle[0])
                missing.append(TrialRequest(contest, design, seed, last))
        return missing

    def _request_of(self, candidates: Candidates, index: int) -> TrialRequest:
        contest, number = int(candidates.contest[index]), int(candidates.design[index])
        seed = int(candidates.seed[index])
        if seed < 0:
            seed = next(s for s in self.seeds if (contest, number, s) not in self._trials)
        return TrialRequest(contest, self.designs[number], seed, int(candidates.rung[index]))

    def _expected_posterior(self, except_trial: TrialId | None = None) -> Posterior | None:
        """Posterior in which the scores of running trials are taken as expected."""
        return self._surrogate.expect(
            [
                Observation(*trial_id, trial.rung)
                for trial_id, trial in self._trials.running()
                if trial_id != except_trial and trial.rung not in trial.scores
            ]
        )

    def _refit(self) -> bool:
        """Fit to all scores before the search ends; False if it is already."""
        if not self._surrogate.refit():
            return False
        self._decided, self._num_checked = set(), 0
        return True

    def _pool(self) -> Index:
        """Designs of the posterior: all, or in a very large space those begun and some at random."""
        size = max(1, MAX_POOL // (self.space.contests * self.space.rungs))
        everything = np.arange(len(self.designs))
        if len(everything) <= size:
            return everything
        begun = np.flatnonzero(self._trials.used.any(0))
        rng = np.random.default_rng([self.seed, len(self._surrogate.observations)])
        others = rng.permutation(np.setdiff1d(everything, begun))
        return np.sort(np.concatenate([begun, others[: max(0, size - len(begun))]]))

    def _acquisition_values(self, contests: Sequence[int], posterior: Posterior) -> Candidates:
        """Acquisition values of every score that may be requested; computed anew only when something has changed."""
        running = sum(hash((trial_id, trial.rung)) for trial_id, trial in self._trials.running())
        begun, failed = int(self._trials.used.sum()), int(self._trials.failures.sum())
        state = (len(self._surrogate.observations), begun, failed, *contests, running)
        if self._candidates is None or self._candidates[0] != state:
            eligible = self._trials.eligible()
            eligible[[c for c in range(len(eligible)) if c not in contests]] = False
            fresh = (eligible & (self._trials.used < len(self.seeds)))[:, posterior.pool]
            without_seed = np.argwhere(eligible & (self._trials.used >= len(self.seeds)))
            repeats = [
                one for contest, number in without_seed for one in self._trials.repeats(int(contest), int(number))
            ]
            self._candidates = (
                state,
                acquisition_values(posterior, self._surrogate.scale, self.rungs, self._valid, fresh, repeats),
            )
        return self._candidates[1]

    def _should_continue(self, trial_id: TrialId, rung: int) -> bool:
        """Early-stopping decision: whether the rest of this trial gains more per cost than the best other trial."""
        posterior = self._expected_posterior(except_trial=trial_id)
        assert posterior is not None
        group = self._groups[trial_id[0]]
        contests = [contest for contest, number in enumerate(self._groups) if number == group]
        trial = self._trials[trial_id]
        reserved = [one for one in self._unconfirmed(contests) if self._trial_id(one)[:2] != trial_id[:2]]
        budget = self._remaining_budget(contests) - len(reserved) + self.rungs[trial.rung] - self.rungs[rung]
        decided = self._is_decided(contests)
        confirms = trial.rung == len(self.rungs) - 1 and self._number[self._best_eligible(trial_id[0])] == trial_id[1]
        if confirms and (decided or budget < 1):
            return True  # what was reserved for the recommended design is spent on it
        further = [r for r in range(rung + 1, len(self.rungs)) if self.rungs[r] - self.rungs[rung] <= budget]
        trial.running = False  # what else could be done, were it to end now
        candidates = None if decided or not further else self._acquisition_values(contests, posterior)
        trial.running = True
        if candidates is None:
            return False
        cov, variance = posterior.covariance_with([Observation(*trial_id, r) for r in further])
        costs = [self.rungs[r] - self.rungs[rung] for r in further]
        rates = total_gain(posterior, self._surrogate.scale, self._valid, cov, variance) / costs
        best = candidates.best(budget)
        if best is not None and candidates.rate[best] > rates.max():
            return False
        trial.rung = further[int(rates.argmax())]
        return True

    def _is_decided(self, contests: Sequence[int]) -> bool:
        """Stopping rule: whether the best design of each of these contests is sure enough. Once it is, it stays so."""
        posterior = self._surrogate.posterior()  # without what is expected of running trials: that is no evidence
        if self._valid.sum(1)[list(contests)].max() == 1:
            return True  # nothing to choose from
        if self.confidence >= 1 or posterior is None:
            return False
        count = len(self._surrogate.observations)
        if not set(contests) <= self._decided and count >= self._num_checked + CHECK_EVERY:
            self._num_checked = count
            rng = np.random.default_rng([self.seed, count])
            scale = self._surrogate.scale
            probs = [prob_best_within(posterior, scale, self._valid, c, self.margin, rng) for c in contests]
            decided = {contest for contest, prob in zip(contests, probs, strict=True) if prob >= self.confidence}
            self._decided = self._decided - set(contests) | decided
        return set(contests) <= self._decided
