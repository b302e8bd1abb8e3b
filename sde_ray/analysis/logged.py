"""A run a design in MLflow, beside the sweep's trials: under the same parent, found again by its key, logged once.

The tag `sde.run` is "analysis", that of trials is "trial", so neither search finds the other. As all tracking this may
fail without harm: the sweep's folder has every number.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from sde_ray.design import label, parse
from sde_ray.keyed import key_of
from sde_ray.logged import named
from sde_ray.track import MlflowTracker, Tracker

Row = Mapping[str, Any]


def log(
    tracker: Tracker, task: str, model: str, rows: Sequence[Row], table: Sequence[Row], figure: str, suffix: str
) -> None:
    """The rows as runs, the correlations as a table, the figure as a file of the sweep's run."""
    tracker.log_table(f"analysis{suffix}", list(rows))
    tracker.log_table(f"analysis_correlations{suffix}", list(table))
    tracker.log_text(f"analysis{suffix}.svg", figure)
    if not isinstance(tracker, MlflowTracker) or not tracker.parent:
        return
    try:
        _log_runs(tracker, task, model, rows)
    except Exception as fault:  # the tracker's log call: nothing that goes wrong in it may cost a result
        warnings.warn(f"MLflow failed in an analysis: {type(fault).__name__}: {fault}. Nothing is lost.", stacklevel=2)


def _log_runs(tracker: MlflowTracker, task: str, model: str, rows: Sequence[Row]) -> None:
    known = _known(tracker)
    for row in rows:
        key = key_of([task, model, dict(row)])
        if key not in known:
            _log_run(tracker, task, model, row, key)


def _known(tracker: MlflowTracker) -> set[str]:
    query = f"tags.`mlflow.parentRunId` = '{tracker.parent}' and tags.`sde.run` = 'analysis'"
    found: set[str] = set()
    token = None
    while True:
        page = tracker.client.search_runs([tracker.experiment_id], query, max_results=1000, page_token=token)
        found |= {str(run.data.tags["sde.key"]) for run in page if run.info.status == "FINISHED"}
        token = page.token
        if not token:
            return found


def _log_run(tracker: MlflowTracker, task: str, model: str, row: Row, key: str) -> None:
    from mlflow.entities import Metric, Param

    design = parse(str(row["design"]))
    tags = {
        "mlflow.parentRunId": tracker.parent,
        "sde.sweep": tracker.name,
        "sde.sweep_id": tracker.identity,
        "sde.run": "analysis",
        "sde.key": key,
        **{f"sde.axis.{named(axis)}": option for axis, option in design.options},
    }
    made = tracker.client.create_run(tracker.experiment_id, run_name=f"{label(design)} · untuned", tags=tags)
    run, now = made.info.run_id, int(time.time() * 1000)
    params = {"task": task, "model": model, **{f"design.{named(axis)}": option for axis, option in design.options}}
    values = {f"untuned.{name}": value for name, value in row.items() if isinstance(value, int | float)}
    tracker.client.log_batch(
        run,
        metrics=[Metric(name, float(value), now, 0) for name, value in values.items()],
        params=[Param(name, str(value)) for name, value in params.items()],
    )
    tracker.client.set_terminated(run, "FINISHED")
