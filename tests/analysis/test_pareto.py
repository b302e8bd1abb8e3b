"""Designs worth their price: the front, its gains, and how it reaches program, table and strategy."""

from __future__ import annotations

from helpers.planted import ALL, additive, result, results

from sde_ray.analysis.effects import fit_results
from sde_ray.analysis.leaderboard import rank_designs
from sde_ray.analysis.pareto import pareto_front, undominated
from sde_ray.design.designs import make_design
from sde_ray.types import Design

METRIC = "weighted_kappa"


def price(design: Design) -> float:
    """Reasons are long, JSON a little, an omitted slot saves some."""
    longer = {"cot": 30.0, "rcot": 30.0}.get(design["reasoning"], 0.0) + 8.0 * (design["format"] == "json")
    return 20.0 + longer - 5.0 * (design["unmentioned"] == "omit")


def test_only_what_nothing_beats_is_on_the_front() -> None:
    points = [("a", 10.0, 0.5), ("b", 12.0, 0.4), ("c", 20.0, 0.7), ("d", 10.0, 0.45), ("e", 30.0, 0.7)]
    assert [name for name, _, _ in undominated(points, lambda p: p[1], lambda p: p[2])] == ["a", "c"]
    assert undominated([], lambda p: p[1], lambda p: p[2]) == []


def test_the_front_of_a_planted_surface() -> None:
    trials = [result(design, additive(design), tokens=price(design)) for design in ALL]
    steps = pareto_front(rank_designs(trials, METRIC))
    best_short = make_design(instruction="first", format="lines", unmentioned="omit")
    assert [step.row.design for step in steps] == [best_short, best_short.replace(reasoning="cot")]
    assert [step.tokens for step in steps] == [15.0, 45.0]
    assert steps[0].gain is None and steps[1].gain is not None
    assert abs(steps[1].gain.value - 0.002) < 1e-9 and steps[1].gain.low is None
    for row in rank_designs(trials, METRIC):  # none of all designs is at least as good in both, and better in one
        for step in steps:
            better = row.score > step.row.score and row.tokens <= step.tokens
            assert not better, (row.label, step.row.label)


def test_gains_have_the_surface_s_intervals() -> None:
    trials = results(ALL, seeds=(0, 1), noise=0.03)
    priced = [result(d, r.scores["dev"][METRIC], seed, tokens=price(d))
              for r, (d, seed) in zip(trials, ((d, s) for d in ALL for s in (0, 1)), strict=True)]  # fmt: skip
    steps = pareto_front(rank_designs(priced, METRIC), fit_results(priced, METRIC))
    assert len(steps) >= 2
    for step in steps[1:]:
        assert step.gain is not None and step.gain.low is not None and step.gain.high is not None
        assert step.gain.low < step.gain.value < step.gain.high
        assert step.to_dict()["gain_low"] == step.gain.low and step.to_dict()["design"] == step.row.design.slug


def test_designs_without_a_known_price_are_left_out() -> None:
    assert pareto_front(rank_designs([result(make_design(), 0.5, tokens=0.0)], METRIC)) == []
