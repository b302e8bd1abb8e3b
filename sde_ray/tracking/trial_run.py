"""A trial's run in MLflow, as a search finds it: what the trial was run for, and whether all of it was logged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

PHASES = {"validation": "final comparison", "robustness": "robustness"}  # whose trials have a run of their own above
SEARCH = "search"
RECORD = "2"  # what is logged of a trial; one that was logged by an earlier version is completed


@dataclass(frozen=True, order=True)
class TrialRun:
    """What is to be known of a trial's run, the oldest first. `recorded`: the status once all of it was logged;
    `phase`: "" where an earlier version has logged it.
    """

    start_time: int
    run_id: str
    status: str
    parent: str
    recorded: str
    has_params: bool
    phase: str

    @classmethod
    def of(cls, run: Any) -> TrialRun:
        info, tags = run.info, run.data.tags
        parent, phase = tags.get("mlflow.parentRunId", ""), tags.get("sde.phase", "")
        recorded = tags.get("sde.status", "") if tags.get("sde.record") == RECORD else ""
        return cls(info.start_time, info.run_id, info.status, parent, recorded, "design" in run.data.params, phase)
