"""Sweeps on Ray Tune with a planted best design: found, resumed, pruned, failed, sharded. One Ray for the file."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.fake_runner import Fakes
from rich.console import Console

from sde_ray.config.load import check
from sde_ray.config.schema import Resources, SweepConfig
from sde_ray.config.trial import TrialConfig
from sde_ray.design.designs import NAMED, make_design, paper_label
from sde_ray.errors import UserError
from sde_ray.storage.ledger import Ledger
from sde_ray.storage.mirror import LocalFolder
from sde_ray.sweep.callback import SweepCallback
from sde_ray.sweep.cluster.ray_session import bundles, ray_session
from sde_ray.sweep.plan import plan
from sde_ray.sweep.progress import Progress
from sde_ray.sweep.run import SweepOutcome, run_sweep
from sde_ray.sweep.sweep_run import SweepRun
from sde_ray.sweep.tune_job import TuneJob
from sde_ray.testing.planted import BEST, planted
from sde_ray.types import TrialResult

pytestmark = pytest.mark.cluster
FEW: dict[str, Any] = {"axes": {"format": ["natural", "lines"], "reasoning": "none", "labels": "text"}}


@pytest.fixture(scope="module", autouse=True)
def ray_here() -> Iterator[None]:
    with ray_session(Resources(max_concurrent_trials=1)) as at_once:
        assert at_once == 1
        yield


@pytest.fixture
def fakes(tmp_path: Path) -> Fakes:
    return Fakes(tmp_path / "calls.jsonl")


def configure(folder: Path, **values: Any) -> SweepConfig:
    base = {"name": "x", "task": "masa:d1", "train_sizes": 40, "eval_size": 20, "storage_path": str(folder / "runs")}
    base["search"] = {"method": "grid"}
    return check({**base, **values})


def sweep(
    folder: Path, runner: Fakes, tracker: Any = None, shown: io.StringIO | None = None, **values: Any
) -> SweepOutcome:
    progress = Progress(Console(file=shown or io.StringIO(), width=200))
    return run_sweep(configure(folder, **values), runner, tracker, progress)


def ledger_of(folder: Path) -> Ledger:
    return Ledger(folder / "runs" / "x" / "ledger.jsonl")


def score(result: TrialResult) -> float:
    return result.scores["dev"]["weighted_kappa"]


class Tape:
    """A tracker that remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def on_trial_start(self, config: TrialConfig) -> None:
        self.told.append(("started", config.key))

    def on_trial_end(self, result: TrialResult, folder: Path) -> None:
        assert (folder / "result.json").exists()
        self.told.append((result.status, result.key))


def test_a_grid_finds_the_planted_best_in_warm_processes(tmp_path: Path, fakes: Fakes) -> None:
    tape, shown = Tape(), io.StringIO()
    outcome = sweep(tmp_path, fakes, tape, shown, **FEW)
    assert len(outcome.results) == len(outcome.plan.trials) == 25
    assert not outcome.interrupted
    best = max(outcome.results, key=score)
    assert dict(BEST.options) == best.config["design"]
    assert score(best) == planted(BEST, 0)
    begun = fakes.begun()
    assert Counter(call["key"] for call in begun) == Counter(trial.key for trial in outcome.plan.trials)
    assert len({call["pid"] for call in begun}) == 1, "the process is kept from trial to trial"
    assert Counter(what for what, _ in tape.told) == {"started": 25, "finished": 25}
    folder = outcome.folder
    assert json.loads((folder / "resolved.json").read_text())["train"]["learning_rate"] == 1e-4
    axes = {"format": ["natural", "lines"], "reasoning": ["none"], "labels": ["text"]}
    assert yaml.safe_load((folder / "sweep.yaml").read_text())["axes"] == axes
    assert not (folder / ".tune").exists() and not (folder / "lease.json").exists()
    starting, *lines = shown.getvalue().splitlines()
    assert starting.startswith("Starting Ray")
    assert len(lines) == 25 and lines[0].startswith("[1/25] ") and lines[-1].startswith("[25/25] ")
    assert lines[10].endswith(" s left")


