"""A whole study, top to bottom: plan, sweep, effects, strategy, validation, report. What `sde-ray run` does.

    outcome = run(load_config("sweeps/quickstart.yaml"), PipelineListener())

Each step leaves its file in the sweep's folder, and each is safe to repeat: what is finished is not done again.
`PipelineListener` hears what happens; it prints on the command line, and tests listen.
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sde_ray.analysis import strategy as strategies
from sde_ray.analysis import validation
from sde_ray.analysis import verdict as verdicts
from sde_ray.analysis.cross_study import cross_studies
from sde_ray.analysis.study import Study, studies
from sde_ray.config.load import SweepConfig, resolved
from sde_ray.config.schema import Constraints
from sde_ray.config.trial import TrialConfig
from sde_ray.pipeline.context import PipelineResult, Step, StudyConclusion
from sde_ray.pipeline.listener import PipelineListener
from sde_ray.storage.layout import ADAPTER, SWEEP, TRIALS
from sde_ray.storage.lease import refuse_if_held
from sde_ray.storage.mirror import LocalFolder
from sde_ray.sweep.adaptive_queue import Asked, make_trial_queue
from sde_ray.sweep.plan import Plan, plan
from sde_ray.tracking.background import BackgroundTracker
from sde_ray.tracking.base import Tracker
from sde_ray.tracking.mlflow_tracker import SWEEP_ID_FILE, MlflowTracker, ensure_sweep_id
from sde_ray.tracking.tracking_uri import resolve_tracking_uri
from sde_ray.training.runner import RunnerFactory
from sde_ray.types import Design

if TYPE_CHECKING:
    from sde_ray.analysis.report.chapter import Chapter


class Interrupted(Exception):
    """The user has stopped a step; the message says what is saved."""


def run(
    config: SweepConfig,
    listener: PipelineListener,
    with_validation: bool = True,
    runner_factory: RunnerFactory | None = None,
) -> PipelineResult:
    """The whole study. `runner_factory` stands in for the training engine in tests."""
    folder = config.run_dir.path
    config.run_dir.refresh()
    listener.on_plan(plan_of(config))
    try:
        with tracked(config) as tracker:
            step = Step(config, listener, tracker, runner_factory)
            found = sweep(step)
            ends = [assemble(step, study) for study in largest_studies(found)]
            if with_validation:
                ends = [validate(step, one) for one in ends]
            path = report(step, found, ends)
    except Interrupted as stopped:
        return PipelineResult(folder, interrupted=str(stopped))
    return PipelineResult(folder, found, ends, path)


def sweep(step: Step) -> tuple[Study, ...]:
    """Run what the ledger lacks; what the trials show."""
    from sde_ray.sweep.run import run_sweep

    swept = run_sweep(step.config, step.runner_factory, step.tracker, step.listener.progress)
    if swept.interrupted:
        raise Interrupted(swept.message)
    found = tuple(studies(step.config, swept.results))
    for study in found:
        step.listener.on_study(study)
        log_study(step, study)
    _compare(step, found)
    return found


def log_study(step: Step, study: Study) -> None:
    """The study's tables, for the tracker."""
    name = step.run_dir.suffix(study.group.task, study.group.model, study.group.train_size)
    step.tracker.log_table(f"leaderboard{name}", [row.to_dict() for row in study.ranked])
    step.tracker.log_table(f"effects{name}", study.effects)
    step.tracker.log_table(f"pareto{name}", [one.to_dict() for one in study.pareto_front])


def _compare(step: Step, found: Sequence[Study]) -> None:
    """What several models, tasks or sizes show together."""
    for n, family in enumerate(cross_studies(found)):
        step.listener.on_cross_study(family)
        name = "consistency" + (f"-{n}" if n else "")
        step.tracker.log_table(name, [one.to_dict() for one in family.agreements])
        step.tracker.log_table(f"{name}-effects", [one.to_dict() for one in family.rows])


def plan_of(config: SweepConfig) -> Plan:
    """What the sweep would run, with what its ledger already has."""
    return plan(config, config.run_dir.results())


# ---- strategy ------------------------------------------------------------------------------------------------------


