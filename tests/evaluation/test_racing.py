"""Racing: who is clearly behind on the first items is given up, who is as good is not, and nothing else changes."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sde_ray.config.load import check
from sde_ray.config.trial import TrialConfig
from sde_ray.design import designs
from sde_ray.design.render import render_sample
from sde_ray.errors import UserError
from sde_ray.evaluation.per_item import TaskItems
from sde_ray.evaluation.racing import ALPHA, Opponent, futility_reason, slices
from sde_ray.sweep.opponents import best_peer
from sde_ray.sweep.plan import make_trial, plan
from sde_ray.sweep.sweep_run import scorer
from sde_ray.tasks import get_task
from sde_ray.types import RungResult, TrialResult

TASK = get_task("masa:d1")
DEV = TASK.load("dev")[:60]
DESIGN = designs.parse_design("es-sde")


def counted(hits: np.ndarray) -> TaskItems:
    """Items that are right or wrong; the metric is the share that is right."""
    rows = np.stack([hits, np.ones_like(hits)], axis=1)
    ids = tuple(map(str, range(len(hits))))
    return TaskItems(ids, rows, lambda totals: np.asarray(totals)[..., 0] / np.asarray(totals)[..., 1])


@pytest.mark.parametrize("looks", [1, 2])
def test_an_equal_design_is_given_up_no_more_often_than_said(looks: int) -> None:
    draw = np.random.default_rng(5)
    lost = 0
    for _ in range(1000):
        ease = draw.uniform(0.2, 0.9, 40)  # some items are hard for both
        one, other = (counted((draw.random(40) < ease).astype(float)) for _ in range(2))
        lost += bool(futility_reason(one, other, looks))
    assert lost / 1000 <= ALPHA / looks + 0.008


def test_a_design_that_is_clearly_worse_is_given_up_with_the_numbers() -> None:
    draw = np.random.default_rng(6)
    good, bad = ((draw.random(40) < share).astype(float) for share in (0.9, 0.3))
    said = futility_reason(counted(bad), counted(good), 2)
    gap = good.mean() - bad.mean()
    assert said.startswith(f"{gap:.3f} behind on the first 40 items [")
    assert futility_reason(counted(good), counted(bad), 2) == ""


def test_slices_hold_every_item_once() -> None:
    for count in (1, 3, 7, 120):
        cut = slices(count, (0.25, 0.5))
        assert [n for place in cut for n in range(count)[place]] == list(range(count))
    assert slices(120, (0.25, 0.5)) == [slice(0, 30), slice(30, 60), slice(60, 120)]


def rival(folder: Path, share: float) -> Opponent:
    """A trial in the ES-SDE design that answers a share of the dev items right and leaves the others empty."""
    folder.mkdir()
    draw = random.Random(1)
    gold = [render_sample(example, TASK, DESIGN, 0).completion.text if draw.random() < share else "" for example in DEV]
    rows = [
        {"split": "dev", "id": example.id, "prediction": text, "task": TASK.name}
        for example, text in zip(DEV, gold, strict=True)
    ]
    (folder / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "config.json").write_text(json.dumps({"design": dict(DESIGN.options)}))
    return Opponent(folder, "weighted_kappa")


def test_a_rival_in_another_design_is_compared_by_what_was_answered(tmp_path: Path) -> None:
    good, json_design = rival(tmp_path / "good", 1.0), designs.make_design(format="json")
    first = DEV[:30]
    right = [render_sample(example, TASK, json_design, 0).completion.text for example in first]
    assert good.reason_to_stop("predictions.jsonl", TASK, json_design, first, [""] * 30, 2) != ""
    assert good.reason_to_stop("predictions.jsonl", TASK, json_design, first, right, 2) == ""


def test_without_the_rivals_answers_or_with_few_items_nobody_is_given_up(tmp_path: Path) -> None:
    good = rival(tmp_path / "good", 1.0)
    assert good.reason_to_stop("predictions.0.jsonl", TASK, DESIGN, DEV[:30], [""] * 30, 2) == ""
    assert good.reason_to_stop("predictions.jsonl", TASK, DESIGN, DEV[:10], [""] * 10, 2) == ""
    strange = [replace(example, id=f"other-{example.id}") for example in DEV[:30]]
    assert good.reason_to_stop("predictions.jsonl", TASK, DESIGN, strange, [""] * 30, 2) == ""


def test_the_rival_is_the_best_of_its_kind_that_was_asked_everything() -> None:
    def result(seed: int, score: float, task: str = "masa:d1", stopped_early: str = "") -> TrialResult:
        trial = TrialConfig(task, DESIGN, "tiny", seed, 40, 20)
        scores = {"dev": {"weighted_kappa": score}}
        rungs = (RungResult(0, 40, scores, stopped_early),)
        return TrialResult(trial.key, trial.resolved(), "pruned" if stopped_early else "finished", scores, rungs=rungs)

    ended = [result(1, 0.5), result(2, 0.7), result(3, 0.9, stopped_early="behind"), result(4, 0.95, task="masa:d2")]
    config = check({"name": "x", "task": ["masa:d1", "masa:d2"], "search": {"racing": [0.25]}})
    trial = TrialConfig("masa:d1", DESIGN, "tiny", 9, 40, 20)
    assert best_peer(config, ended, scorer(config), trial) == ended[1]
    assert best_peer(check({"name": "x", "task": "masa:d1"}), ended, scorer(config), trial) is None


def test_a_final_comparison_does_not_race() -> None:
    config = check({"name": "x", "task": "masa:d1", "search": {"method": "grid", "racing": [0.25, 0.5]}})
    task = get_task("masa:d1")
    assert plan(config).trials[0].interim_looks == (0.25, 0.5)
    assert make_trial(config, task, "tiny", DESIGN, 9, 40, 20, "", rungs=(1.0,)).interim_looks == ()
    with pytest.raises(UserError, match="between 0 and 1"):
        check({"name": "x", "task": "masa:d1", "search": {"racing": [0.5, 1.0]}})
