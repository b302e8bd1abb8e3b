"""The calibration measures what it says: worlds with the truth that they state, and tables that count it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer import Typer
from typer.testing import CliRunner

from sde_ray.bench import calibration
from sde_ray.bench.calibration import Setting, coverage, effect_truth, equal_world, forced, measure, nothing, pair_truth
from sde_ray.bench.worlds import BASE, SPACE, draw_world, observe, one_at_a_time, outcomes
from sde_ray.cli.bench_calibration import calibration as command


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
        held = np.mean([coverage(setting, n)["effects"] for n in range(25)])
        assert 0.88 <= held <= 1.0, setting


def test_claims_are_rare_where_nothing_is_true() -> None:
    counted = [nothing(Setting(24, 2, False), n) for n in range(30)]
    assert np.mean([one["a design leads"] for one in counted]) <= 0.15
    assert np.mean([forced(Setting(10, 3, False), n)["wrong better"] for n in range(30)]) <= 0.15


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
    assert "hold the truth" in CliRunner().invoke(app, []).stdout
