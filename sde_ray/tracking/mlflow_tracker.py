"""MLflow: a parent run for the sweep, a child run for each trial, found again when a sweep resumes.

    tracker = MlflowTracker("sqlite:////abs/runs/mlflow.db", "sde_ray")
    tracker.on_sweep_start("quickstart", resolved(config), folder)
    tracker.on_trial_start(config); tracker.on_trial_end(result, trial_folder)
    tracker.log_files([folder / "strategy.yaml"]); tracker.on_sweep_end()

Only the driver writes. A parent is found by the tag `sde.sweep_id` (kept in the sweep's folder), a child by `sde.key`,
so nothing is ever logged twice. Trials on test splits are below a run of their own (`PHASES`). Every run ends with a
terminal status: FINISHED, FAILED, or KILLED (pruned, cut off). `MlflowTracker` waits for its server and raises what
goes wrong; a sweep calls it through `background.py`.
"""

from __future__ import annotations

import json
import os
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sde_ray.analysis.strategy import Strategy
from sde_ray.config.trial import TrialConfig
from sde_ray.design.designs import make_design, paper_label
from sde_ray.safe_text import redact
from sde_ray.storage.layout import CONFIG, PREDICTIONS, RESOLVED, RESULT, SCORES, TRAIN_LOG, TRIALS
from sde_ray.storage.train_log import TrainLog, TrainStep
from sde_ray.tracking.base import Tracker
from sde_ray.tracking.comparison_view import ComparisonView
from sde_ray.tracking.provenance import dataset_input, environment_tags, provenance_tags, trial_tags
from sde_ray.tracking.run_data import (
    MAX_CHARS,
    chunks,
    curve_metrics,
    mlflow_name,
    run_metrics,
    run_params,
    sample_text,
    train_metrics,
    with_neutral_axes,
)
from sde_ray.tracking.sweep_id import ensure_sweep_id
from sde_ray.tracking.tracking_uri import check_tracking_uri, sqlite_path
from sde_ray.tracking.trial_run import PHASES, RECORD, SEARCH, TrialRun
from sde_ray.types import TrialResult

PAGE = 200  # runs that are read at once: each has up to a hundred params and metrics
RUN_STATUS = {"finished": "FINISHED", "pruned": "KILLED", "failed": "FAILED"}