def test_the_same_command_again_runs_nothing_and_a_changed_one_only_what_is_new(tmp_path: Path, fakes: Fakes) -> None:
    first = sweep(tmp_path, fakes, designs=["baseline", "es-sde"])
    assert len(fakes.begun()) == 2
    again = sweep(tmp_path, fakes, designs=["baseline", "es-sde"])
    assert len(fakes.begun()) == 2 and again.results == first.results
    shown = io.StringIO()
    more = sweep(tmp_path, fakes, None, shown, designs=["baseline", "es-sde", "ew-sde"], seeds=[0, 1])
    assert len(fakes.begun()) == 6 and len(more.results) == 6
    assert shown.getvalue().startswith("Resuming: 2 of 6 trials are in the ledger.")
    assert len(ledger_of(tmp_path).entries()) == 6


def test_optuna_tries_its_budget_with_all_seeds(tmp_path: Path, fakes: Fakes) -> None:
    outcome = sweep(tmp_path, fakes, seeds=[0, 1], search={"method": "optuna", "n_trials": 6})
    designs = Counter(json.dumps(result.config["design"]) for result in outcome.results)
    assert len(designs) == 6 and set(designs.values()) == {2}
    assert len(fakes.begun()) == len(outcome.results) == outcome.plan.count == 12


def test_asha_prunes_the_weak_and_the_ledger_keeps_what_they_had(tmp_path: Path, fakes: Fakes) -> None:
    outcome = sweep(tmp_path, fakes, **FEW, search={"method": "grid", "asha": {"rungs": [0.25, 0.5, 1.0]}})
    by_status = {status: [r for r in outcome.results if r.status == status] for status in ("finished", "pruned")}
    assert len(by_status["finished"]) + len(by_status["pruned"]) == 25
    assert len(by_status["pruned"]) >= 6
    assert {len(result.rungs) for result in by_status["finished"]} == {3}
    assert {len(result.rungs) for result in by_status["pruned"]} <= {1, 2}
    for result in by_status["pruned"]:
        assert score(result) == result.rungs[-1].scores["dev"]["weighted_kappa"] > 0
    finished = [planted(make_design(**result.config["design"])) for result in by_status["finished"]]
    pruned = [planted(make_design(**result.config["design"])) for result in by_status["pruned"]]
    assert max(finished) == planted(BEST) and sum(finished) / len(finished) > sum(pruned) / len(pruned)
    ended = [(outcome.folder / "trials" / result.key / "ended.txt").read_text() for result in by_status["pruned"]]
    assert set(ended) == {"pruned"}, "a pruned trial's runner is told to end it"
    calls = len(fakes.begun())
    assert (
        sweep(tmp_path, fakes, **FEW, search={"method": "grid", "asha": {"rungs": [0.25, 0.5, 1.0]}}).results
        == outcome.results
    )
    assert len(fakes.begun()) == calls, "a pruned trial is done with"


def test_a_failed_trial_is_data_and_one_of_an_earlier_run_is_tried_again(tmp_path: Path, fakes: Fakes) -> None:
    designs = ["baseline", "es-sde", "ew-sde", "heuristic"]
    trials = {label: trial for trial in plan(configure(tmp_path, designs=designs)).trials for label in [trial.design]}
    before = trials[NAMED["ew-sde"]]
    ledger_of(tmp_path).append(TrialResult(before.key, before.resolved(), "failed", error="an old failure"))
    outcome = sweep(tmp_path, Fakes(fakes.calls, fail="pairs"), designs=designs)
    status = {result.key: result.status for result in outcome.results}
    assert status == {t.key: "failed" if d == NAMED["heuristic"] else "finished" for d, t in trials.items()}
    (failed,) = [result for result in outcome.results if result.status == "failed"]
    assert failed.error == "ValueError: planted failure of pairs"
    assert "in start" in (outcome.folder / "trials" / failed.key / "error.txt").read_text()
    assert len(fakes.begun()) == 4, "an error of the trial's own is not tried twice in a run"
    assert len({call["pid"] for call in fakes.begun()}) == 1, "nor does it cost the warm process"


def test_a_dying_process_is_started_once_more_and_harms_no_other_trial(tmp_path: Path, fakes: Fakes) -> None:
    outcome = sweep(tmp_path, Fakes(fakes.calls, die="pairs"), designs=["heuristic", "es-sde"])
    assert Counter(result.status for result in outcome.results) == {"finished": 1, "failed": 1}
    (failed,) = [result for result in outcome.results if result.status == "failed"]
    assert failed.error.startswith("The trial's process died: ") and len(failed.error) > 40
    assert Counter(call["key"] for call in fakes.begun())[failed.key] == 2


