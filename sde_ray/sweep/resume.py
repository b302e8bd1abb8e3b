"""What a sweep's ledger already has of the trials that are planned, and how much of the budget that was.

    match_finished(trials, results)      trial key -> result
    trial_cost(config, result)           1.0; of a trial that `adaptive` stopped at a quarter of its training, 0.25

A finished result counts for every trial that trains the same: rungs only say when a trial is scored. So a sweep by
`adaptive` resumes from what `grid` or `random` has finished, and the other way round.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sde_ray.config.load import open_tasks
from sde_ray.config.schema import SweepConfig
from sde_ray.config.trial import TrialConfig
from sde_ray.errors import UserError
from sde_ray.safe_json import content_hash
from sde_ray.search import METHODS
from sde_ray.storage.layout import LEDGER
from sde_ray.types import TrialResult, key_values


def match_finished(trials: Iterable[TrialConfig], results: Mapping[str, TrialResult]) -> dict[str, TrialResult]:
    """The result that counts for each trial that has one, in the ledger's order."""
    trials = tuple(trials)
    matched = {trial.key: results[trial.key] for trial in trials if trial.key in results}
    others = [trial for trial in trials if trial.key not in matched or matched[trial.key].status != "finished"]
    if others:  # hashing every result costs as much as reading them
        finished = {_training(result.config): result for result in results.values() if result.status == "finished"}
        same = {trial.key: finished.get(_training(trial.resolved())) for trial in others} if finished else {}
        matched |= {key: result for key, result in same.items() if result is not None}
    order = {key: number for number, key in enumerate(results)}
    return dict(sorted(matched.items(), key=lambda pair: order[pair[1].key]))


def _training(config: Mapping[str, Any]) -> str:
    """What a trial trains, as a hash: its configuration but for the rungs, and for where its data's files are."""
    return content_hash({name: value for name, value in key_values(config).items() if name != "rungs"})


def trained_share(result: TrialResult) -> float:
    """How much of its training a trial has done."""
    rungs = result.config.get("rungs", ())
    if result.status == "pruned" and result.rungs and result.rungs[-1].rung < len(rungs):
        return float(rungs[result.rungs[-1].rung])
    return 1.0


def trial_cost(config: SweepConfig, result: TrialResult) -> float:
    """What a trial has used of the budget, in trials."""
    return trained_share(result) if METHODS[config.search.method].trials else 1.0


def check_same_tasks(config: SweepConfig, results: Mapping[str, TrialResult]) -> None:
    """`UserError` where a ledger holds trials of other tasks only, or none with the metric that is searched for."""
    if not results:
        return
    tasks = open_tasks(config)
    uri = config.run_dir.uri(LEDGER)
    own = [result for result in results.values() if result.config["task"] in tasks]
    if not own:
        others = sorted({str(result.config["task"]) for result in results.values()})
        raise UserError(
            f'"{uri}" holds {len(results)} trials of {", ".join(others)}, none of {", ".join(tasks)}. '
            "Give this sweep another name, or remove that folder."
        )
    wanted = {name: config.metric_for(task) for name, task in tasks.items()}
    split = config.objective.split
    scored = [result for result in own if result.status == "finished" and result.scores.get(split)]
    lacking = [result for result in scored if wanted[result.config["task"]] not in result.scores[split]]
    if scored and len(lacking) == len(scored):
        names = sorted(name for name in scored[0].scores[split] if "/" not in name)
        raise UserError(
            f'None of the {len(scored)} finished trials in "{uri}" has the metric {wanted[scored[0].config["task"]]} '
            f"on {split}; they have {', '.join(names)}. Set objective.metric to one of these, recompute with "
            "`sde-ray score`, or give this sweep another name."
        )
