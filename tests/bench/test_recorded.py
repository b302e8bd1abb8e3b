"""Searches on recorded tables: the denoised truth recovers planted levels, and no search is judged by what it saw."""

from __future__ import annotations

import numpy as np
import pytest
from typer.testing import CliRunner

from sde_ray.bench.search import recorded
from sde_ray.bench.search.contest import run_contest
from sde_ray.bench.search.denoised import denoise
from sde_ray.bench.search.planted import designs
from sde_ray.bench.search.truth import CEILING, PAPER
from sde_ray.bench.tables.table import SEED, RecordedTable, load
from sde_ray.cli.app import app
from sde_ray.errors import UserError
from sde_ray.search.scale import LogitScale

SPACE = designs()


def table_of(scores: np.ndarray, objective: str = "weighted_kappa") -> RecordedTable:
    """A table of scores, [seed, design]."""
    rows = [
        {**dict(design.options), SEED: str(seed), objective: f"{score:.6f}"}
        for seed, row in enumerate(scores)
        for design, score in zip(SPACE, row, strict=True)
    ]
    return RecordedTable(objective, tuple(rows))


def test_the_denoised_truth_is_nearer_to_a_planted_one_than_the_means() -> None:
    better, errors = [], []
    for seed in (1, 2):
        planted = CEILING.draw(seed, SPACE)
        scores = planted.values + planted.noise[:3]
        truth = denoise(table_of(scores))
        assert isinstance(truth.scale, LogitScale)
        values = np.array([truth.values[truth.designs.index(design)] for design in SPACE])
        better.append(np.square(values - planted.values).mean() / np.square(scores.mean(0) - planted.values).mean())
        top = np.argsort(-values)[:20]
        errors.append(np.std((values - planted.values)[top]) * 2**0.5 / truth.difference_error)
        assert values.max() < 1
    assert np.mean(better) < 0.85
    assert 0.6 < np.mean(errors) < 1.5, "the standard error is that of differences among the best"


def test_fresh_noise_has_the_expected_scores_and_the_spread_of_the_level() -> None:
    planted = CEILING.draw(4, SPACE)
    truth = denoise(table_of(planted.values + planted.noise[:3]))
    scores = np.concatenate([truth.draw(np.random.default_rng(seed)) for seed in range(10)])
    assert np.allclose(scores.mean(0), truth.values, atol=0.03)
    order = np.argsort(-truth.values)
    values = planted.values[[SPACE.index(design) for design in truth.designs]]
    noise = planted.noise[:, [SPACE.index(design) for design in truth.designs]]
    for part in (order[:40], order[90:130]):
        assert np.mean(scores[:, part].std(0)) == pytest.approx(np.mean(noise[:, part].std(0)), rel=0.25)
    assert np.corrcoef(values, truth.values)[0, 1] > 0.98


def test_scores_without_bounds_are_denoised_as_they_are() -> None:
    planted = PAPER.draw(5, SPACE)
    truth = denoise(table_of(planted.values + planted.noise[:2], objective="my_pkg.my_metrics:SCORE"))
    assert truth.scale.name == "identity"
    assert truth.variances["noise"] == pytest.approx(0.03**2, rel=0.3)


def test_a_table_with_one_seed_has_no_truth() -> None:
    with pytest.raises(UserError, match="Record a second seed"):
        denoise(table_of(PAPER.draw(5, SPACE).noise[:1]))


def test_a_fresh_truth_shares_levels_and_not_noise_between_replications() -> None:
    world = recorded.world("masa_d1", "fresh", 2)
    one, other = world.draw(0), world.draw(1)
    assert np.array_equal(one.values, other.values) and not np.array_equal(one.noise, other.noise)
    assert np.array_equal(one.noise, world.draw(0).noise)
    assert one.bounds == (-1.0, 1.0) and one.rungs == (1.0,)
    seen = {score for by_seed in load("masa_d1").scores().values() for score in by_seed.values()}
    drawn = np.round(one.values + one.noise[0], 4)
    assert np.mean(np.isin(drawn, sorted(seen))) < 0.5, "noise is drawn anew, scores are not repeated"


def test_a_held_out_seed_is_the_judge_and_no_trial() -> None:
    truth, scores = recorded.world("masa_d1", "held_out", 1).draw(7), load("masa_d1").scores()
    fewest = min(map(len, scores.values()))
    assert truth.seeds == tuple(range(fewest - 1))
    for number, design in enumerate(truth.designs):
        shown = [truth.report(design, seed) for seed in truth.seeds]
        assert sorted([*shown, truth.values[number]])[:fewest] == pytest.approx(sorted(scores[design].values()))
    best = truth.designs[int(truth.values.argmax())]
    assert truth.regret(best) < 0, "the luckiest held-out score lies above the best denoised value"


def test_costs_are_in_proportion_to_the_space() -> None:
    assert recorded.costs("masa_d1") == (10, 22, 43, 60)
    assert recorded.scaled((10, 22, 43, 60), 108) == (5, 11, 22, 30)
    assert recorded.scaled((10, 22, 43, 60), 72) == (3, 7, 14, 20)


@pytest.mark.parametrize("protocol", recorded.PROTOCOLS)
def test_every_kind_of_search_runs_on_a_table(protocol: str) -> None:
    world = recorded.world("masa_d1", protocol, 2)
    regrets = run_contest(world, ["random+named", "adaptive"], costs=(6, 8))
    assert all(abs(values).max() < 1.2 for by_cost in regrets.values() for values in by_cost.values())


def test_the_command_tells_what_a_table_is_and_what_it_cannot_do() -> None:
    arguments = ["bench", "search", "recorded", "--table", "masa_d1", "--repeats", "2", "--jobs", "1"]
    shown = CliRunner().invoke(app, [*arguments, "--method", "random", "--protocol", "fresh"]).stdout
    assert "recorded/masa_d1/fresh: denoised truth, fresh noise" in shown
    assert "216 designs" in shown and "Standard error of a difference" in " ".join(shown.split())
    for wrong, told in (
        (["--table", "masa_d9"], "Unknown table"),
        (["--protocol", "stale"], "Unknown protocol"),
        (["--method", "asha_random"], "no scores at rungs"),
    ):
        done = CliRunner().invoke(app, [*arguments[:3], *wrong])
        assert done.exit_code != 0 and told in (done.stderr + str(done.exception or ""))