def largest_studies(found: Sequence[Study]) -> list[Study]:
    """The studies that a strategy is made from: of each task and model, the one with the most training samples."""
    largest: dict[tuple[str, str], Study] = {}
    for study in found:
        contest = (study.group.task, study.group.model)
        if contest not in largest or study.group.train_size > largest[contest].group.train_size:
            largest[contest] = study
    return list(largest.values())


def assemble(step: Step, study: Study, constraints: Constraints | None = None) -> StudyConclusion:
    """The best combination that a study's evidence carries, saved in the sweep's folder.

    `constraints` stand in for those of the configuration.
    """
    strategy = strategies.assemble(
        study.results,
        study.objective,
        weights={study.split: 1.0},
        constraints=constraints or constraints_of(step.config),
        items=study.items[study.split],
        sweep=step.config.name,
        recommended=_recommended(step.config, study),
    )
    path = step.run_dir.strategy(strategy.task, strategy.model)
    strategies.save(strategy, path)
    step.keep(path)
    step.listener.on_strategy(strategy, path)
    return StudyConclusion(study, strategy, path)


def _recommended(config: SweepConfig, study: Study) -> tuple[Design, float] | None:
    """What the search itself has come to, with the score it expects; None for methods that only hand out designs."""
    from sde_ray.sweep.run import scorer

    agenda = make_trial_queue(plan_of(config), scorer(config), config.run_dir.results())
    if not isinstance(agenda, Asked):
        return None
    name = (study.group.task, study.group.model, study.group.train_size)
    expected = agenda.expected(name)
    return None if expected is None else (agenda.recommend()[name], expected)


def constraints_of(
    config: SweepConfig, min_format_adherence: float | None = None, max_output_tokens: float | None = None
) -> Constraints:
    """What the assembled design must keep to: as given here, else as the configuration's section `constraints` says."""
    given = {"min_format_adherence": min_format_adherence, "max_output_tokens": max_output_tokens}
    return config.constraints.model_copy(update={key: value for key, value in given.items() if value is not None})


# ---- validation ----------------------------------------------------------------------------------------------------


def validate(step: Step, conclusion: StudyConclusion) -> StudyConclusion:
    """The final comparison: train contenders on fresh seeds, judge, keep the verdict and the recommended adapter."""
    from sde_ray.sweep.final import run_trials

    strategy = conclusion.strategy
    suffix = step.run_dir.suffix(strategy.task, strategy.model)
    trials = validation.validation_trials(strategy, step.config, tuple(step.config.run_dir.results().values()))
    step.listener.on_validation_start(trials)
    wanted = [trial for own in trials.values() for trial in own]
    ended = run_trials(step.config, wanted, step.runner_factory, step.tracker, step.listener.progress)
    if ended.interrupted:
        raise Interrupted(ended.message)
    results = {result.key: result for result in ended.results}
    verdict = validation.judge_validation(strategy, trials, results, step.run_dir.trials)
    strategy = replace(strategy, verdict=verdict.summary)
    strategies.save(strategy, conclusion.path)
    path = step.run_dir.validation(strategy.task, strategy.model)
    verdicts.save(verdict, path)
    step.tracker.log_table(f"validation{suffix}", verdicts.verdict_table(verdict))
    step.keep(conclusion.path, path)
    adapter = _keep_adapter(
        step.run_dir.folder, trials[verdict.recommended], step.run_dir.adapter(strategy.task, strategy.model)
    )
    if adapter is not None:
        step.tracker.register_adapter(strategy, adapter)
    step.listener.on_verdict(verdict, path)
    return replace(conclusion, strategy=strategy, verdict=verdict)


def _keep_adapter(store: LocalFolder, trials: Sequence[TrialConfig], place: Path) -> Path | None:
    """Copy the adapter to use beside the strategy: of the largest training size, with the first seed.

    Not with the best one: to choose a seed by its test score would spend the test split on a selection.
    """
    trial = f"{TRIALS}/{max(trials, key=lambda trial: trial.train_size).key}"
    store.pull(trial)
    source = store.folder / trial / ADAPTER
    if not source.is_dir():
        return None
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(source, place)
    store.push(place)
    return place


# ---- report --------------------------------------------------------------------------------------------------------


