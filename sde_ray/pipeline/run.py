"""A whole study, top to bottom: plan, sweep, effects, strategy, validation, report. What `sde-ray run` does.

    outcome = run(load_config("sweeps/quickstart.yaml"), PipelineListener())

Each step leaves its file in the sweep's folder, and each is safe to repeat: what is finished is not done again.
`PipelineListener` hears what happens; it prints on the command line, and tests listen.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sde_ray.analysis import strategy as strategies
from sde_ray.analysis import validation
from sde_ray.analysis import verdict as verdicts
from sde_ray.analysis.cross_study import cross_studies
from sde_ray.analysis.degenerate import degenerate_gold
from sde_ray.analysis.study import Study, studies
from sde_ray.config.constraints import Constraints
from sde_ray.config.load import refuse_masked, resolved
from sde_ray.config.schema import SweepConfig
from sde_ray.config.trial import TrialConfig
from sde_ray.design.axes import find_axis
from sde_ray.errors import UserError
from sde_ray.pipeline.comparison import comparison_view
from sde_ray.pipeline.context import Interrupted, PipelineContext, PipelineResult, StudyConclusion
from sde_ray.pipeline.listener import PipelineListener
from sde_ray.pipeline.notification import notified
from sde_ray.pipeline.validation_trials import repeated_trials, validation_trials
from sde_ray.storage.layout import ADAPTER, SWEEP, TRIALS
from sde_ray.storage.lease import refuse_if_held
from sde_ray.storage.mirror import LocalFolder
from sde_ray.sweep.data_summary import overlong_notes
from sde_ray.sweep.phase import leave_phase, write_phase
from sde_ray.sweep.signals import sigterm_is_ctrl_c
from sde_ray.sweep.sweep_run import SweepRun
from sde_ray.tracking.background import BackgroundTracker
from sde_ray.tracking.base import Tracker
from sde_ray.tracking.mlflow_tracker import MlflowTracker
from sde_ray.tracking.sweep_id import SWEEP_ID_FILE, ensure_sweep_id
from sde_ray.tracking.tracking_uri import resolve_tracking_uri
from sde_ray.training.runner import RunnerFactory
from sde_ray.types import TrialResult

if TYPE_CHECKING:
    from sde_ray.analysis.report.chapter import Chapter


def run(
    config: SweepConfig,
    listener: PipelineListener,
    with_validation: bool = True,
    runner_factory: RunnerFactory | None = None,
) -> PipelineResult:
    """The whole study. `runner_factory` stands in for the training engine in tests."""
    try:
        with notified(config):
            return _run_steps(config, listener, with_validation, runner_factory)
    except Interrupted as stopped:
        return PipelineResult(config.run_dir.path, interrupted=str(stopped))


def _run_steps(
    config: SweepConfig, listener: PipelineListener, with_validation: bool, runner_factory: RunnerFactory | None
) -> PipelineResult:
    config.run_dir.refresh()
    sweep_run = SweepRun(config, check_tokenizer=runner_factory is None)
    listener.on_notes(sweep_run.notes())
    listener.on_data(sweep_run.data)
    listener.on_plan(sweep_run.plan)
    with tracked(sweep_run) as tracker:
        context = PipelineContext(sweep_run, listener, tracker, runner_factory)
        study_list = sweep(context)
        conclusions = [assemble(context, study) for study in largest_studies(study_list)]
        if with_validation:
            conclusions = [validate(context, conclusion) for conclusion in conclusions]
        path = report(context, study_list, conclusions)
        write_phase(config.run_dir, "finished")
    return PipelineResult(config.run_dir.path, study_list, conclusions, path)


def sweep(context: PipelineContext) -> tuple[Study, ...]:
    """Run what the ledger lacks. Returns what the trials show, by task, model and training size."""
    from sde_ray.sweep.run import run_plan

    outcome = run_plan(context.sweep_run, context.runner_factory, context.tracker, context.listener.progress)
    if outcome.interrupted:
        raise Interrupted(outcome.message)
    study_list = tuple(studies(context.config, outcome.results))
    for study in study_list:
        context.listener.on_study(study)
        log_study(context, study)
    _compare(context, study_list)
    return study_list


def log_study(context: PipelineContext, study: Study) -> None:
    """The study's tables, for the tracker."""
    name = context.run_dir.suffix(study.group.task, study.group.model, study.group.train_size)
    context.tracker.log_table(f"leaderboard{name}", [row.to_dict() for row in study.ranked])
    context.tracker.log_table(f"effects{name}", study.effects)
    context.tracker.log_table(f"pareto{name}", [one.to_dict() for one in study.pareto_front])


