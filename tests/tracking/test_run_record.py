"""What MLflow has of a trial beside its scores: curves, while it trains, data set, source, and what it was run for."""

from __future__ import annotations

import itertools
import math
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sde_ray.config.trial import TrialConfig
from sde_ray.design.designs import make_design
from sde_ray.storage.layout import TRAIN_LOG, TRIALS
from sde_ray.storage.train_log import TrainLog, TrainStep
from sde_ray.tracking import background, mlflow_tracker
from sde_ray.tracking.background import BackgroundTracker
from sde_ray.tracking.mlflow_tracker import MlflowTracker
from sde_ray.tracking.provenance import _git_tags, dataset_input, provenance_tags
from sde_ray.tracking.run_data import MAX_POINTS, curve_metrics, train_metrics
from sde_ray.types import TrialResult

STEPS = [TrainStep(n, 2.0 / n, 1e-3 / n) for n in range(1, 13)]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    yield f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


def trial(seed: int = 0, **changes: Any) -> TrialConfig:
    return TrialConfig("masa:d1", make_design(), "tiny", seed, 100, 20, data="0123456789abcdef", **changes)


def ended(config: TrialConfig) -> TrialResult:
    losses = tuple(one.loss for one in STEPS)
    return TrialResult(config.key, config.resolved(), "finished", {"dev": {"f1": 0.5}}, losses=losses)


def track(
    store: str, folder: Path, results: list[TrialResult] | None = None, phase: str = "validation"
) -> MlflowTracker:
    tracker = MlflowTracker(store, test_phase=phase)
    tracker.on_sweep_start("quick", {"name": "quick"}, folder, results or [])
    return tracker


def run_of(tracker: MlflowTracker, config: TrialConfig) -> Any:
    return tracker.client.get_run(tracker.children[config.key])


def curve(tracker: MlflowTracker, config: TrialConfig, name: str = "train/loss") -> list[tuple[int, float]]:
    history = tracker.client.get_metric_history(tracker.children[config.key], name)
    return [(one.step, one.value) for one in sorted(history, key=lambda one: one.step)]


# ---- curves ----------------------------------------------------------------------------------------------------------


def test_the_curves_of_a_trial_are_there_step_by_step(store: str, tmp_path: Path) -> None:
    tracker, config = track(store, tmp_path), trial()
    folder = tmp_path / TRIALS / config.key
    folder.mkdir(parents=True)
    TrainLog(folder / TRAIN_LOG).append(STEPS)
    tracker.on_trial_end(ended(config), folder)
    assert curve(tracker, config) == [(one.step, one.loss) for one in STEPS]
    assert curve(tracker, config, "train/learning_rate") == [(one.step, one.learning_rate) for one in STEPS]


def test_what_was_logged_while_it_trained_is_not_logged_again(store: str, tmp_path: Path) -> None:
    tracker, config = track(store, tmp_path), trial()
    tracker.on_trial_start(config)
    tracker.log_train_steps(config, STEPS[:5])
    assert curve(tracker, config) == [(one.step, one.loss) for one in STEPS[:5]]
    tracker.on_trial_end(ended(config), tmp_path)
    assert curve(tracker, config) == [(one.step, one.loss) for one in STEPS]


def test_a_curve_grows_while_its_trial_trains(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "CURVE_INTERVAL_S", 0.05)
    tracker, config = BackgroundTracker(MlflowTracker(store), list), trial()
    tracker.on_sweep_start("quick", {}, tmp_path)
    folder = tmp_path / TRIALS / config.key
    folder.mkdir(parents=True)
    log = TrainLog(folder / TRAIN_LOG)
    tracker.on_trial_start(config)
    for part in (STEPS[:4], STEPS[4:9]):
        log.append(part)
        deadline = time.monotonic() + 60
        while tracker._curves.get(config.key) != part[-1].step and time.monotonic() < deadline:
            time.sleep(0.01)
        assert curve(tracker.tracker, config)[-1] == (part[-1].step, part[-1].loss)
    tracker.on_trial_end(ended(config), folder)
    tracker.on_sweep_end()
    assert curve(tracker.tracker, config) == [(one.step, one.loss) for one in STEPS]


def test_a_long_curve_is_thinned_evenly_and_ends_with_its_last_step() -> None:
    steps = [TrainStep(n, 1.0 / n, 0.1) for n in range(1, 5001)]
    shown = [step for name, _, step in curve_metrics(steps) if name == "train/loss"]
    assert MAX_POINTS / 2 < len(shown) <= MAX_POINTS and shown[-1] == 5000
    assert {after - before for before, after in itertools.pairwise(shown)} == {25}


def test_a_trial_without_a_log_has_its_losses_and_no_learning_rate() -> None:
    assert {name for name, _, _ in train_metrics(ended(trial()), [])} == {"train/loss"}
    bad = replace(ended(trial()), losses=(1.0, math.nan))
    assert [(name, step) for name, _, step in train_metrics(bad, [])] == [("train/loss", 1)]


