"""A whole trial on a real runner, as the sweep runs it, without Ray Tune."""

from __future__ import annotations

from pathlib import Path

from sde_ray.config.trial import TrialConfig
from sde_ray.training import checkpoint
from sde_ray.training.runner import Runner
from sde_ray.types import TrialResult


def run_trial(runner: Runner, config: TrialConfig, folder: Path) -> TrialResult:
    """All rungs of one trial; a failure is a result with its error, and the runner can run the next trial."""
    try:
        resumed = runner.start(config, folder)
        for index in range(len(resumed.rungs), len(config.rungs)):
            runner.train_rung(index)
    except Exception as error:
        result = runner.finish("failed", f"{type(error).__name__}: {error}")
    else:
        result = runner.finish()
    checkpoint.remove(folder)
    return result


class CutError(Exception):
    """The process of a trial is gone, as far as a test is concerned."""


def cut_within(runner: Runner, config: TrialConfig, folder: Path, steps: int) -> None:
    """Run the trial until its checkpoint within a rung is after so many steps, no further."""

    def cut() -> None:
        if checkpoint.progress(folder, config.key)[1] == steps:
            raise CutError

    resumed = runner.start(config, folder)
    try:
        for index in range(len(resumed.rungs), len(config.rungs)):
            runner.train_rung(index, None, cut)
    except CutError:
        return
    raise AssertionError(f"no checkpoint after {steps} steps")
