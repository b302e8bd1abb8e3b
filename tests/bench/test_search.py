"""The benches of search methods: the planted family is the one described, and every contestant runs to a table."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from sde_ray.bench.search import recorded
from sde_ray.bench.search.contest import COSTS, flat
from sde_ray.bench.search.contestants import CONTESTANTS, one_at_a_time
from sde_ray.bench.search.planted import designs, measure
from sde_ray.bench.search.truth import CEILING, FAMILIES, NOTHING, PAPER, REPORTED, TUNED, TUNING, columns
from sde_ray.cli.app import app

SPACE = designs()


def test_the_family_has_the_known_range_and_the_known_regret_of_simple_ways() -> None:
    """Known: range about 0.43; one at a time 0.115 at 10 trials; best of random 0.066 at 22 and 0.050 at 43."""
    truths = [PAPER.draw(seed, SPACE) for seed in range(900_000, 900_300)]
    assert np.mean([np.ptp(truth.values) for truth in truths]) == pytest.approx(0.43, abs=0.03)
    paper = [truth.regret(one_at_a_time(truth, [10], 0)[10]) for truth in truths]
    assert np.mean(paper) == pytest.approx(0.115, abs=0.015)
    chosen = [CONTESTANTS["random"](truth, (22, 43), 0) for truth in truths]
    for cost, known in ((22, 0.066), (43, 0.050)):
        regret = np.mean([truth.regret(own[cost]) for truth, own in zip(truths, chosen, strict=True)])
        assert regret == pytest.approx(known, abs=0.01)


def test_columns_are_centred_and_complete() -> None:
    mains, pairs = columns(SPACE)
    assert (mains.shape, pairs.shape) == ((216, 15), (216, 93))
    assert np.allclose(mains.mean(0), 0) and np.allclose(pairs.mean(0), 0)
    assert np.linalg.matrix_rank(np.concatenate([mains, pairs], axis=1)) == 9 + 33


def test_a_trial_reports_value_departure_and_noise() -> None:
    truth = PAPER.draw(1, SPACE)
    design = SPACE[5]
    full = truth.report(design, 0, 2)
    assert full == truth.report(design, 0) and full != truth.report(design, 1)
    assert truth.report(design, 0, 0) - full == pytest.approx(truth.departures[0, 5])
    assert np.std(truth.departures[0]) == pytest.approx(0.02, rel=0.2)
    assert np.std(truth.departures[1]) == pytest.approx(0.01, rel=0.2)
    assert np.std(truth.noise) == pytest.approx(0.03, rel=0.05)
    assert min(truth.regret(one) for one in SPACE) == 0
    assert np.ptp(NOTHING.draw(1, SPACE).values) == 0


def test_a_bounded_family_stays_within_its_bounds_and_is_quieter_near_them() -> None:
    truths = [CEILING.draw(seed, SPACE) for seed in range(20)]
    values, noise = np.array([truth.values for truth in truths]), np.array([truth.noise for truth in truths])
    scores = values[:, None] + noise
    assert scores.min() >= -1 and scores.max() <= 1 and truths[0].bounds == (-1, 1)
    assert 0.95 < values.max(axis=1).mean() < 1
    near, middle = values > 0.93, abs(values - 0.5) < 0.1
    assert 3 * noise.swapaxes(1, 2)[near].std() < noise.swapaxes(1, 2)[middle].std()
    assert abs(noise.mean()) < 0.002, "a value is the expected score"
    lower = values + np.array([truth.departures[0] for truth in truths])
    assert lower.min() >= -1 and lower.max() <= 1


def test_tuning_and_reporting_share_no_family_and_no_seed() -> None:
    assert not set(TUNING) & set(FAMILIES)
    assert REPORTED + 10_000 < TUNED


def test_a_table_has_every_method_and_cost_and_is_the_same_again() -> None:
    methods = ["one_at_a_time", "random", "factorial", "adaptive"]
    found = measure(["interactions"], methods, surfaces=2, costs=(10, 15))
    assert list(found["interactions"]) == methods
    assert list(found["interactions"]["adaptive"]) == [10, 15]
    assert set(found["interactions"]["adaptive"][10]) == {"mean_regret", "within_0.01", "standard_error"}
    assert found == measure(["interactions"], methods, surfaces=2, costs=(10, 15))
    assert len(flat(found["interactions"])) == 8


def test_optuna_and_asha_choose_at_every_cost() -> None:
    truth = PAPER.draw(TUNED, SPACE)
    for method in ("optuna", "asha_random"):
        chosen = CONTESTANTS[method](truth, (10, 15), 0)
        assert set(chosen) == {10, 15} and set(chosen.values()) <= set(SPACE)


def test_recorded_truth_says_what_it_is() -> None:
    known = recorded.recorded()
    truth = recorded._draw(3)
    assert set(truth.designs) == set(known) and len(known) >= 56
    assert truth.rungs == (1.0,)
    assert "No scores at rungs" in recorded.note() and f"{len(known)} designs" in recorded.note()
    assert 0.005 < recorded.noise() < 0.3
    best = max(known, key=lambda design: np.mean(known[design]))
    assert truth.regret(best) == 0
    table = recorded.measure(["random", "adaptive"], repeats=1, costs=(15,))["masa_216"]
    assert table["adaptive"][15]["mean_regret"] >= 0


def test_the_command_prints_json_for_programs_and_a_table_for_people() -> None:
    arguments = [
        "bench",
        "search",
        "planted",
        "--surfaces",
        "1",
        "--family",
        "paper",
        "--method",
        "random",
        "--jobs",
        "1",
    ]
    done = CliRunner().invoke(app, [*arguments, "--json"])
    found = json.loads(done.stdout)
    assert list(found["paper"]["random"]) == [str(cost) for cost in COSTS]
    assert "mean_regret" in found["paper"]["random"]["22"] and "within_0.01" in found["paper"]["random"]["22"]
    shown = CliRunner().invoke(app, arguments).stdout
    assert "cost 22" in shown and "chosen on these surfaces" in " ".join(shown.split())


def test_an_unknown_method_is_told() -> None:
    done = CliRunner().invoke(app, ["bench", "search", "planted", "--method", "randam"])
    assert done.exit_code != 0 and 'Did you mean "random"' in (done.stderr + str(done.exception or ""))
