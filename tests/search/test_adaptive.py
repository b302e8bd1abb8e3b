"""Our own search: it finds planted designs cheaply, keeps its budget, and goes on whatever becomes of its trials."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from sde_ray.bench.search.planted import designs
from sde_ray.bench.search.truth import NOTHING, PAPER, TUNED, TUNING, Truth
from sde_ray.design.designs import make_design
from sde_ray.design.space import design_space
from sde_ray.search.adaptive.knowledge_gradient import knowledge_gradient
from sde_ray.search.adaptive.posterior import (
    GaussianPosterior,
    ModelSpace,
    Observation,
    ObservationArrays,
    covariance,
    fit_hyperparameters,
    prior_medians,
)
from sde_ray.search.adaptive.request import TrialRequest
from sde_ray.search.adaptive.search import Adaptive
from sde_ray.search.adaptive.trials import MAX_IDENTICAL_FAILURES
from sde_ray.search.base import distance
from sde_ray.search.factorial import model_columns
from sde_ray.search.kernel import DesignKernel
from sde_ray.search.scale import IDENTITY, LogitScale
from sde_ray.tasks import get_task
from sde_ray.types import Design

SPACE = designs()
RUNGS = (0.25, 0.5, 1.0)
Scored = tuple[TrialRequest, int]


def small() -> tuple[Design, ...]:
    axes = {"input_modeling": ["off"], "reasoning": ["none"], "labels": ["text", "number"]}
    return design_space(get_task("masa:d1"), True, axes=axes).designs[:-2]


def drive(search: Adaptive, score: Callable[[TrialRequest, int], float | None], limit: int = 500) -> list[Scored]:
    """Run trial after trial; what was asked, with the rung at which each ended."""
    done: list[Scored] = []
    while (request := search.suggest()) is not None:
        rung = 0
        while search.report(request, rung, score(request, rung)):
            rung += 1
        search.on_trial_end(request, rung)
        done.append((request, rung))
        assert len(done) <= limit
    return done


def scores_of(truth: Truth) -> Callable[[TrialRequest, int], float]:
    return lambda request, rung: truth.report(request.design, request.seed, rung)


def cost(done: Sequence[Scored], rungs: Sequence[float]) -> float:
    return sum(rungs[rung] for _, rung in done)


@pytest.mark.parametrize("family", [PAPER, *TUNING.values()], ids=lambda family: family.name)
def test_a_tenth_of_the_budget_finds_a_design_near_the_best(family: object) -> None:
    """Against the same cost of random designs, on surfaces that no other number is reported on."""
    regrets, chance = [], []
    for seed in range(TUNED, TUNED + 4):
        truth = family.draw(seed, SPACE)  # type: ignore[attr-defined]
        search = Adaptive(
            [SPACE],
            seeds=truth.seeds,
            rungs=RUNGS,
            budget=22,
            seed=seed,
            confidence=0.95,
            margin=0.01,
            bounds=truth.bounds,
        )
        done = drive(search, scores_of(truth))
        assert cost(done, RUNGS) <= 22 + 1e-9
        regrets.append(truth.regret(search.recommend()))
        tried = random.Random(seed).sample(SPACE, 22)
        chance.append(truth.regret(max(tried, key=truth.report)))
    assert np.mean(regrets) < 0.02
    assert np.mean(regrets) < max(np.mean(chance) / 2, 0.01)  # below a ceiling chance finds good ones, too


def test_without_rungs_it_still_beats_chance_by_far() -> None:
    regrets = []
    for seed in range(TUNED, TUNED + 6):
        truth = PAPER.draw(seed, SPACE)
        search = Adaptive([SPACE], seeds=truth.seeds, budget=30, seed=seed)
        done = drive(search, lambda request, rung, truth=truth: truth.report(request.design, request.seed))  # type: ignore[misc]
        assert len(done) == 30
        regrets.append(truth.regret(search.recommend()))
    assert np.mean(regrets) < 0.02


def test_the_budget_is_counted_in_full_trials_and_kept() -> None:
    truth = PAPER.draw(TUNED, SPACE)
    for budget in (6, 11.5):
        search = Adaptive([SPACE], seeds=(0, 1), rungs=RUNGS, budget=budget, seed=1)
        done = drive(search, scores_of(truth))
        assert budget - 1 < cost(done, RUNGS) <= budget + 1e-9
        assert search.used_budget(0) == pytest.approx(cost(done, RUNGS))


def test_no_trial_is_run_twice_unless_it_goes_further() -> None:
    truth = PAPER.draw(TUNED, SPACE)
    ended: dict[tuple[Design, int], int] = {}
    for request, rung in drive(Adaptive([SPACE], seeds=(0,), rungs=RUNGS, budget=30), scores_of(truth)):
        name = request.design, request.seed
        assert rung > ended.get(name, -1)
        ended[name] = rung
    once = drive(Adaptive([small()], seeds=(0, 1)), lambda request, rung: float(request.design["format"] == "lines"))
    assert len(once) == len({(request.design, request.seed) for request, _ in once}) == 2 * len(small())


def test_the_recommended_design_has_been_trained_to_the_end() -> None:
    for seed in range(3):
        truth = PAPER.draw(TUNED + seed, SPACE)
        search = Adaptive([SPACE], seeds=truth.seeds, rungs=RUNGS, budget=12, seed=seed)
        done = drive(search, scores_of(truth))
        full = {request.design for request, rung in done if rung == 2}
        assert full
        left = 12 - cost(done, RUNGS)
        assert search.recommend() in full or left < 1


def test_what_was_never_tried_is_not_recommended() -> None:
    """Below a ceiling a sum of effects promises more than there is, most of all of designs that nobody has tried."""
    level = {design: sum(map(hash_of, design.options)) for design in SPACE}
    search, tried = Adaptive([SPACE], seeds=(0,), budget=30, seed=2), set()
    while (request := search.suggest()) is not None:
        tried.add(request.design)
        search.report(request, 0, min(0.97, 0.5 + 0.2 * level[request.design]))
        search.on_trial_end(request, 0)
        assert search.recommend() in tried
    assert search.expected_score(0, search.recommend()) is not None


def hash_of(choice: tuple[str, str]) -> float:
    """A number in [0, 1) for an option, the same in every process."""
    return random.Random("/".join(choice)).random()


def test_the_same_seed_and_scores_give_the_same_asks() -> None:
    truth = PAPER.draw(TUNED, SPACE)
    runs = [drive(Adaptive([SPACE], seeds=(0, 1, 2), rungs=RUNGS, budget=9, seed=5), scores_of(truth)) for _ in "ab"]
    assert runs[0] == runs[1]
    assert runs[0] != drive(Adaptive([SPACE], seeds=(0, 1, 2), rungs=RUNGS, budget=9, seed=6), scores_of(truth))


@pytest.mark.parametrize("rungs", [(1.0,), RUNGS], ids=["whole", "rungs"])
def test_a_resumed_search_goes_on_as_if_it_had_not_stopped(rungs: tuple[float, ...]) -> None:
    """The same requests, and to the digit the same expectation, wherever it stopped."""
    truth = PAPER.draw(TUNED, SPACE)

    def score(request: TrialRequest, rung: int) -> float:
        return 0.6 + truth.report(request.design, request.seed, rung - len(rungs))

    def begin() -> Adaptive:
        return Adaptive([SPACE], seeds=(0, 1), rungs=rungs, budget=14, seed=2, bounds=(0.0, 1.0))

    search = begin()
    whole = drive(search, score)
    for stop in (3, len(whole) // 2, len(whole) - 1):
        again = begin()
        for request, last in whole[:stop]:
            for rung in range(last + 1):
                again.observe(request, rung, score(request, rung))
            again.on_trial_end(request, last)
        assert drive(again, score) == whole[stop:]
        assert again.near_ties() == search.near_ties()
        assert again.expected_score(0, again.recommend()) == search.expected_score(0, search.recommend())


def test_trials_may_end_late_out_of_order_fail_or_report_nothing_finite() -> None:
    truth = PAPER.draw(TUNED, SPACE)
    chance = random.Random(0)
    search = Adaptive([SPACE], seeds=(0, 1, 2), rungs=RUNGS, budget=25, seed=3)
    running: list[list[object]] = []
    names: list[tuple[Design, int]] = []
    spent = 0.0
    while True:
        while len(running) < 5 and (request := search.suggest()) is not None:
            assert (request.design, request.seed) not in [(one[0].design, one[0].seed) for one in running]  # type: ignore[attr-defined]
            running.append([request, 0])
            names.append((request.design, request.seed))
        if not running:
            break
        one = running.pop(chance.randrange(len(running)))
        request, rung = one  # type: ignore[misc]
        fate = chance.random()
        if fate < 0.1:
            search.on_trial_end(request, None)
            continue
        score = math.nan if fate < 0.15 else truth.report(request.design, request.seed, rung)
        if search.report(request, rung, score):
            running.append([request, rung + 1])
        else:
            search.on_trial_end(request, rung)
            spent += RUNGS[rung]
    assert len(names) > 25 and spent <= 25
    assert truth.regret(search.recommend()) < 0.08
    assert not search.running and search.suggest() is None


def test_a_design_that_always_fails_is_left_alone() -> None:
    search = Adaptive([small()], seeds=tuple(range(9)), budget=40)
    asked: Counter[str] = Counter()
    while (request := search.suggest()) is not None:
        asked[request.design["format"]] += 1
        broken = request.design["format"] == "json"
        if not broken:
            search.report(request, 0, 0.5 + 0.1 * (request.design["instruction"] == "first") + request.seed / 1000)
        search.on_trial_end(request, None if broken else 0)
    assert asked["json"] <= 2 * sum(design["format"] == "json" for design in small())
    assert search.recommend()["format"] != "json"


def test_it_stops_when_it_is_sure_and_not_before() -> None:
    clear = {design: 0.5 + 0.2 * (design["format"] == "lines") for design in SPACE}
    clear = {design: value + 0.1 * (design["instruction"] == "first") for design, value in clear.items()}
    chance = random.Random(0)
    noisy = {(design, seed): chance.gauss(0, 0.005) for design in SPACE for seed in range(4)}
    search = Adaptive([SPACE], seeds=range(4), budget=100, confidence=0.95, margin=0.02)
    done = drive(search, lambda request, rung: clear[request.design] + noisy[request.design, request.seed])
    assert len(done) < 60 and clear[search.recommend()] == pytest.approx(0.8)
    never = Adaptive([SPACE], seeds=range(4), budget=40, confidence=1.0)
    assert len(drive(never, lambda request, rung: clear[request.design] + noisy[request.design, request.seed])) == 40


def test_a_second_task_needs_fewer_trials_with_what_the_first_has_shown() -> None:
    """Two contests with the same effects: the second one's own trials are few, and its answer is as good."""
    regrets = []
    for seed in range(3):
        truth = PAPER.draw(TUNED + 50 + seed, SPACE)
        search = Adaptive([SPACE, SPACE], seeds=(0, 1), rungs=RUNGS, budget=[30, 6], groups=[0, 1], seed=seed)
        done = drive(
            search, lambda request, rung, t=truth: t.report(request.design, request.seed, rung) + 0.2 * request.contest
        )  # type: ignore[misc]
        order = [request.contest for request, _ in done]
        assert order == sorted(order), "one model after another"
        regrets.append(truth.regret(search.recommend(1)))
    assert np.mean(regrets) < 0.02