def test_a_hopeless_sweep_is_given_up_early(tmp_path: Path, fakes: Fakes) -> None:
    with pytest.raises(UserError, match="The first 4 trials all failed: ValueError: planted"):
        sweep(tmp_path, Fakes(fakes.calls, fail="*"))
    assert 4 <= len(fakes.begun()) <= 6


def test_a_sweep_in_which_everything_fails_says_why(
    tmp_path: Path, fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail_all(job: TuneJob, *rest: Any) -> bool:
        for trial in job.sweep_run.plan.trials:
            job.sweep_run.record(TrialResult(trial.key, trial.resolved(), "failed", error="no such model"))
        return False

    monkeypatch.setattr("sde_ray.sweep.run._tune", fail_all)
    with pytest.raises(UserError, match=r"All 2 trials failed. The first error: no such model"):
        sweep(tmp_path, fakes, designs=["baseline", "es-sde"])


def test_a_trial_may_have_two_workers(tmp_path: Path, fakes: Fakes) -> None:
    resources = {"num_workers": 2, "resources_per_worker": {"CPU": 0.5}}
    outcome = sweep(tmp_path, fakes, designs=["baseline", "es-sde"], resources=resources)
    assert [call["num_workers"] for call in fakes.begun()] == [2, 2]
    assert {result.config["num_workers"] for result in outcome.results} == {2}
    assert bundles(Resources(num_workers=2)) == [{"CPU": 0.01}, {"CPU": 0.99}, {"CPU": 0.99}]


def test_a_trial_that_no_machine_can_hold_is_refused_at_once(tmp_path: Path, fakes: Fakes) -> None:
    with pytest.raises(UserError, match=r"A trial needs 3 GPU, but Ray has 0. Lower resources"):
        sweep(tmp_path, fakes, designs=["baseline"], resources={"resources_per_worker": {"GPU": 3}})
    assert fakes.begun() == []


def test_a_full_disk_ends_the_sweep_and_keeps_what_is_written(
    tmp_path: Path, fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    append, written = Ledger.append, []

    def full_after_two(ledger: Ledger, result: TrialResult) -> None:
        if len(written) == 2:
            raise UserError("Cannot write: No space left on device")
        written.append(result.key)
        append(ledger, result)

    monkeypatch.setattr(Ledger, "append", full_after_two)
    with pytest.raises(UserError, match="No space left"):
        sweep(tmp_path, fakes, search={"method": "one_at_a_time"})
    assert list(ledger_of(tmp_path).results()) == written
    assert len(fakes.begun()) <= 5, "the sweep ended there"


def test_a_tracker_that_fails_only_warns(tmp_path: Path) -> None:
    sweep_run = SweepRun(configure(tmp_path, designs=["baseline"]))
    (trial,) = sweep_run.plan.trials
    queue = sweep_run.queue
    job = TuneJob(sweep_run, queue, ledger_of(tmp_path), "dev", score)
    recorder = SweepCallback(job, object(), Progress(Console(file=io.StringIO())))
    result = TrialResult(trial.key, trial.resolved(), "finished", {"dev": {"weighted_kappa": 0.5}})
    with pytest.warns(UserWarning, match="Tracking failed in on_trial_end: AttributeError"):
        recorder.record(result, LocalFolder(str(tmp_path)), tmp_path)
    assert ledger_of(tmp_path).results() == {trial.key: result}
    assert queue.remaining == 0 and not recorder.stopping and sweep_run.results == {trial.key: result}


def test_progress_counts_and_names_the_best(tmp_path: Path) -> None:
    progress = Progress(Console(file=io.StringIO()))
    trials = plan(configure(tmp_path, designs=["baseline", "es-sde", "ew-sde"])).trials
    progress.begin(3, [])
    for trial, status, value in zip(trials, ("finished", "pruned", "failed"), (0.25, 0.9, None), strict=True):
        progress.started(trial)
        progress.ended(TrialResult(trial.key, trial.resolved(), status), value)
    best = f"best 0.250 {paper_label(trials[0].design)}"
    assert progress.line() == f"3/3 done · 0 running · 1 pruned · 1 failed · {best} · 0 s left"
