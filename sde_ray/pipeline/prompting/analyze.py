"""The prompting study of a sweep, top to bottom: measure the untuned model, compare with tuned scores, publish.

for contest in plan(config).contests:
    prepared = prepare_analysis(config, contest, shots=(0, 2, 4))
    prepared.cost                                   what is missing of the measurements, and how long it takes
    analyses.append(run_analysis(prepared))         each is saved in the sweep's folder
publish(config, analyses)                           MLflow and report.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sde_ray.config.load import open_tasks
from sde_ray.config.schema import SweepConfig
from sde_ray.pipeline import run as pipeline
from sde_ray.pipeline.prompting import result, tuned_scores
from sde_ray.pipeline.prompting.measurement import Measurement
from sde_ray.pipeline.prompting.result import Analysis
from sde_ray.pipeline.prompting.run import Cost, cost, measure, prepare
from sde_ray.storage.jsonl_cache import JsonlCache
from sde_ray.sweep.contest import Contest
from sde_ray.sweep.sweep_run import SweepRun
from sde_ray.tracking import prompting_runs
from sde_ray.tracking.tracking_uri import resolve_tracking_uri
from sde_ray.types import Design


@dataclass(frozen=True)
class PreparedAnalysis:
    """One task on one model, before anything is measured. `tuned`: the score of each design after tuning."""

    config: SweepConfig
    task: str
    model: str
    metric: str
    shots: tuple[int, ...]
    measurements: tuple[Measurement, ...]
    tuned: Mapping[Design, float]

    @property
    def cache(self) -> JsonlCache:
        return JsonlCache(self.config.run_dir.prompting_cache)

    @property
    def cost(self) -> Cost:
        """What `run_analysis` would do; what the cache has is not measured again."""
        return cost(self.measurements, self.cache)


def prepare_analysis(
    config: SweepConfig,
    contest: Contest,
    items: int = 0,
    shots: Sequence[int] = (0, 2, 4),
    seed: int = 0,
    tuned_table: Path | None = None,
) -> PreparedAnalysis:
    """Prepare the study of one task on one model.

    Args:
        config: the sweep's configuration.
        contest: task, model and designs, as planned by the sweep.
        items: dev items to measure; 0: as many as trials are scored on.
        shots: numbers of demonstrations in the prompt.
        seed: draws the demonstrations from train.
        tuned_table: a CSV table of tuned scores by design; the sweep's own trials by default.

    Raises:
        UserError: when the table cannot be read, or there are fewer training examples than demonstrations.
    """
    task = open_tasks(config)[contest.task]
    metric = config.metric_for(task)
    # Tuned scores come before the expensive part: a table that cannot be read is an error at once.
    if tuned_table is None:
        results = tuple(config.run_dir.results().values())
        tuned = tuned_scores.from_results(results, contest.task, contest.model, metric, config.objective.split)
    else:
        tuned = tuned_scores.from_table(tuned_table, metric)
    measurements = prepare(config, task, contest.model, list(contest.trials), items or config.eval_size, shots, seed)
    return PreparedAnalysis(config, contest.task, contest.model, metric, tuple(shots), tuple(measurements), tuned)


def run_analysis(
    prepared: PreparedAnalysis, on_progress: Callable[[int, int], None] = lambda done, total: None
) -> Analysis:
    """Measure what the cache lacks, compare with the tuned scores, save analysis.json and analysis.svg."""
    config, cache = prepared.config, prepared.cache
    config.run_dir.folder.mark_dirty(cache.path)
    rows = measure(prepared.measurements, prepared.model, config, cache, on_progress)
    analysis = result.conclude(prepared.task, prepared.model, prepared.metric, rows, prepared.tuned, prepared.shots)
    result.save(config, analysis)
    return analysis


def publish(config: SweepConfig, analyses: Sequence[Analysis]) -> Path | None:
    """Log the analyses to MLflow and put them on the sweep's page; returns the page, None where there is none yet."""
    with pipeline.tracked(SweepRun(config)) as tracker:
        for analysis in analyses:
            rows = [dict(row) for row in analysis.rows]
            correlations = [correlation.to_dict() for correlation in analysis.correlations]
            suffix = config.run_dir.suffix(analysis.task, analysis.model)
            prompting_runs.log(tracker, rows, correlations, analysis.figure, suffix)
    if config.mlflow.enabled:
        run = (resolve_tracking_uri(config), config.mlflow.experiment_name, config.run_dir.path, config.name)
        for analysis in analyses:
            prompting_runs.log_runs(*run, analysis.task, analysis.model, analysis.rows)
    return pipeline.refresh_report(config)
