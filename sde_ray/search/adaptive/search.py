"""Our own search: where the next score is expected to raise the final decision most, for its cost.

    search = Adaptive([designs], seeds=(0, 1), rungs=(0.25, 0.5, 1.0), budget=22)
    while (ask := search.propose()) is not None:              # a design, a seed, and how far to train it
        for rung in range(ask.rung + 1):
            if not search.report(ask, rung, score_of(ask, rung)):
                break                                          # no longer worth its cost
        search.ended(ask, rung)
    search.recommend()

It begins with a D-optimal fraction at the first rung. From then on a belief over all designs (`belief.py`) says what
each possible score would be worth (`worth.py`); the one that brings most for its cost is asked for. So contenders are
trained further and repeated with other seeds, and what cannot win is not. Scores may come late, in any order or not at
all: what is under way counts as expected. The end is the budget, or a winner that is sure enough; a full trial of the
recommended design is always kept room for.

The same seed and the same scores in the same order give the same asks. Results of an earlier run are told by `learn`
and `ended`, with an ask made up for them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from sde_ray.search.adaptive.knowledge_gradient import Candidates, prob_best_within, score_candidates, total_gain
from sde_ray.search.adaptive.posterior import GaussianPosterior, ModelSpace, Observation, fit_scales
from sde_ray.search.factorial import d_optimal_fraction, screening_size
from sde_ray.search.kernel import DesignKernel, Index, Mask
from sde_ray.types import Design

REFIT = 1.25  # scales are estimated again when there are so many times as many reports
POOL = 3000  # expected scores that the belief holds at most (contests x rungs x designs)
FAILURES = 2  # a design whose trials failed so often is not asked for again
MAX_IDENTICAL_FAILURES = 3  # nor one with an option in which so many trials failed and none brought a score
CHECK = 8  # draws are dear: the winner is examined after every so many reports


@dataclass(frozen=True)
class TrialRequest:
    """A trial to run: which contest, design and seed, and the number of the rung at which it may end."""

    contest: int
    design: Design
    seed: int
    rung: int


@dataclass
class _Trial:
    """A trial that has begun: how far it is meant to go, and its scores by rung."""

    rung: int
    running: bool = True
    scores: dict[int, float] = field(default_factory=dict)


Name = tuple[int, int, int]  # contest, number of the design, seed


class Adaptive:
    """One search over all contests (tasks, models, training sizes): they share effects and differ by deviations.

    `contests` are the valid designs of each; `budget` is counted in full trials, for each contest the same or its own.
    `groups` numbers the contests that are worked on together (those of one base model), one group after another.
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
    ) -> None:
        self.designs = tuple(sorted({design for own in contests for design in own}))
        self.seeds, self.rungs, self.seed = tuple(seeds), tuple(rungs), seed
        self.budgets = tuple(budget) if isinstance(budget, Sequence) else (budget,) * len(contests)
        self.confidence, self.margin = confidence, margin
        self._groups = tuple(groups or (0,) * len(contests))
        self._number = {design: n for n, design in enumerate(self.designs)}
        self._by_option = [
            np.array([design[axis] == option for design in self.designs])
            for axis, option in sorted({choice for design in self.designs for choice in design.options})
        ]
        self._valid = np.array([[design in set(own) for design in self.designs] for own in contests])
        self.frame = ModelSpace(DesignKernel(self.designs), len(contests), tuple(rungs))
        self._screens = [self._screen(own, total) for own, total in zip(contests, self.budgets, strict=True)]
        self._trials: dict[Name, _Trial] = {}
        self._paid = [0.0] * len(contests)
        self._used = np.zeros(self._valid.shape, dtype=np.intp)  # seeds begun, by contest and design
        self._failures = np.zeros(self._valid.shape, dtype=np.intp)
        self._scored = np.zeros(self._valid.shape, dtype=bool)
        self._reports: list[Observation] = []
        self._scores: list[float] = []
        self._scales: Mapping[str, float] | None = None
        self._fitted = self._told = self._examined = self._renewed = 0
        self._decided: set[int] = set()
        self._base: GaussianPosterior | None = None
        self._weighed: tuple[tuple[int, ...], Candidates] | None = None

    def _screen(self, designs: Sequence[Design], total: float) -> list[Design]:
        """The designs to begin with: a fraction for main effects."""
        order = tuple(sorted(designs))
        return [order[n] for n in d_optimal_fraction(order, screening_size(order, total, self.rungs[0]), self.seed)]

    # ---- what happens ----------------------------------------------------------------------------------------------

    def suggest(self) -> TrialRequest | None:
        """The next trial; None at the end of the budget, of the designs, or when the answer is sure."""
        for group in sorted(set(self._groups)):
            own = [contest for contest, its in enumerate(self._groups) if its == group]
            ask = self._next_of(own)
            if ask is None and self._renew():
                ask = self._next_of(own)
            if ask is not None:
                self._begin(ask)
                return ask
        return None

    def report(self, ask: TrialRequest, rung: int, score: float | None) -> bool:
        """Learn the score of a trial at a rung; whether it shall go on to the next."""
        name = self._name(ask)
        again = name in self._trials and rung in self._trials[name].scores  # it runs once more, to get further
        self.learn(ask, rung, score)
        if rung >= len(self.rungs) - 1:
            return False
        if again or self._base is None or score is None or not math.isfinite(score):
            return rung < self._trials[name].rung
        return self._go_on(name, rung)

    def learn(self, ask: TrialRequest, rung: int, score: float | None) -> None:
        """Learn a score without deciding anything, such as one of an earlier run. None or not finite: nothing said."""
        name = self._name(ask)
        trial = self._trials.get(name) or self._begin(ask)
        if score is not None and math.isfinite(score) and rung not in trial.scores:
            trial.scores[rung] = score
            self._scored[name[:2]] = True
            self._reports.append(Observation(*name, rung))
            self._scores.append(score)

    def take_up(self, ask: TrialRequest) -> None:
        """A trial of an earlier run goes on; `ask.rung`: the rung that it is on its way to."""
        self._begin(ask)

    def ended(self, ask: TrialRequest, rung: int | None) -> None:
        """A trial ended after this rung; None: it failed."""
        name = self._name(ask)
        trial = self._trials.get(name) or self._begin(ask)
        trial.running = False
        self._paid[ask.contest] += self.rungs[trial.rung if rung is None else rung]
        if rung is None:
            self._failures[name[:2]] += 1
        else:
            trial.rung = rung

    def recommend(self, contest: int = 0) -> Design:
        """Of the designs that have brought a score the one with the highest expected value.

        One that was never tried may be expected to be better still. The search will try it; until then that is what a
        model says of it, which knows no ceiling and no surprise.
        """
        if not self._scored[contest].any():
            return self._favourite(contest)
        return self._highest(contest, self._scored[contest])

    def _favourite(self, contest: int) -> Design:
        """The design with the highest expected value, tried or not, those apart that have failed."""
        return self._highest(contest, self._scored[contest] | (self._able()[contest] & (self._failures[contest] == 0)))

    def _highest(self, contest: int, among: Mask) -> Design:
        belief = self._belief()
        if belief is None:
            return self._screens[contest][0]
        value = np.where(among[belief.pool], belief.mean[contest, -1], -np.inf)
        return self.designs[int(belief.pool[int(value.argmax())])]

    def expected(self, contest: int, design: Design) -> float | None:
        """The expected score of a design after the whole training; None before the first score."""
        belief = self._belief()
        if belief is None:
            return None
        place = np.flatnonzero(belief.pool == self._number[design])
        return float(belief.mean[contest, -1, place[0]]) if len(place) else None

    def scales(self) -> Mapping[str, float]:
        """The standard deviations of all terms, as estimated from the scores so far."""
        self._belief()
        return self._scales or {}

    @property
    def running(self) -> bool:
        """Is a trial under way?"""
        return any(trial.running for trial in self._trials.values())

    def spent(self, contest: int) -> float:
        """What a contest has used of its budget, in full trials; running trials with what they are meant to use."""
        running = [self.rungs[t.rung] for (c, _, _), t in self._trials.items() if c == contest and t.running]
        return self._paid[contest] + sum(running)

    # ---- what to do ------------------------------------------------------------------------------------------------

    def _name(self, ask: TrialRequest) -> Name:
        return ask.contest, self._number[ask.design], ask.seed

    def _begin(self, ask: TrialRequest) -> _Trial:
        name = self._name(ask)
        if name not in self._trials:
            self._trials[name] = _Trial(ask.rung)
            self._used[name[:2]] += 1
        trial = self._trials[name]
        trial.rung, trial.running = ask.rung, True
        return trial

    def _left(self, contests: Sequence[int]) -> float:
        return sum(self.budgets[contest] - self.spent(contest) for contest in contests) + 1e-9

    def _next_of(self, contests: Sequence[int]) -> TrialRequest | None:
        left = self._left(contests)
        if left < self.rungs[0]:
            return None
        for contest in contests:
            if np.count_nonzero(self._used[contest]) < len(self._screens[contest]):
                able = self._able()[contest]
                for design in self._screens[contest]:
                    if not self._used[contest, self._number[design]] and able[self._number[design]]:
                        return TrialRequest(contest, design, self.seeds[0], 0)
        belief = self._expecting()
        if belief is None:
            return None
        missing = self._unconfirmed(contests)
        if not self._is_decided(contests):
            options = self._options(contests, belief)
            best = options.best(left - len(missing))
            if best is not None:
                return self._ask_of(options, best)
        if not missing or left < 1:
            return None
        return missing[0]

    def _unconfirmed(self, contests: Sequence[int]) -> list[TrialRequest]:
        """Full trials of recommended designs that have none: a part of the budget is kept for them."""
        last = len(self.rungs) - 1
        missing = []
        for contest in contests:
            design = self._favourite(contest)
            number = self._number[design]
            own = {seed: trial for seed in self.seeds if (trial := self._trials.get((contest, number, seed)))}
            tried = any(last in trial.scores or (trial.running and trial.rung == last) for trial in own.values())
            idle = [seed for seed in self.seeds if seed not in own or not own[seed].running]
            if not tried and idle and self._failures[contest, number] < FAILURES:
                seed = next((seed for seed in idle if seed not in own), idle[0])
                missing.append(TrialRequest(contest, design, seed, last))
        return missing

    def _ask_of(self, options: Candidates, place: int) -> TrialRequest:
        contest, number = int(options.contest[place]), int(options.design[place])
        seed = int(options.seed[place])
        if seed < 0:
            seed = next(s for s in self.seeds if (contest, number, s) not in self._trials)
        return TrialRequest(contest, self.designs[number], seed, int(options.rung[place]))

    def _expecting(self, but: Name | None = None) -> GaussianPosterior | None:
        """The belief, with what is under way taken as expected."""
        belief = self._belief()
        running = [
            Observation(*name, trial.rung)
            for name, trial in self._trials.items()
            if trial.running and name != but and trial.rung not in trial.scores
        ]
        if belief is None or not running:
            return belief
        belief = belief.copy()
        belief.expect(running)
        return belief

    def _belief(self) -> GaussianPosterior | None:
        """What the reports say; the scales are estimated anew from time to time."""
        count = len(self._reports)
        if not count:
            return None
        scores = np.array(self._scores)
        if self._base is None or count >= self._fitted * REFIT:
            if self._scales is None:
                self._renewed = count
            self._scales = fit_scales(self.frame, self._reports, scores, self._scales)
            self._base = GaussianPosterior(self.frame, self._scales, float(scores.mean()), self._pool())
            self._fitted, self._told = count, 0
        if self._told < count:
            self._base.add(self._reports[self._told :], self._scores[self._told :])
            self._told = count
        return self._base

    def _renew(self) -> bool:
        """Begin the belief anew, so that an end is what a resumed search would come to; False where it is new."""
        if self._renewed == len(self._reports):
            return False
        self._base, self._scales, self._decided, self._examined = None, None, set(), 0
        return True

    def _pool(self) -> Index:
        """The designs that are weighed: all, or in a very large space those begun and some at random."""
        room = max(1, POOL // (self.frame.contests * self.frame.rungs))
        everything = np.arange(len(self.designs))
        if len(everything) <= room:
            return everything
        begun = np.flatnonzero(self._used.any(0))
        chance = np.random.default_rng([self.seed, len(self._reports)])
        others = chance.permutation(np.setdiff1d(everything, begun))
        return np.sort(np.concatenate([begun, others[: max(0, room - len(begun))]]))

    def _able(self) -> Mask:
        """The designs of each contest whose trials do not just fail (contests, designs)."""
        able = self._valid & (self._failures < FAILURES)
        for own in self._by_option:
            lost = (self._failures[:, own].sum(1) >= MAX_IDENTICAL_FAILURES) & ~self._scored[:, own].any(1)
            able[np.ix_(lost, own)] = False
        return np.asarray(able)

    def _options(self, contests: Sequence[int], belief: GaussianPosterior) -> Candidates:
        """Every score that may be asked for; weighed anew only when something has happened."""
        state = (len(self._reports), int(self._used.sum()), int(self._failures.sum()), *contests)
        running = sum(hash((name, trial.rung)) for name, trial in self._trials.items() if trial.running)
        state = (*state, running)
        if self._weighed is None or self._weighed[0] != state:
            open_to = self._able()
            open_to[[c for c in range(len(open_to)) if c not in contests]] = False
            fresh = (open_to & (self._used < len(self.seeds)))[:, belief.pool]
            spent = np.argwhere(open_to & (self._used >= len(self.seeds)))
            again = [report for contest, number in spent for report in self._repeats(int(contest), int(number))]
            self._weighed = (state, score_candidates(belief, self.rungs, self._valid, fresh, again))
        return self._weighed[1]

    def _repeats(self, contest: int, number: int) -> list[Observation]:
        """Where a design has no seed left: its stopped trials, once more and further."""
        found = []
        for seed in self.seeds:
            trial = self._trials[contest, number, seed]
            further = range(max(trial.scores, default=-1) + 1, len(self.rungs))
            found += [] if trial.running else [Observation(contest, number, seed, rung) for rung in further]
        return found

    def _go_on(self, name: Name, rung: int) -> bool:
        """Is the rest of this trial worth more, for its cost, than the best other trial?"""
        belief = self._expecting(but=name)
        assert belief is not None
        own = [contest for contest, its in enumerate(self._groups) if its == self._groups[name[0]]]
        trial = self._trials[name]
        kept = [ask for ask in self._unconfirmed(own) if self._name(ask)[:2] != name[:2]]
        left = self._left(own) - len(kept) + self.rungs[trial.rung] - self.rungs[rung]
        settled = self._is_decided(own)
        confirms = trial.rung == len(self.rungs) - 1 and self._number[self._favourite(name[0])] == name[1]
        if confirms and (settled or left < 1):
            return True  # what was kept of the budget for the recommended design is spent on it
        further = [r for r in range(rung + 1, len(self.rungs)) if self.rungs[r] - self.rungs[rung] <= left]
        trial.running = False  # what else could be done, were it to end now
        options = None if settled or not further else self._options(own, belief)
        trial.running = True
        if options is None:
            return False
        shared, variance = belief.reach([Observation(*name, r) for r in further])
        rates = total_gain(belief, self._valid, shared, variance) / [self.rungs[r] - self.rungs[rung] for r in further]
        best = options.best(left)
        if best is not None and options.rate[best] > rates.max():
            return False
        trial.rung = further[int(rates.argmax())]
        return True

    def _is_decided(self, contests: Sequence[int]) -> bool:
        """Is, in each of these contests, the best design known as surely as asked? Once it is, it stays so."""
        belief = self._belief()  # not what is expected of running trials: that is no evidence
        if self._valid.sum(1)[list(contests)].max() == 1:
            return True  # nothing to choose from
        if self.confidence >= 1 or belief is None:
            return False
        if not set(contests) <= self._decided and len(self._reports) >= self._examined + CHECK:
            self._examined = len(self._reports)
            chance = np.random.default_rng([self.seed, len(self._reports)])
            sure = [prob_best_within(belief, self._valid, contest, self.margin, chance) for contest in contests]
            now = {one for one, known in zip(contests, sure, strict=True) if known >= self.confidence}
            self._decided = self._decided - set(contests) | now
        return set(contests) <= self._decided
