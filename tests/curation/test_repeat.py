"""Repetition: the same number of samples and steps from fewer of them, and dropout that sets in late."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.run_trial import run_trial

from sde_ray.config.curation import Curation, Repeat
from sde_ray.config.trial import Generation, Lora, Train, TrialConfig
from sde_ray.data import draw
from sde_ray.design.designs import make_design
from sde_ray.sweep.curation import carried_out
from sde_ray.tasks import get_task
from sde_ray.training.batching import batch_indices
from sde_ray.training.curation import methods_of
from sde_ray.training.runner import RunnerResources
from sde_ray.training.trial_runner import TrialRunner
from sde_ray.training.worker_group import WorkerGroup

TRAIN = Train(learning_rate=5e-3, train_batch_size=4)
SHORT = Generation(max_new_tokens=4)


def trial(dropout_from: float = 0.0, dropout: float = 0.1, size: int = 16, **options: object) -> TrialConfig:
    config = TrialConfig("masa:d1", make_design(**options), "tiny", 1, size, 2, train=TRAIN, generation=SHORT)
    curation = Curation(repeat=Repeat(dropout_from=dropout_from))
    return carried_out(replace(config, curation=curation, lora=Lora(lora_dropout=dropout)))


@pytest.fixture(scope="module")
def runner() -> Iterator[TrialRunner]:
    one = TrialRunner(WorkerGroup(RunnerResources(), in_process=True))
    yield one
    one.close()


@pytest.mark.parametrize(("size", "times"), [(16, 4), (16, 16), (18, 4), (40, 3), (7, 2)])
@pytest.mark.parametrize("epochs", [1.0, 2.5])
def test_as_many_samples_are_seen_in_as_many_steps(size: int, times: int, epochs: float) -> None:
    config = replace(trial(size=size, repeat=times), train=TRAIN.model_copy(update={"num_train_epochs": epochs}))
    (method,) = methods_of(config)
    plain = batch_indices(size, config.train, config.seed)
    samples: list[Any] = [None] * (size // times)
    steps = method.steps([], samples)
    assert list(map(len, steps)) == list(map(len, plain))
    seen = Counter(index for step in steps for index in step)
    assert sorted(seen) == list(range(size // times))
    assert max(seen.values()) - min(seen.values()) <= 1


def test_the_parts_are_nested_and_begin_the_plain_draw() -> None:
    drawn = draw(get_task("masa:d1").load("train"), 16, 1)
    parts = {}
    for times in (2, 4, 8):
        (method,) = methods_of(trial(repeat=times))
        parts[times] = list(method.examples(drawn, None))  # type: ignore[arg-type]
        assert parts[times] == drawn[: 16 // times]
    assert parts[8] == parts[4][:2] == parts[2][:2]


def test_neutral_options_and_the_configured_rate_run_as_plain_to_the_digit(runner: TrialRunner, tmp_path: Path) -> None:
    plain = run_trial(runner, trial(), tmp_path / "plain")
    neutral = run_trial(runner, trial(repeat=1, learning_rate="configured"), tmp_path / "neutral")
    same = run_trial(runner, trial(learning_rate=5e-3, lora_r=8, num_train_epochs=1), tmp_path / "same")
    assert plain.status == "finished" and len(plain.losses) == 4, plain.error
    assert plain.losses == neutral.losses == same.losses
    assert plain.scores == neutral.scores == same.scores
    assert plain.tokens == neutral.tokens == same.tokens and not plain.curation
    other = run_trial(runner, trial(learning_rate=1e-3), tmp_path / "other")
    assert other.losses[0] == plain.losses[0] and other.losses[-1] != plain.losses[-1]


def test_dropout_sets_in_late_and_a_resumed_trial_goes_on_with_it(runner: TrialRunner, tmp_path: Path) -> None:
    none = run_trial(runner, trial(dropout=0.0, repeat=4), tmp_path / "none")
    early = run_trial(runner, trial(repeat=4), tmp_path / "early")
    config = replace(trial(dropout_from=0.75, repeat=4), rungs=(0.5, 1.0))
    late = run_trial(runner, config, tmp_path / "late")
    assert none.status == early.status == late.status == "finished", none.error + early.error + late.error
    assert late.curation == {"samples": 4.0}
    assert len(late.losses) == len(none.losses) == 4
    assert late.losses[:3] == none.losses[:3] and late.losses[3] != none.losses[3]
    assert early.losses[1] != none.losses[1]  # of the first step, the adapter does not yet say anything
    runner.start(config, tmp_path / "cut")
    runner.train_rung(0)
    again = TrialRunner(WorkerGroup(RunnerResources(), in_process=True))
    resumed = again.start(config, tmp_path / "cut")
    assert len(resumed.rungs) == 1, resumed.note
    again.train_rung(1)
    result = again.finish()
    again.close()
    assert result.losses == late.losses and result.scores == late.scores
    runner.finish("failed", "cut off")
