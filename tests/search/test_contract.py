"""The contract of every search method, and what each adds to it."""

from __future__ import annotations

import random
from collections.abc import Sequence

from helpers.fake_runner import BEST, planted

from sde_ray.design.designs import make_design
from sde_ray.design.space import design_space
from sde_ray.search import METHODS, Searcher
from sde_ray.search.base import distance
from sde_ray.search.ordered import Grid, OneAtATime, Random
from sde_ray.search.tpe import Optuna
from sde_ray.tasks import get_task
from sde_ray.types import Design

SPACE = design_space(get_task("masa:d1"), rationales=True).designs


def small() -> tuple[Design, ...]:
    """24 designs, not a full product: two are missing."""
    axes = {"input_modeling": ["off"], "reasoning": ["none"], "labels": ["text", "number"]}
    return design_space(get_task("masa:d1"), True, axes=axes).designs[:-2]


def run(searcher: Searcher) -> list[Design]:
    """Propose and observe in turn until the end."""
    tried = []
    while (design := searcher.suggest()) is not None:
        tried.append(design)
        searcher.observe(design, planted(design))
        assert len(tried) <= 1000
    return tried


class Contract:
    """What holds for every method; a subclass names it."""

    method = ""
    covers = True  # without a budget, every design is tried
    least = 6  # trials that it can do with

    def build(self, designs: Sequence[Design], budget: int | None = None, seed: int = 0) -> Searcher:
        return METHODS[self.method].build(designs, budget=budget, seed=seed, reference_design=make_design())

    def test_no_design_twice_and_only_valid_ones(self) -> None:
        tried = run(self.build(small()))
        assert len(tried) == len(set(tried))
        assert set(tried) <= set(small())

    def test_it_ends_with_its_budget(self) -> None:
        assert len(run(self.build(small(), budget=self.least))) == self.least
        assert len(run(self.build(small(), budget=10_000))) <= len(small())

    def test_an_ended_method_stays_ended(self) -> None:
        searcher = self.build(small(), budget=self.least)
        run(searcher)
        assert searcher.suggest() is None

    def test_the_same_seed_gives_the_same_designs(self) -> None:
        assert run(self.build(SPACE, budget=15, seed=3)) == run(self.build(SPACE, budget=15, seed=3))

    def test_the_order_of_the_designs_given_does_not_matter(self) -> None:
        shuffled = list(small())
        random.Random(1).shuffle(shuffled)
        assert set(run(self.build(shuffled, budget=self.least))) == set(run(self.build(small(), budget=self.least)))

    def test_a_budget_as_large_as_the_space_covers_it(self) -> None:
        tried = run(self.build(small(), budget=len(small())))
        assert not self.covers or set(tried) == set(small())

    def test_the_planted_best_is_found_with_a_full_budget(self) -> None:
        tried = run(self.build(small()))
        assert not self.covers or max(tried, key=planted) == BEST

    def test_scores_may_be_late_out_of_order_or_missing(self) -> None:
        searcher = self.build(small())
        chance = random.Random(0)
        running: list[Design] = []
        tried: list[Design] = []
        while True:
            while len(running) < 4 and (design := searcher.suggest()) is not None:
                running.append(design)
                tried.append(design)
            if not running:
                break
            ended = running.pop(chance.randrange(len(running)))
            searcher.observe(ended, None if chance.random() < 0.3 else planted(ended))
        assert len(tried) == len(set(tried)) > 4

    def test_what_an_earlier_run_did_is_not_proposed_again(self) -> None:
        before = run(self.build(small(), budget=max(5, self.least)))
        searcher = self.build(small())
        for design in before[:3]:
            searcher.observe(design, planted(design))
        for design in before[3:]:
            searcher.mark_used(design)
        assert not set(before) & set(run(searcher))

    def test_one_design_is_enough(self) -> None:
        assert run(self.build([make_design()])) == [make_design()]


class TestGrid(Contract):
    method = "grid"

    def test_every_design_in_another_order_for_another_seed(self) -> None:
        one, other = run(Grid(SPACE, seed=0)), run(Grid(SPACE, seed=1))
        assert set(one) == set(other) == set(SPACE)
        assert one != other
        assert one != list(SPACE)


class TestRandom(Contract):
    method = "random"

    def test_a_raised_budget_only_adds(self) -> None:
        assert run(Random(SPACE, budget=20))[:8] == run(Random(SPACE, budget=8))


class TestOneAtATime(Contract):
    method = "one_at_a_time"
    covers = False

    def test_the_papers_protocol(self) -> None:
        tried = run(OneAtATime(SPACE, reference_design=make_design()))
        assert tried[0] == make_design()
        assert len(tried) == 10  # 1 + (2 + 1 + 2 + 1 + 1 + 2) others
        assert [distance(design, make_design()) for design in tried] == [0] + [1] * 9
        assert tried[1:3] == [make_design(instruction="first"), make_design(instruction="none")]

    def test_around_another_design(self) -> None:
        tried = run(OneAtATime(SPACE, reference_design=BEST))
        assert tried[0] == BEST
        assert make_design(instruction="last", format="lines") in tried


class TestFactorial(Contract):
    """What it adds stands in test_factorial.py."""

    method = "factorial"
    covers = False
    least = 7  # the mean and six effects of the small space


class TestOptuna(Contract):
    method = "optuna"

    def test_it_learns_from_scores(self) -> None:
        """With a seventh of the space TPE tries better designs than random order does, and better ones in the end."""
        learnt = [run(Optuna(SPACE, budget=30, seed=seed)) for seed in range(3)]
        chance = [run(Random(SPACE, budget=30, seed=seed)) for seed in range(3)]
        for tpe, order in zip(learnt, chance, strict=True):
            assert sum(map(planted, tpe[15:])) > sum(map(planted, order[15:])) + 1.0
        assert sum(max(map(planted, tpe)) for tpe in learnt) >= sum(max(map(planted, order)) for order in chance)

    def test_scores_of_an_earlier_run_are_learnt(self) -> None:
        searcher = Optuna(SPACE, budget=60, seed=0)
        for design in run(Random(SPACE, budget=50, seed=9)):
            searcher.observe(design, planted(design))
        rest = run(searcher)
        assert len(rest) == 10
        assert sum(map(planted, rest)) / 10 > sum(map(planted, SPACE)) / len(SPACE) + 0.1


def test_every_method_that_proposes_designs_keeps_the_contract() -> None:
    """The one that asks for trials has laws of its own (test_adaptive.py)."""
    kept = {test.method for test in Contract.__subclasses__()}
    assert kept == {name for name, method in METHODS.items() if not method.trials}
    assert [name for name, method in METHODS.items() if method.trials] == ["adaptive"]
