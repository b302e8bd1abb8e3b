"""What a sweep has kept that no longer fits: data that have changed since, trials whose folder is gone.

    for note in stale_result_notes(plan, results, run_dir): ...       a sentence each, with what follows from it

Nothing is thrown away: a trial's key holds a fingerprint of its data, so changed data make new trials, and the old
results stay where they are.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from sde_ray.storage.layout import LEDGER, LEDGER_OBJECTS
from sde_ray.storage.run_directory import RunDirectory
from sde_ray.sweep.plan import Plan
from sde_ray.types import TrialResult


def stale_result_notes(plan: Plan, results: Mapping[str, TrialResult], run_dir: RunDirectory) -> list[str]:
    """What a user should know before the plan runs on top of what the ledger has."""
    return [*_changed_data(plan, results), *_missing_folders(plan, results, run_dir)]


def _changed_data(plan: Plan, results: Mapping[str, TrialResult]) -> list[str]:
    missing = [trial for trial in plan.trials if trial.key not in results] if results else []
    known = {_without_data(result.config) for result in results.values()} if missing else set()
    changed = Counter(trial.task for trial in missing if _without_data(trial.resolved()) in known)
    return [
        f'The data or the definition of the task "{task}" have changed since {count} of these trials ran: they run '
        "again. The old results stay in the ledger, under keys of their own; with the old data they count again."
        for task, count in changed.items()
    ]


def _without_data(config: Mapping[str, Any]) -> str:
    plain = {key: value for key, value in config.items() if key not in ("data", "definition")}
    return json.dumps(plain, sort_keys=True)


def _missing_folders(plan: Plan, results: Mapping[str, TrialResult], run_dir: RunDirectory) -> list[str]:
    wanted = [trial.key for trial in plan.trials if trial.key in results and results[trial.key].status != "failed"]
    gone = [key for key in wanted if not run_dir.trial(key).is_dir()]
    if not gone:
        return []
    some = ", ".join([*gone[:3], *["..."] * (len(gone) > 3)])
    objects = f", and their files out of {run_dir.uri(LEDGER_OBJECTS)}" if run_dir.folder.remote else ""
    return [
        f"{len(gone)} of {len(wanted)} ended trials have no folder any more ({some}). "
        "Their scores count, but their completions and adapters are gone: intervals are wider, and `score` and "
        f"`predict` cannot use them. To run them again, take their lines out of {run_dir.uri(LEDGER)}{objects}."
    ]
