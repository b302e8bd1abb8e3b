"""Sweeps whose driver, trial process or worker is killed between rungs: what is in flight goes on from its last one.

Real drivers on Ray Tune, as processes; the runner is fake (every rung that is run is on file), and once it is the real
one on the tiny random model.
"""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from helpers.fake_runner import Fakes
from helpers.run_trial import run_trial
from rich.console import Console

from sde_ray.config.load import check, load_config
from sde_ray.config.schema import Resources
from sde_ray.storage.ledger import Ledger
from sde_ray.sweep.cluster.ray_session import ray_session
from sde_ray.sweep.plan import plan
from sde_ray.sweep.progress import Progress
from sde_ray.sweep.run import run_sweep
from sde_ray.training import checkpoint
from sde_ray.training.runner import RunnerResources
from sde_ray.training.trial_runner import TrialRunner
from sde_ray.training.worker_group import WorkerGroup
from sde_ray.types import TrialResult

pytestmark = [pytest.mark.cluster, pytest.mark.faults]
LIMIT = 400.0
RAY = {"RAY_worker_niceness": "0"}  # by default Ray's workers give way to all else, and these tests wait for them
RUNGS = [0.25, 0.5, 1.0]
METHODS: dict[str, dict[str, Any]] = {
    "asha": {"method": "one_at_a_time", "asha": {"rungs": RUNGS, "reduction_factor": 2}},
    "adaptive": {"method": "adaptive", "n_trials": 4, "rungs": RUNGS, "confidence": 1.0},
}
FIXED = {"instruction": "first", "input_modeling": "off", "unmentioned": "placeholder", "reasoning": "none"}
SPACE = {"axes": {"format": ["natural", "lines", "json"], "labels": ["text", "number"], **FIXED}}


def values(folder: Path, **changes: Any) -> dict[str, Any]:
    base = {"name": "x", "task": "masa:d1", "train_sizes": 40, "eval_size": 20, "storage_path": str(folder / "runs")}
    return {**base, "resources": {"max_concurrent_trials": 1}, "mlflow": {"enabled": False}, **changes}


def start(folder: Path, command: list[str], **env: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", *command, str(folder / "x.yaml")],
        env={**os.environ, **RAY, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
    )


def fake_driver(folder: Path, seconds: float) -> subprocess.Popen[str]:
    return start(folder, ["helpers.fake_driver", "run"], FAKE_CALLS=str(folder / "calls"), FAKE_SECONDS=str(seconds))


def wait_until(condition: Callable[[], Any], process: subprocess.Popen[str]) -> Any:
    deadline = time.monotonic() + LIMIT
    while not (found := condition()):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def finish(process: subprocess.Popen[str]) -> str:
    said, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, said
    return said


def end(process: subprocess.Popen[str], ends: signal.Signals) -> None:
    """Returns when the driver is gone, and all that could still write: Ray ends with its driver.

    Ray's agents write nothing of a sweep and take a minute to end; `test_machine_faults.py` waits for them.
    """
    children = psutil.Process(process.pid).children(recursive=True)
    writers = [child for child in children if not any(word.endswith("Agent") for word in child.cmdline())]
    assert writers
    process.send_signal(ends)
    process.wait(timeout=LIMIT)  # not `communicate`: the agents keep its output open
    assert psutil.wait_procs(writers, timeout=LIMIT)[1] == []


def entries(folder: Path) -> list[TrialResult]:
    return Ledger(folder / "runs" / "x" / "ledger.jsonl").entries()


def told(result: TrialResult) -> tuple[Any, ...]:
    return result.key, result.status, result.rungs, result.scores


@pytest.mark.long
@pytest.mark.parametrize(
    ("method", "ends"),
    [("asha", signal.SIGKILL), ("adaptive", signal.SIGTERM)],
)
def test_a_driver_that_ends_between_rungs_loses_no_rung(method: str, ends: signal.Signals, tmp_path: Path) -> None:
    """`adaptive` stops a trial early and asks for it once more: then it is one on its way that the ledger has."""
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(values(tmp_path, **SPACE, search=METHODS[method])))
    fakes = Fakes(tmp_path / "calls")
    process = fake_driver(tmp_path, seconds=0.6)
    key, _ = wait_until(lambda: next((ran for ran in fakes.ran()[3:] if ran[1] == 1), None), process)
    end(process, ends)
    saved = checkpoint.read(tmp_path / "runs" / "x" / "trials" / key, key)
    assert saved is not None
    found = len(saved.rungs)  # its process may have come to the end of the rung that it was in
    assert (found, saved.promoted_rungs) in {(1, 1), (2, 1)}
    ended, began, ran = entries(tmp_path), len(fakes.begun()), fakes.ran()
    said = finish(fake_driver(tmp_path, seconds=0))
    assert "in the ledger, 1 goes on from its checkpoint." in said
    again = fakes.begun()[began]
    assert (again["key"], again["found"]) == (key, found), "what is in flight comes first, and where it was"
    following = fakes.ran()[len(ran)]
    assert following == (key, found) or (following[0] != key and found == 2), "goes on, or was asked about and stopped"
    after = entries(tmp_path)
    assert after[: len(ended)] == ended and after[len(ended)].key == key
    assert not list((tmp_path / "runs").rglob("checkpoint*"))
    if method == "asha":  # what it decides hangs on the scores and their order only
        twice = {one for one, count in Counter(fakes.ran()).items() if count > 1}
        assert twice == ({(key, 1)} if found == 1 else set()), "only a rung that was cut off is run again"
        undisturbed = tmp_path / "undisturbed"
        undisturbed.mkdir()
        (undisturbed / "x.yaml").write_text(yaml.safe_dump(values(undisturbed, **SPACE, search=METHODS[method])))
        finish(fake_driver(undisturbed, seconds=0))
        assert list(map(told, after)) == list(map(told, entries(undisturbed)))
        assert {result.status for result in after} == {"finished", "pruned"}