def report(step: Step, found: Sequence[Study], load_conclusions: Sequence[StudyConclusion]) -> Path:
    """The page that tells all of it, in the sweep's folder and in MLflow."""
    chapters = _chapters(found, load_conclusions)
    path = _write_page(step.config, chapters, found)
    step.keep(path)
    _log_figures(step, chapters)
    step.listener.on_report(path)
    return path


def rewrite(config: SweepConfig) -> Path | None:
    """The page once more, with what was asked since; None where the sweep has none yet."""
    if not config.run_dir.report.is_file():
        return None
    found = studies(config, tuple(config.run_dir.results().values()))
    path = _write_page(config, _chapters(found, load_conclusions(config, found)), found)
    config.run_dir.folder.push(path)
    return path


def _chapters(found: Sequence[Study], load_conclusions: Sequence[StudyConclusion]) -> list[Chapter]:
    from sde_ray.analysis.report.chapter import Chapter

    ends = {one.study.group: one for one in load_conclusions}
    return [
        Chapter(study, ends[study.group].strategy, ends[study.group].verdict) if study.group in ends else Chapter(study)
        for study in found
    ]


def _write_page(config: SweepConfig, chapters: Sequence[Chapter], found: Sequence[Study]) -> Path:
    from sde_ray.analysis.report import Report, write_report
    from sde_ray.analysis.report.extras import read_extras

    folder, made = config.run_dir.path, plan_of(config)
    settings = {"method": config.search.method, "model": ", ".join(config.model)}
    command = f"sde-ray run {config.run_dir.uri(SWEEP)}"
    page = Report(
        config.name, chapters, made.pinned, made.dropped, settings, command, cross_studies(found), read_extras(folder)
    )
    return write_report(config.run_dir.report, page)


def _log_figures(step: Step, chapters: Sequence[Chapter]) -> None:
    """The figures of the page, each as a file of its own."""
    from sde_ray.analysis.report import figure_files

    for chapter in chapters:
        group = chapter.study.group
        name = step.run_dir.suffix(group.task, group.model, group.train_size)
        for kind, figure in figure_files(chapter).items():
            step.tracker.log_text(f"{kind}{name}.svg", figure)


def load_conclusions(config: SweepConfig, found: Sequence[Study]) -> list[StudyConclusion]:
    """What earlier runs came to, read from the sweep's folder."""
    ends = []
    for study in largest_studies(found):
        contest = (study.group.task, study.group.model)
        path, judged = config.run_dir.strategy(*contest), config.run_dir.validation(*contest)
        if path.is_file():
            verdict = verdicts.load(judged) if judged.is_file() else None
            ends.append(StudyConclusion(study, strategies.load(path), path, verdict))
    return ends


# ---- MLflow --------------------------------------------------------------------------------------------------------


@contextmanager
def tracked(config: SweepConfig) -> Iterator[Tracker]:
    """The sweep's run in MLflow, from its start to a true end, whatever happens in between."""
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # our own progress is shown
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")  # that a new database is made is no news
    tracker = Tracker()
    store = config.run_dir.folder
    if config.mlflow.enabled:
        refuse_if_held(config.run_dir.path, store.remote)  # or this run would end the runs of the driver at work
        if store.remote:
            store.pull()
            ensure_sweep_id(store.folder)  # the sweep's run in MLflow is the same from every machine
            store.push(store.folder / SWEEP_ID_FILE)
        mlflow = MlflowTracker(resolve_tracking_uri(config), config.mlflow.experiment_name)
        tracker = BackgroundTracker(
            mlflow,
            lambda: config.run_dir.results().values(),
            retry_interval_s=config.mlflow.retry_interval_s,
            flush_timeout_s=config.mlflow.flush_timeout_s,
        )
    with _terminable():
        tracker.on_sweep_start(config.name, resolved(config), config.run_dir.path)
        status = "FAILED"
        try:
            yield tracker
            status = "FINISHED"
        except (Interrupted, KeyboardInterrupt, SystemExit):
            status = "KILLED"
            raise
        finally:
            tracker.on_sweep_end(status)


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM is Ctrl-C: lease, run and Ray end in order also where no trial runs, at the start or in a report."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except SystemExit as end:
        if end.code == signal.SIGTERM:  # Ray has a handler of its own, which it sets as it starts
            raise KeyboardInterrupt from None
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