def _compare(context: PipelineContext, study_list: Sequence[Study]) -> None:
    """What several models, tasks or sizes show together."""
    for n, family in enumerate(cross_studies(study_list)):
        context.listener.on_cross_study(family)
        name = "consistency" + (f"-{n}" if n else "")
        context.tracker.log_table(name, [one.to_dict() for one in family.agreements])
        context.tracker.log_table(f"{name}-effects", [one.to_dict() for one in family.rows])


# ---- strategy ------------------------------------------------------------------------------------------------------


def largest_studies(study_list: Sequence[Study]) -> list[Study]:
    """The studies that a strategy is made from: of each task and model, the one with the most training samples."""
    largest: dict[tuple[str, str], Study] = {}
    for study in study_list:
        contest = (study.group.task, study.group.model)
        if contest not in largest or study.group.train_size > largest[contest].group.train_size:
            largest[contest] = study
    return list(largest.values())


def assemble(
    context: PipelineContext,
    study: Study,
    constraints: Constraints | None = None,
    out: Path | None = None,
    keep_validated: bool = False,
) -> StudyConclusion:
    """The best combination that a study's evidence carries, saved in the sweep's folder.

    Args:
        context: the run.
        study: the trials.
        constraints: in place of those of the configuration.
        out: the file to write in place of the folder's strategy.
        keep_validated: refuse to write another design over one that was validated.

    Raises:
        UserError: where that would have to be done, or no design meets the constraints.
    """
    strategy = strategies.assemble(
        study.results,
        study.objective,
        weights={study.split: 1.0},
        constraints=constraints or constraints_of(context.config),
        items=study.items[study.split],
        sweep=context.config.name,
        recommended=context.sweep_run.recommendation(study.group.task, study.group.model, study.group.train_size),
        warning=degenerate_gold(context.sweep_run.tasks[study.group.task]),
    )
    own = context.run_dir.strategy(strategy.task, strategy.model)
    path = out or own
    validated = strategies.validated(path)
    if validated is not None and validated.design == strategy.design:
        strategy = replace(strategy, verdict=validated.verdict)
    elif validated is not None and keep_validated:
        raise UserError(strategies.refusal(strategy, validated, path))
    strategies.save(strategy, path)
    if path == own:
        context.publish(path)
    context.listener.on_strategy(strategy, path)
    return StudyConclusion(study, strategy, path)


def constraints_of(
    config: SweepConfig, min_format_adherence: float | None = None, max_output_tokens: float | None = None
) -> Constraints:
    """What the assembled design must keep to: as given here, else as the configuration's section `constraints` says."""
    changes = {"min_format_adherence": min_format_adherence, "max_output_tokens": max_output_tokens}
    return config.constraints.model_copy(update={key: value for key, value in changes.items() if value is not None})


# ---- validation ----------------------------------------------------------------------------------------------------


