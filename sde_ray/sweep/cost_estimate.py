"""What a sweep will cost: trials, characters to train on, and, once a trial has ended, hours.

estimate(config, contests, count=22, results)   -> Estimate(trials=22, finished=0, train_characters=1_200_000)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, linear_regression

from sde_ray.config.load import open_tasks
from sde_ray.config.schema import SweepConfig
from sde_ray.data import draw
from sde_ray.design.asking import samples_of
from sde_ray.search import METHODS
from sde_ray.sweep.budget import budget
from sde_ray.sweep.cluster.gpus import with_gpus
from sde_ray.sweep.contest import Contest
from sde_ray.sweep.curation import cost
from sde_ray.sweep.resume import match_finished, trial_cost
from sde_ray.types import Task, TrialResult

SKETCHED = 4  # examples that are written in each design to estimate its length


@dataclass(frozen=True)
class Estimate:
    """What the sweep will cost. Seconds and hours are None until a trial of this sweep has ended."""

    trials: int
    finished: int
    train_characters: int
    seconds: float | None = None
    gpu_hours: float | None = None


def estimate(
    config: SweepConfig, contests: Sequence[Contest], count: int, results: Mapping[str, TrialResult]
) -> Estimate:
    """What `count` trials of these contests will cost; time is told by those in `results` that have ended."""
    trials = [trial for contest in contests for group in contest.trials.values() for trial in group]
    done = list(match_finished(trials, results).values())
    finished = sum(result.status != "failed" for result in done)
    used = sum(trial_cost(config, result) for result in done if result.status != "failed")
    tasks = open_tasks(config)
    characters = sum(_characters(contest, tasks[contest.task], config) for contest in contests)
    measured = [
        (int(result.config["train_size"]), result.seconds["total"])
        for result in done
        if result.status == "finished" and "total" in result.seconds
    ]
    seconds = gpu_hours = None
    if measured:
        each = mean_seconds(measured, [trial.train_size for trial in trials])
        left = max(0, count - used)
        seconds = each * left / (config.resources.max_concurrent_trials or 1)
        workers = config.resources.num_workers * with_gpus(config.resources).resources_per_worker.gpus
        gpu_hours = each * left * workers / 3600
    return Estimate(count, finished, characters, seconds, gpu_hours)


def mean_seconds(measured: Sequence[tuple[int, float]], sizes: Sequence[int]) -> float:
    """Mean time of trials of these training sizes, from (size, seconds) of some.

    By a line through those measured, as a larger size takes longer; by their mean where they have one size.
    """
    seconds = [each for _, each in measured]
    if len({size for size, _ in measured}) < 2:
        return fmean(seconds)
    slope, intercept = linear_regression([size for size, _ in measured], seconds)
    return fmean(max(min(seconds), intercept + slope * size) for size in sizes)


def _characters(contest: Contest, task: Task, config: SweepConfig) -> int:
    """Characters that all trials of a contest train on, from the first examples written in each design."""
    if not contest.trials:
        return 0
    train = task.load("train")
    examples = draw(train, min(SKETCHED, len(train)), config.seeds[0])
    total = 0.0
    for design, trials in contest.trials.items():
        samples = samples_of(examples, task, design, config.instruction_variant)
        length = sum(len(s.completion.text) + sum(len(p.text) for p in s.prompt) for s in samples) / len(examples)
        total += length * sum(trial.train_size * trial.train.num_train_epochs * cost(trial) for trial in trials)
    designs = len(contest.trials)
    if METHODS[config.search.method].trials:
        designs *= len(config.seeds)
    return round(total * budget(config, tuple(contest.trials)) / designs)
