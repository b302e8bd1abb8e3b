"""The calibration measures what it says: worlds with the truth that they state, and tables that count it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer import Typer
from typer.testing import CliRunner

from sde_ray.analysis.response_surface import fit_response_surface
from sde_ray.bench import calibration
from sde_ray.bench.calibration import (
    HALF_WIDTH_SUFFIX,
    Setting,
    _means,
    coverage,
    effect_truth,
    equal_controls,
    equal_world,
    false_claims,
    measure,
    pair_truth,
)
from sde_ray.bench.worlds import BASE, SPACE, draw_world, observe, one_at_a_time, outcomes
from sde_ray.cli.bench.calibration import calibration as command


def test_the_mean_of_very_many_answers_is_the_truth() -> None:
    random = np.random.default_rng(1)
    world = draw_world(random, interactions=True)
    designs = [SPACE[3], SPACE[100]]
    right = np.mean([outcomes(world, designs, 40, random, 400).reshape(2, -1).mean(axis=1) for _ in range(60)], axis=0)
    assert right == pytest.approx([world.truth(design) for design in designs], abs=0.01)


def test_worlds_have_the_effects_that_they_state() -> None:
    world = draw_world(np.random.default_rng(2), interactions=False)
    average = effect_truth(world, "format", "lines", "natural", within=False)
    assert average == pytest.approx(effect_truth(world, "format", "lines", "natural", within=True))  # nothing interacts
    assert pair_truth(world, ("format", "labels"), ("lines", "number"), ("natural", "text")) == pytest.approx(
        0, abs=1e-9
    )
    other = draw_world(np.random.default_rng(2), interactions=True)
    chosen = [(a, b) for a in ("lines", "json") for b in ("cot", "rcot")]
    pairs = [pair_truth(other, ("format", "reasoning"), pair, ("natural", "none")) for pair in chosen]
    assert max(map(abs, pairs)) > 0.005
    assert len(set(equal_world().scores.values())) == 1
    assert len(one_at_a_time()) == 10 and one_at_a_time()[0] == BASE and len(SPACE) == 216


def test_items_are_shared_and_seeds_differ() -> None:
    """Trials of the same items go up and down together, more so within a design."""
    random = np.random.default_rng(3)
    right = outcomes(equal_world(), SPACE[:12], 2, random, 4000)
    alike = np.corrcoef(right)
    within = np.mean([alike[2 * n, 2 * n + 1] for n in range(12)])
    between = np.mean([alike[2 * n, 2 * n + 3] for n in range(11)])
    assert 0.2 < between < within < 0.7
    seen = observe(equal_world(), SPACE[:2], (0, 1), random)
    assert [trial.key for trial in seen.trials] == [result.key for result in seen.results] == list(seen.items)
    scores = [one.scores([np.ones((1, 200))])[0] for one in seen.items.values()]
    assert scores == pytest.approx([result.scores["dev"]["accuracy"] for result in seen.results])


def test_intervals_of_a_fraction_hold_the_truth() -> None:
    """A rough count, for each way in which a sweep can be small; the command counts more."""
    for setting in (Setting(10, 2, False), Setting(24, 2, True), Setting(24, 3, False)):
        held = np.mean([coverage(setting, n)["effects"] for n in range(15)])
        assert 0.88 <= held <= 1.0, setting


def test_interactions_are_never_ruled_out_so_designs_not_tried_stay_uncertain() -> None:
    """24 designs cannot tell weak pairs from none: every draw of what may be true has some."""
    random = np.random.default_rng(4)
    designs = Setting(24, 2, False).draw(random)
    seen = observe(draw_world(random, interactions=False), designs, (0, 1), random)
    fitted = fit_response_surface(
        [trial.design for trial in seen.trials], [one.scores["dev"]["accuracy"] for one in seen.results]
    )
    assert fitted.draws is not None
    assert np.abs(fitted.draws[:, fitted.coding.num_free :]).max(axis=1).min() > 0


def test_one_trial_a_design_and_no_design_to_spare_has_no_interval() -> None:
    assert coverage(Setting(10, 1, False), 0) == {}
    assert {"effects", "differences", "width"} <= set(coverage(Setting(24, 1, False), 0))  # spare designs tell it


def test_pairs_that_do_nothing_are_counted_apart() -> None:
    """Their estimates are drawn to 0, which is the truth: they would flatter the count of those that are real."""
    assert "interactions" not in coverage(Setting(24, 2, False), 0) and "null pairs" in coverage(
        Setting(24, 2, False), 0
    )
    mixed = coverage(Setting(216, 2, True), 0)
    assert {"interactions", "real pairs"} <= set(mixed) and "null pairs" not in mixed


def test_a_share_says_how_sure_it_is() -> None:
    """Of 36 sweeps none: that is not never. Of 100, half: plus or minus 0.1."""
    none, half = _means([{"x": 0.0}] * 36), _means([{"x": float(n % 2)} for n in range(100)])
    assert none["x"] == 0 and 0.05 < none["x" + HALF_WIDTH_SUFFIX] < 0.1
    assert half["x"] == 0.5 and half["x" + HALF_WIDTH_SUFFIX] == pytest.approx(0.098, abs=0.005)
    wide = _means([{"x": value} for value in (0.8, 1.0, 0.9, 0.7)])
    assert wide["x" + HALF_WIDTH_SUFFIX] == pytest.approx(1.96 * np.std([0.8, 1.0, 0.9, 0.7], ddof=1) / 2, abs=1e-3)
    assert _means([{"x": 0.3}])["x" + HALF_WIDTH_SUFFIX] == 1.0  # a single sweep says nothing of its own error


def test_claims_are_rare_where_nothing_is_true() -> None:
    counted = [false_claims(Setting(24, 2, False), n) for n in range(20)]
    assert np.mean([one["a design leads"] for one in counted]) <= 0.15
    assert np.mean([equal_controls(Setting(10, 3, False), n)["wrong better"] for n in range(20)]) <= 0.15


def test_the_command_prints_tables_and_json(monkeypatch: pytest.MonkeyPatch) -> None:
    made = measure(2, 1, settings=[Setting(10, 2, False)])
    assert set(made) == {"coverage", "nothing", "verdict", "forced"}
    assert made["coverage"][0] | {"designs": 10, "seeds": 2, "sweeps": 2} == made["coverage"][0]
    assert measure(2, 1, settings=[Setting(10, 2, False)]) == made  # the same seed, the same numbers
    monkeypatch.setattr(calibration, "measure", lambda *_: made)
    app = Typer()
    app.command()(command)
    shown = CliRunner().invoke(app, ["--json"])
    assert json.loads(shown.stdout) == made
    printed = CliRunner().invoke(app, []).stdout
    assert "hold the truth" in printed and "±" in printed and HALF_WIDTH_SUFFIX not in printed
