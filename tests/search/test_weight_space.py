"""The posterior in weight space is that of the dense form: likelihood, slopes, means, variances and covariances."""

from __future__ import annotations

import random
import time
import tracemalloc
from collections import Counter

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from sde_ray.bench.search.planted import designs
from sde_ray.bench.search.truth import PAPER, TUNED
from sde_ray.errors import UserError
from sde_ray.search.adaptive import surrogate
from sde_ray.search.adaptive.features import Features
from sde_ray.search.adaptive.knowledge_gradient import acquisition_values
from sde_ray.search.adaptive.posterior import (
    GaussianPosterior,
    ModelSpace,
    Observation,
    ObservationArrays,
    components,
    prior_medians,
)
from sde_ray.search.adaptive.request import TrialRequest
from sde_ray.search.adaptive.search import Adaptive
from sde_ray.search.adaptive.sufficient_statistics import SufficientStatistics, num_weights
from sde_ray.search.adaptive.weight_space import Solution, WeightSpacePosterior
from sde_ray.search.kernel import DesignKernel
from sde_ray.search.threads import single_threaded
from sde_ray.types import Design

SPACE = designs()
CASES = {
    "one contest, repeats": (12, 1, (1.0,), 4),
    "one contest, no repeats": (40, 1, (1.0,), 1),
    "rungs": (10, 1, (0.25, 0.5, 1.0), 3),
    "contests": (9, 3, (1.0,), 2),
    "contests and rungs": (8, 2, (0.2, 1.0), 3),
}


def random_case(name: str, number: int) -> tuple[ModelSpace, list[Observation], np.ndarray, dict[str, float]]:
    """Trials of some designs, of unequal numbers and stopped at any rung, in random order; and hyperparameters."""
    size, contests, shares, seeds = CASES[name]
    rng = np.random.default_rng([number, size])
    some = [SPACE[n] for n in sorted(rng.choice(len(SPACE), size, replace=False))]
    space = ModelSpace(DesignKernel(some), contests, shares)
    observations = [
        Observation(contest, design, seed, rung)
        for contest in range(contests)
        for design in range(size)
        for seed in rng.choice(7, rng.integers(seeds + 1), replace=False).tolist()
        for rung in range(int(rng.integers(1, len(shares) + 1)))
    ]
    observations = [observations[n] for n in rng.permutation(len(observations))]
    # Of the dense form's own jitter, a share of the prior variance, little is to be left in the comparison.
    medians = {**prior_medians(space, 0.1), "contest": 0.1, "offset": 0.1}
    hyperparameters = {name: sd * float(np.exp(rng.normal(0, 0.7))) for name, sd in medians.items()}
    return space, observations, 0.5 + 0.1 * rng.standard_normal(len(observations)), hyperparameters


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("name", CASES)
def test_likelihood_and_slopes_are_those_of_the_dense_covariance(name: str, number: int) -> None:
    space, observations, scores, hyperparameters = random_case(name, number)
    arrays, y, jitter = ObservationArrays(observations), scores - 0.5, 1e-6

    terms = components(space, arrays, arrays)
    matrix = np.asarray(sum(hyperparameters[term] ** 2 * part for term, part in terms.items())) + jitter * np.eye(
        len(y)
    )
    inverse = np.linalg.inv(matrix)
    weights = inverse @ y
    statistics = SufficientStatistics(space, np.unique(arrays.design), arrays, y)
    value, slopes = Solution(statistics, hyperparameters, jitter).log_likelihood()
    assert value == pytest.approx(-0.5 * float(y @ weights + np.linalg.slogdet(matrix)[1]), rel=1e-8, abs=1e-8)
    assert set(slopes) == set(terms)
    for term, part in terms.items():
        slope = hyperparameters[term] ** 2 * float(weights @ part @ weights - (inverse * part).sum())
        assert slopes[term] == pytest.approx(slope, rel=1e-8, abs=1e-8 * abs(value)), term


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("name", CASES)
def test_means_variances_and_covariances_are_those_of_the_dense_posterior(name: str, number: int) -> None:
    """Also after updates, for scores that are expected, for trials that run further and for trials with a new seed."""
    space, observations, scores, hyperparameters = random_case(name, number)
    pool = np.arange(len(space.kernel.codes))[number:]
    dense = GaussianPosterior(space, hyperparameters, 0.5, pool)
    dense.update(observations, scores)
    half = len(observations) // 2
    weighted = WeightSpacePosterior(space, hyperparameters, 0.5, pool, observations[:half], scores[:half])
    weighted.update(observations[half:], scores[half:])
    last = space.rungs - 1
    seen = {(o.contest, o.design, o.seed, o.rung) for o in observations}
    further = [Observation(*key[:3], last) for key in sorted({key[:3] for key in seen}) if (*key, last) not in seen]
    candidates = [*further, Observation(0, int(pool[0]), 99, 0), Observation(0, int(pool[-1]), 3, last)]
    candidates = [o for o in candidates if (o.contest, o.design, o.seed, o.rung) not in seen]
    for running in ([], candidates[:2]):
        if running:
            dense.expect(running)
            weighted.expect(running)
        assert np.allclose(weighted.mean, dense.mean, rtol=1e-8, atol=1e-8)
        assert np.allclose(weighted.variance, dense.variance, rtol=1e-8, atol=1e-8)
        values, all_scores = np.arange(space.contests * len(pool)), np.arange(dense.mean.size)
        expected = dense.covariance(values, all_scores)
        assert np.allclose(weighted.covariance(values, all_scores), expected, rtol=1e-8, atol=1e-8)
        rest = [one for one in candidates if one not in running]
        if rest:
            (cov, variance), (dense_cov, dense_variance) = (p.covariance_with(rest) for p in (weighted, dense))
            assert np.allclose(variance, dense_variance, rtol=1e-8, atol=1e-8)
            assert np.allclose(cov(values), dense_cov(values), rtol=1e-8, atol=1e-8)
    assert weighted.noise == dense.noise


