"""Our own search: where the next score is expected to raise the final decision most, for its cost.

    search = Adaptive([designs], seeds=(0, 1), rungs=(0.25, 0.5, 1.0), budget=22)
    while (ask := search.propose()) is not None:              # a design, a seed, and how far to train it
        for rung in range(ask.rung + 1):
            if not search.report(ask, rung, score_of(ask, rung)):
                break                                          # no longer worth its cost
        search.ended(ask, rung)
    search.recommend()

It begins with a D-optimal fraction at the first rung. From then on a belief over all designs (`belief.py`) says what
each possible score would be worth (`worth.py`); the dearest per cost is asked for. Contenders are so trained further
and repeated with other seeds, and what cannot win is not. Scores may come late, in any order or not at all: what is
under way counts as expected. The end is the budget, or a winner that is sure enough. The same seed and the same scores
in the same order give the same asks; another run's results are told by `report` and `ended`, without an ask of ours.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from sde_ray.search.belief import Belief, Frame, Report, first_scales, fit_scales
from sde_ray.search.factorial import coefficients, fraction
from sde_ray.search.geometry import Array, Index, Likeness
from sde_ray.search.worth import worth
from sde_ray.types import Design

REFIT = 1.25  # scales are estimated again when there are so many times as many reports
POOL = 6000  # expected scores that the belief holds at most (contests x rungs x designs)
FAILURES = 2  # a design whose trials failed so often is not asked for again
CHECK = 8  # draws are dear: the winner is examined after every so many reports
DRAWS = 2000


@dataclass(frozen=True)
class Ask:
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

    `contests` are the valid designs of each; `budget` is counted in full trials for each contest. `groups` numbers the
    contests that are worked on together (those of one base model), one group after another.
    """

    def __init__(
        self,
        contests: Sequence[Sequence[Design]],
        seeds: Sequence[int] = (0,),
        rungs: Sequence[float] = (1.0,),
        budget: float = math.inf,
        seed: int = 0,
        confidence: float = 1.0,
        margin: float = 0.0,
        groups: Sequence[int] | None = None,
        screening: float = 2.0,
    ) -> None:
        self.designs = tuple(sorted({design for own in contests for design in own}))
        self.seeds, self.rungs, self.budget, self.seed = tuple(seeds), tuple(rungs), budget, seed
        self.confidence, self.margin = confidence, margin
        self._groups = tuple(groups or (0,) * len(contests))
        self._number = {design: n for n, design in enumerate(self.designs)}
        self._valid = np.array([[design in set(own) for design in self.designs] for own in contests])
        self.frame = Frame(Likeness(self.designs), len(contests), len(rungs))
        self._screens = [self._screen(own, screening) for own in contests]
        self._trials: dict[Name, _Trial] = {}
        self._paid = [0.0] * len(contests)
        self._failures: dict[tuple[int, int], int] = {}
        self._reports: list[Report] = []
        self._scores: list[float] = []
        self._scales: Mapping[str, float] | None = None
        self._fitted = self._told = self._examined = 0
        self._sure: set[int] = set()
        self._base: Belief | None = None

    def _screen(self, designs: Sequence[Design], screening: float) -> list[Design]:
        """The designs to begin with: a fraction for main effects, for half the budget at most."""
        order = tuple(sorted(designs))
        wanted = math.ceil(screening * coefficients(order))
        affordable = len(order) if math.isinf(self.budget) else int(self.budget / 2 / self.rungs[0])
        count = max(1, min(wanted, affordable, len(order)))
        return [order[n] for n in fraction(order, count, self.seed)]

    # ---- what happens ----------------------------------------------------------------------------------------------

    def propose(self) -> Ask | None:
        """The next trial; None at the end of the budget, of the designs, or when the answer is sure."""
        for group in sorted(set(self._groups)):
            own = [contest for contest, its in enumerate(self._groups) if its == group]
            ask = self._next_of(own)
            if ask is not None:
                self._begin(ask)
                return ask
        return None

    def report(self, ask: Ask, rung: int, score: float | None) -> bool:
        """Learn the score of a trial at a rung; whether it shall go on to the next."""
        name = self._name(ask)
        trial = self._trials.get(name) or self._begin(ask)
        if score is not None and math.isfinite(score) and rung not in trial.scores:
            trial.scores[rung] = score
            self._reports.append(Report(*name, rung))
            self._scores.append(score)
        if rung >= len(self.rungs) - 1:
            return False
        if self._base is None:
            return rung < trial.rung
        return self._go_on(name, rung)

    def ended(self, ask: Ask, rung: int | None) -> None:
        """A trial ended after this rung; None: it failed."""
        name = self._name(ask)
        trial = self._trials.get(name) or self._begin(ask)
        trial.running = False
        self._paid[ask.contest] += self.rungs[trial.rung if rung is None else rung]
        if rung is None:
            at = name[:2]
            self._failures[at] = self._failures.get(at, 0) + 1
        else:
            trial.rung = rung

    def recommend(self, contest: int = 0) -> Design:
        """The design with the highest expected value."""
        belief = self._belief()
        if belief is None:
            return self._screens[contest][0]
        value = np.where(self._valid[contest][belief.pool], belief.mean[contest, -1], -np.inf)
        return self.designs[int(belief.pool[int(value.argmax())])]

    def spent(self, contest: int) -> float:
        """What a contest has used of its budget, in full trials; running trials with what they are meant to use."""
        running = [self.rungs[t.rung] for (c, _, _), t in self._trials.items() if c == contest and t.running]
        return self._paid[contest] + sum(running)

    # ---- what to do ------------------------------------------------------------------------------------------------

    def _name(self, ask: Ask) -> Name:
        return ask.contest, self._number[ask.design], ask.seed

    def _begin(self, ask: Ask) -> _Trial:
        trial = self._trials.setdefault(self._name(ask), _Trial(ask.rung))
        trial.rung, trial.running = ask.rung, True
        return trial

    def _left(self, contests: Sequence[int]) -> float:
        return self.budget * len(contests) - sum(self.spent(contest) for contest in contests) + 1e-9

    def _next_of(self, contests: Sequence[int]) -> Ask | None:
        left = self._left(contests)
        if left < self.rungs[0]:
            return None
        for contest in contests:
            begun = {design for (c, design, _) in self._trials if c == contest}
            if len(begun) < len(self._screens[contest]):
                for design in self._screens[contest]:
                    if self._number[design] not in begun:
                        return Ask(contest, design, self.seeds[0], 0)
        belief = self._expecting()
        if belief is None or self._settled(contests, belief):
            return None
        asks, gains, costs = self._options(contests, belief, left)
        return asks[int(np.argmax(gains / costs))] if asks else None

    def _expecting(self, but: Name | None = None) -> Belief | None:
        """The belief, with what is under way taken as expected."""
        belief = self._belief()
        running = [
            Report(*name, trial.rung)
            for name, trial in self._trials.items()
            if trial.running and name != but and trial.rung not in trial.scores
        ]
        if belief is None or not running:
            return belief
        belief = belief.copy()
        belief.expect(running)
        return belief

    def _belief(self) -> Belief | None:
        """What the reports say; the scales are estimated anew from time to time."""
        count = len(self._reports)
        if not count:
            return None
        scores = np.array(self._scores)
        if self._base is None or count >= self._fitted * REFIT:
            self._scales = fit_scales(self.frame, self._reports, scores, self._scales)
            self._base = Belief(self.frame, self._scales, float(scores.mean()), self._pool())
            self._fitted, self._told = count, 0
        if self._told < count:
            self._base.add(self._reports[self._told :], self._scores[self._told :])
            self._told = count
        return self._base

    def _pool(self) -> Index:
        """The designs that are weighed: all, or in a very large space those begun and some at random."""
        room = max(1, POOL // (self.frame.contests * self.frame.rungs))
        if len(self.designs) <= room:
            return np.arange(len(self.designs))
        begun = sorted({design for _, design, _ in self._trials})
        others = np.setdiff1d(np.arange(len(self.designs)), begun)
        chance = np.random.default_rng([self.seed, len(self._reports)])
        return np.sort(np.concatenate([begun, chance.permutation(others)[: max(0, room - len(begun))]])).astype(np.intp)

    def _options(self, contests: Sequence[int], belief: Belief, left: float) -> tuple[list[Ask], Array, Array]:
        """Every trial that may be asked for: its ask, expected gain and cost."""
        asks: list[Ask] = []
        places: list[tuple[int, int, int]] = []
        repeats: list[Report] = []
        for contest in contests:
            for place, design in enumerate(belief.pool):
                number = int(design)
                if not self._valid[contest, number] or self._failures.get((contest, number), 0) >= FAILURES:
                    continue
                seed = next((s for s in self.seeds if (contest, number, s) not in self._trials), None)
                for rung, share in enumerate(self.rungs):
                    if seed is not None and share <= left:
                        places.append((contest, rung, place))
                        asks.append(Ask(contest, self.designs[number], seed, rung))
                if seed is None:
                    repeats += self._repeats(contest, number, left)
        index = tuple(np.array(places, dtype=np.intp).reshape(-1, 3).T)
        flat = np.ravel_multi_index(index, belief.mean.shape)
        shared, variance = belief.shared[:, flat], belief.variance[index] + belief.noise
        if repeats:
            asks += [Ask(r.contest, self.designs[r.design], r.seed, r.rung) for r in repeats]
            more, its = belief.reach(repeats)
            shared, variance = np.concatenate([shared, more], axis=1), np.append(variance, its)
        costs = np.array([self.rungs[ask.rung] for ask in asks])
        return asks, self._gains(belief, shared, variance), costs

    def _repeats(self, contest: int, number: int, left: float) -> list[Report]:
        """Where a design has no seed left: its stopped trials, once more and further."""
        found = []
        for seed in self.seeds:
            trial = self._trials[contest, number, seed]
            further = range(max(trial.scores, default=-1) + 1, len(self.rungs))
            if not trial.running:
                found += [Report(contest, number, seed, rung) for rung in further if self.rungs[rung] <= left]
        return found

    def _gains(self, belief: Belief, shared: Array, variance: Array) -> Array:
        """The worth of scores, summed over the decisions of all contests."""
        contests, _, size = belief.mean.shape
        gains = np.zeros(len(variance))
        for contest in range(contests):
            valid = self._valid[contest][belief.pool]
            rows = np.flatnonzero(valid)
            spread = np.sqrt(np.maximum(belief.variance[contest, -1, rows], 0))
            gains += worth(belief.mean[contest, -1, rows], spread, shared[contest * size + rows], variance)
        return gains

    def _go_on(self, name: Name, rung: int) -> bool:
        """Is the rest of this trial worth more, for its cost, than the best other trial?"""
        belief = self._expecting(but=name)
        assert belief is not None
        own = [contest for contest, its in enumerate(self._groups) if its == self._groups[name[0]]]
        trial = self._trials[name]
        left = self._left(own) + self.rungs[trial.rung] - self.rungs[rung]
        further = [r for r in range(rung + 1, len(self.rungs)) if self.rungs[r] - self.rungs[rung] <= left]
        if not further or self._settled(own, belief):
            return False
        shared, variance = belief.reach([Report(*name, r) for r in further])
        rates = self._gains(belief, shared, variance) / [self.rungs[r] - self.rungs[rung] for r in further]
        _, gains, costs = self._options(own, belief, left)
        if len(gains) and (gains / costs).max() > rates.max():
            return False
        trial.rung = further[int(rates.argmax())]
        return True

    def _settled(self, contests: Sequence[int], belief: Belief) -> bool:
        """Is, in each of these contests, the best design known as surely as asked?"""
        if self.confidence >= 1:
            return False
        if len(self._reports) >= self._examined + CHECK:
            self._examined = len(self._reports)
            self._sure = {contest for contest in contests if self._certainty(contest, belief) >= self.confidence}
        return set(contests) <= self._sure

    def _certainty(self, contest: int, belief: Belief) -> float:
        """The probability that no design is better than the recommended one by more than the margin."""
        _, rungs, size = belief.mean.shape
        mean, variance = belief.mean[contest, -1], belief.variance[contest, -1]
        valid = self._valid[contest][belief.pool]
        order = np.argsort(-np.where(valid, mean + 2 * np.sqrt(np.maximum(variance, 0)), -np.inf), kind="stable")
        top = order[: min(64, int(valid.sum()))]
        offset = (contest * rungs + rungs - 1) * size
        matrix = belief.shared[contest * size + top][:, offset + top]
        values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
        chance = np.random.default_rng([self.seed, len(self._reports)])
        draws = chance.standard_normal((DRAWS, len(top))) @ (vectors * np.sqrt(np.maximum(values, 0))).T + mean[top]
        lead = int(mean[top].argmax())
        return float(np.mean(draws.max(1) - draws[:, lead] <= self.margin))
