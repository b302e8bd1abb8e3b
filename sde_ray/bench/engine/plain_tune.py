"""Plain Ray Tune function trials: what a user of Ray writes around the script, with Tune's own defaults.

python -m sde_ray.bench.engine.plain_tune jobs.json results.json 2 1 0       two at a time, one CPU, no GPU each
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any


def main(jobs_path: str, results_path: str, at_once: int, cpus: int, gpus: float) -> None:
    """Run each job of a file as a trial; write their results in the same order."""
    from ray import tune

    jobs = json.loads(Path(jobs_path).read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        tuner = tune.Tuner(
            tune.with_resources(tune.with_parameters(trial, jobs=jobs), {"cpu": cpus, "gpu": gpus}),
            param_space={"number": tune.grid_search(list(range(len(jobs))))},
            tune_config=tune.TuneConfig(max_concurrent_trials=at_once),
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        )
        ended = list(tuner.fit())
    failed = next((one.error for one in ended if one.error is not None), None)
    if failed is not None:
        raise failed
    by_number = {one.config["number"]: one.metrics["result"] for one in ended if one.config and one.metrics}
    results = [json.loads(by_number[number]) for number in range(len(jobs))]
    Path(results_path).write_text(json.dumps(results), encoding="utf-8")


def trial(config: dict[str, Any], jobs: list[dict[str, Any]]) -> None:
    """The function that Tune calls in a process of its own."""
    from ray import tune

    from sde_ray.bench.engine.plain_script import hide_deepspeed, run_job

    hide_deepspeed()
    tune.report({"result": json.dumps(run_job(jobs[config["number"]]))})


if __name__ == "__main__":
    jobs_file, results_file, trials, cores, share = sys.argv[1:]
    main(jobs_file, results_file, int(trials), int(cores), float(share))