def test_the_number_of_weights_is_known_beforehand() -> None:
    for name in CASES:
        space, observations, scores, _ = random_case(name, 0)
        arrays = ObservationArrays(observations)
        statistics = SufficientStatistics(space, np.unique(arrays.design), arrays, scores)
        pairs = len({(o.contest, o.seed) for o in observations})
        assert len(statistics.terms) == num_weights(space, 0) + pairs


def test_a_search_of_thousands_of_trials_is_as_fast_as_a_small_one_and_resumes_as_if_it_had_not_stopped() -> None:
    """10,000 trials of 216 designs: within 10 seconds of CPU and 500 MiB, then the same requests from there."""
    rng = np.random.default_rng(0)
    value = {design: 0.5 + 0.1 * rng.standard_normal() for design in SPACE}
    trials = [(design, seed) for seed in range(47) for design in SPACE][:10_000]
    scores = {trial: value[trial[0]] + 0.02 * rng.standard_normal() for trial in trials}

    def resumed() -> Adaptive:
        search = Adaptive([SPACE], seeds=range(60), budget=10_100, bounds=(0.0, 1.0))
        for design, seed in trials:
            search.observe(TrialRequest(0, design, seed, 0), 0, scores[design, seed])
            search.on_trial_end(TrialRequest(0, design, seed, 0), 0)
        return search

    tracemalloc.start()
    begin = time.process_time()
    search = resumed()
    requests = []
    for _ in range(3):
        request = search.suggest()
        assert request is not None
        requests.append(request)
        search.report(request, 0, value[request.design])
        search.on_trial_end(request, 0)
    seconds, peak = time.process_time() - begin, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seconds < 10 and peak < 500 * 2**20, (seconds, peak)
    assert resumed().suggest() == requests[0]
    best = max(value, key=lambda design: value[design])
    assert search.recommend() == best and search.expected_score(0, best) == pytest.approx(value[best], abs=0.02)