def validate(context: PipelineContext, conclusion: StudyConclusion) -> StudyConclusion:
    """The final comparison: train contenders on fresh seeds, judge, keep the verdict and the recommended adapter."""
    from sde_ray.sweep.run import run_trials

    strategy = conclusion.strategy
    suffix = context.run_dir.suffix(strategy.task, strategy.model)
    trials = validation_trials(strategy, context.config, tuple(context.sweep_run.results.values()))
    repeated = repeated_trials(strategy, context.config, trials)
    at_values = {f"{name} at {at}": own for at, group in repeated.items() for name, own in group.items()}
    context.listener.on_validation_start({**trials, **at_values})
    every = [trial for group in (*trials.values(), *at_values.values()) for trial in group]
    write_phase(context.run_dir, "validation", validation=[trial.key for trial in every])
    outcome = run_trials(context.sweep_run, every, context.runner_factory, context.tracker, context.listener.progress)
    if outcome.interrupted:
        raise Interrupted(outcome.message)
    results = {result.key: result for result in outcome.results}
    path = context.run_dir.validation(strategy.task, strategy.model)
    verdict = validation.judge_validation(
        strategy,
        trials,
        results,
        context.run_dir.trials,
        conclusion.study.results,
        verdicts.earlier_looks(path),
        repeated,
    )
    strategy = replace(strategy, verdict=verdict.summary)
    strategies.save(strategy, conclusion.path)
    verdicts.save(verdict, path)
    context.tracker.log_table(f"validation{suffix}", verdicts.verdict_table(verdict))
    context.publish(conclusion.path, path)
    adapter = _keep_adapter(
        context.run_dir.folder, trials[verdict.recommended], context.run_dir.adapter(strategy.task, strategy.model)
    )
    if adapter is not None:
        context.tracker.register_adapter(strategy, adapter)
    context.listener.on_verdict(verdict, path)
    return replace(conclusion, strategy=strategy, verdict=verdict)


def _keep_adapter(store: LocalFolder, trials: Sequence[TrialConfig], target: Path) -> Path | None:
    """Copy the adapter to use beside the strategy: of the largest training size, with the first seed.

    Not with the best one: to choose a seed by its test score would spend the test split on a selection.
    """
    trial = f"{TRIALS}/{max(trials, key=lambda trial: trial.train_size).key}"
    store.download(trial)
    source = store.folder / trial / ADAPTER
    if not source.is_dir():
        return None
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    store.upload(target)
    return target


# ---- report --------------------------------------------------------------------------------------------------------


def report(context: PipelineContext, study_list: Sequence[Study], conclusions: Sequence[StudyConclusion]) -> Path:
    """The page that tells all of it, in the sweep's folder and in MLflow."""
    chapters = _chapters(context.sweep_run, study_list, conclusions)
    path = _write_page(context.sweep_run, chapters, study_list)
    context.publish(path)
    _log_figures(context, chapters)
    context.listener.on_report(path)
    return path


def refresh_report(config: SweepConfig) -> Path | None:
    """The page once more, with what was asked since; None where the sweep has none yet."""
    if not config.run_dir.report.is_file():
        return None
    sweep_run = SweepRun(config)
    study_list = studies(config, tuple(sweep_run.results.values()))
    path = _write_page(sweep_run, _chapters(sweep_run, study_list, load_conclusions(config, study_list)), study_list)
    config.run_dir.folder.upload(path)
    return path


def _chapters(
    sweep_run: SweepRun, study_list: Sequence[Study], conclusions: Sequence[StudyConclusion]
) -> list[Chapter]:
    from sde_ray.analysis.report.chapter import Chapter

    by_group = {conclusion.study.group: conclusion for conclusion in conclusions}
    data = {each.task: each for each in sweep_run.data}
    chapters = []
    for study in study_list:
        read = data.get(study.group.task)
        about = (read.facts, (*read.notes, *overlong_notes(read))) if read else ((), ())
        if study.group in by_group:
            conclusion = by_group[study.group]
            final = _final_results(sweep_run, study) if conclusion.verdict else ()
            chapters.append(Chapter(study, conclusion.strategy, conclusion.verdict, final, *about))
        else:
            chapters.append(Chapter(study, facts=about[0], notes=about[1]))
    return chapters


