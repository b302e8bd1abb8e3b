"""The contract of every search method, and what each adds to it."""

from __future__ import annotations

from sde_ray.design.designs import make_design
from sde_ray.search import METHODS
from sde_ray.search.base import distance
from sde_ray.search.ordered import Grid, OneAtATime, Random
from sde_ray.search.tpe import Optuna
from sde_ray.testing import BEST, SearcherContract, planted
from sde_ray.testing.searcher import all_designs, run_search

SPACE = all_designs()


class TestGrid(SearcherContract):
    method = "grid"

    def test_every_design_in_another_order_for_another_seed(self) -> None:
        one, other = run_search(Grid(SPACE, seed=0)), run_search(Grid(SPACE, seed=1))
        assert set(one) == set(other) == set(SPACE)
        assert one != other
        assert one != list(SPACE)


class TestRandom(SearcherContract):
    method = "random"

    def test_points_to_evaluate_do_not_change_the_order_of_the_others(self) -> None:
        order = run_search(Random(SPACE, seed=4))
        assert run_search(Random(SPACE, seed=4, points_to_evaluate=[order[7], order[3]])) == [
            order[7], order[3], *(design for design in order if design not in (order[3], order[7]))
        ]  # fmt: skip

    def test_a_raised_budget_only_adds(self) -> None:
        assert run_search(Random(SPACE, budget=20))[:8] == run_search(Random(SPACE, budget=8))


class TestOneAtATime(SearcherContract):
    method = "one_at_a_time"
    covers = False

    def test_the_papers_protocol(self) -> None:
        tried = run_search(OneAtATime(SPACE, reference_design=make_design()))
        assert tried[0] == make_design()
        assert len(tried) == 10  # 1 + (2 + 1 + 2 + 1 + 1 + 2) others
        assert [distance(design, make_design()) for design in tried] == [0] + [1] * 9
        assert tried[1:3] == [make_design(instruction="first"), make_design(instruction="none")]

    def test_points_to_evaluate_do_not_change_the_order_of_the_others(self) -> None:
        far = make_design(instruction="first", format="lines")
        tried = run_search(OneAtATime(SPACE, reference_design=make_design(), points_to_evaluate=[make_design(), far]))
        assert tried[:2] == [make_design(), far]
        assert [make_design(), *tried[2:]] == run_search(OneAtATime(SPACE, reference_design=make_design()))

    def test_around_another_design(self) -> None:
        tried = run_search(OneAtATime(SPACE, reference_design=BEST))
        assert tried[0] == BEST
        assert make_design(instruction="last", format="lines") in tried


class TestFactorial(SearcherContract):
    """What it adds stands in test_factorial.py."""

    method = "factorial"
    covers = False
    least = 7  # the mean and six effects of the small space


class TestOptuna(SearcherContract):
    method = "optuna"

    def test_it_learns_from_scores(self) -> None:
        """With a seventh of the space TPE tries better designs than random order does, and better ones in the end."""
        learnt = [run_search(Optuna(SPACE, budget=30, seed=seed)) for seed in range(3)]
        chance = [run_search(Random(SPACE, budget=30, seed=seed)) for seed in range(3)]
        for tpe, order in zip(learnt, chance, strict=True):
            assert sum(map(planted, tpe[15:])) > sum(map(planted, order[15:])) + 1.0
        assert sum(max(map(planted, tpe)) for tpe in learnt) >= sum(max(map(planted, order)) for order in chance)

    def test_scores_of_an_earlier_run_are_learnt(self) -> None:
        searcher = Optuna(SPACE, budget=60, seed=0)
        for design in run_search(Random(SPACE, budget=50, seed=9)):
            searcher.observe(design, planted(design))
        rest = run_search(searcher)
        assert len(rest) == 10
        assert sum(map(planted, rest)) / 10 > sum(map(planted, SPACE)) / len(SPACE) + 0.1


def test_every_method_that_proposes_designs_keeps_the_contract() -> None:
    """The one that asks for trials has laws of its own (test_adaptive.py)."""
    tested = {test.method for test in SearcherContract.__subclasses__()}
    assert tested == {name for name, method in METHODS.items() if not method.trials}
    assert [name for name, method in METHODS.items() if method.trials] == ["adaptive"]