@pytest.mark.slow
def test_nine_contests_of_three_rungs_are_as_fast() -> None:
    """10,000 trials, many stopped at a rung: the first request after resuming, then one after another."""
    rng = np.random.default_rng(0)
    value = 0.5 + 0.1 * rng.standard_normal(len(SPACE)) + 0.03 * rng.standard_normal((9, len(SPACE)))
    trials = [(contest, n, seed) for seed in range(6) for n in range(len(SPACE)) for contest in range(9)][:10_000]
    search = Adaptive([SPACE] * 9, seeds=range(16), rungs=(0.25, 0.5, 1.0), budget=1120, bounds=(0.0, 1.0))
    for (contest, n, seed), last in zip(trials, rng.choice(3, len(trials), p=(0.5, 0.2, 0.3)).tolist(), strict=True):
        request = TrialRequest(contest, SPACE[n], seed, last)
        for rung in range(last + 1):
            search.observe(request, rung, value[contest, n] + 0.02 * rng.standard_normal())
        search.on_trial_end(request, last)
    tracemalloc.start()
    begin = time.process_time()
    assert search.suggest() is not None
    first = time.process_time() - begin
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    begin = time.process_time()
    request = search.suggest()
    later = time.process_time() - begin
    assert request is not None and first < 10 and later < 1.5 and peak < 500 * 2**20, (first, later, peak / 2**20)


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("name", CASES)
def test_products_of_features_are_those_of_their_columns(name: str, number: int) -> None:
    """As if each weight's column were written out: options of a contest are those of its designs, at its rungs only."""
    space = random_case(name, number)[0]
    rng, designs = np.random.default_rng(number), np.arange(len(space.kernel.codes))[number:]
    features = Features(space, designs)
    cells = space.contests * space.rungs
    columns = features.by_cell * features.by_design[:, None]  # [design, C x R, weight]
    values, matrix = rng.standard_normal((len(designs), cells, 3)), rng.standard_normal((len(features), 4))
    blocks, square = values @ values.transpose(0, 2, 1), matrix @ matrix.T
    assert np.allclose(features.times(matrix), columns @ matrix)
    assert np.allclose(features.sums(values), np.einsum("dcw,dck->wk", columns, values))
    assert np.allclose(features.products(blocks), np.einsum("dcv,dck,dkw->vw", columns, blocks, columns))
    assert np.allclose(features.quadratic(square), columns @ square @ columns.transpose(0, 2, 1))
    # The columns are those of the kernel: with weights of variance 1, the covariance of the expected scores.
    contest, rung = np.divmod(np.arange(cells), space.rungs)
    scores = ObservationArrays.from_columns(contest, *np.repeat([[designs[0]], [0]], cells, axis=1), rung)
    terms = components(space, scores, scores, noise=False)
    expected = sum(part for term, part in terms.items() if term in features.terms)
    assert np.allclose(columns[0] @ columns[0].T, expected)


def test_the_search_runs_its_linear_algebra_on_one_thread() -> None:
    """Threads of two libraries that wait for each other and for training cost ten times the work."""

    def threads() -> list[int]:
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

    with threadpool_limits(limits=2, user_api="blas"):
        assert threads() and set(threads()) == {2}
        assert set(single_threaded(threads)()) == {1}
        assert set(threads()) == {2}


@pytest.mark.parametrize("bounds", [None, (-1.0, 1.0)], ids=["unbounded", "bounded"])
def test_both_forms_come_to_the_same(bounds: tuple[float, float] | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search with repeats, rungs and two contests: scale, hyperparameters, expected scores and acquisition values.

    Not each request: where two designs are worth the same, the last digit decides.
    """
    truth = PAPER.draw(TUNED, SPACE)

    def begin(max_dense: int) -> Adaptive:
        monkeypatch.setattr(surrogate, "MAX_DENSE", max_dense)
        return Adaptive([SPACE, SPACE], seeds=(0, 1), rungs=(0.25, 1.0), budget=9, seed=4, bounds=bounds)

    dense, observed = begin(10_000), []
    while (request := dense.suggest()) is not None:
        rung = 0
        luck = 0.01 * random.Random(f"{request}").gauss(0, 1)
        while True:
            score = truth.report(request.design, request.seed, rung - 2) + luck
            observed.append((request, rung, score))
            if not dense.report(request, rung, score):
                break
            rung += 1
        dense.on_trial_end(request, rung)
    seeds = Counter((request.contest, request.design) for request in dict.fromkeys(r for r, _, _ in observed))
    assert max(seeds.values()) > 1, "no repeats"
    expected = [[dense.expected_score(contest, design) for design in SPACE] for contest in (0, 1)]
    hyperparameters, scale = dict(dense.hyperparameters()), dense.scale
    weighted = begin(0)
    for request, rung, score in observed:
        weighted.observe(request, rung, score)
    weighted._surrogate.refit()  # as at the end of a search
    assert weighted.scale == scale
    assert weighted.hyperparameters() == pytest.approx(hyperparameters, rel=1e-6)
    for contest in (0, 1):
        assert [weighted.expected_score(contest, design) for design in SPACE] == pytest.approx(
            expected[contest], abs=1e-7
        )
        assert weighted.recommend(contest) == dense.recommend(contest)
    both = [search._surrogate.posterior() for search in (dense, weighted)]
    assert both[0] is not None and both[1] is not None
    fresh = np.ones((2, len(SPACE)), dtype=bool)
    one, other = (acquisition_values(p, scale, (0.25, 1.0), fresh, fresh, []).rate for p in both if p is not None)
    assert np.allclose(one, other, atol=1e-7)


def test_a_space_that_would_take_too_long_is_refused_with_the_numbers() -> None:
    many = [Design((*design.options, ("my_axis", str(n)))) for design in SPACE for n in range(14)]
    with pytest.raises(
        UserError, match=r"54,432 expected scores apart \(3,024 designs × 6 contests × 3 rungs\) by 1,498 eff"
    ):
        Adaptive([many] * 6, seeds=(0, 1), rungs=(0.25, 0.5, 1.0), budget=1000)