def test_contests_may_have_different_designs() -> None:
    some = tuple(design for design in SPACE if design["reasoning"] == "none")
    search = Adaptive([SPACE, some], seeds=(0,), budget=[14, 10])
    done = drive(search, lambda request, rung: len(request.design["format"]) / 10)
    assert {request.design for request, _ in done if request.contest == 1} <= set(some)
    assert search.recommend(1) in some


def test_spaces_of_one_design_and_of_one_axis() -> None:
    done = drive(Adaptive([[make_design()]], seeds=(0, 1), rungs=RUNGS, budget=3), lambda request, rung: 0.5)
    assert {request.design for request, _ in done} == {make_design()} and done[-1][1] == 2
    two = [make_design(), make_design(format="lines")]
    search = Adaptive([two], seeds=(0, 1, 2), budget=6)
    drive(search, lambda request, rung: 0.5 + 0.1 * (request.design == two[1]) + request.seed / 100)
    assert search.recommend() == two[1]


def test_when_nothing_differs_nothing_is_made_of_it() -> None:
    truth = NOTHING.draw(TUNED, SPACE)
    search = Adaptive([SPACE], seeds=truth.seeds, rungs=RUNGS, budget=22)
    drive(search, scores_of(truth))
    scales = search.hyperparameters()
    assert scales["options"] < 0.02 and scales["interactions"] < 0.02