@pytest.mark.long
def test_a_process_or_worker_that_dies_once_costs_the_rung_it_was_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trial is begun once more by Tune, in another process, and goes on there."""
    for name, value in RAY.items():
        monkeypatch.setenv(name, value)
    designs = ["baseline", "format=lines", "format=json"]
    given = values(tmp_path, designs=designs, search={"method": "grid", "asha": {"rungs": RUNGS}})
    fakes = Fakes(tmp_path / "calls", die_once="lines", lose_once="json")
    with ray_session(Resources(max_concurrent_trials=1)):
        outcome = run_sweep(check(given), fakes, None, Progress(Console(file=io.StringIO())))
    assert "failed" not in {result.status for result in outcome.results} and len(outcome.results) == 3
    format_of = {result.key: result.config["design"]["format"] for result in outcome.results}
    found: dict[str, list[int]] = {name: [] for name in ("natural", "lines", "json")}
    for call in fakes.begun():
        found[format_of[call["key"]]].append(call["found"])
    assert found == {"natural": [0], "lines": [0, 1], "json": [0, 1]}
    twice = [(format_of[key], rung) for (key, rung), count in Counter(fakes.ran()).items() if count > 1]
    assert sorted(twice) == [("json", 1), ("lines", 1)]


@pytest.mark.slow
@pytest.mark.long
def test_real_training_goes_on_after_its_driver_was_killed(tmp_path: Path, tiny_llama: Path) -> None:
    given = values(
        tmp_path,
        designs=["es-sde"],
        out_of_domain=[],
        train_sizes=24,
        eval_size=6,
        model=str(tiny_llama),
        train={"train_batch_size": 2, "learning_rate": 1e-2, "max_length": 2048},
        generation={"max_new_tokens": 12},
        search={"method": "grid", "asha": {"rungs": [0.25, 0.5, 0.75, 1.0]}},
    )
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(given))
    (trial,) = plan(load_config(tmp_path / "x.yaml")).trials
    folder = tmp_path / "runs" / "x" / "trials" / trial.key
    process = start(tmp_path, ["sde_ray", "run", "--no-validate"])
    wait_until(lambda: (one := checkpoint.read(folder, trial.key)) and len(one.rungs) >= 2, process)
    end(process, signal.SIGKILL)
    saved = checkpoint.read(folder, trial.key)
    assert saved is not None and 2 <= len(saved.rungs) <= 3
    assert entries(tmp_path) == []
    said = finish(start(tmp_path, ["sde_ray", "run", "--no-validate"]))
    assert "Resuming: 0 of 1 trials are in the ledger, 1 goes on from its checkpoint." in said
    (result,) = entries(tmp_path)
    runner = TrialRunner(WorkerGroup(RunnerResources(cpus=0.99), in_process=True))
    whole = run_trial(runner, trial, tmp_path / "whole")
    runner.close()
    assert (result.status, result.losses, result.rungs) == ("finished", whole.losses, whole.rungs)
    assert result.rungs[: len(saved.rungs)] == saved.rungs and len(result.losses) == 12
    for name in ("predictions.jsonl", "adapter/adapter_model.safetensors"):
        assert (folder / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
