"""Latency benchmark: from handing over a trial to its first optimiser step, a warm worker against a cold process.

    python -m sde_ray.bench.warm [--json] [--trials 3] [--model tiny]

Both do the same: draw and write the samples, tokenize them, attach an adapter, initialise DeepSpeed, take one step. The
warm worker has the libraries, the process group and the base model already; the cold process starts from nothing, as a
sweep without warm workers would for every trial.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from sde_ray.config.trial import Train, TrialConfig
from sde_ray.design.designs import NAMED

BAR_SECONDS = 1.0


def measure(trials: int = 3, model: str = "tiny", task: str = "masa:d1", train_size: int = 400) -> dict[str, Any]:
    """Seconds of each warm trial (a different design each), of one cold process, and their medians' ratio."""
    from sde_ray.training.runner import RunnerResources
    from sde_ray.training.trial_runner import make_runner

    runner = make_runner(RunnerResources())
    designs = list(NAMED)
    with tempfile.TemporaryDirectory() as folder:
        seconds = [
            _first_step(runner, _config(model, task, designs[n % len(designs)], train_size, n), Path(folder))
            for n in range(trials + 1)
        ][1:]  # the first trial of a worker is a cold one
    runner.close()
    cold = _cold(model, task, train_size)
    return {
        "warm_seconds": median(seconds),
        "warm_seconds_each": [round(value, 4) for value in seconds],
        "cold_seconds": cold,
        "times_faster": cold / median(seconds),
        "bar_seconds": BAR_SECONDS,
        "within_bar": median(seconds) <= BAR_SECONDS,
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Warm trial against cold process, in seconds to the first step.")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--trials", type=int, default=3)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--task", default="masa:d1")
    parser.add_argument("--train-size", type=int, default=400)
    parser.add_argument("--cold", action="store_true", help="take one step and print the time of day (used by itself)")
    options = parser.parse_args(arguments)
    if options.cold:
        print(_step_in_this_process(options.model, options.task, options.train_size))
        return
    measured = measure(options.trials, options.model, options.task, options.train_size)
    print(json.dumps(measured) if options.json else "\n".join(f"{name:20} {value}" for name, value in measured.items()))


def _config(model: str, task: str, design: str, train_size: int, seed: int) -> TrialConfig:
    return TrialConfig(task, NAMED[design], model, seed, train_size, eval_size=1, train=Train(learning_rate=1e-3))


def _first_step(runner: Any, config: TrialConfig, folder: Path) -> float:
    started = time.perf_counter()
    runner.start(config, folder)
    runner.workers.call("train", 1)
    seconds = time.perf_counter() - started
    runner.finish("pruned")
    return seconds


def _cold(model: str, task: str, train_size: int) -> float:
    """From starting a new process to its first step."""
    command = [sys.executable, "-m", "sde_ray.bench.warm", "--cold", "--model", model, "--task", task]
    started = time.time()
    done = subprocess.run([*command, "--train-size", str(train_size)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"The cold process failed:\n{done.stderr[-2000:]}")
    return float(done.stdout.split()[-1]) - started


def _step_in_this_process(model: str, task: str, train_size: int) -> float:
    """Take one step and return the time of day."""
    from sde_ray.training.runner import RunnerResources
    from sde_ray.training.trial_runner import TrialRunner
    from sde_ray.training.worker_group import WorkerGroup

    runner = TrialRunner(WorkerGroup(RunnerResources(), in_process=True))
    with tempfile.TemporaryDirectory() as folder:
        runner.start(_config(model, task, "baseline", train_size, 0), Path(folder))
        runner.workers.call("train", 1)
    return time.time()


if __name__ == "__main__":
    main()