# ---- data set, source ------------------------------------------------------------------------------------------------


def test_the_data_set_is_an_input_of_each_trial_with_its_digest(store: str, tmp_path: Path) -> None:
    tracker, config = track(store, tmp_path), trial()
    tracker.on_trial_end(ended(config), tmp_path)
    (given,) = run_of(tracker, config).inputs.dataset_inputs
    assert (given.dataset.name, given.dataset.digest) == ("masa:d1", "0123456789abcdef")
    assert {tag.key: tag.value for tag in given.tags} == {"mlflow.data.context": "training"}


def test_a_task_of_a_file_is_called_by_its_own_name() -> None:
    assert dataset_input({"task": "runs/x/tasks/hotels.yaml", "data": "00"}).dataset.name == "hotels"


def test_a_run_says_where_it_comes_from(store: str, tmp_path: Path) -> None:
    tracker, config = track(store, tmp_path), trial()
    tracker.on_trial_end(ended(config), tmp_path)
    parent, child = tracker.client.get_run(tracker.parent).data.tags, run_of(tracker, config).data.tags
    assert "torch " in parent["sde.versions"] and "CPUs" in parent["sde.hardware"]
    assert child["mlflow.source.type"] == parent["mlflow.source.type"] == "LOCAL"
    assert "sde.versions" not in child  # of thousands of trials each would have the same


def test_the_commit_is_that_of_the_folder_where_the_command_was_given(tmp_path: Path) -> None:
    assert _git_tags(tmp_path) == {}
    git = ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@y", "-c", "commit.gpgsign=false"]
    subprocess.run([*git, "init", "-q", "-b", "trunk"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    tags = _git_tags(tmp_path)
    assert len(tags["mlflow.source.git.commit"]) == 40 and tags["mlflow.source.git.branch"] == "trunk"


def test_the_arguments_of_the_command_are_not_among_the_tags(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "sys.argv", ["/venv/bin/sde-ray", "run", "x.yaml", "--set", "mlflow.tracking_uri=http://u:hush@h"]
    )
    provenance_tags.cache_clear()
    assert provenance_tags()["mlflow.source.name"] == "sde-ray run"
    assert "hush" not in str(provenance_tags())
    provenance_tags.cache_clear()


# ---- what a trial was run for ----------------------------------------------------------------------------------------


def test_trials_of_the_final_comparison_are_below_a_run_of_their_own(store: str, tmp_path: Path) -> None:
    tracker, searched, final = track(store, tmp_path), trial(), trial(101, splits=("test",))
    for config in (searched, final):
        tracker.on_trial_end(ended(config), tmp_path)
    robust = trial(102, splits=("test",))
    tracker.on_sweep_end()
    again = track(store, tmp_path, [ended(searched), ended(final)], phase="robustness")
    again.on_trial_end(ended(robust), tmp_path)
    again.on_sweep_end()
    phases = {config.seed: run_of(again, config).data.tags for config in (searched, final, robust)}
    assert [phases[seed]["sde.phase"] for seed in (0, 101, 102)] == ["search", "validation", "robustness"]
    assert phases[0]["mlflow.parentRunId"] == again.parent
    for seed, name in ((101, "quick · final comparison"), (102, "quick · robustness")):
        above = again.client.get_run(phases[seed]["mlflow.parentRunId"])
        assert (above.info.run_name, above.info.status) == (name, "FINISHED")
        assert above.data.tags["mlflow.parentRunId"] == again.parent
    again.parent, before = "", again.parent
    third = track(store, tmp_path, [ended(one) for one in (searched, final, robust)])
    assert third.parent == before and third._phase_runs == again._phase_runs  # found again, not made anew


def test_what_an_earlier_version_has_logged_is_completed(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, final = trial(), trial(101, splits=("test",))
    with monkeypatch.context() as earlier:
        earlier.setattr(mlflow_tracker, "RECORD", "1")  # what is written; trial_run.py knows what is expected
        earlier.setattr(MlflowTracker, "_trial_tags", lambda self, *given: {"mlflow.parentRunId": self.parent})
        earlier.setattr(mlflow_tracker, "train_metrics", lambda *given: [])
        earlier.setattr(mlflow_tracker, "dataset_input", lambda config: dataset_input({"task": "x"}))
        old = track(store, tmp_path, [ended(config), ended(final)])
    new = track(store, tmp_path, [ended(config), ended(final)])
    assert new.children == old.children  # the same runs
    assert run_of(new, config).data.tags["sde.phase"] == "search"
    assert run_of(new, final).data.tags["mlflow.parentRunId"] == new._phase_runs["validation"]
    assert len(curve(new, config)) == len(STEPS)
