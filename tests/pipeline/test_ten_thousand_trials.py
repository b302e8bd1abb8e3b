"""A sweep of 10,000 trials that have all ended: resumed and analysed within seconds and some hundred megabytes.

`pytest -s -m long tests/pipeline/test_ten_thousand_trials.py` prints the numbers. Seconds are of the CPU; memory is
what a process of its own has at its peak, beyond its imports.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.many_trials import sweep_of, write_ledger

pytestmark = pytest.mark.long
TRIALS = 10_152  # 216 designs, 47 seeds
TESTS = Path(__file__).parents[1]

PROGRAM = """
import json, resource, sys, time
sys.path.insert(0, sys.argv[1])
import mlflow, scipy.stats, sde_ray.search.adaptive.search, sde_ray.analysis.response_surface
from helpers.many_trials import sweep_of
from sde_ray.pipeline import run as pipeline
from sde_ray.pipeline.listener import PipelineListener
from sde_ray.sweep.run import run_plan
from sde_ray.sweep.sweep_run import SweepRun

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

def nothing_is_left(*_):
    raise AssertionError("something is left to run")

config, steps = sweep_of(sys.argv[2], int(sys.argv[3])), {}
base, begin = peak(), time.process_time()
sweep_run = SweepRun(config)
sweep_run.notes()
outcome = run_plan(sweep_run, nothing_is_left)
steps["resume"] = time.process_time() - begin, peak() - base
assert len(outcome.results) == int(sys.argv[3]) and sweep_run.queue.remaining == 0
if sys.argv[4] == "analysis":
    begin = time.process_time()
    studies = pipeline.studies(config, outcome.results)
    assert [len(study.effects) for study in studies]
    steps["effects"] = time.process_time() - begin, peak() - base
print(json.dumps(steps))
"""


def measure(folder: Path, trials: int, what: str) -> dict[str, tuple[float, float]]:
    """Seconds of CPU and MiB at the peak, by step."""
    write_ledger(sweep_of(folder, trials))
    command = [sys.executable, "-c", PROGRAM, str(TESTS), str(folder), str(trials), what]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    steps: dict[str, tuple[float, float]] = json.loads(done.stdout)
    for name, (seconds, memory) in steps.items():
        print(f"{trials:,} trials, {name}: {seconds:.1f} s of CPU, {memory:.0f} MiB beyond the imports")
    return steps


def test_ten_thousand_trials_resume_within_ten_seconds_and_500_mib(tmp_path: Path) -> None:
    """`sde-ray run` with nothing left to run: notes, plan, ledger (twice), checkpoints, the adaptive search."""
    seconds, memory = measure(tmp_path, TRIALS, "resume")["resume"]
    assert seconds < 10 and memory < 500, (seconds, memory)


def test_effects_grow_no_faster_than_the_trials(tmp_path: Path) -> None:
    """Five times the trials, by five times the seeds: six times the seconds and some hundred megabytes more at most."""
    small, large = (measure(tmp_path / str(n), n, "analysis")["effects"] for n in (216 * 4, 216 * 20))
    assert large[0] < 6 * small[0] + 10 and large[1] < small[1] + 400, (small, large)