class MlflowTracker(Tracker):
    """Writes one sweep to an MLflow store. Every method may raise, and may be called again: nothing is logged twice.

    Args:
        tracking_uri: sqlite:////abs/path/mlflow.db, a server's address, or another store that MLflow takes.
        experiment: the experiment's name; it is created where it does not exist.
        test_phase: of `PHASES`, what trials on test splits are run for.

    Attributes:
        parent: id of the sweep's run.
        children: ids of the trials' runs, by trial key.
        incomplete_trials: keys of trials whose files could not be stored; their runs end all the same, and a later
            `on_sweep_start` completes them.
        num_logged: trials whose end this tracker has logged.

    Raises:
        UserError: when MLflow keeps no runs in such a store.
    """

    def __init__(self, tracking_uri: str, experiment: str = "sde_ray", test_phase: str = "validation") -> None:
        check_tracking_uri(tracking_uri)
        self.tracking_uri, self.experiment, self.test_phase = tracking_uri, experiment, test_phase
        self.parent = ""
        self.children: dict[str, str] = {}
        self.incomplete_trials: set[str] = set()
        self.num_logged = 0
        self._recorded: dict[str, str] = {}  # status by key of trials that the store has whole
        self._without_params: set[str] = set()  # keys whose run was cut off between its creation and its params
        self._uncertain: set[str] = set()  # keys whose run may be there although its creation failed
        self._open: set[str] = set()  # keys whose run is RUNNING
        self._phase_runs: dict[str, str] = {}  # ids of the runs above the trials of `PHASES`
        self._phases: dict[str, str] = {}  # phase by key of trials of `PHASES`, which keep the one they began with
        self._curves: dict[str, int] = {}  # by key of running trials, up to which step MLflow has their curve
        self._axes: tuple[str, ...] = ()  # that the sweep's YAML names
        self._known_parent = ""  # the sweep's run whose children are known
        self.tables: dict[str, None] = {}
        self._client: Any = None

    @property
    def client(self) -> Any:
        """MLflow's client; the store is made by the first call, which takes seconds for a new database."""
        if self._client is None:
            os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # stdout is for our own, as JSON
            os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # a dead server is asked again later
            os.environ.setdefault("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "1")
            os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
            from mlflow import MlflowClient

            if self.tracking_uri.startswith("sqlite:"):
                sqlite_path(self.tracking_uri).parent.mkdir(parents=True, exist_ok=True)
            self._client = MlflowClient(tracking_uri=self.tracking_uri, registry_uri=self.tracking_uri)
        return self._client

    # ---- the sweep's run -------------------------------------------------------------------------------------------

    def on_sweep_start(
        self, name: str, resolved: Mapping[str, Any], folder: Path, results: Iterable[TrialResult] = ()
    ) -> None:
        """Resume the sweep's run or begin one, and log the trials of the ledger (`results`) that it lacks.

        The runs of the trials are read when this is called first; after an outage only what it left uncertain.
        """
        experiment = self._experiment_id()
        sweep_id = ensure_sweep_id(folder)
        runs = self.client.search_runs([experiment], f"tags.`sde.sweep_id` = '{sweep_id}' and tags.`sde.run` = 'sweep'")
        if runs:
            self.parent = self._oldest_run(runs)
            self.client.update_run(self.parent, status="RUNNING")
        else:
            tags = {**provenance_tags(), "sde.sweep": name, "sde.sweep_id": sweep_id, "sde.run": "sweep"}
            self.parent = self.client.create_run(experiment, run_name=name, tags=tags).info.run_id
        self.name, self.experiment_id, self.sweep_id = name, experiment, sweep_id
        self._axes = tuple(resolved.get("axes", ()))
        self.client.log_text(self.parent, json.dumps(resolved, ensure_ascii=False, indent=1), RESOLVED)
        if self._known_parent != self.parent:
            self._forget_runs()
            self._load_trial_runs()
            self._known_parent = self.parent
        for result in results:
            if self._recorded.get(result.key) != result.status:
                self.on_trial_end(result, folder / TRIALS / result.key)

    def _experiment_id(self) -> str:
        experiment = self.client.get_experiment_by_name(self.experiment)
        if experiment is not None:
            return str(experiment.experiment_id)
        artifacts = None
        if self.tracking_uri.startswith("sqlite:"):  # else artifacts would go to ./mlruns, wherever that is
            artifacts = (sqlite_path(self.tracking_uri).parent / "mlartifacts").absolute().as_uri()
        return str(self.client.create_experiment(self.experiment, artifact_location=artifacts))

    def _oldest_run(self, runs: Sequence[Any]) -> str:
        """The oldest of several runs with one key; a server that answered too late may have made more."""
        first, *others = sorted(runs, key=lambda run: (run.info.start_time, run.info.run_id))
        for run in others:
            self.client.delete_run(run.info.run_id)
        return str(first.info.run_id)

    def _load_trial_runs(self) -> None:
        """Read the trials' runs by key; those that their process left open are KILLED."""
        runs: dict[str, list[TrialRun]] = {}
        for run in self._search(self._trial_query):  # page by page: of thousands of runs little is kept
            runs.setdefault(run.data.tags["sde.key"], []).append(TrialRun.of(run))
        for key, runs_of_key in runs.items():
            run, *others = sorted(runs_of_key)
            for other in others:
                self.client.delete_run(other.run_id)
            if not run.has_params:  # cut off between its creation and its params
                self.client.delete_run(run.run_id)
                continue
            self.children[key] = run.run_id
            if run.phase in PHASES:
                self._phases[key] = run.phase
            if run.phase and run.parent != (parent := self._parent_of(run.phase)):
                self.client.set_tag(run.run_id, "mlflow.parentRunId", parent)
            if run.status == "RUNNING":
                self.client.set_terminated(run.run_id, "KILLED")
            elif run.recorded:
                self._recorded[key] = run.recorded

    def _forget_runs(self) -> None:
        """Know nothing of the trials' runs: they are read again with the next `on_sweep_start`."""
        self._known_parent = ""
        for known in (self.children, self._recorded, self._without_params, self._uncertain, self._open):
            known.clear()  # type: ignore[attr-defined]
        for of_phases in (self._phase_runs, self._phases, self._curves):
            of_phases.clear()  # type: ignore[attr-defined]

    def _phase_of(self, key: str, config: Mapping[str, Any]) -> str:
        """What a trial was run for: its splits tell the search from what comes after it."""
        if not any(str(split).startswith("test") for split in config.get("splits", ())):
            return SEARCH
        return self._phases.setdefault(key, self.test_phase)

    def _parent_of(self, phase: str) -> str:
        """The run above the trials of a phase: the sweep's own for the search, else one below it, made when needed."""
        if phase == SEARCH:
            return self.parent
        if phase not in self._phase_runs:
            found = list(self._search(f"tags.`sde.sweep_id` = '{self.sweep_id}' and tags.`sde.run` = '{phase}'"))
            self._phase_runs[phase] = self._oldest_run(found) if found else self._make_phase_run(phase)
        return self._phase_runs[phase]

    def _make_phase_run(self, phase: str) -> str:
        own = {"sde.sweep": self.name, "sde.sweep_id": self.sweep_id, "sde.run": phase}
        tags = {**trial_tags(), **own, "mlflow.parentRunId": self.parent}
        made = self.client.create_run(self.experiment_id, run_name=f"{self.name} · {PHASES[phase]}", tags=tags)
        return str(made.info.run_id)

    @property
    def _trial_query(self) -> str:
        return f"tags.`sde.sweep_id` = '{self.sweep_id}' and tags.`sde.run` = 'trial'"

    def _search(self, query: str) -> Iterable[Any]:
        """All runs of the experiment that the query finds, a page at a time."""
        token = None
        while True:
            page = self.client.search_runs([self.experiment_id], query, max_results=PAGE, page_token=token)
            token = page.token
            yield from page
            if not token:
                return

    def log_comparison(self, view: ComparisonView) -> None:
        """The view of the sweep's trials that MLflow's page opens with."""
        self.client.set_experiment_tag(self.experiment_id, *view.experiment_tag(self.sweep_id))

    def log_table(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """A table of the sweep (leaderboard, effects, validation), in MLflow's own table format."""
        columns = list(dict.fromkeys(key for row in rows for key in row))
        data = [[row.get(column) for column in columns] for row in rows]
        self.client.log_text(self.parent, json.dumps({"columns": columns, "data": data}), f"{name}.json")
        self.tables[f"{name}.json"] = None
        artifacts = [{"path": path, "type": "table"} for path in self.tables]
        self.client.set_tag(self.parent, "mlflow.loggedArtifacts", json.dumps(artifacts))

    def log_text(self, name: str, text: str) -> None:
        """A text, page or SVG figure of the sweep."""
        self.client.log_text(self.parent, text, name)

    def log_files(self, paths: Iterable[Path]) -> None:
        """Files of the sweep: strategy, validation, report."""
        for path in paths:
            if path.is_file():
                self.client.log_artifact(self.parent, str(path))

    def on_sweep_end(self, status: str = "FINISHED") -> None:
        """End the sweep's run, and any trial's run that is still open."""
        if not self.parent:
            return
        for key in self._uncertain:
            self._find_run(key)  # what was made twice is one run at the end
        for run in list(self._search(f"{self._trial_query} and attributes.status = 'RUNNING'")):
            self.client.set_terminated(run.info.run_id, "KILLED")
        for run_id in self._phase_runs.values():
            self.client.set_terminated(run_id, status)
        self.client.set_terminated(self.parent, status)

    # ---- the trials' runs ------------------------------------------------------------------------------------------

    def on_trial_start(self, config: TrialConfig) -> None:
        """The trial's run, with everything that decides its outcome as params."""
        with self._runs_may_be_lost():
            run = self._trial_run(config.key, config.resolved())
            self._log_batch(config.key, run, config.resolved())

    def on_trial_end(self, result: TrialResult, folder: Path) -> None:
        """Metrics by rung, cost, artifacts, and the run's status. The tag `sde.status` comes last: all is there."""
        with self._runs_may_be_lost():
            run, ended = self._trial_run(result.key, result.config), self._end_time_ms(result, folder)
            tags = self._trial_tags(result.key, result.config)
            tags |= environment_tags(result.environment)
            tags |= {"sde.error": redact(result.error)[:MAX_CHARS]} if result.error else {}
            self.client.log_inputs(run, [dataset_input(result.config)])
            is_whole = self._log_artifacts(run, result, folder)
            if is_whole:
                tags |= {"sde.status": result.status, "sde.record": RECORD}
            steps = TrainLog(folder / TRAIN_LOG).read()
            values = [*run_metrics(result), *train_metrics(result, steps, self._curves.get(result.key, 0))]
            self._log_batch(result.key, run, result.config, values, ended, tags)
            self.client.set_terminated(run, RUN_STATUS[result.status])
        self._open.discard(result.key)
        self._curves.pop(result.key, None)
        self.num_logged += 1
        if is_whole:
            self._recorded[result.key] = result.status

    def log_train_steps(self, config: TrialConfig, steps: Sequence[TrainStep]) -> None:
        """Loss and learning rate of further steps of a running trial."""
        with self._runs_may_be_lost():
            run = self._trial_run(config.key, config.resolved())
            values = curve_metrics(steps)
            self._log_batch(config.key, run, config.resolved(), values, int(time.time() * 1000))
        self._curves[config.key] = steps[-1].step

    def _log_batch(
        self,
        key: str,
        run: str,
        config: Mapping[str, Any],
        values: Sequence[tuple[str, float, int]] = (),
        time_ms: int = 0,
        tags: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Params, where the run has none, metrics and tags of a trial, in as few calls as MLflow takes."""
        from mlflow.entities import Metric, Param, RunTag

        whole = with_neutral_axes(config, self._axes)
        params = run_params(whole).items() if key in self._without_params else ()
        metrics = [Metric(name, value, time_ms, step) for name, value, step in values]
        param_batches = list(chunks([Param(name, value) for name, value in params], 90))
        metric_batches = list(chunks(metrics, 900))
        marks = [RunTag(name, value) for name, value in tags.items()]
        for number in range(count := max(len(param_batches), len(metric_batches), bool(marks))):
            self.client.log_batch(
                run,
                metrics=metric_batches[number] if number < len(metric_batches) else (),
                params=param_batches[number] if number < len(param_batches) else (),
                tags=marks if number + 1 == count else (),
            )
        self._without_params.discard(key)

    @contextmanager
    def _runs_may_be_lost(self) -> Iterator[None]:
        """Forget the runs where the store does not know one of them any more, such as one set back to a backup."""
        try:
            yield
        except Exception as error:
            if getattr(error, "error_code", "") == "RESOURCE_DOES_NOT_EXIST":
                self._forget_runs()
            raise

    def _end_time_ms(self, result: TrialResult, folder: Path) -> int:
        """When the trial ended, in ms: the same however often it is logged, as MLflow keeps a metric once a moment."""
        try:
            return int((folder / RESULT).stat().st_mtime * 1000)
        except OSError:
            return int(self.client.get_run(self.children[result.key]).info.start_time)

    def _trial_run(self, key: str, config: Mapping[str, Any]) -> str:
        """The trial's run, RUNNING; found, or made without its params."""
        self._recorded.pop(key, None)
        if key not in self.children and key in self._uncertain:
            self._find_run(key)
        if key in self.children:
            if key not in self._open:
                self.client.update_run(self.children[key], status="RUNNING")
                self._open.add(key)
            return self.children[key]
        design = with_neutral_axes(config, self._axes)["design"]
        axes = {str(axis): str(option) for axis, option in design.items()}
        tags = {
            "sde.sweep": self.name,
            "sde.sweep_id": self.sweep_id,
            "sde.run": "trial",
            "sde.key": key,
            **self._trial_tags(key, config),
            **{f"sde.axis.{mlflow_name(axis)}": option for axis, option in axes.items()},
        }
        name = f"{paper_label(make_design(**axes))} · seed {config['seed']}"
        self._uncertain.add(key)  # an answer that does not come is no proof that the run was not made
        run_id = str(self.client.create_run(self.experiment_id, run_name=name, tags=tags).info.run_id)
        self._uncertain.discard(key)
        self.children[key] = run_id
        self._open.add(key)
        self._without_params.add(key)
        return run_id

    def _trial_tags(self, key: str, config: Mapping[str, Any]) -> dict[str, str]:
        """Where a trial's run belongs, and where it comes from."""
        phase = self._phase_of(key, config)
        return {**trial_tags(), "mlflow.parentRunId": self._parent_of(phase), "sde.phase": phase}

    def _find_run(self, key: str) -> None:
        """Look for the run of a trial whose creation failed."""
        runs = list(self._search(f"{self._trial_query} and tags.`sde.key` = '{key}'"))
        if runs:
            self.children[key] = self._oldest_run(runs)
            run = next(run for run in runs if run.info.run_id == self.children[key])
            if "design" not in run.data.params:
                self._without_params.add(key)

    def _log_artifacts(self, run: str, result: TrialResult, folder: Path) -> bool:
        """Store the trial's files. A store that refuses them keeps no run from ending: False, and warns once."""
        try:
            for name in (PREDICTIONS, CONFIG, SCORES):
                if (folder / name).is_file():
                    self.client.log_artifact(run, str(folder / name))
            self.client.log_text(run, sample_text(result), "sample.txt")
        except Exception as error:
            if not self.incomplete_trials:
                warnings.warn(f"MLflow stores no files: {type(error).__name__}: {redact(str(error))}", stacklevel=2)
            self.incomplete_trials.add(result.key)
            return False
        self.incomplete_trials.discard(result.key)
        return True

    # ---- the model -------------------------------------------------------------------------------------------------

    def register_adapter(self, strategy: Strategy, adapter: Path) -> str | None:
        """Register an adapter together with its design, once; returns "name/version"."""
        from sde_ray.tracking import registry

        return registry.register_adapter(self.client, self.parent, strategy, adapter)
