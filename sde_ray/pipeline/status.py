"""Status of a run, from its folder or its address in a store: ledger, lease, phase and trial folders, never a log.

    status = run_status(open_sweep("s3://bucket/runs/paper"))
    status.phase, status.driver.state            "validation", "alive"
    status.trials.finished, status.trials.remaining
    status.best[0].score, status.verdicts[0].summary

It takes nothing and changes nothing, so it may be asked while a driver is at work, by anybody who may read the folder.
`docs/operation.md` has the fields as JSON.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from sde_ray.analysis import verdict as verdicts
from sde_ray.config.schema import SweepConfig
from sde_ray.config.trial import TrialConfig
from sde_ray.design.designs import design_of, make_design, paper_label
from sde_ray.errors import UserError
from sde_ray.safe_json import read_json
from sde_ray.storage.layout import CHECKPOINT, CONFIG, PARTIAL
from sde_ray.storage.lease import read_holder
from sde_ray.storage.ledger import load_result
from sde_ray.storage.process import is_running
from sde_ray.storage.run_directory import RunDirectory
from sde_ray.sweep.phase import Phase, PhaseName, read_phase
from sde_ray.sweep.resume import match_finished, trial_cost
from sde_ray.sweep.sweep_run import SweepRun
from sde_ray.training import checkpoint
from sde_ray.types import TrialResult

Results = Mapping[str, TrialResult]


@dataclass(frozen=True)
class DriverStatus:
    """The driver. `alive`: it has the lease; `gone`: it died with it; `none`: it ended in order, or never began."""

    state: Literal["alive", "gone", "none"]
    host: str = ""
    pid: int | None = None
    lease_expires_at: float | None = None


@dataclass(frozen=True)
class TrialCounts:
    """Trials by status. `planned` and `remaining` are of the budget where the search may stop trials: not whole."""

    planned: float | None = None
    finished: int = 0
    pruned: int = 0
    failed: int = 0
    running: int = 0
    remaining: float | None = None


@dataclass(frozen=True)
class BestTrial:
    """The finished trial of the search with the highest score, of one task and model: a first look, no verdict."""

    task: str
    model: str
    metric: str
    split: str
    score: float
    design: str
    train_size: int
    seed: int
    trial: str


@dataclass(frozen=True)
class TrialInFlight:
    """A trial that has begun and not ended; of a driver that is gone, one that resumes from its last rung.

    `rungs_done` of `rungs`; `score`: at the last of them. `age_s`: seconds since it last wrote something.
    """

    trial: str
    task: str
    model: str
    design: str
    seed: int
    rungs_done: int
    rungs: int
    score: float | None
    age_s: float


@dataclass(frozen=True)
class VerdictStatus:
    """What the final comparison of one task and model has come to, in words; `action`: what to do about it."""

    task: str
    model: str
    recommended: str
    summary: str
    action: str


@dataclass(frozen=True)
class RunStatus:
    """How a run is doing. Times are Unix seconds; `folder`: the path or address for everyone."""

    sweep: str
    folder: str
    phase: PhaseName
    phase_since: float | None
    driver: DriverStatus
    trials: TrialCounts
    validation: TrialCounts
    best: tuple[BestTrial, ...]
    in_flight: tuple[TrialInFlight, ...]
    verdicts: tuple[VerdictStatus, ...]
    unsent: int
    last_result_at: float | None
    report: str | None
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """For a program."""
        return asdict(self)


def run_status(config: SweepConfig) -> RunStatus:
    """How the run of a sweep is doing.

    Raises:
        UserError: when it has not begun, or its folder cannot be read.
    """
    run_dir = config.run_dir
    if not run_dir.sweep.is_file():
        raise UserError(f'"{run_dir.uri()}" has no run of this sweep. Start it: sde-ray run SWEEP.yaml')
    reader = _Reader(SweepRun(config), read_phase(run_dir))
    driver = _driver(run_dir, reader.noted)
    in_flight = tuple(reader.in_flight()) if reader.phase != "finished" or driver.state == "alive" else ()
    return RunStatus(
        sweep=config.name,
        folder=run_dir.uri(),
        phase=reader.phase,
        phase_since=reader.noted.since if reader.noted else None,
        driver=driver,
        trials=reader.trials(_running(in_flight, driver, reader.is_search)),
        validation=reader.validation(_running(in_flight, driver, lambda key: not reader.is_search(key))),
        best=best_trials(reader.sweep_run, reader.search_results),
        in_flight=in_flight,
        verdicts=read_verdicts(reader.sweep_run),
        unsent=run_dir.folder.unsent,
        last_result_at=_modified(run_dir.ledger.path),
        report=run_dir.uri(run_dir.report.name) if run_dir.report.is_file() else None,
        notes=tuple(reader.notes),
    )


def _running(in_flight: Sequence[TrialInFlight], driver: DriverStatus, belongs: Callable[[str], bool]) -> int:
    return sum(belongs(one.trial) for one in in_flight) if driver.state == "alive" else 0


def _driver(run_dir: RunDirectory, noted: Phase | None) -> DriverStatus:
    holder, lives = read_holder(run_dir.path, run_dir.folder.remote)
    expires: float | None = holder.get("expires") if holder else None
    if not lives and noted and noted.phase != "finished" and is_running(noted.process):
        holder, lives, expires = noted.process, True, None  # between two phases it has no lease
    if holder is None:
        return DriverStatus("none")
    pid = holder.get("pid")
    return DriverStatus("alive" if lives else "gone", str(holder.get("host", "")), pid and int(pid), expires)


@dataclass
class _Reader:
    """Reads one run's folder. Without its data no plan can be made: the whole ledger counts, and a note says so."""

    sweep_run: SweepRun
    noted: Phase | None
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.run_dir, self.results = self.sweep_run.run_dir, self.sweep_run.results
        self.planned = self.noted.planned if self.noted else None
        searched = {
            key: one
            for key, one in self.results.items()
            if not _is_validation(one) and one.config["task"] in self.sweep_run.tasks
        }
        self.plan_trials: dict[str, TrialConfig] = {}
        self.configs: dict[str, Mapping[str, Any]] = {}
        try:
            trials = self.sweep_run.plan.trials
        except UserError as error:
            self.notes.append(f"Counts are of the whole ledger, as the plan cannot be made here: {error}")
            self.search_results: Results = searched
            return
        self.plan_trials = {trial.key: trial for trial in trials}
        self.search_results = match_finished(trials, searched)
        self.planned = float(self.sweep_run.plan.count) if self.planned is None else self.planned

    @property
    def phase(self) -> PhaseName:
        if self.noted:
            return self.noted.phase
        if self.run_dir.report.is_file():
            return "finished"
        return "validation" if any(map(_is_validation, self.results.values())) else "sweep"

    def is_search(self, key: str) -> bool:
        """Whether a trial is one of the search's, not of the final comparison."""
        return "test" not in self._config(key).get("splits", ())

    def trials(self, running: int) -> TrialCounts:
        """The search's."""
        counts = Counter(str(result.status) for result in self.search_results.values())
        ended = [one for one in self.search_results.values() if one.status != "failed"]
        used = sum(trial_cost(self.sweep_run.config, one) for one in ended)
        remaining = None if self.planned is None else max(0.0, self.planned - used)
        if self.phase != "sweep":
            remaining = 0.0  # a search may end before its budget
        return _counts(self.planned, counts, running, remaining)

    def validation(self, running: int) -> TrialCounts:
        """Those of the final comparison, as far as it has begun."""
        keys = set(self.noted.validation) if self.noted else set()
        ended = [one for one in self.results.values() if _is_validation(one) and (not keys or one.key in keys)]
        counts = Counter(str(result.status) for result in ended)
        planned = float(len(keys)) if self.noted else None
        remaining = None if planned is None else planned - counts["finished"]
        return _counts(planned, counts, running, remaining)

    def in_flight(self) -> Iterable[TrialInFlight]:
        """The trials that have a folder and no end in the ledger, the longest silent first."""
        found = []
        for folder in self.run_dir.trials.glob("*"):
            result = self.results.get(folder.name)
            if result is not None and not self._goes_on(folder, result):
                continue
            if (one := self._trial(folder)) is not None:
                found.append(one)
        return sorted(found, key=lambda one: -one.age_s)

    def _goes_on(self, folder: Path, result: TrialResult) -> bool:
        """Whether a trial that the ledger has runs once more: a failed one again, a pruned one further."""
        if result.status == "failed":
            return (folder / PARTIAL).is_file() or (folder / CHECKPOINT).is_file()
        if not (folder / CHECKPOINT).is_file():
            return False
        try:
            saved = checkpoint.read(folder, folder.name)
        except checkpoint.CheckpointError:
            return False
        return saved is not None and saved.promoted_rungs >= len(result.rungs)

    def _trial(self, folder: Path) -> TrialInFlight | None:
        config = self._config(folder.name)
        try:
            task, model, seed = str(config["task"]), str(config["model"]), int(config["seed"])
            design, rungs = paper_label(make_design(**config["design"])), len(config["rungs"])
        except (KeyError, TypeError, ValueError, UserError):
            return None  # a folder that is no trial's, or of one that names code which is not the user's
        so_far = load_result(folder / PARTIAL)
        written = max(
            filter(None, (_modified(folder / name) for name in (CONFIG, PARTIAL, CHECKPOINT, "."))), default=0
        )
        done = so_far.rungs if so_far else ()
        score = self.sweep_run.score(so_far) if so_far else None
        return TrialInFlight(
            folder.name, task, model, design, seed, len(done), rungs, score, round(max(0.0, time.time() - written), 1)
        )

    def _config(self, key: str) -> Mapping[str, Any]:
        """A trial's configuration: of the plan, or of its folder."""
        if key in self.plan_trials:
            return self.plan_trials[key].resolved()
        if key not in self.configs:
            try:
                config = read_json((self.run_dir.trial(key) / CONFIG).read_bytes())
            except (OSError, ValueError):
                config = {}
            self.configs[key] = config if isinstance(config, dict) else {}
        return self.configs[key]


