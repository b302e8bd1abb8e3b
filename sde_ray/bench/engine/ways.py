"""The three ways to run the same trials, each in processes of its own, timed from the outside.

    outcome = WAYS["process"](jobs, Machine(at_once=2, threads=1), folder)
    outcome.wall, outcome.scores, outcome.phases                 seconds, a score a trial, worker-seconds by phase

Worker-seconds are seconds of all places for trials: of a wall time of 10 s with two at a time there are 20. `overhead`
is what is left of them: the driver's own work, starts and ends of processes, and places that wait for the last trial.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sde_ray.bench.engine import plain_script
from sde_ray.bench.engine.work import Job, score
from sde_ray.errors import UserError

PROCESS_GROUP = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # of this process, if it is in one
PLAIN_PHASES = ("import", "load", "tokenize", "train", "decode")


@dataclass(frozen=True)
class Machine:
    """How the trials share the machine. `sets`: settings of our own sweep alone, as on the command line."""

    at_once: int = 2
    threads: int = 1
    sets: tuple[str, ...] = ()

    @property
    def gpu_share(self) -> float:
        """The GPU of one trial, in every way: all trials at a time share one, where there is one."""
        import torch

        return 1 / self.at_once if torch.cuda.is_available() else 0.0


@dataclass(frozen=True)
class Outcome:
    """One run of one way. `new_tokens`: generated ones of all trials."""

    wall: float
    scores: tuple[float, ...]
    phases: Mapping[str, float]
    new_tokens: int


def run_processes(jobs: Sequence[Job], machine: Machine, folder: Path) -> Outcome:
    """A process a design: the plain script, so many at a time."""
    files = [(folder / f"job-{number}.json", folder / f"result-{number}.json") for number in range(len(jobs))]
    for job, (path, _) in zip(jobs, files, strict=True):
        path.write_text(json.dumps(dict(job.data)), encoding="utf-8")
    script = str(Path(plain_script.__file__))
    started = time.perf_counter()
    with ThreadPoolExecutor(machine.at_once) as pool:
        list(pool.map(lambda pair: _run([script, *map(str, pair)], "process", machine), files))
    wall = time.perf_counter() - started
    return _plain(jobs, [_read(path) for _, path in files], wall, machine)


def run_tune(jobs: Sequence[Job], machine: Machine, folder: Path) -> Outcome:
    """Function trials of Ray Tune that call the plain script's functions."""
    (folder / "jobs.json").write_text(json.dumps([dict(job.data) for job in jobs]), encoding="utf-8")
    paths = [str(folder / "jobs.json"), str(folder / "results.json")]
    sizes = [str(machine.at_once), str(machine.threads), str(machine.gpu_share)]
    started = time.perf_counter()
    _run(["-m", "sde_ray.bench.engine.plain_tune", *paths, *sizes], "tune", machine)
    wall = time.perf_counter() - started
    return _plain(jobs, _read(folder / "results.json"), wall, machine)


def run_ours(jobs: Sequence[Job], machine: Machine, folder: Path) -> Outcome:
    """A sweep of ours."""
    import yaml

    (folder / "engine.yaml").write_text(yaml.safe_dump(sweep_section(jobs, machine, folder)), encoding="utf-8")
    paths = [str(folder / "engine.yaml"), str(folder / "results.json")]
    started, epoch = time.perf_counter(), time.time()
    _run(["-m", "sde_ray.bench.engine.own_sweep", *paths, *machine.sets], "ours", machine)
    wall = time.perf_counter() - started
    result = _read(folder / "results.json")
    by_design = {json.dumps(row["design"], sort_keys=True): row for row in result["trials"]}
    rows = [by_design[json.dumps(dict(job.trial.design.options), sort_keys=True)] for job in jobs]
    failed = next((row["error"] for row in rows if row["status"] != "finished"), None)
    if failed is not None:
        raise UserError(f"A trial of our own sweep did not finish: {failed}")
    phases = own_phases(wall, result["first_trial"] - epoch, machine.at_once, [row["seconds"] for row in rows])
    new_tokens = round(sum(row["tokens"]["output"] * job.trial.eval_size for row, job in zip(rows, jobs, strict=True)))
    return Outcome(wall, tuple(row["scores"][_objective(jobs)] for row in rows), phases, new_tokens)


