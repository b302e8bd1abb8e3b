"""The contract of a search method: no design twice, ends with its budget, repeatable, scores in any order."""

from __future__ import annotations

import random
from collections.abc import Sequence

from sde_ray.design.axes import AXES
from sde_ray.design.designs import make_design
from sde_ray.design.space import design_space
from sde_ray.search import METHODS, Searcher
from sde_ray.tasks import get_task
from sde_ray.testing.planted import BEST, planted
from sde_ray.types import Design

PAPERS_AXES = ("instruction", "input_modeling", "format", "unmentioned", "labels", "reasoning")


def _designs(**options: list[str]) -> tuple[Design, ...]:
    """The designs of `masa:d1` on the paper's six axes; any other axis of the table is at its default."""
    others = {name: [axis.default] for name, axis in AXES.items() if name not in PAPERS_AXES}
    return design_space(get_task("masa:d1"), True, axes={**others, **options}).designs


def all_designs() -> tuple[Design, ...]:
    """The paper's 216 designs."""
    return _designs()


def few_designs() -> tuple[Design, ...]:
    """34 designs that are no full product: of 36 two are left out."""
    return _designs(input_modeling=["off"], reasoning=["none"], labels=["text", "number"])[:-2]


def run_search(searcher: Searcher) -> list[Design]:
    """Suggest and observe in turn until the search ends; returns the designs in their order."""
    tried: list[Design] = []
    while (design := searcher.suggest()) is not None:
        tried.append(design)
        searcher.observe(design, planted(design))
        assert len(tried) <= 1000, "the search does not end"
    return tried


class SearcherContract:
    """What holds for every `Searcher`. Name a row of `METHODS` in `method`, or override `build`."""

    method = ""
    covers = True
    """Without a budget, every design is tried."""
    least = 6
    """Trials that the method needs at least."""

    def build(
        self,
        designs: Sequence[Design],
        budget: int | None = None,
        seed: int = 0,
        points_to_evaluate: Sequence[Design] = (),
    ) -> Searcher:
        searcher: Searcher = METHODS[self.method].build(
            designs,
            budget=budget,
            seed=seed,
            reference_design=make_design(),
            points_to_evaluate=points_to_evaluate,
        )
        return searcher

    def test_no_design_twice_and_only_valid_ones(self) -> None:
        tried = run_search(self.build(few_designs()))
        assert len(tried) == len(set(tried))
        assert set(tried) <= set(few_designs())

    def test_it_ends_with_its_budget(self) -> None:
        assert len(run_search(self.build(few_designs(), budget=self.least))) == self.least
        assert len(run_search(self.build(few_designs(), budget=10_000))) <= len(few_designs())

    def test_an_ended_search_stays_ended(self) -> None:
        searcher = self.build(few_designs(), budget=self.least)
        run_search(searcher)
        assert searcher.suggest() is None

    def test_the_same_seed_gives_the_same_designs(self) -> None:
        first = run_search(self.build(all_designs(), budget=15, seed=3))
        assert first == run_search(self.build(all_designs(), budget=15, seed=3))

    def test_the_order_of_the_designs_does_not_matter(self) -> None:
        shuffled = list(few_designs())
        random.Random(1).shuffle(shuffled)
        tried = set(run_search(self.build(few_designs(), budget=self.least)))
        assert set(run_search(self.build(shuffled, budget=self.least))) == tried

    def test_a_budget_as_large_as_the_space_covers_it(self) -> None:
        tried = run_search(self.build(few_designs(), budget=len(few_designs())))
        assert not self.covers or set(tried) == set(few_designs())

    def test_the_planted_best_is_found_with_a_full_budget(self) -> None:
        tried = run_search(self.build(few_designs()))
        assert not self.covers or max(tried, key=planted) == BEST

    def test_scores_may_be_late_out_of_order_or_missing(self) -> None:
        searcher = self.build(few_designs())
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

    def test_what_an_earlier_run_tried_is_not_suggested_again(self) -> None:
        before = run_search(self.build(few_designs(), budget=max(5, self.least)))
        searcher = self.build(few_designs())
        for design in before[:3]:
            searcher.observe(design, planted(design))
        for design in before[3:]:
            searcher.mark_used(design)
        assert not set(before) & set(run_search(searcher))

    def test_points_to_evaluate_come_first_each_once_and_within_the_budget(self) -> None:
        points = [BEST, few_designs()[-1], BEST, make_design()]
        once = list(dict.fromkeys(points))
        tried = run_search(self.build(few_designs(), budget=self.least, points_to_evaluate=points))
        assert tried[: len(once)] == once
        assert len(tried) == len(set(tried)) == self.least
        if self.covers:
            two = run_search(self.build(few_designs(), budget=2, points_to_evaluate=points))
            assert two == once[:2]

    def test_points_to_evaluate_that_are_not_valid_are_ignored(self) -> None:
        invalid = make_design(input_modeling="on")
        assert invalid not in few_designs()
        tried = run_search(self.build(few_designs(), budget=self.least, points_to_evaluate=[invalid, BEST]))
        assert tried[0] == BEST and set(tried) <= set(few_designs())

    def test_a_point_to_evaluate_that_an_earlier_run_has_tried_is_not_suggested(self) -> None:
        searcher = self.build(few_designs(), points_to_evaluate=[BEST, make_design()])
        searcher.mark_used(BEST)
        tried = run_search(searcher)
        assert tried[0] == make_design() and BEST not in tried

    def test_one_design_is_enough(self) -> None:
        assert run_search(self.build([make_design()])) == [make_design()]