def _final_results(sweep_run: SweepRun, study: Study) -> list[TrialResult]:
    """The trials of the final comparison on a study's task and model, of the largest size that it has.

    Those at further values of nuisance axes are left out.
    """
    contest = (study.group.task, study.group.model)
    final = [
        result
        for result in sweep_run.results.values()
        if "test" in result.config["splits"]
        and (result.config["task"], result.config["model"]) == contest
        and not any(find_axis(axis).nuisance for axis in result.config["design"])
    ]
    largest = max((int(result.config["train_size"]) for result in final), default=0)
    return [result for result in final if int(result.config["train_size"]) == largest]


def _write_page(sweep_run: SweepRun, chapters: Sequence[Chapter], study_list: Sequence[Study]) -> Path:
    from sde_ray.analysis.report import Report, write_report
    from sde_ray.analysis.report.extras import read_extras

    config, plan, run_dir = sweep_run.config, sweep_run.plan, sweep_run.run_dir
    settings = {"method": config.search.method, "model": ", ".join(config.model)}
    command = f"sde-ray run {run_dir.uri(SWEEP)}"
    page = Report(
        config.name,
        chapters,
        plan.pinned,
        plan.dropped,
        settings,
        command,
        cross_studies(study_list),
        read_extras(run_dir.path),
    )
    return write_report(run_dir.report, page)


def _log_figures(context: PipelineContext, chapters: Sequence[Chapter]) -> None:
    """The figures of the page, each as a file of its own."""
    from sde_ray.analysis.report import figure_files

    for chapter in chapters:
        group = chapter.study.group
        name = context.run_dir.suffix(group.task, group.model, group.train_size)
        for kind, figure in figure_files(chapter).items():
            context.tracker.log_text(f"{kind}{name}.svg", figure)


def load_conclusions(config: SweepConfig, study_list: Sequence[Study]) -> list[StudyConclusion]:
    """What earlier runs came to, read from the sweep's folder."""
    conclusions = []
    for study in largest_studies(study_list):
        contest = (study.group.task, study.group.model)
        path, judged = config.run_dir.strategy(*contest), config.run_dir.validation(*contest)
        if path.is_file():
            verdict = verdicts.load(judged) if judged.is_file() else None
            conclusions.append(StudyConclusion(study, strategies.load(path), path, verdict))
    return conclusions


# ---- MLflow --------------------------------------------------------------------------------------------------------


@contextmanager
def tracked(sweep_run: SweepRun, test_phase: str = "validation") -> Iterator[Tracker]:
    """The sweep's run in MLflow, from its start to a true end, whatever happens in between.

    `test_phase` is what trials on test splits are run for (`trial_run.PHASES`).
    """
    config = sweep_run.config
    refuse_masked(config)
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # our own progress is shown
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")  # that a new database is made is no news
    tracker = Tracker()
    store = config.run_dir.folder
    if config.mlflow.enabled:
        refuse_if_held(config.run_dir.path, store.remote)  # or this run would end the runs of the driver at work
        if store.remote:
            store.download()
        ensure_sweep_id(store.folder)
        store.upload(store.folder / SWEEP_ID_FILE)  # the sweep's run in MLflow is the same from every machine
        mlflow = MlflowTracker(resolve_tracking_uri(config), config.mlflow.experiment_name, test_phase)
        tracker = BackgroundTracker(
            mlflow,
            lambda: sweep_run.results.values(),
            retry_interval_s=config.mlflow.retry_interval_s,
            flush_timeout_s=config.mlflow.flush_timeout_s,
        )
    with sigterm_is_ctrl_c():
        tracker.on_sweep_start(config.name, resolved(config), config.run_dir.path)
        tracker.log_comparison(comparison_view(sweep_run))
        status = "FAILED"
        try:
            yield tracker
            status = "FINISHED"
        except (Interrupted, KeyboardInterrupt, SystemExit):
            status = "KILLED"
            raise
        finally:
            tracker.on_sweep_end(status)
            leave_phase(config.run_dir)
