"""What `sde-ray status` says of a run: begun, at work, cut off, in its final comparison, finished; each field once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from helpers import in_process
from helpers.fake_runner import FakeRunner, Fakes
from helpers.pages import Page
from typer.testing import CliRunner

from sde_ray.analysis.verdict import load as load_verdict
from sde_ray.cli.app import app
from sde_ray.cli.views.status import state
from sde_ray.config.load import check
from sde_ray.config.open import open_sweep
from sde_ray.config.schema import SweepConfig
from sde_ray.errors import UserError
from sde_ray.evaluation.racing import Opponent
from sde_ray.pipeline import run as flow
from sde_ray.pipeline.listener import PipelineListener
from sde_ray.pipeline.status import RunStatus, run_status
from sde_ray.storage.lease import lease
from sde_ray.storage.process import this_process
from sde_ray.sweep import run as sweeps
from sde_ray.sweep.phase import read_phase, write_phase
from sde_ray.testing.planted import planted
from sde_ray.training.runner import RunnerResources
from sde_ray.types import RungResult

ROOT = Path(__file__).parents[2]


class EverySplit(FakeRunner):
    """Scores the splits that the trial asks for. `killed_at`: the driver is gone in the middle of this trial."""

    fakes: EverySplitFakes

    def train_rung(self, index: int, rival: Opponent | None = None, on_checkpoint: Any = None) -> RungResult:
        if index == len(self.config.rungs) - 1 and len(self.fakes.begun()) == self.fakes.killed_at:
            raise in_process.Killed
        rung = super().train_rung(index, rival, on_checkpoint)
        scores = {
            split: {"weighted_kappa": planted(self.config.design, self.config.seed)} for split in self.config.splits
        }
        self.rungs[-1] = replace(rung, scores=scores)
        return self.rungs[-1]


@dataclass(frozen=True)
class EverySplitFakes(Fakes):
    killed_at: int = 0

    def __call__(self, place: RunnerResources) -> EverySplit:
        return EverySplit(self, place)


@pytest.fixture
def config(tmp_path: Path) -> SweepConfig:
    values: dict[str, Any] = {"name": "study", "task": "masa:d1", "out_of_domain": [], "train_sizes": 40}
    values |= {"axes": {"format": ["natural", "lines"], "reasoning": "none", "labels": "text", "unmentioned": "omit"}}
    values |= {"search": {"method": "grid", "rungs": [0.5, 1.0]}, "eval_size": 20, "mlflow": {"enabled": False}}
    values["axes"] |= {"input_modeling": "off", "instruction": ["first", "last"]}
    values["validation"] = {"seeds": [101, 102], "test_size": 20, "controls": ["baseline"]}
    return check({**values, "storage_path": str(tmp_path / "runs")})


def go(config: SweepConfig, folder: Path, tune: in_process.Tune | None = None, killed_at: int = 0) -> None:
    """Run it in this very process; a driver that is "killed" leaves everything as it is at that moment."""
    patch = pytest.MonkeyPatch()
    patch.setattr(sweeps, "_tune", tune or in_process.Tune())
    try:
        flow.run(config, PipelineListener(), runner_factory=EverySplitFakes(folder / "calls", killed_at=killed_at))
    except in_process.Killed:
        pass
    finally:
        patch.undo()


def leave_a_lease_behind(folder: Path) -> int:
    """As a driver does that is killed with -9. Returns its process id."""
    code = "import os, sys; from pathlib import Path; from sde_ray.storage.lease import lease\n"
    code += "with lease(Path(sys.argv[1])):\n    print(os.getpid(), flush=True)\n    os._exit(1)"
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True)
    return int(done.stdout)


def test_a_sweep_that_has_not_begun_is_told(config: SweepConfig) -> None:
    with pytest.raises(UserError, match="has no run of this sweep"):
        run_status(config)


def test_a_running_sweep(config: SweepConfig, tmp_path: Path) -> None:
    seen: list[RunStatus] = []

    def look(number: int) -> None:
        if number == 2:
            seen.append(run_status(config))

    go(config, tmp_path, in_process.Tune(before=look))
    status, final = seen
    assert (status.phase, status.driver.state, status.driver.pid) == ("sweep", "alive", os.getpid())
    assert (status.trials.planned, status.trials.finished, status.trials.remaining) == (5.0, 2, 3.0)
    assert status.last_result_at is not None and abs(status.last_result_at - time.time()) < 60
    assert (status.best[0].task, status.best[0].metric, status.best[0].split) == ("masa:d1", "weighted_kappa", "dev")
    assert status.validation.planned == 0 and status.verdicts == () and status.report is None
    assert (final.phase, final.driver.state) == ("validation", "alive")
    assert final.validation.finished == 2 and final.validation.remaining == final.validation.planned - 2
    assert (final.trials.finished, final.trials.remaining) == (5, 0.0)


def test_a_finished_run(config: SweepConfig, tmp_path: Path) -> None:
    go(config, tmp_path)
    status = run_status(config)
    assert (status.phase, status.driver.state) == ("finished", "none") and status.in_flight == ()
    assert (status.trials.finished, status.trials.running, status.trials.remaining) == (5, 0, 0.0)
    assert status.validation.finished == status.validation.planned and status.validation.remaining == 0
    (verdict,) = status.verdicts
    assert verdict.task == "masa:d1" and verdict.model == "tiny" and verdict.recommended in verdict.summary
    kept = load_verdict(config.run_dir.validation("masa:d1", "tiny"))
    assert verdict.action == kept.action and verdict.action.startswith(("Use ", "Add seeds "))
    assert json.loads(json.dumps(status.to_dict()))["verdicts"][0]["action"] == kept.action
    shown = CliRunner().invoke(app, ["status", str(config.run_dir.path)])
    assert f"What to do: {kept.action}" in shown.stdout
    assert status.report == f"{config.storage_path}/study/report.html" and status.unsent == 0 and status.notes == ()
    best = max(one.scores["dev"]["weighted_kappa"] for one in config.run_dir.results().values() if "dev" in one.scores)
    assert [one.score for one in status.best] == [best]


def test_a_sweep_whose_driver_died_says_so_and_what_was_in_flight(config: SweepConfig, tmp_path: Path) -> None:
    go(config, tmp_path, killed_at=3)
    pid = leave_a_lease_behind(config.run_dir.path)
    write_noted_process(config, pid)
    status = run_status(config)
    assert (status.phase, status.driver.state, status.driver.pid) == ("sweep", "gone", pid)
    assert (status.trials.finished, status.trials.running, status.trials.remaining) == (2, 0, 3.0)
    (trial,) = status.in_flight
    assert (trial.rungs_done, trial.rungs, trial.task, trial.seed) == (1, 2, "masa:d1", 0)
    assert trial.score is not None and 0 <= trial.age_s < 60
    said = CliRunner().invoke(app, ["status", str(config.run_dir.path)])
    assert said.exit_code == 0
    assert f"stopped in its sweep: its driver, process {pid} on " in said.stdout and "goes on from there" in said.stdout


def write_noted_process(config: SweepConfig, pid: int) -> None:
    """As a driver leaves it that could write nothing any more."""
    noted = json.loads(config.run_dir.phase.read_text())
    config.run_dir.phase.write_text(json.dumps({**noted, "process": {**this_process(), "pid": pid, "started": "1"}}))


def test_a_notebook_that_was_interrupted_runs_it_no_more(
    config: SweepConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeps, "_tune", lambda *given: True)
    flow.run(config, PipelineListener(), runner_factory=EverySplitFakes(tmp_path / "calls"))
    status = run_status(config)
    assert (status.phase, status.driver.state, status.trials.remaining) == ("sweep", "none", 5.0)
    assert "stopped in its sweep. The same command goes on" in state(status.to_dict())


def test_between_two_phases_the_driver_lives_without_a_lease(config: SweepConfig, tmp_path: Path) -> None:
    class Listener(PipelineListener):
        seen: RunStatus

        def on_strategy(self, strategy: Any, path: Path) -> None:
            self.seen = run_status(config)

    listener = Listener()
    patch = pytest.MonkeyPatch()
    patch.setattr(sweeps, "_tune", in_process.Tune())
    flow.run(config, listener, runner_factory=EverySplitFakes(tmp_path / "calls"))
    patch.undo()
    assert (listener.seen.phase, listener.seen.driver.state) == ("sweep", "alive")
    assert listener.seen.driver.lease_expires_at is None


def test_a_failed_trial_counts_and_is_not_in_flight_until_it_runs_again(config: SweepConfig, tmp_path: Path) -> None:
    patch = pytest.MonkeyPatch()
    patch.setattr(sweeps, "_tune", in_process.Tune())
    sweeps.run_sweep(config, EverySplitFakes(tmp_path / "calls", fail="last"))
    patch.undo()
    status = run_status(config)
    assert (status.trials.finished, status.trials.failed, status.trials.remaining) == (2, 3, 3.0)
    assert status.in_flight == () and status.phase == "sweep" and status.driver.state in ("none", "alive")


def test_asking_changes_nothing(config: SweepConfig, tmp_path: Path) -> None:
    def files() -> dict[str, tuple[int, bytes]]:
        paths = [path for path in config.run_dir.path.rglob("*") if path.is_file()]
        return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in paths}

    go(config, tmp_path, killed_at=3)
    before = files()
    run_status(config)
    assert files() == before


def test_without_the_data_the_ledger_is_counted_and_a_note_says_so(
    config: SweepConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go(config, tmp_path)

    def no_data(*given: Any) -> Any:
        raise UserError("The data are not here.")

    monkeypatch.setattr("sde_ray.sweep.sweep_run.plan", no_data)
    status = run_status(config)
    assert (status.trials.planned, status.trials.finished, status.validation.finished) == (5.0, 5, 4)
    assert status.notes == ("Counts are of the whole ledger, as the plan cannot be made here: The data are not here.",)


def test_a_run_of_before_the_phase_was_noted_is_read_from_its_files(config: SweepConfig, tmp_path: Path) -> None:
    go(config, tmp_path)
    config.run_dir.phase.unlink()
    status = run_status(config)
    assert (status.phase, status.phase_since, status.trials.planned) == ("finished", None, 5.0)
    config.run_dir.report.unlink()
    assert run_status(config).phase == "validation"


def test_a_damaged_note_is_none(config: SweepConfig, tmp_path: Path) -> None:
    config.run_dir.path.mkdir(parents=True)
    for text in ("", "{", '{"phase": "asleep", "planned": 1}', "[1]"):
        config.run_dir.phase.write_text(text)
        assert read_phase(config.run_dir) is None
    write_phase(config.run_dir, "sweep", planned=3)
    write_phase(config.run_dir, "validation", validation=["a", "b"])
    write_phase(config.run_dir, "validation", validation=["b", "c"])
    noted = read_phase(config.run_dir)
    assert noted is not None and (noted.planned, noted.validation) == (3.0, ("a", "b", "c"))
    write_phase(config.run_dir, "sweep", planned=5)
    assert read_phase(config.run_dir).validation == ()  # type: ignore[union-attr]


def test_an_address_tells_the_same_on_another_machine(config: SweepConfig, tmp_path: Path) -> None:
    """Of a driver that was killed on a machine which nobody can reach: the store has all that status needs."""
    store = f"file://{tmp_path / 'store'}"
    config = config.model_copy(update={"storage_path": store})
    with in_process.on(tmp_path / "driver"):
        go(config, tmp_path, killed_at=3)
        own = run_status(config)
    with in_process.on(tmp_path / "laptop"):
        told = run_status(open_sweep(f"{store}/study"))
        done = CliRunner().invoke(app, ["status", f"{store}/study", "--json"])
    assert told.folder == f"{store}/study" and told.phase == "sweep"
    assert told.trials == own.trials
    assert [(one.trial, one.rungs_done, one.score) for one in told.in_flight] == [
        (one.trial, one.rungs_done, one.score) for one in own.in_flight
    ]
    assert told.best == own.best and told.unsent == 0
    assert done.exit_code == 0 and json.loads(done.stdout)["run"]["trials"]["finished"] == 2


# ---- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture
def finished(config: SweepConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS", raising=False)
    monkeypatch.chdir(tmp_path)
    go(config, tmp_path)
    yield config.run_dir.path


def fields(value: Any, name: str = "") -> set[str]:
    """Dotted names of what JSON holds; a list is its first entry."""
    if isinstance(value, list):
        return {name, *fields(value[0], name)} if value else {name}
    if not isinstance(value, dict):
        return {name}
    return {name} - {""} | {
        field for key, inner in value.items() for field in fields(inner, f"{name}.{key}".lstrip("."))
    }


def test_the_documented_fields_are_those_of_the_json(finished: Path, config: SweepConfig, tmp_path: Path) -> None:
    from sde_ray.sweep.cluster.jobs import Job

    go(replace_seeds(config), tmp_path, killed_at=len((tmp_path / "calls").read_text().splitlines()) + 1)
    run = run_status(replace_seeds(config)).to_dict()
    assert run["in_flight"], "a trial must be there for its fields to be seen"
    job = vars(Job("sde-x-1", "x", "RUNNING"))
    everything = json.loads(json.dumps({"run": run, "jobs": [job], "notes": []}))
    page = Page(ROOT / "docs" / "operation.md", (ROOT / "docs" / "operation.md").read_text("utf-8"))
    rows = [line.split("|")[1].strip(" `") for line in page.text.splitlines() if line.startswith(("| `run", "| `jobs"))]
    told = {field for row in rows for field in row.replace("` `", " ").split()}
    assert told | {"notes"} == fields(everything) - {"run", "jobs"} | {"notes"}


def replace_seeds(config: SweepConfig) -> SweepConfig:
    return config.model_copy(update={"seeds": (0, 1)})


def test_a_run_is_named_by_folder_file_or_name(finished: Path, tmp_path: Path) -> None:
    for named in (str(finished), str(finished / "sweep.yaml"), "study"):
        done = CliRunner().invoke(app, ["status", named, "--json"])
        assert done.exit_code == 0, done.output
        told = json.loads(done.stdout)
        assert told["run"]["phase"] == "finished" and told["jobs"] == [] and told["notes"] == []


def test_a_person_reads_the_same(finished: Path) -> None:
    done = CliRunner().invoke(app, ["status", "study"])
    assert done.exit_code == 0
    for text in (
        "study in ",
        ": finished",
        "trials: 5 of 5 finished; the last one ended",
        "best so far 0.",
        "report: ",
    ):
        assert text in done.stdout
    assert "masa:d1 on tiny:" in done.stdout, "the verdict in words"


def test_while_a_driver_is_at_work_it_is_named(finished: Path) -> None:
    with lease(finished):
        done = json.loads(CliRunner().invoke(app, ["status", "study", "--json"]).stdout)
    assert done["run"]["driver"]["state"] == "alive" and done["run"]["driver"]["lease_expires_at"] > time.time()


def test_what_is_not_here_is_exit_code_2_with_both_reasons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://127.0.0.1:9")
    done = CliRunner().invoke(app, ["status", "nothing"])
    assert done.exit_code == 2
    said = " ".join(done.output.split())
    assert '"nothing" has no run here, and no cluster tells of one.' in said and "No Ray dashboard answers" in said


def test_a_cluster_that_is_away_costs_a_note_where_the_run_is_here(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://127.0.0.1:9")
    told = json.loads(CliRunner().invoke(app, ["status", "study", "--json"]).stdout)
    assert told["run"]["phase"] == "finished" and "was not asked: No Ray dashboard" in told["notes"][0]
