"""Forgetting by design: the interval holds seeds and passages, and tables show it where it was measured."""

from __future__ import annotations

from dataclasses import replace

import pytest
from helpers.planted import one_at_a_time, results

from sde_ray.analysis.forgetting import forgetting_by_design
from sde_ray.analysis.leaderboard import rank_designs
from sde_ray.analysis.report.general import general_cell, general_note
from sde_ray.design.designs import design_of, essential
from sde_ray.tracking.run_data import run_metrics
from sde_ray.types import TrialResult

METRIC = "weighted_kappa"


def general(difference: float, error: float = 0.01) -> dict[str, float]:
    base = {"base_bits_per_byte": 1.5, "bits_per_byte": 1.5 + difference, "difference": difference}
    return {**base, "standard_error": error, "right_endings": 0.7, "base_right_endings": 0.8}


def planted(*differences: float) -> list[TrialResult]:
    """The trials of one design, one a seed."""
    trial = results(one_at_a_time())[0]
    return [replace(trial, config={**trial.config, "seed": n}, general=general(d)) for n, d in enumerate(differences)]


def test_the_interval_holds_the_noise_of_seeds_and_of_passages() -> None:
    (one,) = forgetting_by_design(planted(0.30, 0.34)).values()
    assert (one.base, one.tuned, one.trials, one.endings) == (1.5, pytest.approx(1.82), 2, (0.8, 0.7))
    half = 12.706 * (0.0008 / 2 + 0.0001) ** 0.5  # t with one degree of freedom; variances of the mean
    assert one.difference.low == pytest.approx(0.32 - half, abs=1e-3)
    assert (
        one.difference.excludes_zero and str(one) == f"1.500 → 1.820, +0.320 [{0.32 - half:+.3f}, {0.32 + half:+.3f}]"
    )
    (noisy,) = forgetting_by_design(planted(0.10, 0.50)).values()
    assert not noisy.difference.excludes_zero


def test_one_seed_has_no_interval_but_borrows_the_noise_of_others() -> None:
    alone = planted(0.3)
    (one,) = forgetting_by_design(alone).values()
    assert one.difference.confidence_interval is None and str(one).endswith("+0.300 (one seed)")
    other = results(one_at_a_time())[1]
    several = [replace(other, general=general(value)) for value in (0.1, 0.11, 0.12)]
    both = forgetting_by_design([*alone, *several])
    assert both[essential(design_of(alone[0]))].difference.excludes_zero


def test_trials_that_were_not_scored_or_not_finished_count_for_nothing() -> None:
    trial = results(one_at_a_time())[0]
    odd = [trial, replace(trial, general={"difference": 1.0}), replace(trial, general=general(9.0), status="pruned")]
    assert forgetting_by_design(odd) == {}


def test_it_is_a_column_where_it_was_measured() -> None:
    trials = results(one_at_a_time())
    plain = rank_designs(trials, METRIC)
    assert not any("general" in row.to_dict() for row in plain)
    scored = [replace(trial, general=general(0.1 + 0.01 * n)) for n, trial in enumerate(trials)]
    ranked = rank_designs(scored, METRIC)
    assert [row.design for row in ranked] == [row.design for row in plain], "it ranks nothing"
    assert ranked[0].to_dict()["general_base"] == 1.5 and ranked[0].to_dict()["general_endings"] == 0.7
    known = forgetting_by_design(scored)
    assert general_cell(known, ranked[0].design)["general"].startswith("1.500 → 1.6")
    assert general_note({}, ranked[0].design) == "" and "Above 0" in general_note(known, ranked[0].design)
    assert ("general/difference", 0.1, 0) in [(name, value, 0) for name, value, _ in run_metrics(scored[0])]