def test_the_posterior_is_the_posterior_of_its_observations() -> None:
    """Update by update the same as the textbook's formula at once; what is expected moves no mean."""
    space = ModelSpace(DesignKernel(small()), contests=2, shares=(0.5, 1.0))
    scales = prior_medians(space, 0.1)
    observations = [
        Observation(0, 1, 0, 0),
        Observation(0, 1, 0, 1),
        Observation(1, 3, 0, 1),
        Observation(0, 1, 1, 0),
        Observation(0, 7, 0, 0),
    ]
    scores = np.array([0.4, 0.5, 0.45, 0.42, 0.3])
    posterior = GaussianPosterior(space, scales, 0.4, np.arange(len(small())))
    for observation, score in zip(observations, scores, strict=True):
        posterior.update([observation], [score])
    at_once = GaussianPosterior(space, scales, 0.4, np.arange(len(small())))
    at_once.update(observations, scores.tolist())
    cells = ObservationArrays([Observation(1, 5, -1, 1), Observation(0, 2, -1, 0)])
    seen = ObservationArrays(observations)
    across = covariance(space, scales, cells, seen, noise=False)
    gain = np.linalg.solve(covariance(space, scales, seen, seen), across.T).T
    mean = 0.4 + gain @ (scores - 0.4)
    variance = np.diag(covariance(space, scales, cells, cells, noise=False) - gain @ across.T)
    for one in (posterior, at_once):
        assert np.allclose([one.mean[1, 1, 5], one.mean[0, 0, 2]], mean)
        assert np.allclose([one.variance[1, 1, 5], one.variance[0, 0, 2]], variance)
    before, sure = posterior.mean.copy(), posterior.variance.copy()
    more = posterior.copy()
    more.expect([Observation(0, 2, 0, 1)])
    assert np.allclose(more.mean, before) and more.variance[0, 1, 2] < sure[0, 1, 2]
    assert np.array_equal(posterior.variance, sure), "the copy learns alone"


