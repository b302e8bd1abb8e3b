"""Filter and mix where the truth is planted: they help where the own data are spoilt, and not where the others are."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.run_trial import run_trial
from scipy import stats

from sde_ray.config.curation import Curation, Filter, Mix
from sde_ray.config.trial import Train, TrialConfig
from sde_ray.design.designs import make_design
from sde_ray.sweep.curation import carried_out
from sde_ray.tasks import get_task
from sde_ray.training.runner import RunnerResources
from sde_ray.training.trial_runner import TrialRunner
from sde_ray.training.worker_group import WorkerGroup
from sde_ray.types import Example

SEEDS, SIZE, ITEMS = (0, 1, 2), 40, 24
SPOILT = 0.8  # of the spoilt set's train texts, the longest ones: their answers are another text's, and they say so
MARK = " \ufffd"

Values = np.ndarray[Any, Any]
Scores = Callable[[str], Values]


def write(folder: Path, splits: Mapping[str, Sequence[Example]]) -> str:
    """The name of `masa:d1` on these examples."""
    folder.mkdir()
    for split, examples in splits.items():
        rows = [
            {"id": one.id, "text": one.text, "answer": {k: v[0] for k, v in one.answer.items()}} for one in examples
        ]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    name = f"masa:d1@{folder}"
    assert [len(get_task(name).load(split)) for split in ("train", "dev")] == [240, ITEMS]
    return name


def spoil(examples: Sequence[Example]) -> list[Example]:
    ordered = sorted(examples, key=lambda one: -len(one.text))
    worst = ordered[: round(SPOILT * len(ordered))]
    answers = [one.answer for one in worst]
    random.Random(0).shuffle(answers)
    spoilt = [replace(one, text=one.text + MARK, answer=answer) for one, answer in zip(worst, answers, strict=True)]
    return [*spoilt, *ordered[len(worst) :]]


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scores]:
    """The dev accuracy [seeds] of each way to choose the samples."""
    folder, task = tmp_path_factory.mktemp("planted"), get_task("masa:d1")
    train, dev = task.load("train"), task.load("dev")
    held = {"dev": dev[:ITEMS], "test": dev[ITEMS : 2 * ITEMS]}
    spoilt = write(folder / "spoilt", {"train": spoil(train[:240]), **held})
    clean = write(folder / "clean", {"train": train[240:480], **held})
    ways: dict[str, tuple[str, dict[str, float], Curation]] = {
        "spoilt": (spoilt, {}, Curation()),
        "spoilt, by rules": (spoilt, {"filter": 1}, Curation()),
        "spoilt, the longest": (spoilt, {"filter": 0.5}, Curation(filter=Filter(score="length", rules=()))),
        "spoilt, replaced by clean": (spoilt, {"mix": 1}, Curation(mix=Mix(task=clean))),
        "clean": (clean, {}, Curation()),
        "clean, mixed with spoilt": (clean, {"mix": 0.75}, Curation(mix=Mix(task=spoilt))),
    }
    runner = TrialRunner(WorkerGroup(RunnerResources(), in_process=True))

    @cache
    def measure(way: str) -> Values:
        name, options, curation = ways[way]
        design = make_design(format="lines", unmentioned="omit", **options)
        train_settings = Train(learning_rate=6e-3, train_batch_size=4)
        plain = [TrialConfig(name, design, "tiny", seed, SIZE, ITEMS, train=train_settings) for seed in SEEDS]
        trials = [carried_out(replace(one, curation=curation)) for one in plain]
        results = [run_trial(runner, one, folder / one.key) for one in trials]
        assert {one.status for one in results} == {"finished"}, results[0].error
        return np.array([one.scores["dev"]["accuracy"] for one in results])

    yield measure
    runner.close()


def interval(scores: Scores, way: str, reference: str) -> tuple[float, float]:
    """95% interval of the mean paired difference over seeds."""
    differences = scores(way) - scores(reference)
    half = stats.t.ppf(0.975, len(SEEDS) - 1) * differences.std(ddof=1) / len(SEEDS) ** 0.5
    return float(differences.mean() - half), float(differences.mean() + half)


@pytest.mark.slow
def test_rules_help_where_spoilt_texts_can_be_told(scores: Scores) -> None:
    assert interval(scores, "spoilt, by rules", "spoilt")[0] > 0


@pytest.mark.slow
def test_a_score_that_prefers_the_spoilt_texts_does_not_help(scores: Scores) -> None:
    assert interval(scores, "spoilt, the longest", "spoilt")[0] <= 0


@pytest.mark.slow
def test_another_set_helps_where_it_is_better_than_the_own(scores: Scores) -> None:
    assert interval(scores, "spoilt, replaced by clean", "spoilt")[0] > 0


@pytest.mark.slow
def test_a_spoilt_set_does_not_help_a_clean_one(scores: Scores) -> None:
    assert interval(scores, "clean, mixed with spoilt", "clean")[1] < 0
