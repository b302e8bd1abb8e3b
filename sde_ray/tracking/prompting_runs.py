"""MLflow runs of an analysis of the untuned model: one a design, children of the sweep's run as its trials are.

A run is found again by its key and logged once. The tag `sde.run` is "analysis", that of trials is "trial", so neither
search finds the other. The sweep's run is found by the id in the sweep's folder, after the tracker has made or ended
it. A failure costs no result, as with all tracking: the sweep's folder has every number.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sde_ray.design.designs import paper_label, parse_design
from sde_ray.safe_json import content_hash
from sde_ray.safe_text import redact
from sde_ray.tracking.base import Tracker
from sde_ray.tracking.mlflow_tracker import MlflowTracker
from sde_ray.tracking.run_data import mlflow_name
from sde_ray.tracking.sweep_id import read_sweep_id

Row = Mapping[str, Any]


def log(tracker: Tracker, rows: Sequence[Row], table: Sequence[Row], figure: str, suffix: str) -> None:
    """The rows and the correlations as tables of the sweep's run, the figure as its file."""
    tracker.log_table(f"analysis{suffix}", list(rows))
    tracker.log_table(f"analysis_correlations{suffix}", list(table))
    tracker.log_text(f"analysis{suffix}.svg", figure)


def log_runs(
    tracking_uri: str, experiment: str, folder: Path, sweep: str, task: str, model: str, rows: Sequence[Row]
) -> None:
    """A run a row. A store that does not answer is one warning.

    Args:
        tracking_uri: MLflow's, as for the sweep.
        experiment: its experiment's name.
        folder: the sweep's.
        sweep: its name.
        task, model: what the rows were measured on.
        rows: a design's measures each; numbers become metrics.
    """
    try:
        parent = _find_parent(tracking_uri, experiment, folder, sweep)
        logged = _logged_keys(parent)
        for row in rows:
            measured = {name: value for name, value in row.items() if name != "tuned"}  # the trial's run has that one
            key = content_hash([task, model, measured])
            if key not in logged:
                _log_run(parent, task, model, measured, key)
    except Exception as error:  # the tracker's log call: nothing that goes wrong in it may cost a result
        warnings.warn(
            f"MLflow failed in an analysis: {redact(f'{type(error).__name__}: {error}')}. Nothing is lost.",
            stacklevel=2,
        )


@dataclass(frozen=True)
class _Parent:
    """The sweep's run, and what its children share."""

    client: Any
    experiment_id: str
    run_id: str
    sweep: str
    sweep_id: str


def _find_parent(tracking_uri: str, experiment: str, folder: Path, sweep: str) -> _Parent:
    client = MlflowTracker(tracking_uri, experiment).client
    experiment_id = str(client.get_experiment_by_name(experiment).experiment_id)
    sweep_id = read_sweep_id(folder)
    query = f"tags.`sde.sweep_id` = '{sweep_id}' and tags.`sde.run` = 'sweep'"
    run_id = str(client.search_runs([experiment_id], query)[0].info.run_id)
    return _Parent(client, experiment_id, run_id, sweep, sweep_id)


def _logged_keys(parent: _Parent) -> set[str]:
    """The keys of the runs that MLflow has whole."""
    query = f"tags.`mlflow.parentRunId` = '{parent.run_id}' and tags.`sde.run` = 'analysis'"
    keys: set[str] = set()
    token = None
    while True:
        page = parent.client.search_runs([parent.experiment_id], query, max_results=1000, page_token=token)
        keys |= {str(run.data.tags["sde.key"]) for run in page if run.info.status == "FINISHED"}
        token = page.token
        if not token:
            return keys


def _log_run(parent: _Parent, task: str, model: str, row: Row, key: str) -> None:
    from mlflow.entities import Metric, Param

    design = parse_design(str(row["design"]))
    tags = {
        "mlflow.parentRunId": parent.run_id,
        "sde.sweep": parent.sweep,
        "sde.sweep_id": parent.sweep_id,
        "sde.run": "analysis",
        "sde.key": key,
        **{f"sde.axis.{mlflow_name(axis)}": option for axis, option in design.options},
    }
    run_name = f"{paper_label(design)} · untuned"
    run_id = parent.client.create_run(parent.experiment_id, run_name=run_name, tags=tags).info.run_id
    now = int(time.time() * 1000)
    params = {
        "task": task,
        "model": model,
        **{f"design.{mlflow_name(axis)}": option for axis, option in design.options},
    }
    metrics = {f"untuned.{name}": value for name, value in row.items() if isinstance(value, int | float)}
    parent.client.log_batch(
        run_id,
        metrics=[Metric(name, float(value), now, 0) for name, value in metrics.items()],
        params=[Param(name, str(value)) for name, value in params.items()],
    )
    parent.client.set_terminated(run_id, "FINISHED")
