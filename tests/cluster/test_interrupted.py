"""A sweep's driver is killed, or stopped with Ctrl-C; the same command then completes every trial exactly once."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from helpers.fake_runner import Fakes

from sde_ray.config.load import load_config
from sde_ray.storage.ledger import Ledger
from sde_ray.sweep.plan import plan

pytestmark = [pytest.mark.cluster, pytest.mark.faults]

DRIVER = """
import sys
from pathlib import Path
from helpers.fake_runner import Fakes
from sde_ray.config.load import load_config
from sde_ray.sweep.run import run_sweep
outcome = run_sweep(load_config(sys.argv[1]), Fakes(Path(sys.argv[2]), seconds=float(sys.argv[3])))
print(outcome.message if outcome.interrupted else f"complete: {len(outcome.results)}")
sys.exit(130 if outcome.interrupted else 0)
"""


def start(folder: Path, seconds: float) -> subprocess.Popen[str]:
    """The driver as a process of its own; its progress comes on stderr, a line a trial."""
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(folder / "study.yaml"), str(folder / "calls.jsonl"), str(seconds)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
    )


def wait_for_trials(driver: subprocess.Popen[str], count: int) -> None:
    """Read the driver's progress until so many trials have ended."""
    assert driver.stderr is not None
    told = []
    for line in driver.stderr:
        told.append(line)
        if line.startswith(f"[{count}/"):
            return
    raise AssertionError(f"the driver ended early: {''.join(told)}")


def write_study(folder: Path) -> set[str]:
    """A sweep of ten trials, one at a time; returns their keys."""
    lines = ["task: masa:d1", "search: {method: one_at_a_time}", "train_sizes: 40", "eval_size: 20"]
    lines += [f"storage_path: {folder / 'runs'}", "resources: {max_concurrent_trials: 1}"]
    (folder / "study.yaml").write_text("\n".join(lines) + "\n")
    return {trial.key for trial in plan(load_config(folder / "study.yaml")).trials}


def finish(folder: Path) -> str:
    driver = start(folder, seconds=0)
    out, err = driver.communicate(timeout=240)
    assert driver.returncode == 0, err
    return out


def assert_each_once(folder: Path, keys: set[str], running: int) -> None:
    """Every key is finished once in the ledger; only what ran when the driver went was begun twice."""
    entries = Ledger(folder / "runs" / "study" / "ledger.jsonl").entries()
    assert Counter(result.key for result in entries) == Counter(keys)
    assert {result.status for result in entries} == {"finished"}
    begun = Counter(call["key"] for call in Fakes(folder / "calls.jsonl").begun())
    assert set(begun) == keys and sum(begun.values()) <= len(keys) + running


@pytest.mark.long  # three rounds of kill_rounds are in every run
def test_a_killed_driver_loses_nothing_that_was_finished(tmp_path: Path) -> None:
    keys = write_study(tmp_path)
    driver = start(tmp_path, seconds=0.5)
    wait_for_trials(driver, 2)
    driver.send_signal(signal.SIGKILL)
    driver.communicate(timeout=60)
    ledger = tmp_path / "runs" / "study" / "ledger.jsonl"
    kept = [json.loads(line)["key"] for line in ledger.read_text().splitlines()]
    assert len(kept) >= 2
    assert (tmp_path / "runs" / "study" / "lease.json").exists(), "it had no time to let go"
    assert finish(tmp_path) == "complete: 11\n"
    assert_each_once(tmp_path, keys, running=1)


@pytest.mark.parametrize(  # Ctrl-C; a job's end, a machine taken away (test_machine_faults.py ends one so, too)
    "asked", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.long)]
)
def test_ctrl_c_and_sigterm_say_what_is_saved_and_how_to_go_on(tmp_path: Path, asked: signal.Signals) -> None:
    keys = write_study(tmp_path)
    driver = start(tmp_path, seconds=0.5)
    wait_for_trials(driver, 2)
    driver.send_signal(asked)
    out, err = driver.communicate(timeout=120)
    assert driver.returncode == 130, err
    saved = len(Ledger(tmp_path / "runs" / "study" / "ledger.jsonl").results())
    assert 2 <= saved < 11
    ledger = tmp_path / "runs" / "study" / "ledger.jsonl"
    assert out == f"Stopped. {saved} of 11 trials are saved in {ledger}. Run the same command again to go on.\n"
    assert "Traceback" not in err
    assert not (tmp_path / "runs" / "study" / "lease.json").exists()
    assert finish(tmp_path) == "complete: 11\n"
    assert_each_once(tmp_path, keys, running=1)