def test_scales_are_found_again_in_what_they_have_made() -> None:
    chance = np.random.default_rng(0)
    space = ModelSpace(DesignKernel(SPACE), contests=1, shares=(0.25, 1.0))
    scales = {**prior_medians(space, 0.1), "options": 0.06, "trial": 0.02, "rung design": 0.02, "observation": 0.001}
    observations = [Observation(0, int(d), s, r) for d in chance.permutation(216)[:90] for s in (0, 1) for r in (0, 1)]
    cells = ObservationArrays(observations)
    scores = chance.multivariate_normal(np.zeros(len(observations)), covariance(space, scales, cells, cells))
    found, _ = fit_hyperparameters(space, observations, scores)
    for name in ("trial", "rung design"):
        assert scales[name] / 1.5 < found[name] < scales[name] * 1.5, name
    assert found["options"] > 0.02


def test_worth_is_the_expected_gain_of_the_best_mean() -> None:
    """Two designs, the second measured: E[max(0, d)] for a normal difference, in closed form."""
    mean, cov, variance = np.array([0.5, 0.45]), np.array([[0.0], [0.0036]]), np.array([0.0036])
    step = 0.0036 / math.sqrt(0.0036)
    z = -0.05 / step
    exact = step * (math.exp(-z * z / 2) / math.sqrt(2 * math.pi) + z * 0.5 * math.erfc(-z / math.sqrt(2)))
    found = knowledge_gradient(mean, np.sqrt([0.0, 0.0036]), cov, variance)
    assert found.shape == (1,) and abs(float(found[0]) - exact) < 0.15 * exact + 1e-4


def test_an_option_whose_trials_only_fail_is_given_up() -> None:
    search = Adaptive([SPACE], seeds=(0, 1), budget=30, seed=1, confidence=1.0)
    failed = 0
    while (request := search.suggest()) is not None:
        if request.design["format"] == "lines":
            failed += 1
            search.on_trial_end(request, None)
        else:
            search.report(request, 0, 0.5 + 0.1 * (request.design["format"] == "natural"))
            search.on_trial_end(request, 0)
    assert 1 <= failed <= MAX_IDENTICAL_FAILURES
    assert search.recommend()["format"] == "natural"


BASELINE, OTHER = make_design(), make_design(instruction="first", format="lines")


