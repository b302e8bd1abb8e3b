"""Simulated worlds have the truth that they state."""

from __future__ import annotations

import numpy as np
import pytest

from sde_ray.bench.calibration.intervals import effect_truth, pair_truth
from sde_ray.bench.worlds import (
    BASE,
    CLASSES,
    SPACE,
    WORLDS,
    Noise,
    World,
    answers,
    draw_world,
    kappa,
    observe,
    one_at_a_time,
    share_of_kappa,
    with_noise,
)
from sde_ray.metrics.label import SENTIMENT, weighted_kappa
from sde_ray.tasks import get_task


@pytest.mark.parametrize("kind", ["A", "F", "G"])
def test_the_mean_over_many_seeds_and_items_is_the_truth(kind: str) -> None:
    random = np.random.default_rng(1)
    world, designs = draw_world(kind, random), [SPACE[5], BASE]
    trials = [(design, seed) for design in designs for seed in range(60)]
    scores = np.mean([observe(world, trials, random, 600).scores for _ in range(5)], axis=0).reshape(2, -1)
    assert scores.mean(axis=1) == pytest.approx([world.truth(design) for design in designs], abs=0.02)


def test_the_score_is_the_papers_weighted_kappa() -> None:
    """The project's own metric gives the same number for the same answers."""
    counts = answers(draw_world("A", np.random.default_rng(2)), [(BASE, 0)], np.random.default_rng(3), 50)[0]
    seen = observe(draw_world("A", np.random.default_rng(2)), [(BASE, 0)], np.random.default_rng(3), 50)
    task = get_task("masa:d1")
    order = [SENTIMENT.index(task.numbers[label]) for label in task.labels or ()] + [len(SENTIMENT)]
    gold, predicted, agreed = np.split(counts.sum(axis=0), [4, 8])
    expected = weighted_kappa(task, {"gold": gold[order], "predicted": predicted[order], "agreement": agreed[0]})
    assert seen.scores == [pytest.approx(float(expected))]


def test_kappa_and_its_inverse() -> None:
    shares = np.linspace(0.2, 1.0, 9)
    assert share_of_kappa(kappa(shares)) == pytest.approx(shares)
    assert kappa(np.ones(1)) == pytest.approx(1.0) and np.all(np.diff(kappa(shares)) > 0)
    assert CLASSES.sum() == pytest.approx(1.0)


def test_worlds_have_the_effects_that_they_state() -> None:
    world = World(np.where([d["format"] == "lines" for d in SPACE], 0.7, 0.6), np.full(216, 0.01), Noise(), "raw")
    assert effect_truth(world, "format", "lines", "natural") == pytest.approx(0.1)
    assert effect_truth(world, "format", "lines", "natural", within=True) == pytest.approx(0.1)
    assert pair_truth(world, ("format", "labels"), ("lines", "number"), ("natural", "text")) == pytest.approx(0)
    both = np.array([d["format"] == "lines" and d["labels"] == "number" for d in SPACE])
    interacting = World(np.where(both, 0.7, 0.6), np.full(216, 0.01), Noise(), "raw")
    assert pair_truth(interacting, ("format", "labels"), ("lines", "number"), ("natural", "text")) == pytest.approx(0.1)
    assert np.ptp(draw_world("equal", np.random.default_rng(0)).everything) < 1e-12
    assert len(one_at_a_time()) == 10 and one_at_a_time()[0] == BASE and len(SPACE) == 216
    assert max(draw_world("E", np.random.default_rng(0)).everything) < 1.0


def test_seeds_items_and_options_move_trials_as_the_table_says() -> None:
    """Crossed seeds move all designs of one seed alike; unequal noise differs by design; a factor multiplies it."""
    random = np.random.default_rng(3)
    trials = [(design, seed) for design in SPACE[:40] for seed in range(6)]

    def by_seed(noise: Noise) -> np.ndarray:
        world = World(np.full(216, 0.6), np.full(216, 0.01), noise, "raw")
        return np.reshape(observe(world, trials, random, 400).scores, (40, 6))

    apart, crossed = by_seed(Noise()), by_seed(Noise(crossed=0.05))
    assert crossed.mean(axis=0).std() > 5 * apart.mean(axis=0).std()
    optional = by_seed(Noise(seed_option=0.1))
    assert (optional - optional.mean(axis=0)).std() > 2 * (apart - apart.mean(axis=0)).std()
    assert np.ptp(draw_world("A", random).deviations) == 0 and np.ptp(draw_world("B", random).deviations) > 0.1
    noisy = with_noise(draw_world("A", random), {BASE: 4.0})
    assert noisy.deviations.max() == pytest.approx(4 * noisy.deviations.min())


def test_items_are_shared_by_trials() -> None:
    """Trials of the same items go up and down together, more so within a design."""
    random = np.random.default_rng(4)
    trials = [(design, seed) for design in SPACE[:12] for seed in (0, 1)]
    right = answers(draw_world("equal", random), trials, random, 3000)[:, :, 8]
    alike = np.corrcoef(right)
    within = np.mean([alike[2 * n, 2 * n + 1] for n in range(12)])
    between = np.mean([alike[2 * n, 2 * n + 3] for n in range(11)])
    assert 0.2 < between < within < 0.9


def test_every_kind_can_be_drawn_and_seen() -> None:
    for kind in WORLDS:
        seen = observe(draw_world(kind, np.random.default_rng(5)), [(BASE, 0), (SPACE[9], 1)], np.random.default_rng(6))
        assert [result.key for result in seen.results] == list(seen.items)
        scores = [float(one.scores([np.ones((1, 150))])[0]) for one in seen.items.values()]
        assert scores == pytest.approx(seen.scores)
