"""Methods of data and training axes, also from outside the package: every hook, and what a preparation offers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from helpers import extra_methods
from helpers.plans import plan_of
from helpers.run_trial import run_trial

from sde_ray.config.load import check
from sde_ray.config.trial import Generation, Train, TrialConfig
from sde_ray.design.designs import make_design
from sde_ray.errors import UserError
from sde_ray.plugins import trust
from sde_ray.training.curation import methods_of
from sde_ray.training.runner import RunnerResources
from sde_ray.training.trial_runner import TrialRunner
from sde_ray.training.worker_group import WorkerGroup

BUSY, ROUNDS = "helpers.extra_methods:BUSY", "helpers.extra_methods:ROUNDS"


@pytest.fixture(scope="module")
def runner() -> Iterator[TrialRunner]:
    trust("helpers.extra_methods", "builtins")
    one = TrialRunner(WorkerGroup(RunnerResources(), in_process=True))
    yield one
    one.close()


@pytest.fixture
def plain(tiny_llama: Path) -> TrialConfig:
    train, short = Train(learning_rate=1e-2, train_batch_size=4), Generation(max_new_tokens=4)
    return TrialConfig("masa:d1", make_design(), str(tiny_llama), 1, 12, 2, train=train, generation=short)


def with_option(config: TrialConfig, option: str, axis: str = BUSY) -> TrialConfig:
    return replace(config, design=make_design(**{axis: option}))


def test_hooks_that_change_nothing_and_a_preparation_leave_the_training_as_it_is(
    runner: TrialRunner, plain: TrialConfig, tmp_path: Path
) -> None:
    """Training and asking a model before the trial's own training does not move a digit of it."""
    results = {
        option: run_trial(runner, with_option(plain, option), tmp_path / option)
        for option in ("off", "plain", "busy", "half")
    }
    assert {result.status for result in results.values()} == {"finished"}, [one.error for one in results.values()]
    assert results["off"].key == plain.key and results["off"].curation == {}
    assert results["off"].losses == results["plain"].losses == results["busy"].losses
    assert results["off"].scores == results["plain"].scores == results["busy"].scores
    assert results["plain"].curation == {"samples": 12, f"{BUSY}/dropped": 0}
    counted = {name.rpartition("/")[2]: number for name, number in results["busy"].curation.items()}
    assert counted["prepared_steps"] == 1 and counted["answered"] == 2 and counted["samples"] == 12
    assert results["half"].curation == {"samples": 6, f"{BUSY}/dropped": 6}
    assert len(results["half"].losses) == 2 and len(results["off"].losses) == 3


def test_what_is_remembered_is_made_once_a_trial(runner: TrialRunner, plain: TrialConfig, tmp_path: Path) -> None:
    extra_methods.MADE.clear()
    config = with_option(plain, "busy")
    first = run_trial(runner, config, tmp_path / "trial")
    again = run_trial(runner, config, tmp_path / "trial")
    assert [config.key] == extra_methods.MADE
    assert again.losses == first.losses
    assert again.curation[f"{BUSY}/answered"] == first.curation[f"{BUSY}/answered"] == 2
    (tmp_path / "trial" / "curation" / "answers.json").write_text('{"key": "other", "value": 1, "counts": {}}')
    run_trial(runner, config, tmp_path / "trial")
    assert [config.key] * 2 == extra_methods.MADE


def test_a_method_that_leaves_no_sample_fails_its_trial_in_one_sentence(
    runner: TrialRunner, plain: TrialConfig, tmp_path: Path
) -> None:
    result = run_trial(runner, with_option(plain, "none"), tmp_path)
    assert result.status == "failed"
    assert f"{BUSY}=none leaves no sample to train on, of 12" in result.error


def test_a_carrier_must_be_a_method(runner: TrialRunner, plain: TrialConfig) -> None:
    with pytest.raises(UserError, match='"builtins:dict" is no method: it must be a subclass of'):
        methods_of(with_option(plain, "on", "helpers.extra_methods:NOT_A_METHOD"))


def test_an_axis_with_one_rung_gives_its_sweep_one() -> None:
    axes = {ROUNDS: ["off", "busy"], "reasoning": "none", "labels": "text"}
    made = plan_of(axes=axes, search={"method": "adaptive", "n_trials": 40}, train_sizes=2000)
    assert {trial.rungs for trial in made.trials} == {(1.0,)}
    assert any("scored at the end of the training only" in line for line in made.curation)
    with pytest.raises(UserError, match=r"scored at the end of their training only. Leave out search\.rungs"):
        check({"name": "x", "task": "masa:d1", "axes": axes, "search": {"method": "random", "asha": {}}})
