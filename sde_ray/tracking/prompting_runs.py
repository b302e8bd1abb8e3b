"""A run a design in MLflow, beside the sweep's trials: under the same parent, found again by its key, logged once.

The tag `sde.run` is "analysis", that of trials is "trial", so neither search finds the other. The sweep's run is found
by the id in the sweep's folder, after the tracker has made or ended it. As all tracking this may fail without harm: the
sweep's folder has every number.
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
from sde_ray.tracking.base import Tracker
from sde_ray.tracking.mlflow_tracker import SWEEP_ID_FILE, MlflowTracker
from sde_ray.tracking.run_data import named

Row = Mapping[str, Any]


def log(tracker: Tracker, rows: Sequence[Row], table: Sequence[Row], figure: str, suffix: str) -> None:
    """The rows and the correlations as tables of the sweep's run, the figure as its file."""
    tracker.log_table(f"analysis{suffix}", list(rows))
    tracker.log_table(f"analysis_correlations{suffix}", list(table))
    tracker.log_text(f"analysis{suffix}.svg", figure)


def log_runs(
    tracking_uri: str, experiment: str, folder: Path, sweep: str, task: str, model: str, rows: Sequence[Row]
) -> None:
    """A run a row. `folder`: the sweep's. A store that does not answer is one warning."""
    try:
        place = _place(tracking_uri, experiment, folder, sweep)
        known = _known(place)
        for row in rows:
            own = {name: value for name, value in row.items() if name != "tuned"}  # that stands in the trial's run
            key = content_hash([task, model, own])
            if key not in known:
                _log_run(place, task, model, own, key)
    except Exception as error:  # the tracker's log call: nothing that goes wrong in it may cost a result
        warnings.warn(f"MLflow failed in an analysis: {type(error).__name__}: {error}. Nothing is lost.", stacklevel=2)


@dataclass(frozen=True)
class _Place:
    """Where the runs go: the sweep's own run and its marks."""

    client: Any
    experiment: str
    parent: str
    sweep: str
    identity: str


def _place(tracking_uri: str, experiment: str, folder: Path, sweep: str) -> _Place:
    client = MlflowTracker(tracking_uri, experiment).client
    number = str(client.get_experiment_by_name(experiment).experiment_id)
    identity = (folder / SWEEP_ID_FILE).read_text(encoding="utf-8").strip()
    query = f"tags.`sde.sweep_id` = '{identity}' and tags.`sde.run` = 'sweep'"
    parent = str(client.search_runs([number], query)[0].info.run_id)
    return _Place(client, number, parent, sweep, identity)


def _known(place: _Place) -> set[str]:
    """The keys of the runs that are there."""
    query = f"tags.`mlflow.parentRunId` = '{place.parent}' and tags.`sde.run` = 'analysis'"
    found: set[str] = set()
    token = None
    while True:
        page = place.client.search_runs([place.experiment], query, max_results=1000, page_token=token)
        found |= {str(run.data.tags["sde.key"]) for run in page if run.info.status == "FINISHED"}
        token = page.token
        if not token:
            return found


def _log_run(place: _Place, task: str, model: str, row: Row, key: str) -> None:
    from mlflow.entities import Metric, Param

    design = parse_design(str(row["design"]))
    tags = {
        "mlflow.parentRunId": place.parent,
        "sde.sweep": place.sweep,
        "sde.sweep_id": place.identity,
        "sde.run": "analysis",
        "sde.key": key,
        **{f"sde.axis.{named(axis)}": option for axis, option in design.options},
    }
    made = place.client.create_run(place.experiment, run_name=f"{paper_label(design)} · untuned", tags=tags)
    run, now = made.info.run_id, int(time.time() * 1000)
    params = {"task": task, "model": model, **{f"design.{named(axis)}": option for axis, option in design.options}}
    values = {f"untuned.{name}": value for name, value in row.items() if isinstance(value, int | float)}
    place.client.log_batch(
        run,
        metrics=[Metric(name, float(value), now, 0) for name, value in values.items()],
        params=[Param(name, str(value)) for name, value in params.items()],
    )
    place.client.set_terminated(run, "FINISHED")