def _counts(planned: float | None, counts: Counter[str], running: int, remaining: float | None) -> TrialCounts:
    return TrialCounts(planned, counts["finished"], counts["pruned"], counts["failed"], running, remaining)


def best_trials(sweep_run: SweepRun, results: Results) -> tuple[BestTrial, ...]:
    """The best finished trial of each task and model, in the order of the ledger. `results`: those of the search."""
    best: dict[tuple[str, str], tuple[float, TrialResult]] = {}
    for result in results.values():
        score = sweep_run.score(result) if result.status == "finished" else None
        contest = str(result.config["task"]), str(result.config["model"])
        if score is not None and (contest not in best or score > best[contest][0]):
            best[contest] = score, result
    split = sweep_run.config.objective.split
    return tuple(
        BestTrial(
            task,
            model,
            sweep_run.metric(task),
            split,
            score,
            paper_label(design_of(result)),
            int(result.config["train_size"]),
            int(result.config["seed"]),
            result.key,
        )
        for (task, model), (score, result) in best.items()
    )


def read_verdicts(sweep_run: SweepRun) -> tuple[VerdictStatus, ...]:
    """The verdicts that the run's folder has, by task and model."""
    found = []
    for task in sweep_run.tasks:
        for model in sweep_run.config.model:
            path = sweep_run.run_dir.validation(task, model)
            if path.is_file():
                verdict = verdicts.load(path)
                found.append(VerdictStatus(task, model, verdict.recommended, verdict.summary, verdict.action))
    return tuple(found)


def _is_validation(result: TrialResult) -> bool:
    return "test" in result.config.get("splits", ())


def _modified(path: Path) -> float | None:
    """When a file was last written, in Unix seconds; None where it is not there."""
    try:
        return path.stat().st_mtime
    except OSError:
        return None