WAYS: Mapping[str, Callable[[Sequence[Job], Machine, Path], Outcome]] = {
    "process": run_processes,
    "tune": run_tune,
    "ours": run_ours,
}
DESCRIPTIONS = {
    "process": "one process a design: transformers' Trainer, peft, generate",
    "tune": "the same as plain Ray Tune function trials",
    "ours": "a sweep of ours, up to the last trial",
}


def sweep_section(jobs: Sequence[Job], machine: Machine, folder: Path) -> dict[str, Any]:
    """The YAML of our sweep of these trials."""
    first = jobs[0].trial
    worker = {"CPU": machine.threads, "GPU": machine.gpu_share}
    return {
        "name": "engine",
        "task": first.task,
        "model": first.model,
        "designs": [dict(job.trial.design.options) for job in jobs],
        "search": {"method": "grid", "points_to_evaluate": []},
        "seeds": [first.seed],
        "train_sizes": [first.train_size],
        "eval_size": first.eval_size,
        "out_of_domain": [],
        "chat_template": "off",
        "train": json.loads(json.dumps(dict(first.train.key_values))),
        "lora": json.loads(json.dumps(dict(first.lora.key_values))),
        "resources": {"resources_per_worker": worker, "max_concurrent_trials": machine.at_once},
        "mlflow": {"enabled": False},
        "storage_path": str(folder / "runs"),
    }


def own_phases(
    wall: float, first_trial: float, at_once: int, seconds: Sequence[Mapping[str, float]]
) -> dict[str, float]:
    """Worker-seconds of a sweep of ours by phase.

    Args:
        wall: of the whole sweep.
        first_trial: when the first trial began, from the start of the process.
        at_once: places for trials.
        seconds: of each trial, by the phases of `TrialResult`.
    """
    total = {name: sum(one.get(name, 0.0) for one in seconds) for name in dict.fromkeys(n for s in seconds for n in s)}
    prepared = sum(total.get(name, 0.0) for name in ("write", "load", "tokenize", "engine"))
    phases = {
        "start": first_trial * at_once,
        "start workers": total.get("setup", 0.0) - prepared,
        "load": total.get("load", 0.0),
        "tokenize": total.get("write", 0.0) + total.get("tokenize", 0.0),
        "adapter, optimizer": total.get("engine", 0.0),
        "train": total.get("first_step", 0.0) + total.get("train", 0.0),
        "decode": total.get("decode", 0.0),
    }
    return _with_overhead(phases, wall * at_once)


def _with_overhead(phases: Mapping[str, float], total: float) -> dict[str, float]:
    return {**phases, "overhead": total - sum(phases.values())}


def _plain(jobs: Sequence[Job], results: Sequence[Mapping[str, Any]], wall: float, machine: Machine) -> Outcome:
    scores = tuple(score(job.trial, one["completions"]) for job, one in zip(jobs, results, strict=True))
    phases = {name: sum(one["seconds"][name] for one in results) for name in PLAIN_PHASES}
    new_tokens = sum(one["new_tokens"] for one in results)
    return Outcome(wall, scores, _with_overhead(phases, wall * machine.at_once), new_tokens)


def _objective(jobs: Sequence[Job]) -> str:
    from sde_ray.tasks.trial_task import trial_task

    return trial_task(jobs[0].trial.task).objective


def _run(arguments: Sequence[str], way: str, machine: Machine) -> None:
    """Run Python with these arguments. Raises UserError with the end of what it said."""
    threads = {"OMP_NUM_THREADS": str(machine.threads), "TOKENIZERS_PARALLELISM": "false"}
    quiet = {"TRANSFORMERS_VERBOSITY": "error", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    inherited = {name: value for name, value in os.environ.items() if name not in PROCESS_GROUP}
    command, env = [sys.executable, *arguments], {**inherited, **threads, **quiet}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        said = "\n".join((done.stdout + done.stderr).splitlines()[-12:])
        raise UserError(f'The way "{way}" failed with exit code {done.returncode}. The end of its output:\n{said}')


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
