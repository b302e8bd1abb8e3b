"""Several models together: rankings that agree or not, signs, and effects that are shared as far as they are."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from helpers.planted import ALL, additive, one_at_a_time, result

from sde_ray.analysis.cross_study import cross_studies, format_sign, short_names
from sde_ray.analysis.effects import Group
from sde_ray.analysis.estimate import Estimate
from sde_ray.analysis.pooling import mean_over_groups, partial_pooling
from sde_ray.analysis.rank_agreement import kendall_interval, rank_correlations, spearman_interval
from sde_ray.analysis.study import Study
from sde_ray.config.trial import TrialConfig
from sde_ray.types import Design, TrialResult

METRIC = "weighted_kappa"


def test_rankings_that_agree_and_that_do_not() -> None:
    designs = one_at_a_time()
    up = {design: float(n) for n, design in enumerate(designs)}
    down = {design: -value for design, value in up.items()}
    same, turned, other = rank_correlations({"a": up, "b": up, "c": down})
    assert (same.first, same.second, same.designs) == ("a", "b", 10)
    assert same.spearman.value == same.kendall.value == pytest.approx(1.0)
    assert turned.spearman.value == other.kendall.value == pytest.approx(-1.0)
    assert same.spearman.low is not None and 0.8 < same.spearman.low < 1.0
    few = dict(list(up.items())[:4])
    assert rank_correlations({"a": up, "b": few}) == []  # four designs tell nothing
    assert rank_correlations({"a": up, "b": dict.fromkeys(up, 0.5)}) == []  # all alike: no ranking


@pytest.mark.parametrize("count", [12, 40])
def test_intervals_of_rank_correlations_cover(count: int) -> None:
    """Normal scores with a correlation of 0.6: Spearman's is (6/pi) asin(0.3), Kendall's (2/pi) asin(0.6)."""
    draws, inside = np.random.default_rng(count), np.zeros(2)
    truths = 6 / np.pi * np.arcsin(0.3), 2 / np.pi * np.arcsin(0.6)
    from scipy import stats

    for _ in range(400):
        x = draws.normal(size=count)
        y = 0.6 * x + 0.8 * draws.normal(size=count)
        found = (
            spearman_interval(stats.spearmanr(x, y).statistic, count),
            kendall_interval(stats.kendalltau(x, y).statistic, count),
        )
        inside += [(one.low or 0) <= truth <= (one.high or 0) for one, truth in zip(found, truths, strict=True)]
    assert np.all(inside / 400 > 0.915) and np.all(inside / 400 < 0.99)


def test_groups_that_differ_are_drawn_together_and_keep_their_own() -> None:
    """Ten differences in four groups that deviate by 0.05, measured with an error of 0.05."""
    draws, inside, errors = np.random.default_rng(5), [], []
    for _ in range(60):
        shared = draws.normal(0, 0.1, 10)
        own = shared + draws.normal(0, 0.05, (4, 10))
        seen = own + draws.normal(0, 0.05, (4, 10))
        found = partial_pooling({str(n): (row, 0.05**2 * np.eye(10)) for n, row in enumerate(seen)})
        inside += [(e.low or 0) <= truth <= (e.high or 0) for e, truth in zip(found.shared, shared, strict=True)]
        pooled = np.array([[e.value for e in found.by_group[str(n)]] for n in range(4)])
        errors.append((np.abs(pooled - own).mean(), np.abs(seen - own).mean()))
    assert 0.92 <= np.mean(inside) <= 0.985
    together, alone = np.mean(errors, axis=0)
    assert together < 0.88 * alone  # partial pooling errs less than each group alone


def test_groups_that_are_alike_share_all_and_two_are_enough() -> None:
    draws = np.random.default_rng(6)
    shared = draws.normal(0, 0.1, 10)
    seen = shared + draws.normal(0, 0.02, (2, 10))
    found = partial_pooling({"a": (seen[0], 0.02**2 * np.eye(10)), "b": (seen[1], 0.02**2 * np.eye(10))})
    assert found.group_sd < 0.02
    width = np.mean([(e.high or 0) - (e.low or 0) for e in found.shared])
    assert 2 * 1.96 * 0.02 / np.sqrt(2) * 0.9 < width < 2 * 1.96 * 0.02 * 1.2


def study(model: str, folder: Path, worth: object, seed: int, task: str = "masa:d1") -> Study:
    noise, found = random.Random(seed), []
    for design in random.Random(8).sample(ALL, 40):
        for one in (0, 1):
            made = result(design, worth(design) + noise.gauss(0, 0.02), one, task=task)  # type: ignore[operator]
            config = TrialConfig(task, design, model, one, 100, 50)
            found.append(TrialResult(config.key, config.resolved(), "finished", made.scores, tokens=made.tokens))
    return Study(Group(task, model, 100), METRIC, "dev", tuple(found), folder)


def turned(design: Design) -> float:
    """Like `additive`, but lines hurt, and the rest is as it was."""
    return additive(design) - (0.27 if design["format"] == "lines" else 0.0)


def test_models_are_compared_on_one_task(tmp_path: Path) -> None:
    found = cross_studies([study("a", tmp_path, additive, 1), study("b", tmp_path, turned, 2)])
    (family,) = found
    assert (family.kind, family.within, family.groups) == ("models", "masa:d1, 100 samples", ("a", "b"))
    (agreement,) = family.agreements
    assert agreement.designs == 40 and -0.2 < agreement.spearman.value < 0.9
    rows = {row.option: row for row in family.rows}
    assert rows["lines"].signs == {"a": "+", "b": "−"} and rows["lines"].verdict == "they contradict each other"
    assert rows["first"].verdict == "all agree" and rows["first"].shared is not None
    assert rows["cot"].verdict.endswith("of 2")
    low, high = rows["lines"].shared.low, rows["lines"].shared.high  # type: ignore[union-attr]
    assert low is not None and high is not None and low < 0 < high  # what models like these share is not known
    assert rows["lines"].pooled is not None
    assert rows["lines"].pooled["a"].value > 0.05 > rows["lines"].pooled["b"].value
    assert family.to_dict()["effects"][0].keys() >= {"a: sign", "a: alone", "a: pooled", "shared", "says"}


def test_one_study_has_nothing_to_be_compared_with(tmp_path: Path) -> None:
    assert cross_studies([study("a", tmp_path, additive, 1)]) == []
    empty = Study(Group("masa:d1", "b", 100), METRIC, "dev", (), tmp_path)
    assert cross_studies([study("a", tmp_path, additive, 1), empty]) == []


def test_signs_in_brackets_are_not_shown() -> None:
    assert [format_sign(one) for one in (Estimate(0.1, 0.05, 0.2), Estimate(0.1, -0.05, 0.2), Estimate(-0.1))] == [
        "+", "(+)", "(−)",
    ]  # fmt: skip


def test_folders_are_called_by_their_last_name_where_it_is_their_own() -> None:
    assert short_names(["tiny", "/a/bases/small", "./b/large/", "org/small2"]) == {
        "tiny": "tiny", "/a/bases/small": "small", "./b/large/": "large", "org/small2": "org/small2",
    }  # fmt: skip
    assert short_names(["/a/small", "/b/small", "tiny"]) == {
        "/a/small": "/a/small",
        "/b/small": "/b/small",
        "tiny": "tiny",
    }


def test_models_with_one_seed_each_are_replicates_of_each_other() -> None:
    """Four designs, one seed, three models: no model has an interval, the shared effect has one over the models."""
    base = one_at_a_time()[0]
    designs = [base, base.replace(instruction="first"), base.replace(format="lines")]
    gains = {"a": (0.02, 0.10), "b": (0.03, 0.14), "c": (0.01, 0.12)}
    studies = []
    for model, (first, lines) in gains.items():
        scores = (0.5, 0.5 + first, 0.5 + lines)
        results = []
        for design, score in zip(designs, scores, strict=True):
            trial = TrialConfig("masa:d1", design, model, 0, 100, 50, ("dev",))
            results.append(TrialResult(trial.key, trial.resolved(), "finished", {"dev": {METRIC: score}}))
        studies.append(Study(Group("masa:d1", model, 100), METRIC, "dev", tuple(results), Path("none")))
    (family,) = cross_studies(studies)
    by_option = {row.option: row for row in family.rows}
    assert all(one.low is None for row in family.rows for one in row.alone.values()) and family.group_sd is None
    lines = by_option["lines"].shared
    assert lines is not None and lines.low is not None and lines.high is not None
    assert lines.value == pytest.approx(0.12, abs=1e-6)
    assert lines.high - lines.value == pytest.approx(4.3027 * 0.02 / 3**0.5, rel=1e-3)  # t with 2 degrees of freedom
    assert by_option["lines"].pooled is None and by_option["lines"].to_dict()["shared"] == lines.value


def test_a_mean_over_groups_covers_and_is_silent_where_nothing_differs() -> None:
    draws = np.random.default_rng(3).normal(0.1, 0.05, (2000, 3))
    estimates = [mean_over_groups(row.tolist()) for row in draws]
    inside = [one is not None and one.low is not None and one.high is not None and one.low <= 0.1 <= one.high
              for one in estimates]  # fmt: skip
    assert 0.93 < np.mean(inside) < 0.97
    assert mean_over_groups([0.1]) is None and mean_over_groups([0.1, 0.1]) is None