@pytest.mark.parametrize("rungs", [(1.0,), RUNGS], ids=["whole", "rungs"])
def test_points_to_evaluate_come_first_and_are_trained_to_the_end(rungs: tuple[float, ...]) -> None:
    """A point that occurs twice is tried with two seeds; bad scores stop none of them."""
    search = Adaptive([SPACE], seeds=(4, 5, 6), rungs=rungs, budget=12, points_to_evaluate=[BASELINE, BASELINE, OTHER])
    truth = PAPER.draw(TUNED, SPACE)
    points = {BASELINE, OTHER}
    done = drive(search, lambda request, rung: truth.report(request.design, 0) - 0.3 * (request.design in points))
    assert [(request.design, request.seed) for request, _ in done[:3]] == [(BASELINE, 4), (BASELINE, 5), (OTHER, 4)]
    assert [rung for _, rung in done[:3]] == [len(rungs) - 1] * 3
    assert 11 < cost(done, rungs) <= 12 + 1e-9


def test_a_screening_is_completed_around_the_points_to_evaluate() -> None:
    """As many designs as without points, other than them, and those that go well with them."""
    search = Adaptive([SPACE], seeds=(0,), budget=24, points_to_evaluate=[BASELINE, OTHER])
    tried = [request.design for request, _ in drive(search, lambda request, rung: 0.5)][:6]
    assert len(set(tried)) == 6 and tried[:2] == [BASELINE, OTHER]
    alone = [request.design for request, _ in drive(Adaptive([SPACE], seeds=(0,), budget=24), lambda r, _: 0.5)][:4]
    assert information(tried) > information([BASELINE, OTHER, *alone])


def information(tried: Sequence[Design]) -> float:
    """Log volume that the designs' rows of main effects span: what a fraction smaller than the model maximises."""
    rows = model_columns(SPACE)[0][[SPACE.index(design) for design in tried]]
    return float(np.linalg.slogdet(rows @ rows.T)[1])


def test_with_one_seed_a_repeated_point_gets_the_next_one_and_invalid_ones_are_left_out() -> None:
    valid = tuple(design for design in SPACE if design["reasoning"] == "none")
    invalid = next(design for design in SPACE if design not in valid)
    search = Adaptive([valid], seeds=(0,), budget=12, points_to_evaluate=[invalid, BASELINE, BASELINE])
    requests = [request for request, _ in drive(search, lambda request, rung: 0.5)]
    assert [(request.design, request.seed) for request in requests if request.design == BASELINE] == [
        (BASELINE, 0),
        (BASELINE, 1),
    ]
    assert {request.seed for request in requests[2:]} == {0}
    assert invalid not in [request.design for request in requests]


def test_contests_evaluate_the_same_points_or_points_of_their_own() -> None:
    for points, expected in (
        ([BASELINE], [(0, BASELINE), (1, BASELINE)]),
        ([[BASELINE], [OTHER]], [(0, BASELINE), (1, OTHER)]),
    ):
        search = Adaptive([SPACE, SPACE], budget=12, points_to_evaluate=points)
        done = drive(search, lambda request, rung: 0.5)
        assert [(request.contest, request.design) for request, _ in done[:2]] == expected


def test_points_keep_the_budget_and_those_of_an_earlier_run_are_not_tried_again() -> None:
    short = drive(Adaptive([SPACE], budget=1, points_to_evaluate=[BASELINE, OTHER]), lambda request, rung: 0.5)
    assert [request.design for request, _ in short] == [BASELINE]
    search = Adaptive([SPACE], seeds=(0, 1), budget=12, points_to_evaluate=[BASELINE, BASELINE, OTHER])
    search.observe(TrialRequest(0, BASELINE, 0, 0), 0, 0.6)
    search.on_trial_end(TrialRequest(0, BASELINE, 0, 0), 0)
    done = drive(search, lambda request, rung: 0.5)
    assert [(request.design, request.seed) for request, _ in done[:2]] == [(BASELINE, 1), (OTHER, 0)]
    assert len(done) == 11


