"""What of a sweep is compared on MLflow's page: its swept axes, objective, cost and out-of-domain score."""

from __future__ import annotations

from sde_ray.sweep.plan import out_of_domain
from sde_ray.sweep.sweep_run import SweepRun
from sde_ray.tracking.comparison_view import TOKENS, ComparisonView
from sde_ray.tracking.run_data import mlflow_name


def comparison_view(sweep_run: SweepRun) -> ComparisonView:
    """The comparison of a sweep's trials. Of several tasks with objectives of their own, the first one's ranks."""
    config, tasks = sweep_run.config, sweep_run.tasks
    split = config.objective.split
    objectives = list(dict.fromkeys(f"{split}/{sweep_run.metric(task)}" for task in tasks))
    metrics = [*objectives[1:]]
    if split == "dev" and any(out_of_domain(config, task) for task in tasks.values()):
        metrics += [f"dev_ood/{sweep_run.metric(task)}" for task in tasks]
    metrics += [f"{split}/format_adherence", TOKENS]
    options: dict[str, set[str]] = {}
    for contest in sweep_run.plan.contests:
        for axis, names in contest.axes.items():
            options.setdefault(axis, set()).update(names)
    axes = [axis for axis, names in options.items() if len(names) > 1]
    counts = {"task": len(config.task), "model": len(config.model), "train_size": len(config.train_sizes)}
    params = ["seed", *(name for name, count in counts.items() if count > 1)]
    return ComparisonView(
        tuple(mlflow_name(axis) for axis in axes),
        mlflow_name(objectives[0]),
        tuple(dict.fromkeys(mlflow_name(metric) for metric in metrics)),
        tuple(params),
    )