def test_scores_of_a_bounded_metric_are_modelled_on_the_scale_that_fits_them() -> None:
    """Effects that add up on the logits, with a ceiling; and effects that add up as they are."""
    level = {design: 2.5 * sum(map(hash_of, design.options)) - 5.5 for design in SPACE}
    lowest, highest = min(level.values()), max(level.values())
    share = {design: (value - lowest) / (highest - lowest) for design, value in level.items()}
    noise = np.random.default_rng(3).normal(0, 0.1, (len(SPACE), 3))
    scores = {
        "logit": lambda request, rung: 1 / (1 + math.exp(-level[request.design] - noise_of(request))),
        "identity": lambda request, rung: 0.05 + 0.9 * share[request.design] + 0.02 * noise_of(request),
    }

    def noise_of(request: TrialRequest) -> float:
        return float(noise[SPACE.index(request.design), request.seed])

    for name, score in scores.items():
        search = Adaptive([SPACE], seeds=(0, 1, 2), budget=25, bounds=(0.0, 1.0))
        drive(search, score)
        assert search.scale.name == name
        expected = [search.expected_score(0, design) for design in SPACE]
        assert name == "identity" or 0.9 < max(value for value in expected if value is not None) <= 1.0
        assert search.expected_score(0, search.recommend()) == pytest.approx(
            score(TrialRequest(0, search.recommend(), 0, 0), 0), abs=0.03
        )


def test_without_bounds_scores_are_modelled_as_they_are() -> None:
    search = Adaptive([SPACE], budget=12)
    drive(search, lambda request, rung: 0.99 - 0.3 * (request.design["format"] == "json"))
    assert search.scale == IDENTITY


def test_the_gain_on_a_logit_scale_is_in_units_of_the_metric() -> None:
    """Against E[max] by simulation, near a ceiling; and never negative."""
    scale, rng = LogitScale(0.0, 1.0), np.random.default_rng(0)
    mean, sd = np.array([3.0, 2.8, 1.0]), np.array([0.3, 0.5, 0.4])
    cov, variance = np.array([[0.0], [0.24], [0.0]]), np.array([0.26])
    gain = knowledge_gradient(mean, sd, cov, variance, scale)
    moves = rng.standard_normal(200_000)[:, None] * (cov[:, 0] / np.sqrt(variance[0]))
    expected = scale.expected(mean + moves, np.maximum(sd**2 - cov[:, 0] ** 2 / variance[0], 0))
    exact = float(expected.max(1).mean() - scale.expected(mean, sd**2).max())
    assert float(gain[0]) == pytest.approx(exact, rel=0.15)
    assert (knowledge_gradient(mean, sd, np.zeros((3, 2)), np.ones(2), scale) >= 0).all()


def test_near_ties_are_expected_to_lose_a_fifth_of_the_margin_at_most() -> None:

    def score(request: TrialRequest, rung: int) -> float:
        return 0.5 + 0.2 * (request.design["format"] == "lines") + 0.01 * hash_of((request.design.slug, ""))

    search = Adaptive([SPACE], seeds=(0, 1), budget=25, margin=0.05)
    assert search.near_ties() == []
    tried = {request.design for request, _ in drive(search, score)}
    designs, expected = zip(*search.near_ties(), strict=True)
    assert designs[0] == search.recommend() and len(designs) > 1 and set(designs) <= tried
    assert {design["format"] for design in designs} == {"lines"}
    assert list(expected) == sorted(expected, reverse=True) and expected[-1] >= expected[0] - 0.01
    certain = Adaptive([SPACE], seeds=(0, 1), budget=25, margin=0.0)
    drive(certain, score)
    assert [design for design, _ in certain.near_ties()] == [certain.recommend()]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["middle", *(pytest.param(name, marks=pytest.mark.long) for name in ("near_one", "tails"))]
)
def test_taking_the_near_tie_with_the_most_defaults_costs_next_to_nothing(name: str) -> None:
    extra = []
    for seed in range(TUNED + 100, TUNED + 130):
        truth = TUNING[name].draw(seed, SPACE)
        search = Adaptive([SPACE], seeds=range(6), budget=22, seed=seed, margin=0.01, bounds=truth.bounds)
        drive(search, lambda request, rung, truth=truth: truth.report(request.design, request.seed))  # type: ignore[misc]
        near = [design for design, _ in search.near_ties()]
        simplest = min(near, key=lambda design: distance(design, BASELINE))
        extra.append(truth.regret(simplest) - truth.regret(search.recommend()))
    assert np.mean(extra) <= 0.001, np.mean(extra)
